"""What `--verify` finds, finding by finding, on scans that are right but for one thing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scans

from pointseg.scannet import verify
from pointseg.scannet.ply import write_ply
from pointseg.scannet.preprocess import preprocess
from pointseg.scannet.scan import LabelMap, ScanFiles
from pointseg.scannet.synthetic import write_dataset
from pointseg.scannet.verify import verify_scan

SCAN = "scene0000_00"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScanFiles:
    """A scan with nothing odd about it but its size, which the limits are lowered to."""
    monkeypatch.setattr(verify, "_FEWEST_VERTICES", scans.POINTS)
    folder = scans.write_scan(tmp_path / "scans", SCAN)
    scans.write_label_map(tmp_path)
    xyz, rgb, _ = scans.geometry(SCAN)
    write_ply(ScanFiles(folder).mesh, xyz, rgb, faces=np.arange(scans.POINTS, dtype=np.int32).reshape(-1, 3))
    return ScanFiles(folder)


def found(files: ScanFiles) -> str:
    return "\n".join(verify_scan(files.folder, LabelMap(files.folder.parent.parent / "scannetv2-labels.combined.tsv")))


def test_nothing_is_found_in_a_scan_that_is_right(files: ScanFiles) -> None:
    assert found(files) == ""


def test_scans_of_another_size_are_found(tmp_path: Path) -> None:
    (line, *_) = verify_scan(scans.write_scan(tmp_path, SCAN), None)
    assert line == f"{SCAN}_vh_clean_2.ply: 48 vertices, where scans have 5000 to 1000000"


def mesh(change: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple]) -> Callable[[ScanFiles], None]:
    def damage(files: ScanFiles) -> None:
        faces = np.arange(scans.POINTS, dtype=np.int32).reshape(-1, 3)
        xyz, rgb, faces = change(*scans.geometry(SCAN)[:2], faces)
        write_ply(files.mesh, xyz, rgb, faces=faces)
        write_ply(files.labels, xyz, label=scans.nyu40_ids())

    return damage


def labels(ids: np.ndarray, move: float = 0) -> Callable[[ScanFiles], None]:
    return lambda files: write_ply(files.labels, scans.geometry(SCAN)[0] + np.float32(move), label=ids)


def named(groups: list[dict]) -> Callable[[ScanFiles], None]:
    return lambda files: files.aggregation.write_text(json.dumps({"segGroups": groups}))


def one_wrong() -> np.ndarray:
    ids = scans.nyu40_ids()
    ids[7] = 39
    return ids


ODD: dict[str, tuple[Callable[[ScanFiles], object], str]] = {
    "as large as a street": (
        mesh(lambda xyz, rgb, faces: (xyz * 30, rgb, faces)),
        "m large, where scans have at most 60",
    ),
    "all black": (mesh(lambda xyz, rgb, faces: (xyz, rgb * 0, faces)), "every vertex has the colour [0, 0, 0]"),
    "vertices on one another": (
        mesh(lambda xyz, rgb, faces: (xyz[np.arange(48) // 2], rgb, faces)),
        "24 of 48 vertices repeat another's place",
    ),
    "no faces": (mesh(lambda xyz, rgb, faces: (xyz, rgb, None)), "vh_clean_2.ply: no faces"),
    "faces beyond the vertices": (
        mesh(lambda xyz, rgb, faces: (xyz, rgb, faces + 2)),
        "faces name 2 vertices that are not",
    ),
    "loose vertices": (mesh(lambda xyz, rgb, faces: (xyz, rgb, faces[4:])), "12 of 48 vertices are in no face"),
    "labels elsewhere": (labels(scans.nyu40_ids(), 0.1), "labels.ply: 48 of 48 vertices are not where the mesh"),
    "labels outside NYU40": (
        labels(np.where(scans.nyu40_ids() == 0, 149, scans.nyu40_ids())),
        "labels outside NYU40, taken as unannotated: 149 (8 vertices)",
    ),
    "labels that differ": (
        labels(one_wrong()),
        "1 of 48 vertices differ from what segments, groups and scannetv2-labels.combined.tsv give, most of them (1) "
        "NYU40 39 where those give 2",
    ),
    "labels missing": (lambda f: f.labels.unlink(), "labels.ply: no such file; labels come from the segments"),
    "segments missing": (lambda f: f.segments.unlink(), "segs.json: no such file; labels.ply cannot be checked"),
    "segments half-written": (lambda f: f.segments.write_text('{"segIndices": ['), "segs.json: cannot be read as JSON"),
    "groups of lost segments": (
        named([*scans.groups(), {"label": "wall", "segments": [77, 78]}]),
        "2 segments that no vertex has, as 77",
    ),
    "segments in two groups": (
        named([*scans.groups(), {"label": "fridge", "segments": [40]}]),
        "1 segments in more than one group, as 40",
    ),
    "unknown category": (named([*scans.groups(), {"label": "unicorn", "segments": []}]), "'unicorn' is not in"),
    "no table": (
        lambda f: (f.folder.parent.parent / "scannetv2-labels.combined.tsv").unlink(),
        "scannetv2-labels.combined.tsv: no such file",
    ),
    "no alignment": (lambda f: f.info.write_text("sceneType = Office\n"), f"{SCAN}.txt: no axisAlignment"),
    "no scene type": (lambda f: f.info.write_text("axisAlignment = 1\n"), f"{SCAN}.txt: no sceneType"),
}


@pytest.mark.parametrize("what", ODD)
def test_findings(files: ScanFiles, what: str) -> None:
    damage, line = ODD[what]
    damage(files)
    text = found(files)
    assert line in text
    assert len(text.splitlines()) == 1, text


def test_findings_are_reported_and_the_scan_is_kept(files: ScanFiles, tmp_path: Path) -> None:
    labels(one_wrong())(files)
    root, store = tmp_path / "scans", tmp_path / "store"
    for run in ("first", "up to date"):
        summary = preprocess(root, store, verify=True, progress=False)
        assert (summary.failures, len(summary.splits["train"].store)) == ((), 1), run
        assert "Verified: 1 scan with findings" in summary.describe()
        assert "1 of 48 vertices differ" in json.loads(summary.report.read_text())["scans"][SCAN]["findings"][0]
    assert not summary.splits["train"].written
    assert "findings" not in json.loads(preprocess(root, store, progress=False).report.read_text())["scans"][SCAN]


def test_synthetic_rooms_are_in_order(tmp_path: Path) -> None:
    write_dataset(tmp_path / "rooms", scenes=1, test_scenes=1, seed=3, density=150.0)
    summary = preprocess(tmp_path / "rooms", tmp_path / "store", verify=True, progress=False)
    assert not [line for lines in summary.findings.values() for line in lines if "differ" in line or "face" in line]

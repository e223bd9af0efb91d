"""Damaged input, kind by kind, and what becomes of it: a bad scan never costs the others, no damaged store is read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scans

from pointseg.errors import InputError
from pointseg.scannet.labels import CLASS_NAMES
from pointseg.scannet.ply import write_ply
from pointseg.scannet.preprocess import preprocess
from pointseg.scannet.scan import ScanFiles
from pointseg.store import SceneStore

GOOD, BAD = "scene0000_00", "scene0000_01"
IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def put(content: bytes | str) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def vertex_at(value: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        xyz, rgb, faces = scans.geometry(BAD)
        xyz[5, 1] = value
        write_ply(path, xyz, rgb, faces=faces)

    return damage


def alignment(numbers: str) -> Callable[[Path], None]:
    return put(f"axisAlignment = {numbers}\n")


def scaled(matrix: str, factor: float) -> str:
    return " ".join(str(float(number) * factor) for number in matrix.split())


# One scan of two, damaged: what -> (file, damage, what its line says). The other scan is in the store.
LEFT_OUT: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "mesh missing": ("mesh", Path.unlink, r"vh_clean_2\.ply: no such file"),
    "mesh empty": ("mesh", put(b""), r"vh_clean_2\.ply: expected a PLY file"),
    "mesh cut in half": ("mesh", cut, r"vh_clean_2\.ply: expected 48 entries of element 'vertex'.* complete\?"),
    "mesh an HTML page": ("mesh", put("<html>404</html>"), r"vh_clean_2\.ply: expected a PLY file"),
    "mesh a pipe": ("mesh", pipe, r"vh_clean_2\.ply: expected a file, got a pipe"),
    "mesh a folder": ("mesh", folder, r"vh_clean_2\.ply: expected a file, got a folder"),
    "mesh with a link to nowhere": (
        "mesh",
        lambda path: (path.unlink(), path.symlink_to("gone.ply")),
        r"vh_clean_2\.ply: no such file",
    ),
    "mesh that announces too much": (
        "mesh",
        lambda path: path.write_bytes(path.read_bytes().replace(b"vertex 48", b"vertex 999999999999")),
        r"vh_clean_2\.ply: expected",
    ),
    "vertex at NaN": ("mesh", vertex_at(np.nan), "expected finite coordinates, got 1 of 48"),
    "vertex at infinity": ("mesh", vertex_at(np.inf), "expected finite coordinates, got 1 of 48"),
    "vertex at 1e38": ("mesh", vertex_at(1e38), r"within 1000 m, got vertex 5 at \[.*e\+37"),
    "vertex at 2 km": ("mesh", vertex_at(2e3), r"within 1000 m, got vertex 5 at \[.*2000\.0"),
    "no vertices": ("mesh", lambda p: write_ply(p, np.empty((0, 3)), np.empty((0, 3), np.uint8)), "got none"),
    "no colours": ("mesh", lambda p: write_ply(p, np.zeros((48, 3))), "must have 'red', 'green', 'blue'"),
    "labels cut": ("labels", cut, r"labels\.ply: expected 48 entries"),
    "labels of another scan": (
        "labels",
        lambda p: write_ply(p, np.zeros((9, 3)), label=np.ones(9, int)),
        "expected the mesh's 48 vertices, got 9",
    ),
    "labels without label": ("labels", lambda p: write_ply(p, np.zeros((48, 3))), "must have 'label'"),
    "labels as floats": (
        "labels",
        lambda p: write_ply(p, np.zeros((48, 3)), extra={"label": np.ones(48, np.float32)}),
        "labels that are integers, got float32",
    ),
    "info missing": ("info", Path.unlink, r"_01\.txt: no such file"),
    "info a pipe": ("info", pipe, r"_01\.txt: expected a file, got a pipe"),
    "alignment of 1e300": ("info", alignment(scaled(IDENTITY, 1e300)), "must be a rotation and a shift"),
    "alignment of zeros": ("info", alignment("0 " * 16), "must be a rotation and a shift"),
    "alignment times 1000": ("info", alignment(scaled(IDENTITY, 1e3)), "must be a rotation and a shift"),
    "alignment that mirrors": ("info", alignment("-" + IDENTITY), "must be a rotation and a shift"),
    "alignment that shifts by 1e30": ("info", alignment(IDENTITY.replace("1 0 0 0 0", "1 0 0 1e30 0", 1)), "rotation"),
    "alignment in perspective": ("info", alignment(IDENTITY[:-7] + "1 0 0 1"), "must be a rotation and a shift"),
    "alignment cut short": ("info", alignment("1 0 0"), "must be 16 numbers"),
    "alignment with nan": ("info", alignment("nan " * 16), "must be 16 numbers"),
    "segments half-written": ("segments", put('{"segIndices": [1, 2'), r"segs\.json: cannot be read as JSON"),
    "segments of another kind": ("segments", put("[]"), r"segs\.json: cannot be read as JSON"),
    "segments beyond int64": ("segments", put(json.dumps({"segIndices": [2**80] * 48})), r"segs\.json: cannot be"),
    "segments too few": ("segments", put(json.dumps({"segIndices": [3] * 47})), "mesh's 48 vertices, got 47"),
    "segments a pipe": ("segments", pipe, r"no such file, and no .*segs\.json"),
    "groups half-written": ("aggregation", cut, r"aggregation\.json: cannot be read as JSON"),
    "groups not UTF-8": ("aggregation", put(b'{"segGroups": [{"label": "\xff"}]}'), r"aggregation\.json: cannot be"),
    "a category unheard of": (
        "aggregation",
        put(json.dumps({"segGroups": [{"label": "unicorn", "segments": [3]}]})),
        "category 'unicorn' is not in .*combined",
    ),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two train scans with everything, and the table of names."""
    for scan_id in (GOOD, BAD):
        scans.write_scan(tmp_path / "rooms" / "scans", scan_id)
    scans.write_label_map(tmp_path / "rooms")
    return tmp_path / "rooms"


def run(root: Path, **options):
    return preprocess(root, root.parent / "store", progress=False, **options)


def store_file(root: Path) -> Path:
    return root.parent / "store" / "train.h5"


@pytest.mark.parametrize("what", LEFT_OUT)
def test_a_damaged_scan_is_left_out_and_the_other_kept(root: Path, what: str) -> None:
    kind, damage, line = LEFT_OUT[what]
    files = ScanFiles(root / "scans" / BAD)
    if kind in ("segments", "aggregation"):
        files.labels.unlink()  # else nobody reads them
    damage(getattr(files, kind))
    summary = run(root)
    assert SceneStore(store_file(root)).scan_ids == (GOOD,)
    (failure,) = summary.failures
    assert failure.scan_id == BAD
    assert re.search(line, failure.reason), failure.reason
    assert "\n" not in failure.reason
    report = json.loads(summary.report.read_text())
    assert report["scans"][BAD] == {"left_out": failure.reason}
    assert report["scans"][GOOD]["vertices"] == 48
    blamed = "labels" if what == "segments a pipe" else kind
    assert report["download_again"] == [str(getattr(files, blamed).relative_to(root))]


def twice(root: Path) -> None:
    scans.write_scan(root / "scans_test", BAD)


def outside(root: Path) -> None:
    (root / "scans" / BAD).rename(root / "scans" / "scene0900_00")


@pytest.mark.parametrize(
    ("damage", "scan_id", "line"),
    [(twice, BAD, "expected each scan once, got .*scans/.* and .*scans_test/"), (outside, "scene0900_00", "0..806")],
)
def test_a_scan_in_the_wrong_place_is_left_out(root: Path, damage: Callable, scan_id: str, line: str) -> None:
    damage(root)
    summary = run(root)
    assert SceneStore(store_file(root)).scan_ids == (GOOD,)
    assert [failure.scan_id for failure in summary.failures] == [scan_id]
    assert re.search(line, summary.failures[0].reason), summary.failures[0].reason


def test_a_folder_that_may_not_be_entered_is_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run as any user, root included, whom no permission stops: so the system's answer is played here."""
    stat = Path.stat

    def refuse(path: Path, **how: bool) -> os.stat_result:
        if path.parent.name == BAD:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", refuse)
    summary = run(root)
    assert SceneStore(store_file(root)).scan_ids == (GOOD,)
    assert summary.failures[0].reason.endswith(f"{BAD}_vh_clean_2.ply: cannot be read: Permission denied")


# Damage that costs nothing, because the file is not needed: what -> how.
HARMLESS: dict[str, Callable[[Path], object]] = {
    "broken table that nobody needs": lambda root: put("nonsense")(root / "scannetv2-labels.combined.tsv"),
    "table a pipe": lambda root: pipe(root / "scannetv2-labels.combined.tsv"),
    "segments half-written beside labels.ply": lambda root: cut(ScanFiles(root / "scans" / BAD).segments),
    "groups missing beside labels.ply": lambda root: ScanFiles(root / "scans" / BAD).aggregation.unlink(),
    "a file named like a scan": lambda root: (root / "scans" / "scene0003_00").write_text(""),
    "the synthesiser's note empty of sense": lambda root: (root / "synthetic.json").write_text("null"),
    "the synthesiser's note half-written": lambda root: (root / "synthetic.json").write_text('{"seed": '),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_damage_to_what_is_not_needed_costs_nothing(root: Path, what: str) -> None:
    HARMLESS[what](root)
    assert run(root).failures == ()
    store = SceneStore(store_file(root))
    assert store.scan_ids == (GOOD, BAD)
    assert (store.description["synthetic"] is None) == ("note" not in what)  # never taken for ScanNet's


def replace_dataset(file: h5py.File, name: str, data: np.ndarray, **how) -> None:
    del file[name]
    file.create_dataset(name, data=data, **how)


def read(path: Path) -> None:
    store = SceneStore(path)
    for scene in range(len(store)):
        store.box(scene, np.zeros(2), np.ones(2))


def offsets(file: h5py.File) -> None:
    file["offsets"][1] = 7


def cyclic(file: h5py.File) -> None:
    file["order"][:] = 0


# A store, damaged after it was written: what -> (how, what the line says).
DAMAGED_STORE: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "dataset missing": (lambda f: f.__delitem__("grid_size"), "got no dataset 'grid_size'"),
    "points missing": (lambda f: f.__delitem__("xyz"), "got no dataset 'xyz'"),
    "attribute missing": (lambda f: f.attrs.__delitem__("ignore"), "got no attribute 'ignore'"),
    "checksum missing": (lambda f: f.attrs.__delitem__("checksum"), "got no attribute 'checksum'"),
    "a group in a dataset's place": (
        lambda f: (f.__delitem__("rgb"), f.create_group("rgb")),
        "got no dataset 'rgb'",
    ),
    "recompressed": (
        lambda f: replace_dataset(f, "xyz", f["xyz"][()], compression="gzip"),
        "'xyz' chunked or compressed",
    ),
    "another type": (
        lambda f: replace_dataset(f, "xyz", f["xyz"][()].astype(np.float64)),
        r"'xyz' of \[96, 3\] float64 where \[96, 3\] float32 belongs",
    ),
    "too few labels": (lambda f: replace_dataset(f, "label", f["label"][:-1]), r"'label' of \[95\] uint8 where \[96\]"),
    "wrong offsets": (offsets, "tables that do not fit their checksum"),
    "another ignored label": (lambda f: f.attrs.__setitem__("ignore", 0), "attributes .* do not fit their checksum"),
    "foreign class names": (
        lambda f: f.attrs.__setitem__("class_names", ["a"] * 20),
        "attributes .* do not fit their checksum",
    ),
    "labels of 99": (lambda f: f["label"].__setitem__(3, 99), f"expected {GOOD} as it was written"),
    "coordinates of NaN": (lambda f: f["xyz"].__setitem__(60, np.nan), f"expected {BAD} as it was written"),
    "one bit of one colour": (
        lambda f: f["rgb"].__setitem__((2, 1), f["rgb"][2, 1] ^ 1),
        f"expected {GOOD} as it was written",
    ),
    "an index that leads nowhere": (cyclic, f"expected {GOOD} as it was written"),
}


@pytest.mark.parametrize("what", DAMAGED_STORE)
def test_a_damaged_store_is_refused_and_preprocess_repairs_it(root: Path, what: str) -> None:
    run(root)
    whole = store_file(root).read_bytes()
    damage, line = DAMAGED_STORE[what]
    with h5py.File(store_file(root), "r+") as file:
        damage(file)
    with pytest.raises(InputError, match=line) as error:
        read(store_file(root))
    assert str(error.value).startswith(f"{store_file(root)}: expected")
    assert "run `pointseg preprocess` again" in str(error.value)
    assert "\n" not in str(error.value)
    summary = run(root)
    assert summary.splits["train"].written
    assert store_file(root).read_bytes() == whole


def test_only_the_damaged_scene_is_read_again(root: Path) -> None:
    run(root)
    with h5py.File(store_file(root), "r+") as file:
        file["label"][60] = 99
    assert run(root).splits["train"].read == 1
    assert not run(root).splits["train"].written


def test_a_store_of_other_classes_is_refused(root: Path, make_store: Callable[..., Path]) -> None:
    path = make_store() / "train.h5"
    SceneStore(path, CLASS_NAMES)
    with pytest.raises(InputError, match=r"expected a store of the 2 classes \(a, b, \.\.\.\), got 20 \(wall, floor"):
        SceneStore(path, ["a", "b"])

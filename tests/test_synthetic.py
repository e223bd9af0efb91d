"""Synthetic rooms: files in ScanNet's layout, deterministic, consistent, complete."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from pointseg.errors import InputError
from pointseg.scannet.labels import IGNORE, NUM_CLASSES, nyu40_to_train, split_of
from pointseg.scannet.ply import read_ply
from pointseg.scannet.scan import ScanFiles
from pointseg.scannet.synthetic import write_dataset
from pointseg.scannet.synthetic.camera import camera_stops
from pointseg.scannet.synthetic.categories import CATEGORIES
from pointseg.scannet.synthetic.mesh import join
from pointseg.scannet.synthetic.rooms import KINDS, furnish
from pointseg.scannet.synthetic.scanning import scan
from pointseg.scannet.synthetic.shapes import Thing

SPARSE = 120.0  # vertices per square metre: quick to write, all shapes still there


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "rooms"
    write_dataset(out, scenes=12, val_scenes=4, test_scenes=1, seed=3, density=SPARSE, progress=False)
    return out


def annotated_scans(dataset: Path) -> list[ScanFiles]:
    return [ScanFiles(folder) for folder in sorted((dataset / "scans").iterdir())]


def alignment(files: ScanFiles) -> np.ndarray:
    lines = dict(line.split(" = ") for line in files.info.read_text().splitlines())
    return np.array(lines["axisAlignment"].split(), dtype=float).reshape(4, 4)


def digests(dataset: Path) -> dict[str, str]:
    files = sorted(path for path in dataset.rglob("*") if path.is_file())
    return {str(path.relative_to(dataset)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_layout_and_splits(dataset: Path) -> None:
    scans = annotated_scans(dataset)
    assert [split_of(files.scan_id) for files in scans].count("train") == 12
    assert [split_of(files.scan_id) for files in scans].count("val") == 4
    for files in scans:
        assert sorted(files.folder.iterdir()) == sorted(files.all())
    (unlabelled,) = (dataset / "scans_test").iterdir()
    assert split_of(unlabelled.name) == "test"
    assert [path.name for path in unlabelled.iterdir()] == [f"{unlabelled.name}_vh_clean_2.ply"]
    assert not (dataset / ".partial").exists()


def test_label_table_has_scannets_columns(dataset: Path) -> None:
    with (dataset / "scannetv2-labels.combined.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["raw_category"]: int(row["nyu40id"]) for row in rows} == {
        raw: nyu40 for raw, (nyu40, _) in CATEGORIES.items()
    }
    assert {row["nyu40class"] for row in rows if row["nyu40id"] == "24"} == {"refridgerator"}
    train_ids = nyu40_to_train(np.array([int(row["nyu40id"]) for row in rows]))
    assert set(range(NUM_CLASSES)) < set(train_ids.tolist())


def test_all_classes_occur(dataset: Path) -> None:
    counts = np.zeros(256, dtype=np.int64)
    for files in annotated_scans(dataset):
        counts += np.bincount(nyu40_to_train(read_ply(files.labels).vertices["label"]), minlength=256)
    assert (counts[:NUM_CLASSES] > 20).all()
    share = counts / counts[:NUM_CLASSES].sum()
    assert 0.30 < share[0] < 0.45
    assert 0.15 < share[1] < 0.36
    assert 0.02 < counts[IGNORE] / counts.sum() < 0.25


def test_labels_follow_from_segments_and_groups(dataset: Path) -> None:
    for files in annotated_scans(dataset):
        label = read_ply(files.labels).vertices["label"]
        segments = np.array(json.loads(files.segments.read_text())["segIndices"])
        groups = json.loads(files.aggregation.read_text())["segGroups"]
        derived = np.zeros(len(segments), dtype=int)
        for group in groups:
            derived[np.isin(segments, group["segments"])] = CATEGORIES[group["label"]][0]
        np.testing.assert_array_equal(derived, label)
        named = [segment for group in groups for segment in group["segments"]]
        assert len(named) == len(set(named))
        assert [group["objectId"] for group in groups] == list(range(len(groups)))


def test_meshes_are_sound(dataset: Path) -> None:
    for files in annotated_scans(dataset):
        mesh, labels = read_ply(files.mesh), read_ply(files.labels)
        assert mesh.vertices.dtype.names == ("x", "y", "z", "red", "green", "blue", "alpha")
        assert labels.vertices["label"].dtype == np.uint16
        for axis in "xyz":
            np.testing.assert_array_equal(mesh.vertices[axis], labels.vertices[axis])
        assert np.isfinite(mesh.xyz).all()
        assert len(np.unique(mesh.xyz, axis=0)) == len(mesh.xyz)
        assert mesh.faces is not None
        np.testing.assert_array_equal(mesh.faces, labels.faces)
        corners = np.sort(mesh.faces, axis=1)
        assert (corners[:, 0] < corners[:, 1]).all()
        assert (corners[:, 1] < corners[:, 2]).all()
        np.testing.assert_array_equal(np.unique(mesh.faces), np.arange(len(mesh.xyz)))


def test_alignment_turns_walls_to_the_axes(dataset: Path) -> None:
    for files in annotated_scans(dataset):
        matrix, mesh = alignment(files), read_ply(files.mesh)
        assert abs(matrix[0, 1]) > 1e-3
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-5)
        label = read_ply(files.labels).vertices["label"]
        xyz = mesh.xyz @ matrix[:3, :3].T + matrix[:3, 3]
        assert abs(np.median(xyz[label == 2, 2])) < 0.02
        # A wall along an axis: one horizontal coordinate is the same for all three corners of a triangle.
        walls = mesh.faces[(label[mesh.faces] == 1).all(1)]
        spread = np.ptp(xyz[walls][..., :2], axis=1).min(1)
        assert np.median(spread) < 0.02
        unturned = np.ptp(mesh.xyz[walls][..., :2], axis=1).min(1)
        assert np.median(spread) < np.median(unturned) or abs(matrix[0, 1]) < 0.1 or abs(matrix[0, 0]) < 0.1


def test_vertices_are_not_sorted_by_object(dataset: Path) -> None:
    """Of the scans, since blocks come in random order: the floor of one may by chance miss an end of its file."""
    spans = []
    for files in annotated_scans(dataset):
        label = read_ply(files.labels).vertices["label"]
        floor = np.flatnonzero(label == 2)
        assert np.ptp(floor) > 0.6 * len(label)
        spans.append(np.ptp(floor) / len(label))
        assert np.count_nonzero(np.diff(floor) > 1) > 20  # other things between
        step = np.linalg.norm(np.diff(read_ply(files.mesh).xyz, axis=0), axis=1)
        assert np.median(step) < 0.3  # but neighbours in the file are neighbours in space
    assert np.median(spans) > 0.9


def test_same_seed_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    arguments = {"scenes": 3, "val_scenes": 1, "test_scenes": 1, "density": 60.0, "progress": False}
    write_dataset(tmp_path / "one", seed=5, **arguments)
    write_dataset(tmp_path / "two", seed=5, workers=2, **arguments)
    write_dataset(tmp_path / "other", seed=6, **arguments)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    other = digests(tmp_path / "other")
    meshes = {name: digest for name, digest in digests(tmp_path / "one").items() if name.endswith("_2.ply")}
    assert len(meshes) == 5
    assert all(other[name] != digest for name, digest in meshes.items())


def test_an_unfinished_data_set_is_completed(tmp_path: Path) -> None:
    out = tmp_path / "rooms"
    arguments = {"scenes": 3, "seed": 1, "density": 60.0, "progress": False}
    write_dataset(out, **arguments)
    before = digests(out)
    first, second, third = annotated_scans(out)
    kept = first.mesh.stat().st_mtime_ns
    for path in second.all():
        path.unlink()
    second.folder.rmdir()
    # What a killed process leaves: a room half written.
    (out / ".partial").mkdir()
    third.folder.rename(out / ".partial" / third.scan_id)
    third_partial = ScanFiles(out / ".partial" / third.scan_id)
    third_partial.mesh.write_bytes(b"ply\n")
    write_dataset(out, **arguments)
    assert digests(out) == before
    assert first.mesh.stat().st_mtime_ns == kept


def test_other_folders_are_refused(tmp_path: Path) -> None:
    arguments = {"scenes": 1, "density": 60.0, "progress": False}
    write_dataset(tmp_path / "rooms", seed=1, **arguments)
    with pytest.raises(InputError, match="other parameters \\(seed 1\\)"):
        write_dataset(tmp_path / "rooms", seed=2, **arguments)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch")
    with pytest.raises(InputError, match=r"thesis\.txt"):
        write_dataset(tmp_path / "mine", seed=1, **arguments)
    with pytest.raises(InputError, match="expected a folder to write to"):
        write_dataset(tmp_path / "mine" / "thesis.txt", seed=1, **arguments)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    (tmp_path / "rooms" / "synthetic.json").write_text("[]x")
    with pytest.raises(InputError, match=r"synthetic\.json: expected the parameters"):
        write_dataset(tmp_path / "rooms", seed=1, **arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scenes": 0}, "scenes must be 1 or more"),
        ({"scenes": 600}, "train scenes must be 0 to 565"),
        ({"val_scenes": -1}, "val scenes"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"density": 1.0}, "density must be"),
        ({"density": float("nan")}, "density must be"),
        ({"workers": -1}, "workers must be 0 or more"),
    ],
)
def test_wrong_arguments(tmp_path: Path, change: dict, message: str) -> None:
    arguments = {"scenes": 1, "seed": 0, "density": 60.0, "progress": False} | change
    with pytest.raises(InputError, match=message):
        write_dataset(tmp_path / "rooms", **arguments)
    assert not (tmp_path / "rooms").exists()


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_things_stand_inside_their_room(number: int) -> None:
    _, room = furnish(np.random.default_rng([11, number]), number, step=0.15)
    inside = ~room.plan.solid
    assert inside.any()  # some floor is left to walk on
    low, high = room.outline.min(0) - 0.2, room.outline.max(0) + 0.2
    for thing in room.things[1:]:
        points = np.concatenate([sheet.points.reshape(-1, 3) for sheet in thing.sheets])
        points = points[np.isfinite(points[:, 0])]
        assert points[:, 2].min() > -0.06, thing.category
        assert points[:, 2].max() < room.height + 0.1, thing.category
        if thing.category not in ("floor", "door"):  # doors open outwards too, and show a strip of the next floor
            assert (points[:, :2] > low).all(), thing.category
            assert (points[:, :2] < high).all(), thing.category


def test_furniture_does_not_interpenetrate() -> None:
    """No point of a large piece lies well inside the bounding box of another one that stands square to the axes."""
    solid = {
        "bed",
        "couch",
        "refrigerator",
        "wardrobe closet",
        "bookshelf",
        "cabinet",
        "bathtub",
        "kitchen counter",
        "toilet",
    }
    for number in range(2 * len(KINDS)):
        _, room = furnish(np.random.default_rng([12, number]), number, step=0.2)
        clouds = [
            np.concatenate([sheet.points.reshape(-1, 3) for sheet in thing.sheets])
            for thing in room.things
            if thing.category in solid
        ]
        for a, one in enumerate(clouds):
            for b, two in enumerate(clouds):
                deep = (two > one.min(0) + 0.06) & (two < one.max(0) - 0.06)
                assert a == b or not deep.all(1).any()


def test_what_no_camera_sees_is_missing() -> None:
    """The floor under a closed block in the middle of a room, and the block's underside, are not scanned."""
    step = 0.05
    rng = np.random.default_rng(0)
    _, room = furnish(rng, 1, step)
    room.plan.solid[:] = False
    room.plan.solid[30:50, 30:50] = True
    floor, block = Thing("floor", step), Thing("box", step)
    extent = [edge * 0.05 for edge in room.plan.shape]
    floor.box((0, 0, -1), (extent[0], extent[1], 0), (0.5, 0.5, 0.5), faces="+z")
    block.box((1.5, 1.5, 0.02), (2.5, 2.5, 1.0), (0.5, 0.5, 0.5), faces="-x +x -y +y +z -z")
    mesh, cameras = scan([floor, block], room.plan, step, rng)
    assert cameras >= 7
    under = (np.abs(mesh.xyz[:, :2] - 2.0) < 0.42).all(1) & (mesh.xyz[:, 2] < 0.2)
    assert not under.any()
    top = (np.abs(mesh.xyz[:, :2] - 2.0) < 0.45).all(1) & (np.abs(mesh.xyz[:, 2] - 1.0) < 0.1)
    assert top.sum() > 0.8 * (0.9 / step) ** 2
    whole, _ = join([floor, block])
    assert len(mesh.xyz) < len(whole.xyz)
    assert (camera_stops(room.plan, rng)[:, 2] >= 1.0).all()

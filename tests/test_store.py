"""The scene store: round trip, the box query against brute force, and what unfit files say."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from pointseg.errors import InputError
from pointseg.store import SCHEMA_VERSION, Scene, SceneStore, StoreMeta, write_store

META = StoreMeta(class_names=("wall", "floor", "chair"), ignore=255, aligned=True, created={"source": "rooms"})


def make_scene(number: int, points: int, *, labelled: bool = True, extent: float = 4.0) -> Scene:
    rng = np.random.default_rng(number)
    xyz = (rng.random((points, 3)) * [extent, extent / 2, 2.5] + [-1.0, 7.0, 0.0]).astype(np.float32)
    label = rng.choice(np.array([0, 1, 2, 255], dtype=np.uint8), points) if labelled else None
    return Scene(f"scene{number:04d}_00", xyz, rng.integers(0, 256, (points, 3), dtype=np.uint8), label)


@pytest.fixture
def scenes() -> list[Scene]:
    return [make_scene(0, 500), make_scene(1, 1), make_scene(2, 321, labelled=False), make_scene(3, 77)]


@pytest.fixture
def store(tmp_path: Path, scenes: list[Scene]) -> SceneStore:
    write_store(tmp_path / "store" / "train.h5", "train", scenes, META)
    return SceneStore(tmp_path / "store" / "train.h5")


def assert_same(scene: Scene, expected: Scene) -> None:
    assert scene.scan_id == expected.scan_id
    for name in ("xyz", "rgb", "label"):
        got, wanted = getattr(scene, name), getattr(expected, name)
        np.testing.assert_array_equal(got, wanted)
        assert wanted is None or got.dtype == wanted.dtype


def test_round_trip(store: SceneStore, scenes: list[Scene]) -> None:
    assert len(store) == 4
    assert store.scan_ids == tuple(scene.scan_id for scene in scenes)
    assert store.split == "train"
    assert store.meta == META
    assert store.offsets.tolist() == [0, 500, 501, 822, 899]
    for got, expected in zip(store, scenes, strict=True):
        assert_same(got, expected)
    assert [entry.name for entry in store.path.parent.iterdir()] == ["train.h5"]


def test_counts_extents_and_description(store: SceneStore, scenes: list[Scene]) -> None:
    for i, scene in enumerate(scenes):
        label = np.full(len(scene.xyz), 255) if scene.label is None else scene.label
        assert store.label_counts[i].tolist() == [(label == k).sum() for k in (0, 1, 2, 255)]
        np.testing.assert_array_equal(store.extents[i], [scene.xyz.min(axis=0), scene.xyz.max(axis=0)])
    assert store.labelled.tolist() == [True, True, False, True]
    assert store.label_counts.dtype == np.int64
    expected = {"split": "train", "scenes": 4, "points": 899, "schema": SCHEMA_VERSION, "aligned": True}
    assert store.description == expected | {"source": "rooms", "fingerprint": store.fingerprint}


def test_views_are_read_only(store: SceneStore) -> None:
    with pytest.raises(ValueError, match="read-only"):
        store[0].xyz[0] = 0


@pytest.mark.parametrize("i", [-1, 4])
def test_scene_out_of_range(store: SceneStore, i: int) -> None:
    with pytest.raises(IndexError, match=rf"scene must be 0\.\.3, got {i}"):
        store[i]


def brute_box(scene: Scene, lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
    xy = scene.xyz[:, :2].astype(np.float64)
    return np.flatnonzero(((xy >= lo) & (xy <= hi)).all(axis=1))


def assert_boxes(path: Path, scene: Scene, boxes: list[tuple[np.ndarray, np.ndarray]]) -> int:
    write_store(path, "train", [make_scene(9, 50), scene], META)
    store = SceneStore(path)
    for lo, hi in boxes:
        index, xyz, label = store.box(1, lo, hi)
        np.testing.assert_array_equal(np.sort(index), brute_box(scene, np.asarray(lo), np.asarray(hi)))
        np.testing.assert_array_equal(xyz, scene.xyz[index])
        np.testing.assert_array_equal(label, META.ignore if scene.label is None else scene.label[index])
    return sum(len(store.box(1, lo, hi).index) for lo, hi in boxes)


@pytest.mark.parametrize("extent", [0.2, 4.0, 90.0, 9e3])
def test_boxes_equal_brute_force(tmp_path: Path, extent: float) -> None:
    scene = make_scene(1, 4000, extent=extent)
    rng = np.random.default_rng(5)
    centers = scene.xyz[rng.integers(4000, size=60), :2] + rng.normal(size=(60, 2)) * extent * 0.1
    halves = rng.random((60, 2)) * extent * 0.5
    boxes = list(zip(centers - halves, centers + halves, strict=True))
    assert assert_boxes(tmp_path / "a.h5", scene, boxes) > 1000


def test_boxes_whose_sides_hold_points(tmp_path: Path) -> None:
    """Coordinates on multiples of the cell's side, and boxes from point to point: both ends belong to the box."""
    rng = np.random.default_rng(0)
    xyz = (rng.integers(0, 40, size=(3000, 3)) * 0.125 - 2).astype(np.float32)
    scene = Scene("scene0000_00", xyz, np.zeros((3000, 3), np.uint8), None)
    picks = np.sort(xyz[rng.integers(3000, size=(80, 2)), :2], axis=1)
    assert assert_boxes(tmp_path / "a.h5", scene, [(pick[0], pick[1]) for pick in picks]) > 1000
    one = xyz[17, :2]
    assert assert_boxes(tmp_path / "a.h5", scene, [(one, one)]) > 0


def test_boxes_outside_inside_out_and_everywhere(tmp_path: Path) -> None:
    scene = make_scene(1, 300)
    infinite = np.array([np.inf, np.inf])
    boxes = [((50, 50), (60, 60)), ((-9, -9), (-8, 99)), ((1, 8), (0, 7)), (-infinite, infinite), ((-1e30, 7), (0, 8))]
    assert_boxes(tmp_path / "a.h5", scene, [(np.array(lo, float), np.array(hi, float)) for lo, hi in boxes])


def test_an_outlier_does_not_blow_up_the_index(tmp_path: Path) -> None:
    scene = make_scene(1, 2000)
    scene.xyz[77] = [3e3, -9e3, 0]
    centre = np.array([0.5, 8.0])
    assert assert_boxes(
        tmp_path / "a.h5", scene, [(centre - 0.5, centre + 0.5), (scene.xyz[77, :2], scene.xyz[77, :2])]
    )
    assert (tmp_path / "a.h5").stat().st_size < 500_000


def _checksum(store: SceneStore, connection) -> None:
    connection.send((store.scan_ids, store[0].xyz.sum(), len(store.box(0, np.array([-1, 7]), np.array([0, 8])).index)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_it(store: SceneStore, method: str) -> None:
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_checksum, args=(store, sender))
    process.start()
    assert receiver.poll(60)
    got = receiver.recv()
    process.join()
    expected = len(store.box(0, np.array([-1, 7]), np.array([0, 8])).index)
    assert got == (store.scan_ids, store[0].xyz.sum(), expected)
    assert expected > 0


def test_pickling_stores_the_path_alone(store: SceneStore, scenes: list[Scene]) -> None:
    payload = pickle.dumps(store)
    assert len(payload) < 500
    assert_same(pickle.loads(payload)[3], scenes[3])


def test_generators_need_sizes(tmp_path: Path, scenes: list[Scene]) -> None:
    sizes = [len(scene.xyz) for scene in scenes]
    path = tmp_path / "val.h5"
    write_store(path, "val", (scene for scene in scenes), META, sizes=sizes)
    assert_same(SceneStore(path)[2], scenes[2])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="500 as announced, got 1"):
        write_store(path, "val", (scene for scene in scenes[1:]), META, sizes=sizes)
    with pytest.raises(ValueError, match="as many as sizes, 4, got 2"):
        write_store(path, "val", (scene for scene in scenes[:2]), META, sizes=sizes)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["val.h5"]


def test_a_store_without_scenes(tmp_path: Path) -> None:
    write_store(tmp_path / "val.h5", "val", [], META)
    store = SceneStore(tmp_path / "val.h5")
    assert len(store) == 0
    assert store.label_counts.shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xyz": np.zeros((0, 3), np.float32)}, "must have points"),
        ({"xyz": np.zeros((9, 3), np.float64)}, r"xyz must be \[9, 3\] float32, got \[9, 3\] float64"),
        ({"xyz": np.full((9, 3), np.nan, np.float32)}, "xyz must be finite"),
        ({"rgb": np.zeros((8, 3), np.uint8)}, r"rgb must be \[9, 3\] uint8, got \[8, 3\] uint8"),
        ({"label": np.full(9, 3, np.uint8)}, r"label must be 0\.\.2 or 255, got 3"),
        ({"label": np.zeros(9, np.int64)}, r"label must be \[9\] uint8, got \[9\] int64"),
    ],
)
def test_unfit_scenes(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    scene = Scene(**(vars(make_scene(0, 9)) | change))
    with pytest.raises(ValueError, match=f"scene0000_00: .*{message}"):
        write_store(tmp_path / "a.h5", "train", [scene], META)
    assert list(tmp_path.iterdir()) == []


def broken(path: Path, store: SceneStore, how: str) -> None:
    if how == "missing":
        return
    if how == "text":
        path.write_text("no store\n")
    elif how == "other hdf5":
        with h5py.File(path, "w") as file:
            file["x"] = 1
    else:
        content = store.path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if how == "cut" else content)
    if how == "version":
        with h5py.File(path, "r+") as file:
            file.attrs["schema_version"] = SCHEMA_VERSION + 1


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "expected a scene store, got no such file; run `pointseg preprocess`"),
        ("text", "got a file that is not HDF5; run `pointseg preprocess` again"),
        ("other hdf5", "got another HDF5 file"),
        ("cut", "got a file that is cut short"),
        ("version", f"expected store version {SCHEMA_VERSION}, got {SCHEMA_VERSION + 1}"),
    ],
)
def test_unfit_files(tmp_path: Path, store: SceneStore, how: str, message: str) -> None:
    path = tmp_path / "broken.h5"
    broken(path, store, how)
    with pytest.raises(InputError, match=message) as error:
        SceneStore(path)
    assert str(error.value).startswith(f"{path}: expected")
    assert "\n" not in str(error.value)


def test_normals_and_what_is_noted_of_a_scene(tmp_path: Path) -> None:
    meta = StoreMeta(class_names=META.class_names, ignore=255, aligned=True, normals=True)
    scenes = []
    for number, info in enumerate(({"scene_type": "Office"}, {})):
        normal = np.random.default_rng(number).normal(size=(50, 3)).astype(np.float32)
        scenes.append(Scene(**(vars(make_scene(number, 50)) | {"normal": normal, "info": info})))
    write_store(tmp_path / "a.h5", "train", scenes, meta)
    store = SceneStore(tmp_path / "a.h5")
    assert store.scene_types == ("Office", "")
    for got, expected in zip(store, scenes, strict=True):
        np.testing.assert_array_equal(got.normal, expected.normal)
        assert got.info == expected.info
    with pytest.raises(ValueError, match=r"scene0000_00: normal must be \[50, 3\] float32, got \[\] object"):
        write_store(tmp_path / "b.h5", "train", [make_scene(0, 50)], meta)


def test_coordinates_too_large_for_float32(tmp_path: Path) -> None:
    scene = make_scene(0, 9)
    scene.xyz[3] = 1e38
    with pytest.raises(ValueError, match=r"scene0000_00: xyz must be within 10000 metres, got 1e\+38"):
        write_store(tmp_path / "a.h5", "train", [scene], META)

"""Others' prepared data: what arrives in the store, and pickles that want more than arrays."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from pointseg.data.importers import import_npy, import_pointnet2
from pointseg.errors import InputError
from pointseg.scannet.labels import CLASS_NAMES, IGNORE
from pointseg.store import SceneStore


def npy_scene(folder: Path, seed: int, points: int = 20, **changes: np.ndarray | None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = {
        "coord": rng.random((points, 3), dtype=np.float32),
        "color": rng.integers(0, 256, (points, 3), dtype=np.uint8),
        "segment20": np.arange(points, dtype=np.int16) - 1,
        "normal": rng.random((points, 3), dtype=np.float32),
    } | changes
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        if array is not None:
            np.save(folder / f"{name}.npy", array)
    return arrays


def test_folders_of_arrays(tmp_path: Path) -> None:
    second = npy_scene(tmp_path / "data" / "scene0002_00", 2, points=22)
    first = npy_scene(tmp_path / "data" / "scene0001_00", 1, color=np.full((20, 3), 254.6))
    (tmp_path / "data" / "notes").mkdir()
    import_npy(tmp_path / "data", tmp_path / "train.h5", "train")
    store = SceneStore(tmp_path / "train.h5")
    assert store.scan_ids == ("scene0001_00", "scene0002_00")
    np.testing.assert_array_equal(store[0].xyz, first["coord"])
    np.testing.assert_array_equal(store[0].rgb, 255)
    np.testing.assert_array_equal(store[1].rgb, second["color"])
    np.testing.assert_array_equal(store[1].normal, second["normal"])
    assert store[1].label.tolist() == [IGNORE, *range(20), IGNORE]  # -1 and 20 are no classes


def test_scenes_without_labels_or_normals(tmp_path: Path) -> None:
    npy_scene(tmp_path / "data" / "a", 1, segment20=None)
    npy_scene(tmp_path / "data" / "b", 2, normal=None)
    import_npy(tmp_path / "data", tmp_path / "test.h5", "test")
    store = SceneStore(tmp_path / "test.h5")
    assert (store[0].label, store.meta.normals) == (None, False)
    assert store.labelled.tolist() == [False, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"color": None}, r"color\.npy: no such file"),
        (
            {"coord": np.zeros((20, 2))},
            r"coord\.npy: expected an array of shape \[P, 3\] of floats, got \[20, 2\] float64",
        ),
        ({"coord": np.full((20, 3), np.nan)}, "data: room: xyz must be finite"),
        ({"coord": np.full((20, 3), 1e30)}, "data: room: xyz must be within 10000 metres"),
        (
            {"segment20": np.zeros(19, int)},
            r"segment20\.npy: expected an array of shape \[20\] of integers or .*, got \[19\]",
        ),
        ({"segment20": np.zeros(20)}, r"segment20\.npy: expected .* got \[20\] float64"),
        ({"color": np.array([[None] * 3] * 20)}, r"color\.npy: expected an array in \.npy format"),
    ],
)
def test_unfit_arrays(tmp_path: Path, changes: dict, message: str) -> None:
    npy_scene(tmp_path / "data" / "room", 0, **changes)
    with pytest.raises(InputError, match=message):
        import_npy(tmp_path / "data", tmp_path / "train.h5", "train")
    assert not (tmp_path / "train.h5").exists()


def test_a_folder_without_scenes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected folders with coord\.npy, one a scene, got none"):
        import_npy(tmp_path, tmp_path / "train.h5", "train")


def write_pickles(path: Path, *objects: object, protocol: int = 2) -> Path:
    with path.open("wb") as file:
        for value in objects:
            pickle.dump(value, file, protocol=protocol)
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_pointnet2_pickles(tmp_path: Path, protocol: int) -> None:
    """Labels 1..20 in PointNet++'s order: 3 is the chair, 17 the refrigerator; 0 is unannotated."""
    rng = np.random.default_rng(0)
    coords = [rng.random((4, 3), dtype=np.float32), rng.random((2, 3))]
    path = write_pickles(
        tmp_path / "scannet_val.pickle", coords, [np.array([0, 3, 17, 20]), np.array([1, 2])], protocol=protocol
    )
    import_pointnet2(path, tmp_path / "val.h5", "val")
    store = SceneStore(tmp_path / "val.h5")
    assert store.scan_ids == ("scene_00000", "scene_00001")
    np.testing.assert_array_equal(store[0].xyz, coords[0])
    named = [CLASS_NAMES[label] for label in store[0].label[1:]]
    assert store[0].label[0] == IGNORE
    assert named == ["chair", "refrigerator", "otherfurniture"]
    assert store.description["without"] == "rgb"


def test_pickles_of_python_2(tmp_path: Path) -> None:
    """Python 2 wrote an array's bytes as a str: here by hand, as its protocol 2 does."""
    xyz = np.arange(6, dtype="<f4").reshape(2, 3)
    raw = xyz.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02K\x03\x86cnumpy\ndtype\n"
        b"U\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"
        + bytes([len(raw)])
        + raw
        + b"tb"
    )
    path = tmp_path / "old.pickle"
    path.write_bytes(b"\x80\x02](" + array + b"e." + pickle.dumps([np.array([1, 2])], protocol=2))
    import_pointnet2(path, tmp_path / "train.h5", "train")
    np.testing.assert_array_equal(SceneStore(tmp_path / "train.h5")[0].xyz, xyz)


class Evil:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("owned",)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([[Evil()], []], r"it holds more than arrays: posix\.mkdir"),
        ([[np.zeros((1, 3))], [Evil()]], "it holds more than arrays"),
        ([np.array([Evil()], dtype=object)], "it holds more than arrays"),
        ([[np.zeros((1, 3))]], r"expected 2 pickles .* \(Ran out of input\)"),
        ([[np.zeros((1, 3))], []], "a list of coordinates and one as long of labels"),
        ([[np.zeros((1, 3))], [np.array([21])]], r"scene 0: labels must be 0\.\.20, got 21\.\.21"),
        ([[np.zeros((1, 3))], [np.array([1, 2])]], r"scene 0: expected an array of shape \[1\] of integers"),
        ([[[0, 1, 2]], [np.array([1])]], r"scene 0: expected an array of shape \[P, 3\] of floats, got list"),
    ],
)
def test_pickles_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objects: list, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_pickles(tmp_path / "bad.pickle", *objects)
    with pytest.raises(InputError, match=message):
        import_pointnet2(path, tmp_path / "train.h5", "train")
    assert not (tmp_path / "owned").exists()
    assert not (tmp_path / "train.h5").exists()


def test_files_that_are_no_pickles(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x00\x01")
    with pytest.raises(InputError, match="expected 2 pickles of lists of arrays"):
        import_pointnet2(tmp_path / "x", tmp_path / "train.h5", "train")
    with pytest.raises(InputError, match="none: no such file"):
        import_pointnet2(tmp_path / "none", tmp_path / "train.h5", "train")

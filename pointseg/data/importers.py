"""Stores from data that other code bases prepared, and a scene as one of them reads it.

`npy`: a folder a scene with `coord.npy` [P, 3] metres, `color.npy` [P, 3] 0..255, `segment20.npy` [P] with the
benchmark's classes 0..19 and -1 (or any other number) for unannotated, and perhaps `normal.npy` [P, 3].

`pointnet2`: the pickle of PointNet++'s ScanNet data (Qi et al. 2017): a list of [P, 3] coordinates, then a list of [P]
labels, 0 for unannotated and 1..20 in PointNet++'s own order. It holds annotated vertices only, no names, no colours.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pointseg.errors import InputError
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, NUM_CLASSES, POINTNET2_CLASS_NAMES
from pointseg.store import Scene, StoreMeta, write_store

_COORD, _COLOR, _LABEL, _NORMAL = "coord.npy", "color.npy", "segment20.npy", "normal.npy"


def import_npy(data: Path, out: Path, split: str) -> None:
    """Writes the store `out` of the scenes' folders in `data`, in the order of their names.

    Scenes without `segment20.npy` have no labels. Normals are taken if every scene has them.

    Raises InputError, naming the file, if one is missing or not what it should be.
    """
    folders = sorted(path.parent for path in data.glob(f"*/{_COORD}")) if data.is_dir() else []
    if not folders:
        raise InputError(f"{data}: expected folders with {_COORD}, one a scene, got none")
    normals = all((folder / _NORMAL).is_file() for folder in folders)
    sizes = [len(_load(folder / _COORD, "f", (-1, 3))) for folder in folders]
    created = {"program": "pointseg store import", "source": data.resolve().name}
    meta = StoreMeta(class_names=CLASS_NAMES, ignore=IGNORE, aligned=False, normals=normals, created=created)
    _write(out, split, (_npy_scene(folder, normals) for folder in folders), meta, sizes)


def import_pointnet2(data: Path, out: Path, split: str) -> None:
    """Writes the store `out` of PointNet++'s pickle; scenes are named by their place in it, `scene_00000` on.

    Raises InputError if it is not that pickle, or holds anything but lists of arrays.
    """
    coords, labels = _unpickle(data, 2)
    if not (isinstance(coords, list) and isinstance(labels, list) and len(coords) == len(labels) > 0):
        raise InputError(f"{data}: expected a list of coordinates and one as long of labels, got something else")
    train_id = np.full(NUM_CLASSES + 1, IGNORE, np.uint8)
    train_id[1:] = [CLASS_NAMES.index(name) for name in POINTNET2_CLASS_NAMES]
    scenes = []
    for number, (coord, label) in enumerate(zip(coords, labels, strict=True)):
        what = f"{data}: scene {number}"
        xyz = _checked(what, coord, "f", (-1, 3)).astype(np.float32)
        label = _checked(what, label, "iu", (len(xyz),))
        if label.size and not 0 <= label.min() <= label.max() <= NUM_CLASSES:
            raise InputError(f"{what}: labels must be 0..{NUM_CLASSES}, got {label.min()}..{label.max()}")
        scenes.append(Scene(f"scene_{number:05d}", xyz, np.zeros(xyz.shape, np.uint8), train_id[label]))
    created = {"program": "pointseg store import", "source": data.name, "without": "rgb"}
    meta = StoreMeta(class_names=CLASS_NAMES, ignore=IGNORE, aligned=False, created=created)
    _write(out, split, scenes, meta, [len(scene.xyz) for scene in scenes])


def write_npy_scene(folder: Path, scene: Scene) -> None:
    """Writes a scene as `import_npy` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / _COORD, scene.xyz)
    np.save(folder / _COLOR, scene.rgb)
    if scene.label is not None:
        np.save(folder / _LABEL, np.where(scene.label == IGNORE, -1, scene.label.astype(np.int16)).astype(np.int16))
    if scene.normal is not None:
        np.save(folder / _NORMAL, scene.normal)


def _write(out: Path, split: str, scenes: Any, meta: StoreMeta, sizes: list[int]) -> None:
    try:
        write_store(out, split, scenes, meta, sizes=sizes)
    except ValueError as error:  # coordinates that are not finite, or too large
        raise InputError(f"{meta.created['source']}: {error}") from None


def _npy_scene(folder: Path, normals: bool) -> Scene:
    xyz = _load(folder / _COORD, "f", (-1, 3)).astype(np.float32)
    shape = (len(xyz), 3)
    rgb = np.clip(np.rint(_load(folder / _COLOR, "fiu", shape)), 0, 255).astype(np.uint8)
    label = None
    if (folder / _LABEL).exists():
        ids = _load(folder / _LABEL, "iu", (len(xyz),))
        label = np.where((ids >= 0) & (ids < NUM_CLASSES), ids, IGNORE).astype(np.uint8)
    normal = _load(folder / _NORMAL, "f", shape).astype(np.float32) if normals else None
    return Scene(folder.name, xyz, rgb, label, normal)


def _load(path: Path, kinds: str, shape: tuple[int, ...]) -> np.ndarray:
    """A `.npy` file, mapped. No pickles: an array of objects is refused."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: expected an array in .npy format, got something else ({error})") from None
    return _checked(str(path), array, kinds, shape)


def _checked(what: str, array: object, kinds: str, shape: tuple[int, ...]) -> np.ndarray:
    """`array` if it is one of a dtype of `kinds` and of `shape`, where -1 is any length."""
    there = isinstance(array, np.ndarray) and array.dtype.kind in kinds and array.ndim == len(shape)
    if not (there and all(wanted in (-1, got) for wanted, got in zip(shape, array.shape, strict=True))):
        got = f"{list(array.shape)} {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        kind = " or ".join({"f": "floats", "i": "integers", "u": "unsigned integers"}[letter] for letter in kinds)
        wanted = ["P" if length == -1 else length for length in shape]
        raise InputError(f"{what}: expected an array of shape [{', '.join(map(str, wanted))}] of {kind}, got {got}")
    return array


# What a pickle of arrays calls: an array, its type, its contents, under NumPy 1's, NumPy 2's and Python 2's names.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_FROM_BUFFER = np.empty(1).__reduce_ex__(5)[0]
_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
}


def _latin1(text: str, encoding: str) -> bytes:
    """What Python 3 writes for bytes in pickles that Python 2 shall read: `_codecs.encode(text, "latin1")`."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles NumPy arrays in lists, tuples and dicts; calls nothing else, whatever the file asks for."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it holds more than arrays: {module}.{name}")
        return _ADMITTED[module, name]


def _unpickle(path: Path, count: int) -> list[Any]:
    """The first `count` objects of a file of pickles."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            return [_ArrayUnpickler(file, encoding="latin1").load() for _ in range(count)]
    except Exception as error:  # a damaged pickle can raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path}: expected {count} pickles of lists of arrays, got something else ({reason})"
        ) from None

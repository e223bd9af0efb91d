"""The layout of a scene store, and one scene made ready for it.

A store is one HDF5 file a split, with an index that finds the points of a box.
The file knows its class names but no data set. Letters: S scenes, P points of all scenes one behind another,
C classes, G grid cells of all scenes one behind another.

| dataset        | type, shape       | content                                                                         |
|----------------|-------------------|---------------------------------------------------------------------------------|
| `xyz`          | float32 [P, 3]    | metres, +z up                                                                   |
| `rgb`          | uint8 [P, 3]      |                                                                                 |
| `label`        | uint8 [P]         | 0..C-1, or the attribute `ignore`; all `ignore` in scenes without labels        |
| `normal`       | float32 [P, 3]    | unit vectors, 0 where there is none; only if the attribute `normals` says so    |
| `offsets`      | int64 [S + 1]     | scene i is the rows offsets[i] to offsets[i + 1]                                |
| `scan_ids`     | bytes [S]         |                                                                                 |
| `info`         | bytes [S]         | JSON: what the maker of the store notes of a scene                              |
| `labelled`     | bool [S]          | false: the scene came without labels                                            |
| `label_counts` | int64 [S, C + 1]  | points per class, the last column is `ignore`                                   |
| `extents`      | float32 [S, 2, 3] | smallest and largest coordinates                                                |
| `checksums`    | bytes [S]         | SHA-256 of a scene's rows of everything that grows with P or G                  |
| `grid_shape`   | int64 [S, 2]      | cells in x and y                                                                |
| `grid_size`    | float64 [S]       | side of a cell, metres                                                          |
| `grid_offsets` | int64 [S + 1]     | scene i has the rows grid_offsets[i] to grid_offsets[i + 1] of `cell_starts`    |
| `order`        | int32 [P]         | a scene's points sorted by (cell, index)                                        |
| `sorted_xyz`   | float32 [P, 3]    | `xyz` in this order: what a box needs of a scene then lies in a few runs        |
| `sorted_label` | uint8 [P]         | `label` in this order                                                           |
| `cell_starts`  | int32 [G + S]     | cell k of a scene is the rows cell_starts[k] to cell_starts[k + 1] of its order |

The attribute `checksum` is the SHA-256 of the other attributes and of all that has one row a scene: it is compared when
a store is opened, a scene's own checksum when the scene is first read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

SCHEMA_VERSION = 3
FORMAT = "pointseg scene store"
MAX_COORDINATE = 1e4  # metres; float32 still resolves a millimetre there, and voxels can be counted in int64

# What grows with P: stored contiguous, not compressed, to be mapped. Name -> type, columns.
POINT_ARRAYS: dict[str, tuple[type, int]] = {
    "xyz": (np.float32, 3),
    "rgb": (np.uint8, 3),
    "label": (np.uint8, 1),
    "order": (np.int32, 1),
    "sorted_xyz": (np.float32, 3),
    "sorted_label": (np.uint8, 1),
    "normal": (np.float32, 3),
}
_ATTRIBUTES = ("format", "schema_version", "split", "class_names", "ignore", "aligned", "normals", "created")
# What has a row a scene, or one more.
TABLES = ("offsets", "scan_ids", "info", "labelled", "label_counts", "extents", "checksums")
TABLES += ("grid_shape", "grid_size", "grid_offsets")

_CELL = 0.25  # metres; a training block of 1.9 m touches 8 or 9 cells a side
_MAX_CELLS = 256  # a side; a far outlier makes cells larger, not the index


@dataclass(frozen=True)
class Scene:
    """One scan: P points in the order of its file."""

    scan_id: str
    xyz: np.ndarray  # [P, 3] float32, metres, +z up
    rgb: np.ndarray  # [P, 3] uint8
    label: np.ndarray | None  # [P] uint8, class ids or the ignored label; None: the scan has no labels
    normal: np.ndarray | None = None  # [P, 3] float32, length 1, or 0 where there is none; None: not computed
    info: Mapping[str, Any] = field(default_factory=dict)  # what its maker notes: what can be written as JSON


@dataclass(frozen=True, kw_only=True)
class StoreMeta:
    """What holds for all scenes of a store."""

    class_names: tuple[str, ...]
    ignore: int  # the label of points that are not annotated, outside 0..C-1
    aligned: bool  # were scans turned to their room's axes?
    normals: bool = False  # do the scenes have normals?
    created: dict[str, Any] = field(default_factory=dict)  # versions, options, source: what can be written as JSON

    @property
    def point_arrays(self) -> tuple[str, ...]:
        """The names in `POINT_ARRAYS` that a store has."""
        return tuple(name for name in POINT_ARRAYS if name != "normal" or self.normals)


@dataclass(frozen=True)
class PackedScene:
    """A scene with everything that a store holds of it."""

    scan_id: str
    info: str  # JSON
    labelled: bool
    arrays: dict[str, np.ndarray]  # by the names of `POINT_ARRAYS`, and `cell_starts`
    label_counts: np.ndarray  # [C + 1] int64
    extents: np.ndarray  # [2, 3] float32
    grid_shape: np.ndarray  # [2] int64
    grid_size: float
    checksum: str


def pack_scene(scene: Scene, meta: StoreMeta) -> PackedScene:
    """Checks a scene and computes what a store keeps beside its points.

    Raises ValueError if its arrays are not what `Scene` says, hold other labels than `meta` names, or coordinates that
    are not finite or beyond MAX_COORDINATE.
    """
    _check(scene, meta)
    label = np.full(len(scene.xyz), meta.ignore, dtype=np.uint8) if scene.label is None else scene.label
    counts = np.bincount(label, minlength=256)
    extents = _extents(scene.xyz)
    order, shape, size, starts = _index(scene.xyz, extents)
    arrays = {"xyz": scene.xyz, "rgb": scene.rgb, "label": label, "order": order, "cell_starts": starts}
    arrays |= {"sorted_xyz": scene.xyz.take(order, axis=0), "sorted_label": label.take(order)}
    if meta.normals:
        arrays["normal"] = scene.normal
    return PackedScene(
        scan_id=scene.scan_id,
        info=json.dumps(dict(scene.info), sort_keys=True),
        labelled=scene.label is not None,
        arrays=arrays,
        label_counts=np.array([*counts[: len(meta.class_names)], counts[meta.ignore]], dtype=np.int64),
        extents=extents,
        grid_shape=shape,
        grid_size=size,
        checksum=checksum(arrays),
    )


def checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256, as 64 hexadecimal digits, of a scene's arrays: names, shapes and contents."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape} ".encode())
        digest.update(np.ascontiguousarray(arrays[name]))
    return digest.hexdigest()


def table_checksum(attributes: Mapping[str, Any], tables: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the attributes and of all that has one row a scene."""
    digest = hashlib.sha256()
    for name in _ATTRIBUTES:
        digest.update(f"{name}={np.asarray(attributes[name]).tolist()!r} ".encode())
    for name in TABLES:
        digest.update(f"{name} {tables[name].shape} ".encode())
        digest.update(np.ascontiguousarray(tables[name]))
    return digest.hexdigest()


class Damage(Exception):
    """What keeps a file of the right format and version from being read; a text to follow "got"."""


def read_layout(file: h5py.File) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, h5py.Dataset]]:
    """Attributes, tables, and the datasets to be mapped, by name; looks at everything but the points.

    Raises Damage if something is missing, was changed, or cannot be mapped.
    """
    attributes = dict(file.attrs)
    for name in (*_ATTRIBUTES, "checksum"):
        if name not in attributes:
            raise Damage(f"no attribute '{name}'")
    mapped = [name for name in POINT_ARRAYS if name != "normal" or attributes["normals"]] + ["cell_starts"]
    datasets = {name: file.get(name) for name in (*TABLES, *mapped)}
    for name, dataset in datasets.items():
        if not isinstance(dataset, h5py.Dataset):
            raise Damage(f"no dataset '{name}'")
    tables = {name: datasets.pop(name)[()] for name in TABLES}
    if table_checksum(attributes, tables) != attributes["checksum"]:
        raise Damage("attributes or tables that do not fit their checksum")
    points, rows = int(tables["offsets"][-1]), int(tables["grid_offsets"][-1])
    wanted = {name: (dtype, (points, 3)[: 1 + (columns > 1)]) for name, (dtype, columns) in POINT_ARRAYS.items()}
    wanted["cell_starts"] = (np.int32, (rows,))
    for name, dataset in datasets.items():
        dtype, shape = wanted[name]
        if dataset.shape != shape or dataset.dtype != dtype:
            expected = f"{list(shape)} {np.dtype(dtype)}"
            raise Damage(f"'{name}' of {list(dataset.shape)} {dataset.dtype} where {expected} belongs")
        if dataset.size and dataset.id.get_offset() is None:
            raise Damage(f"'{name}' chunked or compressed, which cannot be mapped")
    return attributes, tables, datasets


def cells_of(xy: np.ndarray, origin: np.ndarray | float, size: float) -> np.ndarray:
    """Grid cells int64 of float64 `xy`, same shape; far outside saturates instead of overflowing."""
    return np.floor(np.clip((xy - origin) / size, -1, _MAX_CELLS)).astype(np.int64)


def _check(scene: Scene, meta: StoreMeta) -> None:
    points = len(scene.xyz)
    if points == 0:
        raise ValueError(f"{scene.scan_id}: scenes must have points, got none")
    arrays = {"xyz": (scene.xyz, (points, 3), np.float32), "rgb": (scene.rgb, (points, 3), np.uint8)}
    if scene.label is not None:
        arrays["label"] = (scene.label, (points,), np.uint8)
    if meta.normals:
        arrays["normal"] = (np.asarray(scene.normal), (points, 3), np.float32)
    for name, (array, shape, dtype) in arrays.items():
        if array.shape != shape or array.dtype != dtype:
            got = f"{list(array.shape)} {array.dtype}"
            raise ValueError(f"{scene.scan_id}: {name} must be {list(shape)} {np.dtype(dtype)}, got {got}")
    if not np.isfinite(scene.xyz).all():
        raise ValueError(f"{scene.scan_id}: xyz must be finite")
    if (far := float(np.abs(scene.xyz).max())) > MAX_COORDINATE:
        raise ValueError(f"{scene.scan_id}: xyz must be within {MAX_COORDINATE:g} metres, got {far:g}")
    if meta.normals and not np.isfinite(scene.normal).all():
        raise ValueError(f"{scene.scan_id}: normal must be finite")
    if scene.label is not None:
        wrong = scene.label[(scene.label >= len(meta.class_names)) & (scene.label != meta.ignore)]
        if wrong.size:
            allowed = f"0..{len(meta.class_names) - 1} or {meta.ignore}"
            raise ValueError(f"{scene.scan_id}: label must be {allowed}, got {wrong[0]}")


def _extents(xyz: np.ndarray) -> np.ndarray:
    """[2, 3] float32: smallest and largest coordinates; twenty times as fast by columns as by `axis=0`."""
    return np.array([[column.min() for column in xyz.T], [column.max() for column in xyz.T]], np.float32)


def _index(xyz: np.ndarray, extents: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """`order` int32 [P], grid shape [2], cell side and `cell_starts` int32 [cells + 1] of one scene."""
    low, high = extents[:, :2].astype(np.float64)
    size = max(_CELL, float(np.max(high - low)) / (_MAX_CELLS - 1))
    shape = cells_of(high, low, size) + 1
    x, y = (cells_of(xyz[:, axis].astype(np.float64), low[axis], size) for axis in range(2))
    flat = (x * shape[1] + y).astype(np.uint16)  # at most 256 x 256 cells: sorted by radix
    order = np.argsort(flat, kind="stable").astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=shape.prod()))]).astype(np.int32)
    return order, shape, size, starts

"""Scenes on disk: one HDF5 file a split, memory-mapped when read, with an index that finds the points of a box.

The file knows its class names but no data set. Letters: S scenes, P points of all scenes one behind another,
C classes, G grid cells of all scenes one behind another.

| dataset        | type, shape       | content                                                                         |
|----------------|-------------------|---------------------------------------------------------------------------------|
| `xyz`          | float32 [P, 3]    | metres, +z up                                                                   |
| `rgb`          | uint8 [P, 3]      |                                                                                 |
| `label`        | uint8 [P]         | 0..C-1, or the attribute `ignore`; all `ignore` in scenes without labels        |
| `offsets`      | int64 [S + 1]     | scene i is the rows offsets[i] to offsets[i + 1]                                |
| `scan_ids`     | bytes [S]         |                                                                                 |
| `labelled`     | bool [S]          | false: the scene came without labels                                            |
| `label_counts` | int64 [S, C + 1]  | points per class, the last column is `ignore`                                   |
| `extents`      | float32 [S, 2, 3] | smallest and largest coordinates                                                |
| `grid_shape`   | int64 [S, 2]      | cells in x and y                                                                |
| `grid_size`    | float64 [S]       | side of a cell, metres                                                          |
| `grid_offsets` | int64 [S + 1]     | scene i has the rows grid_offsets[i] to grid_offsets[i + 1] of `cell_starts`    |
| `order`        | int32 [P]         | a scene's points sorted by (cell, index)                                        |
| `cell_starts`  | int32 [G + S]     | cell k of a scene is the rows cell_starts[k] to cell_starts[k + 1] of its order |
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pointseg.atomic import replacing
from pointseg.errors import InputError

SCHEMA_VERSION = 1

_FORMAT = "pointseg scene store"
_CELL = 0.25  # metres; a training block of 1.9 m touches 8 or 9 cells a side
_MAX_CELLS = 256  # a side; a far outlier makes cells larger, not the index
_FLOOR_PERCENTILE = 1.0  # of the heights; scans have stray vertices under their floor
_FLOOR_SAMPLE = 5000  # vertices, about, that tell it
_MAPPED = ("xyz", "rgb", "label", "order", "cell_starts")  # everything that grows with P stays on disk


@dataclass(frozen=True)
class Scene:
    """One scan: P points in the order of its file."""

    scan_id: str
    xyz: np.ndarray  # [P, 3] float32, metres, +z up
    rgb: np.ndarray  # [P, 3] uint8
    label: np.ndarray | None  # [P] uint8, class ids or the ignored label; None: the scan has no labels


@dataclass(frozen=True, kw_only=True)
class StoreMeta:
    """What holds for all scenes of a store."""

    class_names: tuple[str, ...]
    ignore: int  # the label of points that are not annotated, outside 0..C-1
    aligned: bool  # were scans turned to their room's axes?
    created: dict[str, Any] = field(default_factory=dict)  # versions, options, source: what can be written as JSON


class SceneStore:
    """The scenes of one split, memory-mapped.

    Holds no open file: it may be copied to loader processes by fork or by spawn (pickling it stores the path). Arrays
    it returns are read-only views of the file; indexing them with an array makes a copy in memory.

    Raises InputError if the file is missing, is no store, is cut short, or was written by another schema version.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with _open(self.path) as file:
            self.split: str = file.attrs["split"]
            created = json.loads(file.attrs["created"])
            names = tuple(str(name) for name in file.attrs["class_names"])
            ignore, aligned = int(file.attrs["ignore"]), bool(file.attrs["aligned"])
            self.meta = StoreMeta(class_names=names, ignore=ignore, aligned=aligned, created=created)
            self.scan_ids: tuple[str, ...] = tuple(name.decode() for name in file["scan_ids"][()])
            self.offsets: np.ndarray = file["offsets"][()]  # [S + 1] int64
            self.labelled: np.ndarray = file["labelled"][()]  # [S] bool
            self.label_counts: np.ndarray = file["label_counts"][()]  # [S, C + 1] int64, the ignored label last
            self.extents: np.ndarray = file["extents"][()]  # [S, 2, 3] float32: smallest, largest coordinates
            self._grid_shape: np.ndarray = file["grid_shape"][()]
            self._grid_size: np.ndarray = file["grid_size"][()]
            self._grid_offsets: np.ndarray = file["grid_offsets"][()]
            self._maps = {name: _map(self.path, file[name]) for name in _MAPPED}
        self._floors: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self.scan_ids)

    def __getitem__(self, i: int) -> Scene:
        """Scene `i` as views of the file; nothing is read yet."""
        rows = self._rows(i)
        label = self._maps["label"][rows] if self.labelled[i] else None
        return Scene(self.scan_ids[i], self._maps["xyz"][rows], self._maps["rgb"][rows], label)

    def __reduce__(self) -> tuple[type[SceneStore], tuple[Path]]:
        return type(self), (self.path,)

    @property
    def description(self) -> dict[str, Any]:
        """What a run should remember of the store; can be written as JSON."""
        size = {"split": self.split, "scenes": len(self), "points": int(self.offsets[-1])}
        return size | {"schema": SCHEMA_VERSION, "aligned": self.meta.aligned} | self.meta.created

    def floor(self, i: int) -> float:
        """`floor_height` of scene `i`; computed once."""
        if i not in self._floors:
            self._floors[i] = floor_height(self._maps["xyz"][self._rows(i)])
        return self._floors[i]

    def box(self, i: int, lo_xy: np.ndarray, hi_xy: np.ndarray) -> np.ndarray:
        """Indices into scene `i`, int64 ascending, of the points with lo_xy <= xy <= hi_xy (both [2], in float64).

        Reads the grid cells that the box touches, not the scene.
        """
        lo, hi = np.asarray(lo_xy, dtype=np.float64), np.asarray(hi_xy, dtype=np.float64)
        rows, (nx, ny) = self._rows(i), self._grid_shape[i]
        origin, size = self.extents[i, 0, :2].astype(np.float64), self._grid_size[i]
        # Rounding keeps `_cells` monotonic, so a point inside [lo, hi] is in a cell inside [first, last].
        (first_x, first_y), (last_x, last_y) = np.clip(_cells(np.stack([lo, hi]), origin, size), -1, [nx, ny])
        first_x, first_y, last_x, last_y = max(first_x, 0), max(first_y, 0), min(last_x, nx - 1), min(last_y, ny - 1)
        if first_x > last_x or first_y > last_y:
            return np.empty(0, dtype=np.int64)
        order = self._maps["order"][rows]
        starts = self._maps["cell_starts"][self._grid_offsets[i] : self._grid_offsets[i + 1]]
        cells = np.arange(first_x, last_x + 1) * ny  # the first cell of each row of cells along y
        runs = zip(starts[cells + first_y], starts[cells + last_y + 1], strict=True)
        candidates = np.concatenate([order[start:end] for start, end in runs])
        xy = self._maps["xyz"][rows][candidates, :2].astype(np.float64)
        inside = (xy[:, 0] >= lo[0]) & (xy[:, 1] >= lo[1]) & (xy[:, 0] <= hi[0]) & (xy[:, 1] <= hi[1])
        return np.sort(candidates[inside]).astype(np.int64)

    def _rows(self, i: int) -> slice:
        if not 0 <= i < len(self):
            raise IndexError(f"scene must be 0..{len(self) - 1}, got {i}")
        return slice(int(self.offsets[i]), int(self.offsets[i + 1]))


def floor_height(xyz: np.ndarray) -> float:
    """z of the floor of a scene `xyz` [P, 3]: the first percentile of its heights, told by evenly chosen vertices."""
    return float(np.percentile(xyz[:: max(1, len(xyz) // _FLOOR_SAMPLE), 2], _FLOOR_PERCENTILE))


def write_store(
    path: Path, split: str, scenes: Iterable[Scene], meta: StoreMeta, *, sizes: Sequence[int] | None = None
) -> None:
    """Writes a store, atomically.

    Args:
        scenes: taken one at a time, so a generator keeps one scene in memory; then `sizes` must give the number of
            points of each. Without `sizes`, `scenes` must be a sequence.
    """
    if sizes is None:
        scenes = list(scenes)
        sizes = [len(scene.xyz) for scene in scenes]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({"format": _FORMAT, "schema_version": SCHEMA_VERSION, "split": split})
        file.attrs.update({"ignore": meta.ignore, "aligned": meta.aligned, "created": json.dumps(meta.created)})
        file.attrs["class_names"] = list(meta.class_names)
        _write_scenes(file, scenes, meta, sizes)


def _write_scenes(file: h5py.File, scenes: Iterable[Scene], meta: StoreMeta, sizes: Sequence[int]) -> None:
    offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])  # [S + 1]
    total, classes = int(offsets[-1]), len(meta.class_names)
    for name, dtype, shape in (
        ("xyz", np.float32, (total, 3)),
        ("rgb", np.uint8, (total, 3)),
        ("label", np.uint8, (total,)),
        ("order", np.int32, (total,)),
    ):
        file.create_dataset(name, shape, dtype, fill_time="never")  # contiguous, not compressed: it will be mapped

    columns: dict[str, list[Any]] = {name: [] for name in ("scan_ids", "labelled", "label_counts", "extents")}
    grids: list[tuple[np.ndarray, float, np.ndarray]] = []
    for number, scene in enumerate(scenes):
        _check(scene, meta, sizes[number])
        rows = slice(offsets[number], offsets[number + 1])
        label = np.full(len(scene.xyz), meta.ignore, dtype=np.uint8) if scene.label is None else scene.label
        counts = np.bincount(label, minlength=256)
        order, *grid = _index(scene.xyz)
        file["xyz"][rows], file["rgb"][rows] = scene.xyz, scene.rgb
        file["label"][rows], file["order"][rows] = label, order
        columns["scan_ids"].append(scene.scan_id.encode())
        columns["labelled"].append(scene.label is not None)
        columns["label_counts"].append([*counts[:classes], counts[meta.ignore]])
        columns["extents"].append([scene.xyz.min(axis=0), scene.xyz.max(axis=0)])
        grids.append(tuple(grid))
    if len(grids) != len(sizes):
        raise ValueError(f"scenes must be as many as sizes, {len(sizes)}, got {len(grids)}")

    file["offsets"] = offsets
    file["scan_ids"] = np.array(columns["scan_ids"], dtype=np.bytes_)
    file["labelled"] = np.array(columns["labelled"], dtype=bool)
    file["label_counts"] = np.array(columns["label_counts"], dtype=np.int64).reshape(-1, classes + 1)
    file["extents"] = np.array(columns["extents"], dtype=np.float32).reshape(-1, 2, 3)
    file["grid_shape"] = np.array([shape for shape, _, _ in grids], dtype=np.int64).reshape(-1, 2)
    file["grid_size"] = np.array([size for _, size, _ in grids], dtype=np.float64)
    file["grid_offsets"] = np.cumsum([0, *(len(starts) for _, _, starts in grids)], dtype=np.int64)
    file["cell_starts"] = np.concatenate([np.empty(0, np.int32), *(starts for _, _, starts in grids)])


def _check(scene: Scene, meta: StoreMeta, size: int) -> None:
    points = len(scene.xyz)
    if points == 0 or points != size:
        raise ValueError(f"{scene.scan_id}: scenes must have points, {size} as announced, got {points}")
    arrays = {"xyz": (scene.xyz, (points, 3), np.float32), "rgb": (scene.rgb, (points, 3), np.uint8)}
    if scene.label is not None:
        arrays["label"] = (scene.label, (points,), np.uint8)
    for name, (array, shape, dtype) in arrays.items():
        if array.shape != shape or array.dtype != dtype:
            got = f"{list(array.shape)} {array.dtype}"
            raise ValueError(f"{scene.scan_id}: {name} must be {list(shape)} {np.dtype(dtype)}, got {got}")
    if not np.isfinite(scene.xyz).all():
        raise ValueError(f"{scene.scan_id}: xyz must be finite")
    if scene.label is not None:
        wrong = scene.label[(scene.label >= len(meta.class_names)) & (scene.label != meta.ignore)]
        if wrong.size:
            allowed = f"0..{len(meta.class_names) - 1} or {meta.ignore}"
            raise ValueError(f"{scene.scan_id}: label must be {allowed}, got {wrong[0]}")


def _index(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """`order` int32 [P], grid shape [2], cell side and `cell_starts` int32 [cells + 1] of one scene."""
    xy = xyz[:, :2].astype(np.float64)
    origin = xy.min(axis=0)
    size = max(_CELL, float(np.max(xy.max(axis=0) - origin)) / (_MAX_CELLS - 1))
    cells = _cells(xy, origin, size)
    shape = cells.max(axis=0) + 1
    flat = cells[:, 0] * shape[1] + cells[:, 1]
    order = np.argsort(flat, kind="stable").astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=shape.prod()))]).astype(np.int32)
    return order, shape, size, starts


def _cells(xy: np.ndarray, origin: np.ndarray, size: float) -> np.ndarray:
    """Grid cells int64 [..., 2] of float64 `xy` [..., 2]; far outside saturates instead of overflowing."""
    return np.floor(np.clip((xy - origin) / size, -1, _MAX_CELLS)).astype(np.int64)


def _open(path: Path) -> h5py.File:
    """The file, checked for format and schema version."""
    again = "run `pointseg preprocess` again"
    if not path.is_file():
        raise InputError(f"{path}: expected a scene store, got no such file; run `pointseg preprocess`")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        reason = "a file that is cut short" if "truncated" in str(error) else "a file that is not HDF5"
        raise InputError(f"{path}: expected a scene store, got {reason}; {again}") from None
    kind, version = file.attrs.get("format"), file.attrs.get("schema_version")
    if kind == _FORMAT and version == SCHEMA_VERSION:
        return file
    file.close()
    if kind != _FORMAT:
        raise InputError(f"{path}: expected a scene store, got another HDF5 file; {again}")
    raise InputError(f"{path}: expected store version {SCHEMA_VERSION}, got {version}; {again}")


def _map(path: Path, dataset: h5py.Dataset) -> np.ndarray:
    """A contiguous dataset as a read-only array over the file."""
    if dataset.size == 0:
        return np.empty(dataset.shape, dataset.dtype)
    array = np.memmap(path, dataset.dtype, "r", dataset.id.get_offset(), dataset.shape)
    return array.view(np.ndarray)

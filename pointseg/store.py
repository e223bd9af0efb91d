"""Scenes on disk: `SceneStore` reads a store, `write_store` and `merge_stores` make one.

The layout is `store_format.py`'s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from pointseg.errors import InputError
from pointseg.store_format import (
    FORMAT,
    SCHEMA_VERSION,
    Damage,
    PackedScene,
    Scene,
    StoreMeta,
    cells_of,
    checksum,
    pack_scene,
    read_layout,
)
from pointseg.store_writer import write_packed

__all__ = [
    "SCHEMA_VERSION",
    "BoxPoints",
    "Scene",
    "SceneGrid",
    "SceneStore",
    "StoreMeta",
    "StoredScene",
    "floor_height",
    "merge_stores",
    "write_store",
]

_FLOOR_PERCENTILE = 1.0  # of the heights; scans have stray vertices under their floor
_FLOOR_SAMPLE = 5000  # vertices, about, that tell it
_AGAIN = "run `pointseg preprocess` again"


class SceneGrid(NamedTuple):
    """The P points of a scene sorted by square cells of its floor plan, which count from the smallest x and y."""

    order: np.ndarray  # [P] int32: their indices; ascending within a cell
    xyz: np.ndarray  # [P, 3] float32
    label: np.ndarray  # [P] uint8
    starts: np.ndarray  # [cells + 1] int32: cell k holds the rows starts[k] to starts[k + 1]
    shape: tuple[int, int]  # cells in x and y; cell (x, y) has number x * shape[1] + y
    size: float  # side of a cell, metres


class BoxPoints(NamedTuple):
    """The Q points of a scene in a box."""

    index: np.ndarray  # [Q] int32
    xyz: np.ndarray  # [Q, 3] float32
    label: np.ndarray  # [Q] uint8


class SceneStore:
    """The scenes of one split, memory-mapped.

    Holds no open file: it may be copied to loader processes by fork or by spawn (pickling it stores the path). Arrays
    it returns are read-only views of the file; indexing them with an array makes a copy in memory.

    Args:
        path: the file.
        class_names: what its classes must be; without, any will do.

    Raises InputError if the file is missing, is no store, is cut short or damaged, or was written by another schema
    version; later, when a scene is read for the first time, if its arrays do not fit their checksum.
    """

    def __init__(self, path: Path | str, class_names: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        attributes, tables, self._maps = _read(self.path)
        self.split: str = attributes["split"]
        self.meta = StoreMeta(
            class_names=tuple(str(name) for name in attributes["class_names"]),
            ignore=int(attributes["ignore"]),
            aligned=bool(attributes["aligned"]),
            normals=bool(attributes["normals"]),
            created=json.loads(attributes["created"]),
        )
        self.scan_ids: tuple[str, ...] = tuple(name.decode() for name in tables["scan_ids"])
        self.info: tuple[dict[str, Any], ...] = tuple(json.loads(text) for text in tables["info"])
        self.checksums: tuple[str, ...] = tuple(text.decode() for text in tables["checksums"])
        self.offsets: np.ndarray = tables["offsets"]  # [S + 1] int64
        self.labelled: np.ndarray = tables["labelled"]  # [S] bool
        self.label_counts: np.ndarray = tables["label_counts"]  # [S, C + 1] int64, the ignored label last
        self.extents: np.ndarray = tables["extents"]  # [S, 2, 3] float32: smallest, largest coordinates
        self._grid_shape: np.ndarray = tables["grid_shape"]
        self._grid_size: np.ndarray = tables["grid_size"]
        self._grid_offsets: np.ndarray = tables["grid_offsets"]
        if class_names is not None and self.meta.class_names != tuple(class_names):
            got = f"{len(self.meta.class_names)} ({', '.join(self.meta.class_names[:3])}, ...)"
            wanted = f"{len(class_names)} classes ({', '.join(class_names[:3])}, ...)"
            raise InputError(f"{self.path}: expected a store of the {wanted}, got {got}")
        self._class_names = class_names
        self._floors: dict[int, float] = {}
        self._whole: set[int] = set()  # scenes that fit their checksums

    def __len__(self) -> int:
        return len(self.scan_ids)

    def __getitem__(self, i: int) -> Scene:
        """Scene `i` as views of the file."""
        rows = self._rows(i)
        label = self._maps["label"][rows] if self.labelled[i] else None
        normal = self._maps["normal"][rows] if self.meta.normals else None
        return Scene(self.scan_ids[i], self._maps["xyz"][rows], self._maps["rgb"][rows], label, normal, self.info[i])

    def __reduce__(self) -> tuple[type[SceneStore], tuple[Path, Sequence[str] | None]]:
        return type(self), (self.path, self._class_names)

    @property
    def description(self) -> dict[str, Any]:
        """What a run should remember of the store; can be written as JSON."""
        size = {"split": self.split, "scenes": len(self), "points": int(self.offsets[-1])}
        return (
            size
            | self.meta.created
            | {
                "schema": SCHEMA_VERSION,
                "aligned": self.meta.aligned,
                "fingerprint": self.fingerprint,
            }
        )

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with the names, order or contents of the scenes; reads no points."""
        return hashlib.sha256(json.dumps([self.scan_ids, self.checksums]).encode()).hexdigest()[:16]

    @property
    def scene_types(self) -> tuple[str, ...]:
        """What kind of room each scene is ("Office"); "" where its files do not say."""
        return tuple(info.get("scene_type", "") for info in self.info)

    def floor(self, i: int) -> float:
        """`floor_height` of scene `i`; computed once."""
        if i not in self._floors:
            self._floors[i] = floor_height(self._maps["xyz"][self._rows(i)])
        return self._floors[i]

    def grid(self, i: int) -> SceneGrid:
        """The points of scene `i` by cells; views of the file."""
        rows = self._rows(i)
        arrays = (self._maps[name][rows] for name in ("order", "sorted_xyz", "sorted_label"))
        starts = self._maps["cell_starts"][self._grid_offsets[i] : self._grid_offsets[i + 1]]
        nx, ny = self._grid_shape[i].tolist()
        return SceneGrid(*arrays, starts, (nx, ny), float(self._grid_size[i]))

    def box(self, i: int, lo_xy: np.ndarray, hi_xy: np.ndarray) -> BoxPoints:
        """The points of scene `i` with lo_xy <= xy <= hi_xy (both [2], in float64), in the order of its grid.

        Reads the grid cells that the box touches, not the scene.
        """
        lo, hi = np.asarray(lo_xy, dtype=np.float64), np.asarray(hi_xy, dtype=np.float64)
        grid, origin = self.grid(i), self.extents[i, 0, :2].astype(np.float64)
        nx, ny = grid.shape
        # Rounding keeps `cells_of` monotonic, so a point inside [lo, hi] is in a cell inside [first, last].
        (first_x, first_y), (last_x, last_y) = np.clip(cells_of(np.stack([lo, hi]), origin, grid.size), 0, [nx, ny])
        first = np.arange(first_x, min(last_x, nx - 1) + 1) * ny + first_y  # of each row of cells along y
        last = first + max(min(last_y, ny - 1) - first_y, -1)
        runs = list(zip(grid.starts[first].tolist(), grid.starts[last + 1].tolist(), strict=True)) or [(0, 0)]
        index, xyz, label = (np.concatenate([array[start:end] for start, end in runs]) for array in grid[:3])
        x, y = np.ascontiguousarray(xyz[:, :2].T, np.float64)
        inside = (x >= lo[0]) & (y >= lo[1]) & (x <= hi[0]) & (y <= hi[1])
        return BoxPoints(index.compress(inside), xyz.compress(inside, axis=0), label.compress(inside))

    def stored(self) -> tuple[StoredScene, ...]:
        """Where the scenes are, for `merge_stores`."""
        return tuple(StoredScene(self.path, i, int(points)) for i, points in enumerate(np.diff(self.offsets)))

    def packed(self, i: int) -> PackedScene:
        """Everything that the store holds of scene `i`, for another store to take over."""
        rows = self._rows(i)
        return PackedScene(
            scan_id=self.scan_ids[i],
            info=json.dumps(self.info[i], sort_keys=True),
            labelled=bool(self.labelled[i]),
            arrays=self._arrays(i, rows),
            label_counts=self.label_counts[i],
            extents=self.extents[i],
            grid_shape=self._grid_shape[i],
            grid_size=float(self._grid_size[i]),
            checksum=self.checksums[i],
        )

    def _rows(self, i: int) -> slice:
        """The rows of scene `i`; the first time, compares the scene with its checksum: 2 ms for 150,000 points."""
        if not 0 <= i < len(self):
            raise IndexError(f"scene must be 0..{len(self) - 1}, got {i}")
        rows = slice(int(self.offsets[i]), int(self.offsets[i + 1]))
        if i not in self._whole:
            if checksum(self._arrays(i, rows)) != self.checksums[i]:
                raise InputError(
                    f"{self.path}: expected {self.scan_ids[i]} as it was written, got points that do not fit their "
                    f"checksum; {_AGAIN}, which mends it"
                )
            self._whole.add(i)
        return rows

    def _arrays(self, i: int, rows: slice) -> dict[str, np.ndarray]:
        arrays = {name: self._maps[name][rows] for name in self.meta.point_arrays}
        return arrays | {"cell_starts": self._maps["cell_starts"][self._grid_offsets[i] : self._grid_offsets[i + 1]]}


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

    Raises ValueError as `pack_scene` does, InputError if the file cannot be written.
    """
    if sizes is None:
        scenes = list(scenes)
        sizes = [len(scene.xyz) for scene in scenes]
    write_packed(path, split, (pack_scene(scene, meta) for scene in scenes), meta, sizes)


class StoredScene(NamedTuple):
    """A scene where it is already."""

    path: Path  # of a store
    number: int
    points: int


def merge_stores(path: Path, split: str, scenes: Sequence[StoredScene], meta: StoreMeta) -> None:
    """Writes a store, atomically, of scenes that other stores hold, in this order; `path` may be one of them.

    One store is open and one scene in memory at a time. Raises InputError if a store is damaged, the file cannot be
    written, or a store's classes, alignment or normals are not those of `meta`.
    """
    write_packed(path, split, _packed(scenes, meta), meta, [scene.points for scene in scenes])


def _packed(scenes: Sequence[StoredScene], meta: StoreMeta) -> Iterator[PackedScene]:
    store = None
    for scene in scenes:
        if store is None or store.path != scene.path:
            store = SceneStore(scene.path)
            if (got := _kind(store.meta)) != (wanted := _kind(meta)):
                raise InputError(f"{store.path}: expected scenes {wanted}, got {got}")
        yield store.packed(scene.number)


def _kind(meta: StoreMeta) -> str:
    aligned = "aligned" if meta.aligned else "not aligned"
    normals = "with normals" if meta.normals else "without normals"
    return f"{aligned}, {normals}, of the classes {', '.join(meta.class_names)} and {meta.ignore}"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Attributes, tables and mapped arrays of a store, checked for format, schema version and damage."""
    if not path.is_file():
        raise InputError(f"{path}: expected a scene store, got no such file; run `pointseg preprocess`")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        reason = "a file that is cut short" if "truncated" in str(error) else "a file that is not HDF5"
        raise InputError(f"{path}: expected a scene store, got {reason}; {_AGAIN}") from None
    with file:
        kind, version = file.attrs.get("format"), file.attrs.get("schema_version")
        if kind != FORMAT:
            raise InputError(f"{path}: expected a scene store, got another HDF5 file; {_AGAIN}")
        if version != SCHEMA_VERSION:
            raise InputError(f"{path}: expected store version {SCHEMA_VERSION}, got {version}; {_AGAIN}")
        try:
            attributes, tables, mapped = read_layout(file)
            return attributes, tables, {name: _map(path, dataset) for name, dataset in mapped.items()}
        except Damage as damage:
            reason = str(damage)
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # HDF5's own structures
            reason = f"tables that cannot be read ({' '.join(str(error).split())[:80]})"
        raise InputError(f"{path}: expected a whole scene store, got {reason}; {_AGAIN}")


def _map(path: Path, dataset: h5py.Dataset) -> np.ndarray:
    """A contiguous dataset as a read-only array over the file."""
    if dataset.size == 0:
        return np.empty(dataset.shape, dataset.dtype)
    array = np.memmap(path, dataset.dtype, "r", dataset.id.get_offset(), dataset.shape)
    return array.view(np.ndarray)

"""The file of a store, written scene by scene."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from pointseg.atomic import replacing
from pointseg.errors import InputError
from pointseg.store_format import (
    FORMAT,
    POINT_ARRAYS,
    SCHEMA_VERSION,
    PackedScene,
    StoreMeta,
    table_checksum,
)


def write_packed(path: Path, split: str, scenes: Iterable[PackedScene], meta: StoreMeta, sizes: Sequence[int]) -> None:
    """Writes a store, atomically, of scenes of `sizes` points, taken one at a time.

    Raises InputError if the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, _Sink(temporary, "w+") as sink:
            with h5py.File(sink, "w") as file:
                tables = _write_scenes(file, sink.guard(scenes), meta, sizes)
                attributes = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "split": split}
                attributes |= {"ignore": meta.ignore, "aligned": meta.aligned, "normals": meta.normals}
                attributes |= {"class_names": list(meta.class_names), "created": json.dumps(meta.created)}
                file.attrs.update(attributes | {"checksum": table_checksum(attributes, tables)})
            sink.check()
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


class _Sink(io.FileIO):
    """The file that HDF5 writes to. HDF5 cannot give up on a full disk: it tries again at every turn, and reports each.

    So it is told that all went well, and the first error waits for `check`.
    """

    failed: OSError | None = None

    def write(self, data: bytes) -> int:
        rest = memoryview(data).cast("B")
        try:
            while rest and not self.failed:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.failed = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failed = self.failed or error
            return size or 0

    def check(self) -> None:
        if self.failed:
            raise self.failed

    def guard(self, scenes: Iterable[PackedScene]) -> Iterator[PackedScene]:
        """The scenes, as long as they can be written."""
        for scene in scenes:
            yield scene
            self.check()


def _write_scenes(
    file: h5py.File, scenes: Iterable[PackedScene], meta: StoreMeta, sizes: Sequence[int]
) -> dict[str, np.ndarray]:
    """Writes the datasets; returns those with a row a scene."""
    offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])  # [S + 1]
    points: dict[str, h5py.Dataset] = {}
    for name in meta.point_arrays:
        dtype, columns = POINT_ARRAYS[name]
        shape = (int(offsets[-1]), columns) if columns > 1 else (int(offsets[-1]),)
        # Contiguous, not compressed: it will be mapped.
        points[name] = file.create_dataset(name, shape, dtype, fill_time="never")

    rows: list[tuple] = []
    cell_starts = [np.empty(0, np.int32)]
    for number, scene in enumerate(scenes):
        size = len(scene.arrays["xyz"])
        if number < len(sizes) and size != sizes[number]:
            raise ValueError(f"{scene.scan_id}: scenes must have points, {sizes[number]} as announced, got {size}")
        for name, dataset in points.items():
            dataset[offsets[number] : offsets[number + 1]] = scene.arrays[name]
        cell_starts.append(np.array(scene.arrays["cell_starts"]))
        names = scene.scan_id.encode(), scene.info.encode(), scene.checksum.encode()
        rows.append((*names, scene.labelled, scene.label_counts, scene.extents, scene.grid_shape, scene.grid_size))
    if len(rows) != len(sizes):
        raise ValueError(f"scenes must be as many as sizes, {len(sizes)}, got {len(rows)}")

    columns = zip(*rows, strict=True) if rows else [()] * 8
    scan_ids, info, checksums, labelled, counts, extents, shapes, cell_sizes = columns
    tables = {
        "offsets": offsets,
        "scan_ids": np.array(scan_ids, dtype=np.bytes_),
        "info": np.array(info, dtype=np.bytes_),
        "checksums": np.array(checksums, dtype=np.bytes_),
        "labelled": np.array(labelled, dtype=bool),
        "label_counts": np.array(counts, dtype=np.int64).reshape(-1, len(meta.class_names) + 1),
        "extents": np.array(extents, dtype=np.float32).reshape(-1, 2, 3),
        "grid_shape": np.array(shapes, dtype=np.int64).reshape(-1, 2),
        "grid_size": np.array(cell_sizes, dtype=np.float64),
        "grid_offsets": np.cumsum([len(starts) for starts in cell_starts], dtype=np.int64),
    }
    for name, table in (tables | {"cell_starts": np.concatenate(cell_starts)}).items():
        file[name] = table
    return tables

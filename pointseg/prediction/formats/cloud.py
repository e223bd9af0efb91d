"""What a file says of its points, whatever its format.

P points, in the order of the file; nothing is left out.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pointseg.errors import InputError

BLOCK = 1 << 20  # points that are read, turned or written at once
COLOR = ("red", "green", "blue")


@dataclass(frozen=True)
class Cloud:
    """Columns of numbers, one entry a point. Columns may be views of a mapped file; take slices of long ones.

    Positions are called x, y, z and colours red, green, blue, whatever the file calls them; the rest keeps its names.
    """

    columns: Mapping[str, np.ndarray]  # [P] of any real dtype and byte order, or [P, n]; text files: also strings
    faces: np.ndarray | None = None  # [F, 3] int32; [F] object (one int32 array a polygon) if not all are triangles
    note: str = ""  # what had to be guessed or was left out
    class_names: tuple[str, ...] = ()  # of the values 0, 1, ... of the column train_id
    template: object = None  # what the writer of the same format takes over: a LAS header

    def __len__(self) -> int:
        return len(self.columns["x"])

    @property
    def xyz(self) -> np.ndarray:
        """[P, 3] float32 or, where the file is more precise, float64; may hold NaN."""
        return self.positions(slice(None))

    def positions(self, rows: slice) -> np.ndarray:
        """`xyz` of some points."""
        axes = [self.columns[axis] for axis in "xyz"]
        exact = all(axis.dtype.kind == "f" and axis.dtype.itemsize <= 4 for axis in axes)
        return np.stack([axis[rows] for axis in axes], axis=1).astype(np.float32 if exact else np.float64, copy=False)

    @property
    def has_color(self) -> bool:
        return all(name in self.columns for name in COLOR)

    @property
    def rgb(self) -> np.ndarray | None:
        """[P, 3] uint8. Others than bytes are 0..1, or 0..255 if any is above 1; whole ones above 255 have 16 bits."""
        if not self.has_color:
            return None
        scale = self._color_scale()
        rgb = np.empty((len(self), 3), np.uint8)
        for rows in blocks(len(self)):
            for axis, name in enumerate(COLOR):
                column = self.columns[name][rows]
                if column.dtype != np.uint8:
                    column = np.nan_to_num(column.astype(np.float64) * scale).round().clip(0, 255)
                rgb[rows, axis] = column
        return rgb

    def _color_scale(self) -> float:
        columns = [self.columns[name] for name in COLOR]
        if all(column.dtype == np.uint8 for column in columns):
            return 1.0
        largest = max(
            float(np.nan_to_num(column[rows]).max(initial=0)) for column in columns for rows in blocks(len(self))
        )
        if largest <= 1:
            return 255.0
        wide = all(column.dtype.kind in "iu" for column in columns) and largest > 255
        return 255 / 65535 if wide else 1.0


def byte_colors(cloud: Cloud) -> dict[str, np.ndarray]:
    """The cloud's columns, with colours as bytes, which is what programs expect of most formats."""
    rgb = cloud.rgb
    return {**cloud.columns, **({} if rgb is None else {name: rgb[:, axis] for axis, name in enumerate(COLOR)})}


def blocks(count: int, size: int = BLOCK) -> Iterator[slice]:
    """`count` rows, `size` at a time."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def flat_columns(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns [P] alone: one of [P, n] becomes NAME_0 .. NAME_(n - 1)."""
    flat: dict[str, np.ndarray] = {}
    for name, column in columns.items():
        if column.ndim == 1:
            flat[name] = column
        else:
            flat |= {f"{name}_{number}": column[:, number] for number in range(column.shape[1])}
    return flat


def numbers(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without columns of words, which formats other than text do not hold."""
    return {name: column for name, column in columns.items() if column.dtype.kind in "fiu"}


def packed(columns: Mapping[str, np.ndarray], dtype: np.dtype) -> Iterator[bytes]:
    """Records of `dtype`, whose fields are `columns`, a block of points at a time."""
    for rows in blocks(len(columns["x"])):
        table = np.empty(rows.stop - rows.start, dtype)
        for name, column in columns.items():
            table[name] = column[rows]
        yield table.tobytes()
        release(columns)


def release(columns: Mapping[str, np.ndarray]) -> None:
    """Gives the memory of mapped files back to the system, which reads them again when they are needed."""
    for column in columns.values():
        owner = column
        while isinstance(owner, np.ndarray):
            owner = owner.base
        if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            owner.madvise(mmap.MADV_DONTNEED)


def need_xyz(path: object, columns: Mapping[str, np.ndarray]) -> None:
    """Raises InputError unless there are positions, one number a point."""
    missing = [axis for axis in "xyz" if axis not in columns]
    if missing:
        raise InputError(f"{path}: expected x, y and z, got {', '.join(map(str, columns)) or 'nothing'}")
    for axis in "xyz":
        column = columns[axis]
        if column.ndim != 1 or column.dtype.kind not in "fiu":
            raise InputError(f"{path}: {axis} must be one real number a point, got {column.dtype} {list(column.shape)}")


# Lower-case names under which files keep positions and colours. "f_dc" of splats and the like are no colours.
_ALIASES = {
    "x": ("x", "coordx", "coord_x", "pos_x", "px", "easting", "cartesianx"),
    "y": ("y", "coordy", "coord_y", "pos_y", "py", "northing", "cartesiany"),
    "z": ("z", "coordz", "coord_z", "pos_z", "pz", "elevation", "cartesianz"),
    "red": ("red", "r", "diffuse_red", "color_r", "colorred", "rf"),
    "green": ("green", "g", "diffuse_green", "color_g", "colorgreen", "gf"),
    "blue": ("blue", "b", "diffuse_blue", "color_b", "colorblue", "bf"),
}
_NAMES = {alias: name for name, aliases in _ALIASES.items() for alias in aliases}


def canonical(names: list[str]) -> list[str]:
    """The file's column names with those of positions and colours replaced: X -> x, R -> red.

    A set of three is replaced as a whole, under the commonest of its names.
    """
    keys = [name.strip().lower() for name in names]
    result = list(names)
    for triple in (("x", "y", "z"), COLOR):
        places = [next((keys.index(alias) for alias in _ALIASES[name] if alias in keys), None) for name in triple]
        if None not in places:
            for name, place in zip(triple, places, strict=True):
                result[place] = name
    return result

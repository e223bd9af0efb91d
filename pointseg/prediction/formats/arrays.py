"""NumPy's files: .npy with an array [P, 3 or more] (mapped) or one with named fields; .npz with columns by name."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from pointseg.atomic import replacing
from pointseg.errors import InputError
from pointseg.prediction.formats.cloud import COLOR, Cloud, canonical, need_xyz, numbers, packed
from pointseg.prediction.formats.text import without_names

_POSITIONS = ("xyz", "points", "positions", "coords", "coord")
_COLORS = ("rgb", "colors", "color", "colours")


def read_npy(path: Path) -> Cloud:
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(table, np.ndarray):
        raise InputError(f"{path}: expected one array, got several; call it .npz")
    if table.dtype.names:
        columns = dict(
            zip(canonical(list(table.dtype.names)), (table[name] for name in table.dtype.names), strict=True)
        )
        return Cloud(columns)
    columns, note = _from_array(path, "an array", table)
    return Cloud(columns, note=note)


def read_npz(path: Path) -> Cloud:
    """Positions as xyz (points, positions, coords) [P, 3] or x, y, z; colours as rgb (colors) or red, green, blue."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    columns: dict[str, np.ndarray] = {}
    note = ""
    key = next((name for name in _POSITIONS if name in arrays), None)
    if key:
        columns, note = _from_array(path, key, arrays.pop(key))
    colors = next((name for name in _COLORS if name in arrays), None)
    if colors and arrays[colors].shape == (len(next(iter(columns.values()), ())), 3):
        columns |= dict(zip(COLOR, arrays.pop(colors).T, strict=True))
        note = f"{colors} are taken for colours"
    faces = arrays.pop("faces", None)
    columns |= dict(zip(canonical(list(arrays)), arrays.values(), strict=True))
    need_xyz(path, columns)
    points = len(columns["x"])
    kept = {name: c for name, c in columns.items() if c.ndim in (1, 2) and len(c) == points and c.dtype.kind in "fiu"}
    if any(len(columns[axis]) != points for axis in "xyz"):
        raise InputError(f"{path}: x, y and z must be of one length, got {[len(columns[axis]) for axis in 'xyz']}")
    others = [name for name in columns if name not in kept and name != "train_id_names"]
    if others:
        note += f"{'; ' if note else ''}left out: {', '.join(others)}"
    is_triangles = faces is not None and faces.ndim == 2 and faces.dtype.kind in "iu"
    return Cloud(kept, faces.astype(np.int32) if is_triangles else None, note=note)


def write_npy(path: Path, cloud: Cloud) -> None:
    """One array with a named field a column."""
    columns = numbers(cloud.columns)
    dtype = np.dtype([(name, column.dtype.newbyteorder("="), column.shape[1:]) for name, column in columns.items()])
    with replacing(path) as temporary, temporary.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (len(cloud),)}
        np.lib.format.write_array_header_2_0(file, header)
        file.writelines(packed(columns, dtype))


def write_npz(path: Path, cloud: Cloud) -> None:
    """An array a column; the names of classes as `train_id_names`, triangles as `faces`."""
    arrays = numbers(cloud.columns)
    if cloud.class_names:
        arrays["train_id_names"] = np.array(cloud.class_names)
    if cloud.faces is not None and cloud.faces.ndim == 2:
        arrays["faces"] = cloud.faces
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _from_array(path: Path, name: str, table: np.ndarray) -> tuple[dict[str, np.ndarray], str]:
    if table.ndim != 2 or table.dtype.kind not in "fiu" or table.shape[1] < 3:
        raise InputError(
            f"{path}: expected {name} [P, 3 or more] of real numbers, got {list(table.shape)} {table.dtype}"
        )
    if len(table) == 3 and table.shape[1] > 6:
        raise InputError(f"{path}: expected {name} [P, 3 or more], got {list(table.shape)}: a point must be a row")
    return without_names([table[:, number] for number in range(table.shape[1])])

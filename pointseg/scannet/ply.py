"""PLY meshes and point clouds: reading any of the three encodings, writing binary little-endian, atomically."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from plyfile import PlyData, PlyElement, PlyElementParseError, PlyListProperty, PlyParseError

from pointseg.atomic import replacing
from pointseg.errors import InputError

# Faces are nearly always triangles. Knowing so lets plyfile map them as one array instead of looping in Python.
_FACE_LISTS = ("vertex_indices", "vertex_index")
_TRIANGLES = {"face": dict.fromkeys(_FACE_LISTS, 3)}
_COLOR_NAMES = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))


class PlyMesh(NamedTuple):
    """What a PLY file holds, in file order."""

    vertices: np.ndarray  # [P] structured, one field a scalar property, native byte order
    faces: np.ndarray | None  # [F, 3] int32; [F] object (one int32 array a polygon) if not all are triangles

    @property
    def xyz(self) -> np.ndarray:
        """[P, 3] float64 if the file's coordinates are doubles, else float32."""
        wide = any(self.vertices.dtype[axis] == np.float64 for axis in "xyz")
        return np.stack([self.vertices[axis] for axis in "xyz"], axis=1).astype(np.float64 if wide else np.float32)

    @property
    def rgb(self) -> np.ndarray | None:
        """[P, 3] uint8, or None if the vertices have no colour. Floats are 0..1, or 0..255 if any is above 1."""
        for names in _COLOR_NAMES:
            if all(name in self.vertices.dtype.names for name in names):
                color = np.stack([self.vertices[name] for name in names], axis=1)
                if np.issubdtype(color.dtype, np.floating):
                    color = np.nan_to_num(color)
                    color = np.rint(color * 255 if color.max(initial=0) <= 1 else color)
                return np.clip(color, 0, 255).astype(np.uint8)
        return None


def read_ply(path: Path, *, needs: Sequence[str] = ("x", "y", "z"), faces: bool = True) -> PlyMesh:
    """Reads vertices and, unless told not to copy them, faces; other elements are skipped.

    Raises InputError if the file is missing, is no PLY file, ends early, or its vertices lack one of `needs`.
    """
    ply = parse_ply(path)
    if "vertex" not in ply:
        raise InputError(
            f"{path}: expected an element 'vertex', got {_listed(element.name for element in ply.elements)}"
        )
    vertices = _scalars(ply["vertex"])
    missing = [name for name in needs if name not in (vertices.dtype.names or ())]
    if missing:
        raise InputError(
            f"{path}: vertices must have {_listed(missing)}, got only {_listed(vertices.dtype.names or ())}"
        )
    return PlyMesh(vertices, face_list(ply["face"]) if faces and "face" in ply else None)


def write_ply(
    path: Path,
    xyz: np.ndarray,  # [P, 3] float; float64 is kept, everything else becomes float32
    rgb: np.ndarray | None = None,  # [P, 3] uint8, or [P, 4] with alpha
    label: np.ndarray | None = None,  # [P] integers 0..65535, written as uint16
    faces: np.ndarray | None = None,  # as in PlyMesh
    extra: Mapping[str, np.ndarray] | None = None,  # further vertex properties, [P] each, in this order
) -> None:
    """Writes a binary little-endian PLY file: x y z [red green blue [alpha]] [label] [extra...], then the faces."""
    columns = _vertex_columns(np.asarray(xyz), rgb, label, extra or {})
    vertices = np.empty(len(xyz), dtype=[(name, column.dtype.newbyteorder("<")) for name, column in columns.items()])
    for name, column in columns.items():
        if column.shape != (len(xyz),):
            raise ValueError(f"{name} must be [P] with P={len(xyz)}, got {list(column.shape)}")
        vertices[name] = column
    elements = [PlyElement.describe(vertices, "vertex")]
    if faces is not None:
        # Only the header comes from plyfile: it would write the face list itself in a Python loop, seconds for a scan.
        records = np.empty(len(faces), dtype=[("vertex_indices", object)])
        elements.append(PlyElement.describe(records, "face", {"vertex_indices": "u1"}, {"vertex_indices": "i4"}))

    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write((PlyData(elements, byte_order="<").header + "\n").encode("ascii"))
        file.write(vertices.tobytes())
        if faces is not None:
            file.write(face_bytes(faces))


def require_file(path: Path) -> None:
    """Raises InputError unless `path` is a file: opening a named pipe would wait for its writer for ever."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise InputError(f"{path}: expected a file, got {kind}")


def parse_ply(path: Path) -> PlyData:
    """A PLY file with its elements, mapped where they are binary and without lists; errors as of `read_ply`."""
    require_file(path)
    try:
        try:
            return PlyData.read(str(path), known_list_len=_TRIANGLES)
        except PlyElementParseError as error:
            if error.message != "unexpected list length":
                raise
            return PlyData.read(str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except PlyElementParseError as error:
        wanted, got = error.element.count, error.row
        raise InputError(
            f"{path}: expected {wanted} entries of element '{error.element.name}', got {got} ({error.message}); "
            f"is the file complete?"
        ) from None
    except (PlyParseError, ValueError, KeyError, MemoryError, OverflowError) as error:
        raise InputError(f"{path}: expected a PLY file, got something else ({' '.join(str(error).split())})") from None


def _scalars(element: PlyElement) -> np.ndarray:
    """Copies the scalar properties out of the file map into native byte order; vertex lists are dropped."""
    names = [prop.name for prop in element.properties if not isinstance(prop, PlyListProperty)]
    data = np.empty(element.count, dtype=[(name, element.data.dtype[name].newbyteorder("=")) for name in names])
    for name in names:
        data[name] = element.data[name]
    return data


def face_list(element: PlyElement) -> np.ndarray | None:
    """The polygons of an element as `PlyMesh.faces`; None if it has none."""
    names = [name for name in _FACE_LISTS if name in element]
    if not names:
        return None
    polygons = element.data[names[0]]
    if polygons.ndim == 2:
        return polygons.astype(np.int32)
    if len({len(polygon) for polygon in polygons}) == 1 and len(polygons[0]) == 3:
        return np.stack(list(polygons)).astype(np.int32)
    result = np.empty(len(polygons), dtype=object)
    for row, polygon in enumerate(polygons):
        result[row] = np.asarray(polygon, dtype=np.int32)
    return result if len(result) else np.empty((0, 3), dtype=np.int32)


def _vertex_columns(
    xyz: np.ndarray, rgb: np.ndarray | None, label: np.ndarray | None, extra: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ValueError(f"xyz must be [P, 3], got {list(xyz.shape)}")
    xyz = xyz if xyz.dtype == np.float64 else xyz.astype(np.float32)
    columns = {axis: xyz[:, column] for column, axis in enumerate("xyz")}
    if rgb is not None:
        if rgb.ndim != 2 or rgb.shape[1] not in (3, 4) or rgb.dtype != np.uint8:
            raise ValueError(f"rgb must be [P, 3] or [P, 4] uint8, got {list(rgb.shape)} {rgb.dtype}")
        columns |= {name: rgb[:, i] for i, name in enumerate(("red", "green", "blue", "alpha")[: rgb.shape[1]])}
    if label is not None:
        columns["label"] = np.asarray(label).astype(np.uint16)
    return columns | {name: np.asarray(column) for name, column in extra.items()}


def face_bytes(faces: np.ndarray) -> bytes:
    """Polygons, as `PlyMesh.faces`, as a list property of counts uint8 and corners int32, little-endian."""
    if faces.ndim == 2:
        if faces.shape[1] > 255:
            raise ValueError(f"faces must have at most 255 corners, got {faces.shape[1]}")
        records = np.empty(len(faces), dtype=[("count", "u1"), ("corners", "<i4", (faces.shape[1],))])
        records["count"] = faces.shape[1]
        records["corners"] = faces
        return records.tobytes()
    parts = (np.uint8(len(polygon)).tobytes() + np.asarray(polygon, dtype="<i4").tobytes() for polygon in faces)
    return b"".join(parts)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "nothing"

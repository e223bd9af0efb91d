"""PLY: read in any of its three encodings, binary ones mapped; written binary little-endian."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from plyfile import PlyListProperty

from pointseg.atomic import replacing
from pointseg.errors import InputError
from pointseg.prediction.formats.cloud import Cloud, byte_colors, canonical, flat_columns, numbers, packed
from pointseg.scannet.ply import face_bytes, face_list, parse_ply

_TYPES = {  # dtype -> PLY's name
    "i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint", "f4": "float", "f8": "double"
}  # fmt: skip


def read(path: Path) -> Cloud:
    ply = parse_ply(path)
    names = [element.name for element in ply.elements]
    if "vertex" not in names:
        raise InputError(f"{path}: expected an element 'vertex', got {', '.join(names) or 'nothing'}")
    vertices = ply["vertex"]
    lists = [prop.name for prop in vertices.properties if isinstance(prop, PlyListProperty)]
    kept = [prop.name for prop in vertices.properties if prop.name not in lists]
    columns = {new: vertices.data[old] for old, new in zip(kept, canonical(kept), strict=True)}
    faces = face_list(ply["face"]) if "face" in names else None
    left_out = [name for name in names if name != "vertex" and not (name == "face" and faces is not None)]
    left_out += [f"vertex list {name}" for name in lists]
    if faces is not None and len(ply["face"].properties) > 1:
        left_out.append("properties of faces")
    return Cloud(columns, faces, note=f"left out: {', '.join(left_out)}" if left_out else "")


def write(path: Path, cloud: Cloud) -> None:
    """x y z as they are, then the other columns; the names of classes as comments."""
    columns = {name: _held(column) for name, column in flat_columns(numbers(byte_colors(cloud))).items()}
    dtype = np.dtype([(name.replace(" ", "_"), column.dtype.newbyteorder("<")) for name, column in columns.items()])
    header = ["ply", "format binary_little_endian 1.0"]
    header += [f"comment train_id {number} {name}" for number, name in enumerate(cloud.class_names)]
    header += [f"element vertex {len(cloud)}"]
    header += [f"property {_TYPES[dtype[name].str[1:]]} {name}" for name in dtype.names]
    if cloud.faces is not None:
        header += [f"element face {len(cloud.faces)}", "property list uchar int vertex_indices"]
    columns = dict(zip(dtype.names, columns.values(), strict=True))
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(("\n".join([*header, "end_header"]) + "\n").encode())
        file.writelines(packed(columns, dtype))
        if cloud.faces is not None:
            file.write(face_bytes(cloud.faces))


def _held(column: np.ndarray) -> np.ndarray:
    """PLY has no 8-byte integers and no half floats: those become 4 bytes where they fit, else doubles."""
    if column.dtype.itemsize == 8 and column.dtype.kind in "iu":
        fits = len(column) == 0 or (column.min() >= -(2**31) and column.max() < 2**31)
        return column.astype(np.int32 if fits else np.float64)
    return column.astype(np.float32) if column.dtype == np.float16 else column

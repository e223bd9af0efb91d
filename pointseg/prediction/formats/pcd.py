"""PCD, the Point Cloud Library's format, version 0.7: ascii, binary (mapped) and binary_compressed; written binary.

https://pointclouds.org/documentation/tutorials/pcd_file_format.html
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pointseg.atomic import replacing
from pointseg.errors import InputError
from pointseg.prediction.formats.cloud import COLOR, Cloud, byte_colors, canonical, numbers, packed
from pointseg.prediction.formats.lzf import lzf_decompress

_LONGEST_HEADER = 1 << 16  # bytes


def read(path: Path) -> Cloud:
    with path.open("rb") as file:
        header = _header(path, file)
        start = file.tell()
        dtype, points, kind = _dtype(path, header), _points(path, header), header["DATA"][0].lower()
        if kind == "ascii":
            table = _ascii(path, file.read(), dtype, points)
        elif kind == "binary":
            table = _mapped(path, dtype, points, start)
        elif kind == "binary_compressed":
            table = _compressed(path, file.read(), dtype, points)
        else:
            raise InputError(f"{path}: DATA must be ascii, binary or binary_compressed, got {kind!r}")
    names = [name for name in dtype.names or () if not name.startswith("_")]
    columns = dict(zip(canonical(names), (table[name] for name in names), strict=True))
    return Cloud(_unpacked(columns))


def write(path: Path, cloud: Cloud) -> None:
    """Binary; colours packed into a field rgb as PCL wants them; the names of classes as comments."""
    columns = numbers(byte_colors(cloud))
    if cloud.has_color:
        red, green, blue = (columns.pop(name) for name in COLOR)
        columns["rgb"] = red.astype(np.uint32) << 16 | green.astype(np.uint32) << 8 | blue
    columns = {
        name.replace(" ", "_"): column.astype(np.float32) if column.dtype == np.float16 else column
        for name, column in columns.items()
    }
    dtype = np.dtype([(name, column.dtype.newbyteorder("<"), column.shape[1:]) for name, column in columns.items()])
    bases = [dtype[name].base for name in dtype.names]
    lines = ["# .PCD v0.7 - Point Cloud Data file format"]
    lines += [f"# train_id {number} {name}" for number, name in enumerate(cloud.class_names)]
    lines += [
        "VERSION 0.7",
        f"FIELDS {' '.join(dtype.names)}",
        f"SIZE {' '.join(str(base.itemsize) for base in bases)}",
    ]
    lines += [f"TYPE {' '.join(base.kind.upper() for base in bases)}"]
    lines += [f"COUNT {' '.join(str(dtype[name].shape[0] if dtype[name].shape else 1) for name in dtype.names)}"]
    lines += [f"WIDTH {len(cloud)}", "HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {len(cloud)}", "DATA binary"]
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(("\n".join(lines) + "\n").encode())
        file.writelines(packed(columns, dtype))


def _header(path: Path, file: BinaryIO) -> dict[str, list[str]]:
    """The header's entries, name -> words; the file then stands where the points begin."""
    header: dict[str, list[str]] = {}
    while "DATA" not in header:
        line = file.readline(_LONGEST_HEADER)
        if not line.endswith(b"\n") or file.tell() > _LONGEST_HEADER:
            raise InputError(f"{path}: expected a PCD file, got one without a DATA line")
        words = line.decode("ascii", "replace").split("#")[0].split()
        if words:
            header[words[0].upper()] = words[1:]
    missing = [name for name in ("FIELDS", "SIZE", "TYPE", "DATA") if not header.get(name)]
    if missing:
        raise InputError(f"{path}: expected a PCD header, got one without {', '.join(missing)}")
    return header


def _dtype(path: Path, header: dict[str, list[str]]) -> np.dtype:
    """One record. Fields named "_" are padding and may repeat; they get names of their own."""
    names, types, sizes = header["FIELDS"], header["TYPE"], header["SIZE"]
    counts = header.get("COUNT") or ["1"] * len(names)
    if not len(names) == len(types) == len(sizes) == len(counts):
        raise InputError(f"{path}: FIELDS, TYPE, SIZE and COUNT must be of one length, got {header}")
    fields = []
    for number, (name, kind, size, count) in enumerate(zip(names, types, sizes, counts, strict=True)):
        code = {"F": "f", "U": "u", "I": "i"}.get(kind.upper())
        if code is None or size not in ("1", "2", "4", "8") or (code, size) == ("f", "1"):
            raise InputError(f"{path}: field {name} has TYPE {kind}, SIZE {size}, which is none of PCD's")
        if not count.isdigit() or int(count) < 1:
            raise InputError(f"{path}: field {name} must have a COUNT of 1 or more, got {count}")
        shape = () if count == "1" else (int(count),)
        fields.append((f"_{number}" if name == "_" else name, f"<{code}{size}", shape))
    try:
        return np.dtype(fields)
    except ValueError as error:
        raise InputError(f"{path}: FIELDS must have different names: {error}") from None


def _points(path: Path, header: dict[str, list[str]]) -> int:
    try:
        if "POINTS" in header:
            points = int(header["POINTS"][0])
        else:
            points = int(header["WIDTH"][0]) * int(header.get("HEIGHT", ["1"])[0])
        if points < 0:
            raise ValueError
        return points
    except (KeyError, IndexError, ValueError):
        raise InputError(f"{path}: expected POINTS, or WIDTH and HEIGHT, to be numbers, 0 or more") from None


def _mapped(path: Path, dtype: np.dtype, points: int, start: int) -> np.ndarray:
    there = (path.stat().st_size - start) // dtype.itemsize
    if there < points:
        raise InputError(f"{path}: expected {points} points, got {there}; is it complete?")
    return np.memmap(path, dtype, "r", start, (points,)) if points else np.empty(0, dtype)


def _ascii(path: Path, body: bytes, dtype: np.dtype, points: int) -> np.ndarray:
    lines = body.decode("ascii", "replace").split("\n")
    lines = [line for line in lines if line.strip()][:points]
    if len(lines) < points:
        raise InputError(f"{path}: expected {points} points, got {len(lines)}; is it complete?")
    if not points:
        return np.empty(0, dtype)
    try:
        return np.loadtxt(lines, dtype=dtype, comments=None, ndmin=1)
    except ValueError as error:
        raise InputError(f"{path}: not the points its header announces: {error}") from None


def _compressed(path: Path, body: bytes, dtype: np.dtype, points: int) -> np.ndarray:
    """LZF data; unpacked, the fields stand one behind another, each for all points."""
    packed, size = struct.unpack_from("<II", body) if len(body) >= 8 else (0, 0)
    if size != points * dtype.itemsize:
        raise InputError(f"{path}: expected {points * dtype.itemsize} bytes of unpacked points, got {size}")
    if len(body) < 8 + packed:
        raise InputError(f"{path}: expected {packed} bytes of packed points, got {len(body) - 8}; is it complete?")
    try:
        data = lzf_decompress(body[8 : 8 + packed], size)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    records = np.empty(points, dtype)
    start = 0
    for name in dtype.names or ():
        column = np.frombuffer(
            data, dtype[name].base, points * (dtype[name].itemsize // dtype[name].base.itemsize), start
        )
        records[name] = column.reshape(points, *dtype[name].shape)
        start += column.nbytes
    return records


def _unpacked(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """With red, green, blue (and alpha) in place of a packed field rgb or rgba: 0x..RRGGBB, often called a float."""
    for name in ("rgb", "rgba"):
        if name in columns and columns[name].ndim == 1 and columns[name].dtype.itemsize == 4:
            packed = np.ascontiguousarray(columns.pop(name)).view("<u4")
            bytes_ = {part: (packed >> shift).astype(np.uint8) for part, shift in zip(COLOR, (16, 8, 0), strict=True)}
            columns |= bytes_ | ({"alpha": (packed >> 24).astype(np.uint8)} if name == "rgba" else {})
    return columns

"""Point clouds from files of one's own: PLY, PCD, text and NumPy arrays.

PCD is the Point Cloud Library's format, version 0.7: https://pointclouds.org/documentation/tutorials/pcd_file_format.html
P points, in the order of the file; nothing is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pointseg.errors import InputError
from pointseg.scannet.ply import read_ply


@dataclass(frozen=True)
class Cloud:
    """The points of a file."""

    xyz: np.ndarray  # [P, 3] float32 or, where the file is more precise, float64; may hold NaN
    rgb: np.ndarray | None  # [P, 3] uint8
    faces: np.ndarray | None = None  # as `PlyMesh.faces`
    note: str = ""  # what had to be guessed


def read_cloud(path: Path) -> Cloud:
    """Reads a cloud; the format is taken from the file's name.

    Raises:
        InputError: an unknown format, no such file, a file that ends early or is not what its name says, no points.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: expected a file named {', '.join(_READERS)}, got {path.suffix or 'no suffix'!r}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    cloud = reader(path)
    if len(cloud.xyz) == 0:
        raise InputError(f"{path}: expected points, got none")
    return cloud


def _read_ply(path: Path) -> Cloud:
    mesh = read_ply(path)
    return Cloud(mesh.xyz, mesh.rgb, mesh.faces)


# --- PCD -------------------------------------------------------------------------------------------------------------


def _read_pcd(path: Path) -> Cloud:
    header, body = _split_pcd(path, path.read_bytes())
    dtype = _pcd_dtype(path, header)
    points = _pcd_points(path, header)
    kind = header["DATA"][0].lower()
    if kind == "ascii":
        records = _pcd_ascii(path, body, dtype, points)
    elif kind == "binary":
        if len(body) < points * dtype.itemsize:
            raise InputError(f"{path}: expected {points} points, got {len(body) // dtype.itemsize}; is it complete?")
        records = np.frombuffer(body, dtype, points)
    elif kind == "binary_compressed":
        records = _pcd_compressed(path, body, dtype, points)
    else:
        raise InputError(f"{path}: DATA must be ascii, binary or binary_compressed, got {kind!r}")
    missing = [axis for axis in "xyz" if axis not in (dtype.names or ())]
    if missing:
        raise InputError(f"{path}: expected the fields x, y, z, got {', '.join(header['FIELDS'])}")
    if any(dtype[axis].shape != () for axis in "xyz"):
        raise InputError(f"{path}: expected COUNT 1 for x, y and z, got {' '.join(header['COUNT'])}")
    wide = any(dtype[axis] == np.float64 for axis in "xyz")
    xyz = np.stack([records[axis] for axis in "xyz"], axis=1).astype(np.float64 if wide else np.float32)
    return Cloud(xyz, _pcd_color(records))


def _split_pcd(path: Path, content: bytes) -> tuple[dict[str, list[str]], bytes]:
    """The header's entries, name -> words, and what follows it."""
    header: dict[str, list[str]] = {}
    start = 0
    while "DATA" not in header:
        end = content.find(b"\n", start)
        if end < 0 or end - start > 10_000:
            raise InputError(f"{path}: expected a PCD file, got one without a DATA line")
        words = content[start:end].decode("ascii", "replace").split("#")[0].split()
        if words:
            header[words[0].upper()] = words[1:]
        start = end + 1
    missing = [name for name in ("FIELDS", "SIZE", "TYPE", "DATA") if not header.get(name)]
    if missing:
        raise InputError(f"{path}: expected a PCD header, got one without {', '.join(missing)}")
    return header, content[start:]


def _pcd_dtype(path: Path, header: dict[str, list[str]]) -> np.dtype:
    """One record. Fields named "_" are padding and may repeat; they get names of their own."""
    names, types, sizes = header["FIELDS"], header["TYPE"], header["SIZE"]
    counts = header.get("COUNT") or ["1"] * len(names)
    if not len(names) == len(types) == len(sizes) == len(counts):
        raise InputError(f"{path}: FIELDS, TYPE, SIZE and COUNT must be of one length, got {header}")
    fields = []
    for number, (name, kind, size, count) in enumerate(zip(names, types, sizes, counts, strict=True)):
        code = {"F": "f", "U": "u", "I": "i"}.get(kind.upper())
        if code is None or size not in ("1", "2", "4", "8") or not count.isdigit() or (code, size) == ("f", "1"):
            raise InputError(
                f"{path}: field {name} has TYPE {kind}, SIZE {size}, COUNT {count}, which is none of PCD's"
            )
        shape = () if count == "1" else (int(count),)
        fields.append((f"_{number}" if name == "_" else name, f"<{code}{size}", shape))
    try:
        return np.dtype(fields)
    except ValueError as error:
        raise InputError(f"{path}: FIELDS must have different names: {error}") from None


def _pcd_points(path: Path, header: dict[str, list[str]]) -> int:
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


def _pcd_ascii(path: Path, body: bytes, dtype: np.dtype, points: int) -> np.ndarray:
    lines = body.decode("ascii", "replace").split("\n")
    lines = [line for line in lines if line.strip()][:points]
    if len(lines) < points:
        raise InputError(f"{path}: expected {points} points, got {len(lines)}; is it complete?")
    try:
        return np.loadtxt(lines, dtype=dtype, comments=None, ndmin=1)
    except ValueError as error:
        raise InputError(f"{path}: not the points its header announces: {error}") from None


def _pcd_compressed(path: Path, body: bytes, dtype: np.dtype, points: int) -> np.ndarray:
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


def lzf_decompress(data: bytes, size: int) -> bytes:
    """Unpacks LZF (M. Lehmann's LibLZF): runs of literal bytes and references back into what is unpacked already.

    A control byte below 32 announces control + 1 literals. Any other holds a length - 2 in its upper 3 bits (7: the
    next byte is added) and, with the byte after that, a distance - 1 in 13 bits.
    """
    out = bytearray()
    at, end = 0, len(data)
    try:
        while at < end:
            control = data[at]
            at += 1
            if control < 32:
                out += data[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[at]
                at += 1
            length += 2
            distance = ((control & 31) << 8) + data[at] + 1
            at += 1
            if distance > len(out):
                raise ValueError("packed points refer to what is before their start")
            piece = out[len(out) - distance : len(out) - distance + length]
            out += piece * (length // distance) + piece[: length % distance] if distance < length else piece
    except IndexError:
        raise ValueError("packed points end in the middle") from None
    if len(out) != size:
        raise ValueError(f"packed points must unpack to {size} bytes, got {len(out)}")
    return bytes(out)


def _pcd_color(records: np.ndarray) -> np.ndarray | None:
    """[P, 3] uint8 from a packed field rgb or rgba (0x..RRGGBB, often disguised as a float), or from r, g, b."""
    names = records.dtype.names or ()
    for name in ("rgb", "rgba"):
        if name in names and records.dtype[name].itemsize == 4:
            packed = np.ascontiguousarray(records[name]).view(np.uint32)
            return np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1).astype(np.uint8)
    for triple in (("r", "g", "b"), ("red", "green", "blue")):
        if all(name in names for name in triple):
            color = np.stack([records[name] for name in triple], axis=1).astype(np.float64)
            return (
                np.nan_to_num(color * (255 if color.max(initial=0) <= 1 else 1)).round().clip(0, 255).astype(np.uint8)
            )
    return None


# --- Text and NumPy --------------------------------------------------------------------------------------------------


def _read_text(path: Path) -> Cloud:
    """Numbers in columns, separated by spaces, commas, semicolons or tabs; lines of words may come first."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected text, got something else") from None
    rows = [line.replace(",", " ").replace(";", " ") for line in lines]
    start = next((number for number, row in enumerate(rows) if _is_numbers(row)), None)
    if start is None:
        raise InputError(f"{path}: expected lines that begin with x, y, z, got none")
    try:
        table = np.loadtxt((row for row in rows[start:] if row.strip()), np.float64, comments=("#", "//"), ndmin=2)
    except ValueError as error:
        raise InputError(f"{path}: expected numbers in columns: {error}") from None
    return _from_table(path, table)


def _is_numbers(row: str) -> bool:
    """Three numbers or more? (.pts files begin with a line that holds the number of points.)"""
    try:
        return len([float(word) for word in row.split()]) >= 3
    except ValueError:
        return False


def _read_numpy(path: Path) -> Cloud:
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not isinstance(table, np.ndarray) or table.ndim != 2 or not np.issubdtype(table.dtype, np.number):
        raise InputError(f"{path}: expected an array [P, 3] or [P, 6] of numbers")
    return _from_table(path, table)


def _from_table(path: Path, table: np.ndarray) -> Cloud:
    """Columns x y z, then colours if columns 4-6 (or 5-7 of 7, after an intensity) look like any."""
    if table.shape[1] < 3:
        raise InputError(f"{path}: expected columns x, y, z, got {table.shape[1]}")
    xyz = table[:, :3].astype(np.float64)
    for first in (4, 3) if table.shape[1] == 7 else (3,):
        color = table[:, first : first + 3].astype(np.float64)
        if color.shape[1] == 3 and np.isfinite(color).all() and color.min(initial=0) >= 0:
            note = f"columns {first + 1} to {first + 3} are taken for colours"
            if color.max(initial=0) <= 1:
                return Cloud(xyz, (255 * color).round().astype(np.uint8), note=note)
            if color.max() <= 255 and np.array_equal(color, color.round()):
                return Cloud(xyz, color.astype(np.uint8), note=note)
    return Cloud(xyz, None, note="no column is taken for a colour")


_READERS: dict[str, Callable[[Path], Cloud]] = {
    ".ply": _read_ply,
    ".pcd": _read_pcd,
    **dict.fromkeys((".xyz", ".txt", ".csv", ".asc", ".pts"), _read_text),
    ".npy": _read_numpy,
}

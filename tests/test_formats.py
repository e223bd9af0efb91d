"""Clouds from files: every encoding gives the points that were written, broken files one clear line."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointseg.errors import InputError
from pointseg.prediction.formats import read_cloud
from pointseg.prediction.formats.lzf import lzf_decompress
from pointseg.scannet.ply import write_ply

XYZ = np.array([[0.5, -1.25, 3.0], [np.nan, np.nan, np.nan], [100.0, 2e-3, 7.5], [1, 2, 3]], np.float32)
RGB = np.array([[255, 0, 17], [0, 0, 0], [1, 2, 3], [200, 100, 50]], np.uint8)
PACKED = (RGB.astype(np.uint32) << np.array([16, 8, 0], np.uint32)).sum(axis=1).astype(np.uint32)


def _header(fields: str, size: str, kind: str, count: str, points: int, data: str) -> bytes:
    return (
        f"# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS {fields}\nSIZE {size}\nTYPE {kind}\n"
        f"COUNT {count}\nWIDTH {points}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\nDATA {data}\n"
    ).encode()


def _lzf(data: bytes) -> bytes:
    """Packs greedily: the latest earlier occurrence of three bytes, as long as it goes, also into itself."""
    out, literals, seen, at = bytearray(), bytearray(), {}, 0

    def flush() -> None:
        for start in range(0, len(literals), 32):
            run = literals[start : start + 32]
            out.append(len(run) - 1)
            out.extend(run)
        literals.clear()

    while at < len(data):
        earlier = seen.get(data[at : at + 3], -1)
        length = 0
        if earlier >= 0 and at - earlier <= 8192:
            while at + length < len(data) and length < 264 and data[earlier + length] == data[at + length]:
                length += 1
        if length >= 3:
            flush()
            distance, code = at - earlier - 1, length - 2
            out.append((min(code, 7) << 5) | (distance >> 8))
            if code >= 7:
                out.append(code - 7)
            out.append(distance & 255)
        else:
            literals.append(data[at])
            length = 1
        for step in range(length):
            seen[data[at + step : at + step + 3]] = at + step
        at += length
    flush()
    return bytes(out)


@given(st.lists(st.binary(min_size=1, max_size=6), max_size=12), st.integers(1, 60))
def test_lzf_unpacks_what_was_packed(parts: list[bytes], repeat: int):
    data = b"".join(part * repeat for part in parts)
    assert lzf_decompress(_lzf(data), len(data)) == data


def test_lzf_by_hand():
    assert lzf_decompress(b"\x02abc", 3) == b"abc"
    assert lzf_decompress(b"\x02abc\x20\x02", 6) == b"abcabc"  # 3 bytes from 3 back
    assert lzf_decompress(b"\x00a\xe0\x04\x00", 14) == b"a" * 14  # 13 bytes from 1 back: into itself
    for wrong in (b"\x20\x05", b"\x02ab", b"\x02abc\xe0", b"\x02abc\x20"):
        with pytest.raises(ValueError, match="packed points"):
            lzf_decompress(wrong, 6)


def _records(kind: str) -> np.ndarray:
    """x y z, a padding field of two, the colour packed, a normal that nobody needs."""
    dtype = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("_", "<u2", (2,)), ("rgb", kind), ("normal_x", "<f4")])
    records = np.zeros(len(XYZ), dtype)
    records["x"], records["y"], records["z"] = XYZ.T
    records["rgb"] = PACKED.view(kind)
    return records


@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize("packed_as", ["F", "U"])
def test_pcd(tmp_path: Path, data: str, packed_as: str):
    records = _records("<f4" if packed_as == "F" else "<u4")
    if data == "ascii":
        rows = [
            [*point[:3], *padding, repr(float(color)) if packed_as == "F" else str(color), 0.0]
            for point, padding, color in zip(XYZ.tolist(), records["_"].tolist(), records["rgb"], strict=True)
        ]
        body = "".join(" ".join(str(value) for value in row) + "\n" for row in rows).encode()
    elif data == "binary":
        body = records.tobytes()
    else:
        plain = b"".join(np.ascontiguousarray(records[name]).tobytes() for name in records.dtype.names)
        packed = _lzf(plain)
        body = struct.pack("<II", len(packed), len(plain)) + packed
    header = _header("x y z _ rgb normal_x", "4 4 4 2 4 4", f"F F F U {packed_as} F", "1 1 1 2 1 1", 4, data)
    (tmp_path / "scan.pcd").write_bytes(header + body)
    cloud = read_cloud(tmp_path / "scan.pcd")
    assert cloud.xyz.dtype == np.float32
    np.testing.assert_array_equal(cloud.xyz, XYZ)
    np.testing.assert_array_equal(cloud.rgb, RGB)
    assert cloud.faces is None


def test_pcd_without_colour_in_doubles_keeps_them(tmp_path: Path):
    xyz = XYZ.astype(np.float64) + np.array([5e6, 0, 0])
    (tmp_path / "utm.pcd").write_bytes(_header("x y z", "8 8 8", "F F F", "1 1 1", 4, "binary") + xyz.tobytes())
    cloud = read_cloud(tmp_path / "utm.pcd")
    assert cloud.rgb is None
    assert cloud.xyz.dtype == np.float64
    np.testing.assert_array_equal(cloud.xyz, xyz)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.pcd", _header("x y z", "4 4 4", "F F F", "1 1 1", 4, "binary") + b"\0" * 30, "expected 4 points, got 2"),
        ("cut2.pcd", _header("x y z", "4 4 4", "F F F", "1 1 1", 4, "ascii") + b"1 2 3\n", "expected 4 points, got 1"),
        ("cut3.pcd", _header("x y z", "4 4 4", "F F F", "1 1 1", 4, "binary_compressed") + b"\1", "48 bytes"),
        ("words.pcd", _header("x y z", "4 4 4", "F F F", "1 1 1", 1, "ascii") + b"a b c\n", "not the points"),
        ("kind.pcd", _header("x y z", "4 4 4", "F F F", "1 1 1", 1, "zip") + b"a b c\n", "DATA must be"),
        ("xy.pcd", _header("x y", "4 4", "F F", "1 1", 1, "binary") + b"\0" * 8, "expected x, y and z, got x, y"),
        ("size.pcd", _header("x y z", "4 4 3", "F F F", "1 1 1", 1, "binary"), "SIZE 3"),
        ("none.pcd", _header("x y z", "4 4 4", "F F F", "1 1 1", 0, "binary"), "expected points, got none"),
        ("junk.pcd", bytes(range(256)), "without a DATA line"),
        ("two.xyz", b"1 2\n3 4\n", "expected lines that begin with x, y, z"),
        ("ragged.xyz", b"1 2 3\n3 4\n", "expected numbers in columns"),
        ("empty.txt", b"", "expected lines that begin with x, y, z"),
        ("flat.npy", b"\x93NUMPY nonsense", "cannot be read"),
        ("scan.dxf", b"0\nSECTION", r"expected a file named \.ply, \.pcd, .* got '\.dxf'"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_cloud(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"nothing\.pcd: no such file"):
        read_cloud(tmp_path / "nothing.pcd")


def test_ply_keeps_faces(tmp_path: Path):
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    write_ply(tmp_path / "mesh.ply", np.nan_to_num(XYZ), rgb=RGB, faces=faces)
    cloud = read_cloud(tmp_path / "mesh.ply")
    np.testing.assert_array_equal(cloud.xyz, np.nan_to_num(XYZ))
    np.testing.assert_array_equal(cloud.rgb, RGB)
    np.testing.assert_array_equal(cloud.faces, faces)


@pytest.mark.parametrize(
    ("name", "text", "rgb"),
    [
        ("a.xyz", "1 2 3\n4 5 6.5\n", None),
        ("a.txt", "# made by hand\n1 2 3 10 20 30\n4 5 6.5 40 50 255\n", [[10, 20, 30], [40, 50, 255]]),
        ("a.csv", "x,y,z,r,g,b\n1,2,3,0,1,0.2\n4,5,6.5,0,0,0\n\n", [[0, 255, 51], [0, 0, 0]]),
        ("a.pts", "2\n1 2 3 -900 10 20 30\n4 5 6.5 -800 40 50 60\n", [[10, 20, 30], [40, 50, 60]]),
        ("a.asc", "1;2;3;-0.5;0.5;0.7\n4;5;6.5;0;1;0\n", None),  # normals
    ],
)
def test_text(tmp_path: Path, name: str, text: str, rgb: list[list[int]] | None):
    (tmp_path / name).write_text(text)
    cloud = read_cloud(tmp_path / name)
    assert cloud.xyz.tolist() == [[1, 2, 3], [4, 5, 6.5]]
    assert (None if cloud.rgb is None else cloud.rgb.tolist()) == rgb
    assert ("colour" if name != "a.csv" else "columns: x, y, z, r, g, b") in cloud.note


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("bom.xyz", "\ufeff1 2 3\n4 5 6.5\n", "x y z"),
        ("bom.csv", "\ufeffx,y,z\n1,2,3\n4,5,6.5\n", "x y z"),
        ("permuted.csv", "R,G,B,Z,Y,X\n9,8,7,3,2,1\n9,8,8,6.5,5,4\n", "red green blue z y x"),
        ("upper.txt", "//X Y Z Scan\n1 2 3 7\n4 5 6.5 7\n", "x y z Scan"),
        ("utm.csv", "Easting;Northing;Elevation\n1;2;3\n4;5;6.5\n", "x y z"),
        ("decimal.txt", "1,0 2,0 3,0\n4,0 5,0 6,5\n", "x y z"),
        ("decimal.csv", "x;y;z;n\n1,0;2,0;3,0;4\n4,0;5,0;6,5;4\n", "x y z n"),
        ("comma.xyz", "1, 2, 3\n4, 5, 6.5\n", "x y z"),
        ("tab.txt", "1\t2\t3\n4\t5\t6.5\n", "x y z"),
        ("label.txt", "1 2 3 9 8 7 5\n4 5 6.5 9 8 200 5\n", "x y z red green blue column_7"),
        ("one.txt", "1 2 3 40\n4 5 6.5 7\n", "x y z column_4"),
        ("normals.txt", "1 2 3 0 0.6 0.8\n4 5 6.5 0 0 1\n", "x y z column_4 column_5 column_6"),
        ("both.txt", "1 2 3 9 8 7 0 0 1\n4 5 6.5 9 8 7 1 0 0\n", "x y z red green blue column_7 column_8 column_9"),
        ("words.csv", 'x,y,z,what\n1,2,3,"shower, curtain"\n4,5,6.5,wall\n', "x y z what"),
    ],
)
def test_columns_of_text_are_what_they_are(tmp_path: Path, name: str, content: str, columns: str):
    (tmp_path / name).write_text(content, encoding="utf-8")
    cloud = read_cloud(tmp_path / name)
    assert list(cloud.columns) == columns.split()
    assert cloud.xyz.tolist() == [[1, 2, 3], [4, 5, 6.5]]
    assert ("commas are read as decimal points" in cloud.note) == name.startswith("decimal")


def test_numpy(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.arange(12, dtype=np.float32).reshape(2, 6))
    cloud = read_cloud(tmp_path / "a.npy")
    assert cloud.xyz.tolist() == [[0, 1, 2], [6, 7, 8]]
    assert cloud.rgb.tolist() == [[3, 4, 5], [9, 10, 11]]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (_header("x y z", "4 4 4", "F F F", "1 1 1", -5, "ascii"), "to be numbers, 0 or more"),
        (_header("x y z", "4 4 4", "F F F", "2 1 1", 0, "ascii"), "x must be one real number a point, got float32"),
    ],
    ids=["negative points", "two x"],
)
def test_headers_that_cannot_be(tmp_path: Path, header: bytes, message: str) -> None:
    (tmp_path / "cloud.pcd").write_bytes(header)
    with pytest.raises(InputError, match=message):
        read_cloud(tmp_path / "cloud.pcd")


def test_an_empty_numpy_file(tmp_path: Path) -> None:
    (tmp_path / "cloud.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"cloud\.npy"):
        read_cloud(tmp_path / "cloud.npy")

"""PLY reading and writing: round trips, the three encodings, and what broken files say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from pointseg.errors import InputError
from pointseg.scannet.ply import read_ply, write_ply

XYZ = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
RGB = np.random.default_rng(1).integers(0, 256, size=(40, 3), dtype=np.uint8)
FACES = np.random.default_rng(2).integers(0, 40, size=(25, 3), dtype=np.int32)


def polygons(*rows: list[int]) -> np.ndarray:
    result = np.empty(len(rows), dtype=object)
    result[:] = [np.array(row, dtype=np.int32) for row in rows]
    return result


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "scan.ply"
    label = np.array([0, 1, 40, 50, 149, 65535] * 6 + [7] * 4)
    write_ply(path, XYZ, RGB, label, FACES, {"score": np.linspace(0, 1, 40, dtype=np.float32)})
    vertices, faces = mesh = read_ply(path)
    np.testing.assert_array_equal(mesh.xyz, XYZ)
    np.testing.assert_array_equal(mesh.rgb, RGB)
    np.testing.assert_array_equal(vertices["label"], label)
    np.testing.assert_array_equal(faces, FACES)
    assert vertices.dtype.names == ("x", "y", "z", "red", "green", "blue", "label", "score")
    assert mesh.xyz.dtype == np.float32
    assert faces.dtype == np.int32
    assert [entry.name for entry in tmp_path.iterdir()] == ["scan.ply"]


def test_plyfile_reads_what_we_write(tmp_path: Path) -> None:
    path = tmp_path / "scan.ply"
    write_ply(path, XYZ, np.hstack([RGB, RGB[:, :1]]), faces=FACES)
    data = PlyData.read(path)
    assert data.byte_order == "<"
    assert [prop.name for prop in data["vertex"].properties] == ["x", "y", "z", "red", "green", "blue", "alpha"]
    np.testing.assert_array_equal(np.stack(data["face"]["vertex_indices"]), FACES)
    assert path.stat().st_size == len(data.header) + 1 + 40 * 16 + 25 * 13


def test_coordinates_keep_double_precision(tmp_path: Path) -> None:
    xyz = XYZ.astype(np.float64) + 4_512_345.678
    write_ply(tmp_path / "geo.ply", xyz)
    mesh = read_ply(tmp_path / "geo.ply")
    np.testing.assert_array_equal(mesh.xyz, xyz)
    assert mesh.rgb is None
    assert mesh.faces is None


@pytest.mark.parametrize("faces", [polygons([0, 1, 2], [3, 4, 5, 6], [7, 8]), polygons([0, 1, 2, 3], [4, 5, 6, 7])])
def test_polygons_are_kept(tmp_path: Path, faces: np.ndarray) -> None:
    write_ply(tmp_path / "a.ply", XYZ, faces=faces)
    got = read_ply(tmp_path / "a.ply").faces
    assert [list(polygon) for polygon in got] == [list(polygon) for polygon in faces]
    write_ply(tmp_path / "b.ply", XYZ, faces=got)
    assert (tmp_path / "b.ply").read_bytes() == (tmp_path / "a.ply").read_bytes()


@pytest.mark.parametrize(("text", "order"), [(True, "="), (False, "<"), (False, ">")])
@pytest.mark.parametrize("list_name", ["vertex_indices", "vertex_index"])
def test_every_encoding(tmp_path: Path, text: bool, order: str, list_name: str) -> None:
    vertices = np.empty(
        40, dtype=[("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
    )
    for column, name in enumerate(vertices.dtype.names):
        vertices[name] = XYZ[:, column] if column < 3 else RGB[:, column - 3]
    faces = np.empty(25, dtype=[(list_name, "i4", (3,))])
    faces[list_name] = FACES
    path = tmp_path / "mesh.ply"
    elements = [PlyElement.describe(vertices, "vertex"), PlyElement.describe(faces, "face")]
    PlyData(elements, text=text, byte_order=order).write(str(path))
    mesh = read_ply(path)
    np.testing.assert_array_equal(mesh.xyz, XYZ)
    np.testing.assert_array_equal(mesh.rgb, RGB)
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert mesh.vertices.dtype["x"].isnative
    assert mesh.faces.dtype.isnative


def test_float_colours(tmp_path: Path) -> None:
    share = {name: np.linspace(0, 1, 40, dtype=np.float32) for name in ("red", "green", "blue")}
    write_ply(tmp_path / "a.ply", XYZ, extra=share)
    assert read_ply(tmp_path / "a.ply").rgb[[0, -1]].tolist() == [[0, 0, 0], [255, 255, 255]]
    write_ply(tmp_path / "a.ply", XYZ, extra={name: column * 200 for name, column in share.items()})
    assert read_ply(tmp_path / "a.ply").rgb[[0, -1]].tolist() == [[0, 0, 0], [200, 200, 200]]


def test_no_vertices_and_no_faces(tmp_path: Path) -> None:
    write_ply(tmp_path / "empty.ply", np.empty((0, 3)), np.empty((0, 3), np.uint8), faces=np.empty((0, 3), np.int32))
    mesh = read_ply(tmp_path / "empty.ply")
    assert mesh.xyz.shape == (0, 3)
    assert mesh.rgb.shape == (0, 3)
    assert mesh.faces.shape == (0, 3)


@pytest.mark.parametrize("keep", [0, 3, 60, 200, 700, 900, -1])
def test_a_file_cut_short_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.ply"
    write_ply(path, XYZ, RGB, faces=FACES)
    whole = path.read_bytes()
    assert len(whole) > 1000
    path.write_bytes(whole[:keep])
    with pytest.raises(InputError, match=r"cut\.ply: expected") as error:
        read_ply(path)
    assert "\n" not in str(error.value)


def test_a_cut_says_how_much_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "cut.ply"
    write_ply(path, XYZ, RGB, faces=FACES)
    path.write_bytes(path.read_bytes()[: -13 * 5 - 1])
    with pytest.raises(InputError, match=r"expected 25 entries of element 'face', got 19 .*is the file complete\?"):
        read_ply(path)


HEADER = "ply\nformat {format} 1.0\nelement vertex {count}\n{properties}end_header\n"
NO_Z = "property float x\nproperty float y\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x y z\n1 2 3\n", "expected a PLY file, got something else"),
        (b"\x00\xff" * 50, "expected a PLY file, got something else"),
        (
            HEADER.format(format="ascii", count=1, properties=NO_Z).encode() + b"1 2\n",
            "must have 'z', got only 'x', 'y'",
        ),
        (HEADER.format(format="ascii", count=1, properties=NO_Z).encode() + b"1 two\n", "malformed input"),
        (HEADER.format(format="binary_little_endian", count=10**15, properties=NO_Z).encode(), "got 0"),
        (HEADER.format(format="binary_little_endian", count=-3, properties=NO_Z).encode(), "expected"),
        (HEADER.format(format="ebcdic", count=1, properties=NO_Z).encode(), "expected a PLY file"),
        (b"ply\nformat ascii 1.0\nelement point 0\nproperty float x\nend_header\n", "element 'vertex', got 'point'"),
    ],
)
def test_what_is_not_a_point_cloud(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd.ply"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_ply(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.ply: no such file"):
        read_ply(tmp_path / "none.ply")
    with pytest.raises(InputError, match="expected a file, got a folder"):
        read_ply(tmp_path)


def test_needed_properties_are_checked(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", XYZ)
    with pytest.raises(InputError, match="must have 'label', got only 'x', 'y', 'z'"):
        read_ply(tmp_path / "a.ply", needs=("x", "label"))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    write_ply(path, XYZ)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"rgb must be"):
        write_ply(path, XYZ, RGB.astype(np.float32))
    with pytest.raises(ValueError, match=r"score must be \[P\] with P=40, got \[39\]"):
        write_ply(path, XYZ, extra={"score": np.zeros(39)})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ply"]

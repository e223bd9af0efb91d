"""Files that are not what their names say: `pointseg predict` gives one clear line, exit code 2, and writes nothing."""

from __future__ import annotations

import importlib.util
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from networks import untrained_run

from pointseg.cli import main
from pointseg.rundir import RunDirectory


def _ply(vertices: int, properties: str, body: bytes, form: str = "binary_little_endian") -> bytes:
    lines = "".join(f"property {line}\n" for line in properties.split(", "))
    return f"ply\nformat {form} 1.0\nelement vertex {vertices}\n{lines}end_header\n".encode() + body


def _pcd(body: bytes, data: str = "binary", fields: str = "x y z", count: str = "1 1 1", points: object = 2) -> bytes:
    number = len(fields.split())
    sizes, kinds = " ".join("4" * number), " ".join("F" * number)
    header = f"VERSION 0.7\nFIELDS {fields}\nSIZE {sizes}\nTYPE {kinds}\nCOUNT {count}\nWIDTH {points}\nHEIGHT 1\n"
    return f"{header}POINTS {points}\nDATA {data}\n".encode() + body


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


XYZ = "float x, float y, float z"
MALFORMED = [
    ("empty.ply", b"", "expected a PLY file"),
    ("junk.ply", bytes(range(256)), "expected a PLY file"),
    ("cut.ply", _ply(9, XYZ, b"\0" * 50), "expected 9 entries of element 'vertex', got 4"),
    ("faceless.ply", b"ply\nformat ascii 1.0\nelement face 0\nend_header\n", "expected an element 'vertex', got face"),
    ("flat.ply", _ply(1, "float x, float y", b"\0" * 8), "expected x, y and z, got x, y"),
    ("none.ply", _ply(0, XYZ, b""), "expected points, got none"),
    ("nan.ply", _ply(1, XYZ, np.full(3, np.nan, "<f4").tobytes()), "expected points with finite coordinates, got none"),
    ("words.ply", _ply(1, XYZ, b"a b c\n", "ascii"), "malformed input"),
    ("junk.pcd", b"\0" * 99, "without a DATA line"),
    ("cut.pcd", _pcd(b"\0" * 20), "expected 2 points, got 1; is it complete"),
    ("lines.pcd", _pcd(b"1 2 3\n", "ascii"), "expected 2 points, got 1"),
    ("zip.pcd", _pcd(b"", "zip"), "DATA must be ascii, binary or binary_compressed, got 'zip'"),
    ("packed.pcd", _pcd(b"\x01\0\0\0\x18\0\0\0\xff", "binary_compressed"), "packed points end in the middle"),
    (
        "count0.pcd",
        _pcd(b"\0" * 99, fields="x y z a", count="1 1 1 0"),
        "field a must have a COUNT of 1 or more, got 0",
    ),
    ("count2.pcd", _pcd(b"\0" * 99, count="2 1 1"), "x must be one real number a point"),
    ("minus.pcd", _pcd(b"", points=-1), "to be numbers, 0 or more"),
    ("xyz.pcd", _pcd(b"\0" * 99, fields="a b c"), "expected x, y and z, got a, b, c"),
    ("empty.xyz", b"", "expected lines that begin with x, y, z"),
    ("ragged.xyz", b"1 2 3\n4 5\n", "expected numbers in columns"),
    ("words.txt", b"once upon a time\nthere was a room\n", "expected lines that begin with x, y, z"),
    ("binary.txt", b"\xff\xfe\x00\x01" * 9, "expected text, got something else"),
    ("decimal.csv", b"0,512,1,237,2,040\n3,125,4,500,1,111\n", "may be decimal commas"),
    ("named.csv", b"x,y,z\n0,512,1,237,2,040\n3,125,4,500,1,111\n", "names 3 columns, but the next one has 6"),
    ("unnamed.csv", b"east,north,up\n1,2,3\n", "the columns' names must include x, y and z, got east, north, up"),
    ("twice.csv", b"x,y,z,a,a\n1,2,3,4,5\n", "the columns' names must differ"),
    ("complex.npy", _npy(np.ones((9, 3), complex)), r"3 or more\] of real numbers, got \[9, 3\] complex128"),
    ("across.npy", _npy(np.ones((3, 900))), r"got \[3, 900\]: a point must be a row"),
    ("bools.npy", _npy(np.ones((9, 3), bool)), "of real numbers"),
    ("objects.npy", b"\x93NUMPY\x01\x00nonsense", "cannot be read"),
    ("empty.npz", b"", "cannot be read"),
    ("nothing.npz", _npz(weights=np.ones(5)), "expected x, y and z, got weights"),
    ("lengths.npz", _npz(x=np.ones(5), y=np.ones(4), z=np.ones(5)), "must be of one length"),
    ("junk.las", b"LASF" + bytes(range(256)), "cannot be read as LAS"),
    ("junk.laz", b"", "cannot be read as LAS"),
    ("junk.e57", b"ASTM-E57" + bytes(90), "cannot be read as E57"),
    ("junk.glb", b"glTF" + bytes(30), "cannot be read as a mesh"),
    ("empty.obj", b"# nothing\n", "expected points, got none|cannot be read as a mesh"),
    ("mesh.txt", _ply(1, XYZ, b"1 2 3\n", "ascii"), "expected a table, got a PLY file; name it .ply"),
    ("cloud.csv", b"# .PCD v0.7\n" + _pcd(b"1 2 3\n4 5 6\n", "ascii"), "got a PCD file; name it .pcd"),
    ("stray.npy", _npy(np.array([[0, 0, 0], [1, 1, 1], [1e30, 0, 0]])), r"must span at most 1e\+06 m, got 1e\+30 m"),
    ("scan.dwg", b"AC1032", "expected a file named .ply, .pcd"),
]
NEEDS = {".las": "laspy", ".laz": "laspy", ".e57": "pye57", ".glb": "trimesh", ".obj": "trimesh"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return untrained_run(tmp_path_factory.mktemp("run") / "run")


def _refused(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the command ends with."""
    assert main(["predict", *map(str, arguments)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("pointseg: ")
    return lines[0]


def test_there_are_thirty():
    assert len({name for name, _, _ in MALFORMED}) == len(MALFORMED) >= 30


@pytest.mark.parametrize(("name", "content", "message"), MALFORMED, ids=[name for name, _, _ in MALFORMED])
def test_a_malformed_file_gives_one_line_and_exit_code_2(
    run: RunDirectory, tmp_path: Path, name: str, content: bytes, message: str, capsys: pytest.CaptureFixture[str]
):
    package = NEEDS.get(Path(name).suffix)
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    (tmp_path / name).write_bytes(content)
    line = _refused([run.path, tmp_path / name, "-o", tmp_path / "out.ply"], capsys)
    assert re.search(message, line), line
    assert name in line
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_what_is_no_file_is_called_what_it_is(run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out.ply"
    os.mkfifo(tmp_path / "pipe.ply")
    assert "expected a file, got a pipe" in _refused([run.path, tmp_path / "pipe.ply", "-o", out], capsys)
    (tmp_path / "folder.ply").mkdir()
    assert "expected point clouds in the folder" in _refused([run.path, tmp_path / "folder.ply", "-o", out], capsys)
    assert "no such file" in _refused([run.path, tmp_path / "nothing.ply", "-o", out], capsys)
    assert "expected [RUN] FILE..., got" in _refused([run.path, "-o", out], capsys)

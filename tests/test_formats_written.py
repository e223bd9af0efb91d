"""Every format that can be written gives back what was written: points in order, columns, faces, large coordinates."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest

from pointseg.prediction.formats import FORMATS, Cloud, read_cloud, write_cloud
from pointseg.scannet.labels import CLASS_NAMES

NEEDS = {".las": "laspy", ".laz": "laspy", ".e57": "pye57", ".obj": "trimesh", ".glb": "trimesh", ".stl": "trimesh"}
POINTS = 300
UTM = np.array([691_234.5, 5_334_567.25, 512.125])
COLORS_ONLY = (".e57", ".obj")


def _cloud(*, faces: bool = True) -> Cloud:
    """UTM coordinates in doubles, multiples of 1/1024; colours, normals, a class of the file's own, our labels."""
    rng = np.random.default_rng(0)
    xyz = UTM + rng.integers(0, 4096, (POINTS, 3)) / 1024
    rgb = rng.integers(0, 256, (POINTS, 3)).astype(np.uint8)
    columns = dict(zip("xyz", xyz.T, strict=True)) | dict(zip(("red", "green", "blue"), rgb.T, strict=True))
    columns |= {
        "nx": rng.normal(size=POINTS).astype(np.float32),
        "intensity": rng.integers(0, 60_000, POINTS).astype(np.uint16),
        "label": rng.integers(0, 40, POINTS).astype(np.uint8),
        "train_id": rng.integers(0, 20, POINTS).astype(np.uint8),
        "probability": rng.uniform(0, 1, POINTS).astype(np.float32),
    }
    triangles = rng.integers(0, POINTS, (50, 3)).astype(np.int32) if faces else None
    return Cloud(columns, triangles, class_names=CLASS_NAMES)


def _need(suffix: str) -> None:
    package = NEEDS.get(suffix)
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


@pytest.mark.parametrize("suffix", [suffix for suffix, form in FORMATS.items() if form.write])
def test_what_was_written_is_read(tmp_path: Path, suffix: str):
    _need(suffix)
    cloud, path = _cloud(), tmp_path / f"cloud{suffix}"
    write_cloud(path, cloud)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    got = read_cloud(path)
    if suffix == ".glb":
        np.testing.assert_array_equal(got.xyz, cloud.xyz.astype(np.float32))
    elif suffix in (".las", ".laz"):  # multiples of 1/10000
        np.testing.assert_allclose(got.xyz, cloud.xyz, atol=0.51e-4, rtol=0)
    else:
        np.testing.assert_array_equal(got.xyz, cloud.xyz)
    np.testing.assert_array_equal(got.rgb, cloud.rgb)
    if suffix not in COLORS_ONLY:
        for name in ("label", "train_id", "probability", "nx", "intensity"):
            wanted = cloud.columns[name]
            np.testing.assert_array_equal(got.columns[name].astype(wanted.dtype), wanted, err_msg=name)
    if suffix in (".ply", ".npz", ".obj", ".glb"):
        np.testing.assert_array_equal(got.faces, cloud.faces)
    else:
        assert got.faces is None
        assert FORMATS[suffix].lacks


def test_a_cloud_without_faces_as_glb(tmp_path: Path):
    _need(".glb")
    write_cloud(tmp_path / "cloud.glb", _cloud(faces=False))
    got = read_cloud(tmp_path / "cloud.glb")
    np.testing.assert_array_equal(got.rgb, _cloud().rgb)
    assert got.faces is None
    assert "without faces, labels" in FORMATS[".glb"].lacks


def test_names_of_classes_stand_where_they_can(tmp_path: Path):
    cloud = _cloud()
    cloud.columns["train_id"][0] = CLASS_NAMES.index("shower curtain")
    for suffix, line in ((".csv", "shower curtain"), (".txt", "shower_curtain")):
        write_cloud(tmp_path / f"a{suffix}", cloud)
        lines = (tmp_path / f"a{suffix}").read_text().splitlines()
        assert lines[0].endswith("class")
        assert lines[1].endswith(line)
        assert read_cloud(tmp_path / f"a{suffix}").columns["class"][0] == line
    for suffix, comment in ((".ply", b"comment train_id 15 shower curtain"), (".pcd", b"# train_id 15 shower curtain")):
        write_cloud(tmp_path / f"a{suffix}", cloud)
        assert comment in (tmp_path / f"a{suffix}").read_bytes()
    write_cloud(tmp_path / "a.npz", cloud)
    assert tuple(np.load(tmp_path / "a.npz")["train_id_names"]) == CLASS_NAMES


def _ply(encoding: str) -> bytes:
    """Two vertices with a normal, a list and a half-known property; a triangle and a square."""
    header = (
        f"ply\nformat {encoding} 1.0\ncomment made by hand\nelement vertex 4\nproperty double x\nproperty double y\n"
        "property double z\nproperty uchar red\nproperty uchar green\nproperty uchar blue\nproperty float nx\n"
        "property short scan\nelement face 2\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = [(691_234.5, 5e6, n / 4, n, 10 * n, 255 - n, 0.5, -n) for n in range(4)]
    polygons = [(0, 1, 2), (0, 1, 2, 3)]
    if encoding == "ascii":
        lines = [" ".join(map(str, row)) for row in rows] + [" ".join(map(str, (len(p), *p))) for p in polygons]
        return (header + "\n".join(lines) + "\n").encode()
    order = "<" if "little" in encoding else ">"
    body = b"".join(struct.pack(f"{order}dddBBBfh", *row) for row in rows)
    return header.encode() + body + b"".join(struct.pack(f"{order}B{len(p)}i", len(p), *p) for p in polygons)


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_every_encoding_of_ply_keeps_its_columns_and_polygons(tmp_path: Path, encoding: str):
    (tmp_path / "a.ply").write_bytes(_ply(encoding))
    write_cloud(tmp_path / "b.ply", read_cloud(tmp_path / "a.ply"))
    for name in ("a.ply", "b.ply"):
        got = read_cloud(tmp_path / name)
        assert list(got.columns) == ["x", "y", "z", "red", "green", "blue", "nx", "scan"]
        assert got.xyz.tolist() == [[691_234.5, 5e6, n / 4] for n in range(4)]
        assert got.rgb.tolist() == [[n, 10 * n, 255 - n] for n in range(4)]
        assert got.columns["scan"].tolist() == [0, -1, -2, -3]
        assert [polygon.tolist() for polygon in got.faces] == [[0, 1, 2], [0, 1, 2, 3]]


def test_columns_of_several_numbers(tmp_path: Path):
    cloud = _cloud()
    histogram = np.arange(POINTS * 5, dtype=np.float32).reshape(POINTS, 5)
    cloud = Cloud({**cloud.columns, "histogram": histogram})
    for suffix in (".pcd", ".npz", ".npy"):
        write_cloud(tmp_path / f"a{suffix}", cloud)
        np.testing.assert_array_equal(read_cloud(tmp_path / f"a{suffix}").columns["histogram"], histogram)
    write_cloud(tmp_path / "a.ply", cloud)
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.ply").columns["histogram_3"], histogram[:, 3])


def test_las_keeps_its_steps_and_dimensions(tmp_path: Path):
    laspy = pytest.importorskip("laspy", reason="laspy is not installed")
    header = laspy.LasHeader(point_format=1, version="1.2")  # without colours
    header.scales, header.offsets = [0.001, 0.002, 0.005], [600_000, 5_000_000, 0]
    header.add_extra_dim(laspy.ExtraBytesParams("reflectance", "f4"))
    las = laspy.LasData(header)
    rng = np.random.default_rng(0)
    las.X, las.Y, las.Z = rng.integers(-(2**30), 2**30, (3, POINTS)).astype(np.int32)
    las.classification, las.gps_time = rng.integers(0, 18, POINTS), rng.uniform(0, 1e6, POINTS)
    las.reflectance = rng.normal(size=POINTS).astype(np.float32)
    las.write(tmp_path / "a.las")
    cloud = read_cloud(tmp_path / "a.las")
    assert not cloud.has_color
    colors = {name: np.full(POINTS, value, np.uint8) for name, value in (("red", 255), ("green", 0), ("blue", 17))}
    labelled = Cloud({**cloud.columns, **colors, "label": las.classification.array}, template=cloud.template)
    write_cloud(tmp_path / "b.laz", labelled)
    got = laspy.read(tmp_path / "b.laz")
    for name in ("X", "Y", "Z", "gps_time", "reflectance", "classification"):
        np.testing.assert_array_equal(np.asarray(got[name]), np.asarray(las[name]), err_msg=name)
    np.testing.assert_array_equal(np.asarray(got["label"]), np.asarray(las.classification))
    assert got.header.scales.tolist() == [0.001, 0.002, 0.005]
    assert got.red.max() == 65535
    assert read_cloud(tmp_path / "b.laz").rgb[0].tolist() == [255, 0, 17]


def test_stl_is_read_and_not_written(tmp_path: Path):
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
    trimesh.creation.box().export(tmp_path / "box.stl")
    cloud = read_cloud(tmp_path / "box.stl")
    assert len(cloud) == 36
    assert cloud.faces.shape == (12, 3)
    assert FORMATS[".stl"].write is None


def test_the_scans_of_an_e57_file_follow_one_another(tmp_path: Path):
    pye57 = pytest.importorskip("pye57", reason="pye57 is not installed")
    file = pye57.E57(str(tmp_path / "a.e57"), mode="w")
    for shift in (0.0, 10.0):
        data = {f"cartesian{axis}": np.arange(4.0) for axis in "XYZ"}
        file.write_scan_raw(data, translation=np.array([shift, 0, 0]), rotation=np.array([1.0, 0, 0, 0]))
    file.close()
    cloud = read_cloud(tmp_path / "a.e57")
    assert cloud.columns["x"].tolist() == [0, 1, 2, 3, 10, 11, 12, 13]
    assert cloud.note == "2 scans"


@pytest.mark.parametrize(("suffix", "package"), [(".las", "laspy"), (".e57", "pye57"), (".glb", "trimesh")])
def test_a_missing_package_is_named(tmp_path: Path, suffix: str, package: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / f"a{suffix}").write_bytes(b"anything")
    for action in (lambda: read_cloud(tmp_path / f"a{suffix}"), lambda: write_cloud(tmp_path / f"a{suffix}", _cloud())):
        with pytest.raises(Exception, match=rf"needs {package}: pip install 'pointseg\["):
            action()

"""Reading one scan: vertices in file order, labels from either source, alignment, and what broken scans say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scans

from pointseg.errors import InputError
from pointseg.scannet.ply import write_ply
from pointseg.scannet.scan import LabelMap, ScanFiles, find_label_map, find_scans, read_scan

TRAIN, TEST = "scene0000_00", "scene0707_00"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return scans.write_scan(tmp_path / "scans", TRAIN)


def test_every_vertex_in_file_order(folder: Path) -> None:
    xyz, rgb, _ = scans.geometry(TRAIN)
    scene = read_scan(folder, None, align=False)
    assert scene.scan_id == TRAIN
    np.testing.assert_array_equal(scene.xyz, xyz)
    np.testing.assert_array_equal(scene.rgb, rgb)
    np.testing.assert_array_equal(scene.label, scans.train_ids())
    assert (scene.xyz.dtype, scene.rgb.dtype, scene.label.dtype) == (np.float32, np.uint8, np.uint8)
    assert (scene.label == 255).sum() == scans.POINTS // 6  # unannotated vertices stay


def test_alignment(folder: Path) -> None:
    xyz, _, _ = scans.geometry(TRAIN)
    scene = read_scan(folder, None)
    np.testing.assert_allclose(scene.xyz, scans.aligned(xyz), rtol=0, atol=1e-6)
    assert scene.xyz.dtype == np.float32
    assert np.abs(scene.xyz - xyz).max() > 1


def test_ids_outside_nyu40_are_unannotated(folder: Path) -> None:
    xyz, rgb, faces = scans.geometry(TRAIN)
    ids = np.array([1, 50, 149, 65535, 0, 39] * (scans.POINTS // 6))
    write_ply(ScanFiles(folder).labels, xyz, rgb, ids, faces)
    expected = [0, 255, 255, 255, 255, 19] * (scans.POINTS // 6)
    assert read_scan(folder, None).label.tolist() == expected


@pytest.mark.parametrize("table", ["scannetv2-labels.combined.tsv", "scannet-labels.combined.tsv"])
def test_labels_from_segments_equal_labels_ply(tmp_path: Path, folder: Path, table: str) -> None:
    scans.write_label_map(tmp_path, table)
    label_map = find_label_map(tmp_path)
    assert label_map.nyu40_of == scans.CATEGORIES | {"thing": 0}
    from_ply = read_scan(folder, label_map)
    ScanFiles(folder).labels.unlink()
    np.testing.assert_array_equal(read_scan(folder, label_map).label, from_ply.label)


def test_the_label_map_knows_the_misspelt_fridge_by_its_id(tmp_path: Path) -> None:
    table = "id\traw_category\tnyu40id\tnyu40class\n1\tfridge\t24\trefridgerator\n2\tsome chair\t5\tchair\n"
    path = tmp_path / "scannetv2-labels.combined.tsv"
    path.write_text(table)
    assert LabelMap(path).nyu40_of == {"fridge": 24, "some chair": 5}


def test_overlapping_and_dangling_groups(tmp_path: Path, folder: Path) -> None:
    """A segment in two groups belongs to the later one; a group may name segments that no vertex has, or none."""
    named = [
        {"objectId": 0, "label": "wall", "segments": [3, 17, 5]},
        {"objectId": 1, "label": "floor", "segments": [900_000_001, 123_456]},
        {"objectId": 2, "label": "office chair", "segments": [17, -1]},
        {"objectId": 3, "label": "thing", "segments": [5]},
        {"objectId": 4, "label": "person", "segments": []},
        {"objectId": 5, "label": "wall", "segments": [999_999_999]},
    ]
    scans.write_segments(folder, scans.segment_of_vertex(), named)
    ScanFiles(folder).labels.unlink()
    label = read_scan(folder, LabelMap(scans.write_label_map(tmp_path))).label
    assert label[:6].tolist() == [0, 1, 4, 4, 255, 255]


def test_test_scans_need_the_mesh_alone(tmp_path: Path) -> None:
    folder = scans.write_scan(tmp_path, TEST, labels=False, segments=False, info=False)
    scene = read_scan(folder, None)
    assert scene.label is None
    np.testing.assert_array_equal(scene.xyz, scans.geometry(TEST)[0])


def test_an_info_file_without_alignment(folder: Path) -> None:
    ScanFiles(folder).info.write_text("colorHeight = 968\nsceneType = Apartment\n")
    np.testing.assert_array_equal(read_scan(folder, None).xyz, scans.geometry(TRAIN)[0])


def assert_refused(folder: Path, message: str, *, label_map: Path | None = None, align: bool = True) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_scan(folder, LabelMap(label_map) if label_map else None, align=align)
    assert TRAIN in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["mesh", "info"])
def test_missing_files_are_named(folder: Path, name: str) -> None:
    path = getattr(ScanFiles(folder), name)
    path.unlink()
    assert_refused(folder, f"{path.name}: no such file")


def test_the_info_file_is_needed_for_alignment_alone(folder: Path) -> None:
    ScanFiles(folder).info.unlink()
    np.testing.assert_array_equal(read_scan(folder, None, align=False).xyz, scans.geometry(TRAIN)[0])


def test_labels_must_be_there_in_train_and_val(folder: Path) -> None:
    files = ScanFiles(folder)
    files.labels.unlink()
    assert_refused(folder, r"labels\.ply: no such file, and no scannetv2-labels\.combined\.tsv beside the scans")
    files.aggregation.unlink()
    assert_refused(folder, r"labels\.ply: no such file, and no scene0000_00\.aggregation\.json to make it from")
    files.segments.unlink()
    assert_refused(folder, r"no scene0000_00_vh.*segs\.json and no scene0000_00\.aggregation\.json to make it from")


def test_a_mesh_cut_short(folder: Path) -> None:
    mesh = ScanFiles(folder).mesh
    mesh.write_bytes(mesh.read_bytes()[:600])
    assert_refused(folder, r"_vh_clean_2\.ply: expected 48 entries of element 'vertex', got \d+ .*complete\?")


def test_broken_labels_are_not_replaced_by_segments(tmp_path: Path, folder: Path) -> None:
    labels = ScanFiles(folder).labels
    labels.write_bytes(labels.read_bytes()[:-1])
    assert_refused(folder, r"labels\.ply: expected 24 entries", label_map=scans.write_label_map(tmp_path))


def test_vertices_that_are_not_finite(folder: Path) -> None:
    xyz, rgb, _ = scans.geometry(TRAIN)
    xyz[[3, 7], [0, 2]] = np.nan, np.inf
    write_ply(ScanFiles(folder).mesh, xyz, rgb)
    assert_refused(folder, "expected finite coordinates, got 2 of 48 vertices")


def test_a_mesh_without_vertices_or_colours(folder: Path) -> None:
    write_ply(ScanFiles(folder).mesh, np.empty((0, 3)), np.empty((0, 3), np.uint8))
    assert_refused(folder, "expected vertices, got none")
    write_ply(ScanFiles(folder).mesh, scans.geometry(TRAIN)[0])
    assert_refused(folder, "vertices must have 'red', 'green', 'blue', got only 'x', 'y', 'z'")


def test_counts_must_agree(tmp_path: Path, folder: Path) -> None:
    files = ScanFiles(folder)
    xyz, rgb, _ = scans.geometry(TRAIN)
    write_ply(files.labels, xyz[1:], rgb[1:], scans.nyu40_ids()[1:])
    assert_refused(folder, r"labels\.ply: expected the mesh's 48 vertices, got 47")
    files.labels.unlink()
    scans.write_segments(folder, scans.segment_of_vertex()[:-2])
    assert_refused(
        folder, "expected segIndices of the mesh's 48 vertices, got 46", label_map=scans.write_label_map(tmp_path)
    )


def test_label_files_of_another_kind(tmp_path: Path, folder: Path) -> None:
    files, table = ScanFiles(folder), scans.write_label_map(tmp_path)
    xyz = scans.geometry(TRAIN)[0]
    write_ply(files.labels, xyz)
    assert_refused(folder, "vertices must have 'label'")
    write_ply(files.labels, xyz, extra={"label": np.ones(48, np.float32)})
    assert_refused(folder, "expected labels that are integers, got float32")
    files.labels.unlink()
    files.segments.write_text('{"segIndices": [1, 2')
    assert_refused(folder, r"segs\.json: cannot be read as JSON.*complete\?", label_map=table)
    files.segments.write_text('{"indices": []}')
    assert_refused(folder, r"segs\.json: .*missing required field `segIndices`", label_map=table)
    files.segments.write_text(json.dumps({"segIndices": [2**80] * 48}))
    assert_refused(folder, r"segs\.json: ", label_map=table)


def test_a_category_that_the_table_does_not_have(tmp_path: Path, folder: Path) -> None:
    ScanFiles(folder).labels.unlink()
    scans.write_segments(folder, scans.segment_of_vertex(), [{"label": "unicorn", "segments": [3]}])
    assert_refused(folder, "category 'unicorn' is not in .*combined.tsv", label_map=scans.write_label_map(tmp_path))


@pytest.mark.parametrize("numbers", ["1 0 0", "1 " * 15 + "x", "nan " * 16, ""])
def test_an_alignment_that_is_none(folder: Path, numbers: str) -> None:
    ScanFiles(folder).info.write_text(f"axisAlignment = {numbers}\n")
    assert_refused(folder, r"scene0000_00\.txt: axisAlignment must be 16 numbers")


def test_tables_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text("raw_category\tnyuClass\nwall\twall\n")
    with pytest.raises(InputError, match=r"labels\.tsv: expected columns raw_category, nyu40id, got no nyu40id"):
        _ = LabelMap(path).nyu40_of
    path.write_text("raw_category\tnyu40id\nwall\tone\n")
    with pytest.raises(InputError, match=r"whole numbers as nyu40id"):
        _ = LabelMap(path).nyu40_of
    with pytest.raises(InputError, match=r"none\.tsv: no such file"):
        _ = LabelMap(tmp_path / "none.tsv").nyu40_of


def test_scans_are_found_from_the_root_the_folder_and_the_scan(tmp_path: Path) -> None:
    for name in ("scene0003_01", "scene0000_00"):
        (tmp_path / "scans" / name).mkdir(parents=True)
    (tmp_path / "scans_test" / TEST).mkdir(parents=True)
    (tmp_path / "scans" / "notes").mkdir()
    (tmp_path / "scans" / "scene0009_00.zip").write_bytes(b"")
    (tmp_path / "scans" / "scene0008_00").write_bytes(b"")
    assert list(find_scans(tmp_path)) == ["scene0000_00", "scene0003_01", TEST]
    assert list(find_scans(tmp_path / "scans")) == ["scene0000_00", "scene0003_01"]
    assert find_scans(tmp_path / "scans" / "scene0003_01") == {"scene0003_01": [tmp_path / "scans" / "scene0003_01"]}
    (tmp_path / "scans_test" / "scene0003_01").mkdir()
    twice = [tmp_path / place / "scene0003_01" for place in ("scans", "scans_test")]
    assert find_scans(tmp_path)["scene0003_01"] == twice


def test_folders_without_scans(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected folders named sceneSSSS_NN .*, got none in .*scans, .*scans_test"):
        find_scans(tmp_path)
    with pytest.raises(InputError, match="expected a folder with ScanNet scans, got nothing"):
        find_scans(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="got a file"):
        find_scans(tmp_path / "file")


def test_the_label_map_is_found_beside_the_scans(tmp_path: Path, folder: Path) -> None:
    assert find_label_map(tmp_path) is None
    path = scans.write_label_map(tmp_path)
    for root in (tmp_path, tmp_path / "scans", folder):
        assert find_label_map(root).path == path.resolve()


def test_what_the_info_file_says_of_the_room(folder: Path) -> None:
    assert read_scan(folder, None).info == {"aligned": True, "scene_type": "Office"}
    assert read_scan(folder, None, align=False).info == {"aligned": False, "scene_type": "Office"}


def test_normals_are_weighted_by_area_and_turn_with_the_scan(folder: Path) -> None:
    """A corner of three squares in the coordinate planes, one of them twice as long; two vertices in no face."""
    xyz = np.array([[0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1], [9, 9, 9], [9, 9, 9]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 5], [0, 5, 4], [6, 6, 7]], np.int32)
    write_ply(ScanFiles(folder).mesh, xyz, np.zeros((8, 3), np.uint8), faces=faces)
    write_ply(ScanFiles(folder).labels, xyz, label=np.ones(8, int))
    normal = read_scan(folder, None, align=False, normals=True).normal
    diagonal = np.array([1, 0, 2]) / np.sqrt(5)  # at vertex 0: an area of 2 that faces +z, and one of 1 that faces +x
    # The floor's two triangles have an area of 1 each, the wall's of 1/2: vertex 3 is in one of either.
    expected = [diagonal, [0, 0, 1], [0, 0, 1], diagonal, [1, 0, 0], [1, 0, 0], [0] * 3, [0] * 3]
    np.testing.assert_allclose(normal, expected, atol=1e-6)
    turned = read_scan(folder, None, normals=True).normal
    np.testing.assert_allclose(turned, np.array(expected) @ scans.ALIGNMENT[:3, :3].T, atol=1e-6)
    assert turned.dtype == np.float32


def test_meshes_without_triangles_have_no_normals(folder: Path) -> None:
    files, (xyz, rgb, faces) = ScanFiles(folder), scans.geometry(TRAIN)
    for wrong, message in (
        (None, "triangles to compute normals from, got none"),
        (faces + 40, r"vertices 0\.\.47, got"),
    ):
        write_ply(files.mesh, xyz, rgb, faces=wrong)
        with pytest.raises(InputError, match=message):
            read_scan(folder, None, normals=True)
        assert read_scan(folder, None).normal is None

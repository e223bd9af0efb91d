"""The scanner: what its faults do to a room's mesh, how it is annotated, which scans a named set has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pointseg.errors import InputError
from pointseg.scannet.labels import CLASS_NAMES, nyu40_to_train, scans_of, split_of
from pointseg.scannet.scan import read_scan
from pointseg.scannet.statistics import ScanStatistics, measure
from pointseg.scannet.synthetic import DEFAULT_DENSITY, SETS, RoomSet, room_set, write_set
from pointseg.scannet.synthetic.annotator import SMALLEST, annotate, labels_of, segment
from pointseg.scannet.synthetic.categories import CATEGORIES
from pointseg.scannet.synthetic.layout import FloorPlan, Room
from pointseg.scannet.synthetic.mesh import Mesh
from pointseg.scannet.synthetic.rooms import furnish
from pointseg.scannet.synthetic.scanning import Scanner, scan
from pointseg.scannet.synthetic.shapes import Thing

STEP = DEFAULT_DENSITY**-0.5
PERFECT = Scanner(noise=0.0, drift=0.0, rounding=0.0, holes=False, irregular=0.0)
NUMBER = 2  # the room that is looked at


@pytest.fixture(scope="module")
def room() -> Room:
    return furnish(np.random.default_rng([7, NUMBER]), NUMBER, STEP)[1]


@pytest.fixture(scope="module")
def scanned(room: Room) -> Mesh:
    return scanned_by(room, Scanner())


def scanned_by(room: Room, scanner: Scanner) -> Mesh:
    return scan(room.things, room.plan, STEP, np.random.default_rng(1), scanner)[0]


def true_labels(mesh: Mesh, room: Room) -> np.ndarray:
    nyu40 = np.array([CATEGORIES[thing.category][0] for thing in room.things])
    return nyu40_to_train(nyu40[mesh.thing])


def statistics(mesh: Mesh, room: Room) -> ScanStatistics:
    return measure(mesh.xyz, true_labels(mesh, room), np.random.default_rng(0))


def test_the_same_chance_gives_the_same_scan(room: Room, scanned: Mesh) -> None:
    again = scanned_by(room, Scanner())
    for name in ("xyz", "rgb", "thing", "faces"):
        np.testing.assert_array_equal(getattr(again, name), getattr(scanned, name))


def test_vertices_are_like_a_real_scans(room: Room, scanned: Mesh) -> None:
    """Real: 16 mm apart with variation 0.41, 796 a square metre of floor, 1.8 mm about the floor's plane."""
    found = statistics(scanned, room)
    assert 0.013 < found.spacing < 0.019
    assert 0.35 < found.spacing_variation < 0.47
    assert 650 < found.floor_density < 950
    assert 0.0010 < found.floor_spread < 0.0025
    assert found.upright_spread > 2 * found.floor_spread


def test_noise_roughens_the_floor(room: Room, scanned: Mesh) -> None:
    # A thousandth of a millimetre remains: of the floor at the feet of things, which is not all floor.
    assert statistics(scanned_by(room, PERFECT), room).floor_spread < 1e-6
    noisy = statistics(scanned_by(room, Scanner(noise=3.0)), room)
    assert noisy.floor_spread > 2 * statistics(scanned, room).floor_spread


def test_an_irregular_scan_has_close_pairs_an_even_one_none(room: Room) -> None:
    assert statistics(scanned_by(room, PERFECT), room).spacing > 0.02
    assert statistics(scanned_by(room, Scanner()), room).spacing < 0.018


def test_drift_doubles_surfaces_and_bends_walls(room: Room) -> None:
    still, drifting = (scanned_by(room, Scanner(drift=drift)) for drift in (0.0, 0.015))
    assert len(drifting.xyz) > 1.02 * len(still.xyz)
    floors = [np.std(mesh.xyz[true_labels(mesh, room) == CLASS_NAMES.index("floor"), 2]) for mesh in (still, drifting)]
    assert floors[1] < floors[0] + 0.004  # heights hold
    wall = room.walls[0].start[1]
    off = []
    for mesh in (still, drifting):
        away = np.abs(mesh.xyz[mesh.thing == 0, 1] - wall)
        off.append(np.median(away[away < 0.06]))
    assert off[1] > 1.5 * off[0]


def test_holes_cost_vertices(room: Room, scanned: Mesh) -> None:
    whole = scanned_by(room, Scanner(holes=False))
    assert 0.5 * len(whole.xyz) < len(scanned.xyz) < 0.97 * len(whole.xyz)


@pytest.mark.parametrize("seed", range(4))  # of where the fused volume's cells lie
def test_fusion_rounds_the_joint_of_floor_and_wall(seed: int) -> None:
    """In a bare corner floor vertices beside the wall are lifted, those in the middle of the floor are not."""
    side = np.arange(0, 3 + STEP / 2, STEP)
    ground = np.stack([*np.meshgrid(side, side, indexing="ij"), np.zeros((len(side), len(side)))], axis=-1)
    floor, wall = Thing("floor", STEP), Thing("wall", STEP)
    floor.add(ground, (0.5, 0.5, 0.5))
    wall.wall_panel((0.0, 3.0), (0.0, 2.4), 0.0, (0.7, 0.7, 0.7))
    plan = FloorPlan([np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 3.0], [0.0, 3.0]])])
    scanner = Scanner(noise=0.0, drift=0.0, holes=False)
    mesh, _ = scan([floor, wall], plan, STEP, np.random.default_rng(seed), scanner)
    vertices = mesh.xyz[mesh.thing == 0]
    assert vertices[np.abs(vertices[:, 1]) < 0.03, 2].max() > 0.004
    assert np.abs(vertices[vertices[:, 1] > 0.5, 2]).max() < 1e-6


def test_segments_are_mostly_of_one_object_and_annotation_mostly_right(room: Room, scanned: Mesh) -> None:
    rng = np.random.default_rng(2)
    segments = segment(scanned, rng)
    ids, sizes = np.unique(segments, return_counts=True)
    assert np.average(sizes >= SMALLEST * len(segments), weights=sizes) > 0.9
    np.testing.assert_array_equal(segments[ids], ids)  # an id is the number of a vertex of the segment
    groups = annotate(scanned, segments, [thing.category for thing in room.things], rng)
    label = nyu40_to_train(labels_of(segments, groups))
    truth = true_labels(scanned, room)
    named = label != 255
    assert 0.03 < 1 - named.mean() < 0.35
    assert 0.93 < (label == truth)[named].mean() < 0.999


def test_sets_have_scannets_ids() -> None:
    assert SETS["rooms-1513"].scans == {"train": scans_of("train"), "val": scans_of("val")}
    assert SETS["rooms-1513"].count == 1513
    assert [len(scans) for scans in SETS["rooms-100"].scans.values()] == [79, 21]
    for rooms in SETS.values():
        assert {split_of(scan_id) for scan_id in rooms.scans["val"]} == {"val"}
        assert {split_of(scan_id) for scan_id in rooms.scans["train"]} == {"train"}
    with pytest.raises(InputError, match=r"set must be one of rooms-mini, .*'rooms-7'"):
        room_set("rooms-7")


def test_a_set_goes_on_where_it_stopped_and_rescans_are_of_the_same_room(tmp_path: Path) -> None:
    rooms = RoomSet(scans={"train": ("scene0000_00", "scene0000_01", "scene0001_00")}, density=100.0)
    write_set(tmp_path, rooms, seed=0, progress=False)
    first, second, other = (read_scan(tmp_path / "scans" / i, None) for i in rooms.scans["train"])
    extent = [np.ptp(np.quantile(one.xyz[:, :2], [0.02, 0.98], axis=0), axis=0) for one in (first, second, other)]
    np.testing.assert_allclose(extent[0], extent[1], atol=0.15)
    assert np.abs(extent[0] - extent[2]).max() > 0.15
    assert len(first.xyz) != len(second.xyz)

    written = (tmp_path / "scans" / "scene0000_00").stat().st_mtime_ns
    lost = tmp_path / "scans" / "scene0000_01"
    for path in lost.iterdir():
        path.unlink()
    lost.rmdir()
    write_set(tmp_path, rooms, seed=0, progress=False)
    np.testing.assert_array_equal(read_scan(lost, None).xyz, second.xyz)
    assert (tmp_path / "scans" / "scene0000_00").stat().st_mtime_ns == written

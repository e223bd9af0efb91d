"""What stands in synthetic rooms: every kind can be furnished, with the classes and in the proportions of ScanNet."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label as components

from pointseg.scannet.labels import CALIBRATED_WEIGHTS, CLASS_NAMES, NUM_CLASSES, nyu40_to_train
from pointseg.scannet.synthetic.categories import CATEGORIES
from pointseg.scannet.synthetic.layout import CELL, FloorPlan, Room
from pointseg.scannet.synthetic.outlines import outline
from pointseg.scannet.synthetic.rooms import KINDS, furnish
from pointseg.scannet.synthetic.scanning import scan
from pointseg.scannet.synthetic.shapes import Thing
from pointseg.scannet.synthetic.shell import empty_flat

# Laid out flat, hung on walls, or hanging over an edge: these may reach into what stands beneath them.
STANDING = (
    "bed", "couch", "refrigerator", "wardrobe closet", "bookshelf", "cabinet", "bathtub", "kitchen counter", "toilet",
    "table", "desk", "chair", "office chair", "armchair", "coffee table", "dresser", "file cabinet", "washing machine",
)  # fmt: skip


def points_of(thing: Thing) -> np.ndarray:
    points = np.concatenate([sheet.points.reshape(-1, 3) for sheet in thing.sheets])
    return points[np.isfinite(points[:, 0])]


def furnished(seed: int, number: int, step: float = 0.3) -> Room:
    return furnish(np.random.default_rng([seed, number]), number, step)[1]


@pytest.mark.parametrize("seed", range(3))
def test_every_kind_of_room_can_be_furnished(seed: int) -> None:
    areas, counts = [], []
    for number in range(len(KINDS)):
        room = furnished(seed, number)
        assert {thing.category for thing in room.things} <= set(CATEGORIES)
        assert room.things[0].category == "wall"
        areas.append(sum(part.area for part in room.parts))
        counts.append(len(room.things))
        for thing in room.things:
            for sheet in thing.sheets:
                assert sheet.points.shape[2] == 3
                assert np.isfinite(sheet.points).any()
                assert sheet.color.shape in ((3,), sheet.points.shape)
                assert np.min(sheet.color) >= 0
                assert np.max(sheet.color) <= 1
    assert min(areas) > 3
    assert max(areas) < 75
    assert 15 < np.median(areas) < 30
    assert min(counts) > 8
    assert 30 < np.median(counts) < 80


def test_a_room_depends_on_its_seed_alone() -> None:
    for number in (0, 6, 10):
        one, same, other = furnished(3, number), furnished(3, number), furnished(4, number)
        assert [thing.category for thing in one.things] == [thing.category for thing in same.things]
        for a, b in zip(one.things, same.things, strict=True):
            np.testing.assert_array_equal(points_of(a), points_of(b))
        assert [thing.category for thing in one.things] != [thing.category for thing in other.things]


def test_what_stands_on_the_floor_does_not_interpenetrate() -> None:
    """Hardly any point of one piece of furniture lies well inside the bounding box of another."""
    deep = total = 0
    for number in range(len(KINDS)):
        boxes = [points_of(thing) for thing in furnished(21, number).things if thing.category in STANDING]
        for a, one in enumerate(boxes):
            low, high = one.min(0) + 0.08, one.max(0) - 0.08
            for b, two in enumerate(boxes):
                # A chair stands under its table, and a door ajar over another thing: most of a piece must be clear.
                if a != b and (low < high).all():
                    total += 1
                    deep += ((two > low) & (two < high)).all(1).mean() > 0.5
    assert total > 1000
    assert deep <= 2


def test_scanned_class_shares_are_near_scannets() -> None:
    counts = np.zeros(256, dtype=np.int64)
    for number in range(len(KINDS)):
        room = furnished(7, number, step=0.09)
        mesh, _ = scan(room.things, room.plan, 0.09, np.random.default_rng([8, number]))
        train = nyu40_to_train(np.array([CATEGORIES[thing.category][0] for thing in room.things]))
        counts += np.bincount(train[mesh.thing], minlength=256)
    ratio = counts[:NUM_CLASSES] / counts[:NUM_CLASSES].sum() / CALIBRATED_WEIGHTS
    # Forty rooms at a third of the density: a set of hundreds comes closer.
    for name, weight, off in zip(CLASS_NAMES, CALIBRATED_WEIGHTS, ratio, strict=True):
        factor = 2.0 if weight >= 0.01 else 3.5
        assert 1 / factor < off < factor, f"{name}: {off:.2f} times ScanNet's share"


def test_categories_have_the_label_tables_ids() -> None:
    known = {
        "wardrobe closet": 39,
        "nightstand": 32,
        "stool": 40,
        "bench": 39,
        "bathroom vanity": 3,
        "mini fridge": 24,
        "sofa chair": 5,
        "coffee table": 7,
        "bathroom counter": 12,
        "stove": 38,
        "dresser": 17,
        "trash can": 39,
        "bin": 40,
        "printer": 40,
        "radiator": 39,
        "shower door": 8,
        "shower wall": 1,
        "shelf": 15,
    }
    assert {raw: CATEGORIES[raw][0] for raw in known} == known


def test_the_rooms_of_a_flat_are_connected() -> None:
    for seed in range(12):
        flat = empty_flat(np.random.default_rng(seed), 0.3, 8.0, 6.0, 2 + seed % 3)
        assert len(flat.parts) == 2 + seed % 3
        _, count = components(~flat.plan.solid)
        assert count == 1
        walkable = (~flat.plan.solid).sum() * CELL * CELL
        assert walkable > 0.9 * sum(part.area for part in flat.parts)


def test_outlines_are_closed_and_the_plan_covers_them() -> None:
    shapes = set()
    for seed in range(60):
        walls, floor = outline(np.random.default_rng(seed), 5.0, 4.0)
        shapes.add(len(walls))
        x, y = walls.T
        area = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
        assert 6.0 < area <= 20.0 + 1e-9  # counter-clockwise
        assert (~FloorPlan([walls]).solid).sum() * CELL * CELL == pytest.approx(area, rel=0.03)
        edges = np.abs(np.roll(floor, -1, axis=0) - floor)
        assert (edges.min(1) < 1e-9).all()  # the floor's edges run along the axes
        assert (np.ptp(floor, axis=0) == (5.0, 4.0)).all()
    assert len(shapes) > 4

"""What kinds of rooms there are and what stands in each."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic import fixtures, furniture
from pointseg.scannet.synthetic.layout import Room, Spot
from pointseg.scannet.synthetic.shapes import Group
from pointseg.scannet.synthetic.shell import add_door, add_shell, add_window, empty_room


def furnish(rng: Generator, number: int, step: float) -> tuple[str, Room]:
    """Room `number` of a data set: its scene type, which goes round all kinds, and the finished room."""
    scene_type, (width, depth), recipe = KINDS[number % len(KINDS)]
    room = empty_room(rng, step, rng.uniform(*width), rng.uniform(*depth))
    recipe(room)
    add_shell(room)
    return scene_type, room


def bedroom(room: Room) -> None:
    rng, step = room.rng, room.step
    add_door(room)
    _windows(room, 1, 2)
    _bed_corner(room)
    _maybe(0.85, room, furniture.cabinet(rng, step, "wardrobe"), front=0.5)
    if rng.random() < 0.6:
        _desk_place(room)
    if rng.random() < 0.5:
        _on_top(room, _maybe(1.0, room, furniture.cabinet(rng, step, "dresser")), fixtures.television(rng, step))
    _maybe(0.5, room, furniture.bookshelf(rng, step))
    _maybe(0.4, room, furniture.armchair(rng, step))
    _radiator(room)
    _pictures(room, 1, 3)
    if rng.random() < 0.4:
        _mirror(room)
    _small_things(room, 2, 5)


def living_room(room: Room) -> None:
    rng, step = room.rng, room.step
    add_door(room)
    if rng.random() < 0.4:
        add_door(room)
    _windows(room, 1, 3)
    couch = _insist(room, furniture.sofa, front=0.9)
    if couch is not None:
        _before(room, couch, furniture.coffee_table(rng, step), 0.35)
    if rng.random() < 0.45:
        room.against_wall(furniture.sofa(rng, step))
    _on_top(room, _maybe(0.8, room, furniture.cabinet(rng, step, "tv stand")), fixtures.television(rng, step))
    for _ in range(rng.integers(0, 3)):
        _maybe(0.8, room, furniture.armchair(rng, step))
    if rng.random() < 0.6:
        _dining_place(room, furniture.table(rng, step))
    for _ in range(rng.integers(1, 3)):
        _maybe(0.6, room, furniture.bookshelf(rng, step), front=0.4)
    _maybe(0.6, room, furniture.cabinet(rng, step), front=0.4)
    _maybe(0.5, room, fixtures.floor_lamp(rng, step), front=0.0)
    _maybe(0.4, room, fixtures.plant(rng, step), front=0.0)
    if rng.random() < 0.5:
        room.in_the_open(fixtures.ottoman(rng, step), around=0.2)
    _radiator(room)
    _pictures(room, 2, 4)
    _small_things(room, 1, 3)


def bathroom(room: Room) -> None:
    rng, step = room.rng, room.step
    shortest = min(wall.length for wall in room.walls if wall.length >= 1.6)
    tub = fixtures.bathtub(rng, step, min(rng.uniform(1.55, 1.8), shortest - 0.08))
    room.against_wall(tub, front=0.4, corner=True)
    add_door(room)
    if rng.random() < 0.6:
        add_window(room, sill=rng.uniform(1.15, 1.4), width=rng.uniform(0.6, 0.9), curtains=False)
    _insist(room, fixtures.toilet)
    basin = _insist(room, fixtures.washbasin)
    if basin is not None and rng.random() < 0.85:
        mirror = fixtures.framed(rng, step, "mirror", rng.uniform(0.5, 0.7), rng.uniform(0.6, 0.8), (0.7, 0.75, 0.78))
        room.hang(mirror, rng.uniform(1.1, 1.2), wall=basin.wall, along=basin.along)
    _maybe(0.35, room, fixtures.washing_machine(rng, step), front=0.3)
    _maybe(0.4, room, furniture.cabinet(rng, step, "nightstand"), front=0.3)
    for _ in range(rng.integers(1, 3)):
        room.hang(fixtures.towel(rng, step), rng.uniform(0.8, 1.1))
    _maybe(0.8, room, fixtures.bin_(rng, step), front=0.0)
    if rng.random() < 0.25:
        _pictures(room, 1, 1)


def office(room: Room) -> None:
    rng, step = room.rng, room.step
    add_door(room)
    _windows(room, 1, 2)
    for _ in range(rng.integers(2, 5)):
        _desk_place(room)
    for _ in range(rng.integers(1, 3)):
        _maybe(0.9, room, furniture.bookshelf(rng, step), front=0.4)
    for _ in range(rng.integers(1, 4)):
        _maybe(0.8, room, furniture.cabinet(rng, step, "file cabinet"), front=0.3)
    if rng.random() < 0.5:
        _dining_place(room, furniture.table(rng, step))
    if rng.random() < 0.6:
        _whiteboard(room)
    for _ in range(rng.integers(0, 3)):
        _maybe(0.9, room, furniture.chair(rng, step), front=0.1)
    _radiator(room)
    _pictures(room, 0, 2)
    _small_things(room, 2, 5)


def kitchen(room: Room) -> None:
    rng, step = room.rng, room.step
    room.against_wall(fixtures.refrigerator(rng, step), front=0.6, corner=True)
    _kitchen_run(room, rng.uniform(1.9, 2.8))
    add_door(room)
    _dining_place(room, furniture.table(rng, step))
    if rng.random() < 0.6:
        _kitchen_run(room, rng.uniform(1.0, 1.6), with_sink=False)
    add_window(room, sill=rng.uniform(1.05, 1.2), curtains=rng.random() < 0.5)
    _maybe(0.4, room, furniture.cabinet(rng, step), front=0.3)
    _maybe(0.3, room, fixtures.washing_machine(rng, step), front=0.3)
    _maybe(0.9, room, fixtures.bin_(rng, step), front=0.0)
    _radiator(room)
    _pictures(room, 0, 2)
    _small_things(room, 0, 2)


def library(room: Room) -> None:
    rng, step = room.rng, room.step
    add_door(room)
    _windows(room, 1, 2)
    width, height = rng.uniform(0.85, 1.1), rng.uniform(1.7, 2.1)
    for _ in range(rng.integers(3, 7)):
        room.against_wall(furniture.bookshelf(rng, step, width=width, height=height), front=0.6)
    for _ in range(rng.integers(1, 3)):
        _dining_place(room, furniture.table(rng, step))
    for _ in range(rng.integers(0, 3)):
        _maybe(0.8, room, furniture.armchair(rng, step))
    if rng.random() < 0.4:
        _desk_place(room)
    _maybe(0.4, room, furniture.sofa(rng, step))
    _maybe(0.6, room, fixtures.plant(rng, step), front=0.0)
    _pictures(room, 1, 2)
    _small_things(room, 1, 3)


def conference_room(room: Room) -> None:
    rng, step = room.rng, room.step
    add_door(room)
    _windows(room, 1, 3)
    if rng.random() < 0.6:  # one long table
        extent = room.outline.max(0)
        width = min(rng.uniform(1.8, 3.2), float(extent.max()) - 2.2)
        _dining_place(
            room, furniture.table(rng, step, width=width, depth=rng.uniform(0.95, 1.2)), swivel=rng.random() < 0.6
        )
    else:  # a classroom's small tables
        for _ in range(rng.integers(3, 6)):
            _dining_place(room, furniture.table(rng, step, width=rng.uniform(1.1, 1.4), depth=0.65), around=0.45)
    _whiteboard(room)
    if rng.random() < 0.5:
        _whiteboard(room)
    _on_top(room, _maybe(0.5, room, furniture.cabinet(rng, step)), fixtures.table_clutter(rng, step))
    _maybe(0.4, room, furniture.cabinet(rng, step, "file cabinet"))
    for _ in range(rng.integers(0, 3)):
        _maybe(0.9, room, furniture.chair(rng, step), front=0.1)
    _radiator(room)
    _pictures(room, 1, 2)
    _small_things(room, 1, 2)


def studio(room: Room) -> None:
    """One-room flat: a bed, a sofa, a kitchenette and a place to eat."""
    rng, step = room.rng, room.step
    room.against_wall(fixtures.refrigerator(rng, step), front=0.6, corner=True)
    _kitchen_run(room, rng.uniform(1.5, 2.0))
    add_door(room)
    _windows(room, 1, 2)
    _bed_corner(room)
    couch = _insist(room, furniture.sofa, front=0.8)
    if couch is not None:
        _before(room, couch, furniture.coffee_table(rng, step), 0.35)
    _dining_place(room, furniture.table(rng, step))
    _maybe(0.7, room, furniture.cabinet(rng, step, "wardrobe"))
    _maybe(0.6, room, furniture.bookshelf(rng, step), front=0.4)
    if rng.random() < 0.4:
        _desk_place(room)
    _maybe(0.5, room, fixtures.floor_lamp(rng, step), front=0.0)
    _radiator(room)
    _pictures(room, 1, 3)
    _small_things(room, 1, 4)


# scene type, (width range, depth range) in metres, what stands in it
KINDS: tuple[tuple[str, tuple[tuple[float, float], tuple[float, float]], Callable[[Room], None]], ...] = (
    ("Bedroom / Hotel", ((3.3, 5.0), (3.2, 4.5)), bedroom),
    ("Bathroom", ((2.3, 3.2), (2.2, 3.0)), bathroom),
    ("Office", ((3.2, 5.2), (3.0, 4.8)), office),
    ("Kitchen", ((3.2, 4.8), (3.0, 4.2)), kitchen),
    ("Living room / Lounge", ((4.0, 6.5), (3.6, 5.2)), living_room),
    ("Bookstore / Library", ((4.2, 6.5), (3.6, 5.5)), library),
    ("Apartment", ((5.0, 7.0), (4.0, 5.5)), studio),
    ("Conference Room", ((4.2, 6.8), (3.6, 5.2)), conference_room),
)


# --- arrangements -----------------------------------------------------------------------------------------------------


def _maybe(chance: float, room: Room, group: Group, *, front: float = 0.5) -> Spot | None:
    return room.against_wall(group, front=front) if room.rng.random() < chance else None


def _insist(room: Room, build: Callable[[Generator, float], Group], *, front: float = 0.4) -> Spot | None:
    """`against_wall` for what the room cannot do without: other designs, then less space before it."""
    for space in (front, front, front, 0.2, 0.2, 0.2):
        spot = room.against_wall(build(room.rng, room.step), front=space)
        if spot is not None:
            return spot
    return None


def _windows(room: Room, fewest: int, most: int) -> None:
    for _ in range(room.rng.integers(fewest, most + 1)):
        add_window(room)


def _bed_corner(room: Room) -> None:
    """A bed with nightstands, each with a lamp, where there is space beside its head."""
    rng, step = room.rng, room.step
    spot = room.against_wall(furniture.bed(rng, step), front=0.5)
    if spot is None or spot.wall is None:
        return
    for side in (-1, 1):
        stand = furniture.cabinet(rng, step, "nightstand")
        along = spot.along + side * (spot.group.width / 2 + stand.width / 2 + rng.uniform(0.06, 0.2))
        if rng.random() < 0.75:
            placed = room.against_wall_at(stand, spot.wall, along)
            if placed is not None and rng.random() < 0.6:
                _on_top(room, placed, fixtures.table_lamp(rng, step))


def _desk_place(room: Room) -> None:
    """A desk at a wall with a chair before it and, mostly, a monitor and papers on it."""
    rng, step = room.rng, room.step
    spot = room.against_wall(furniture.desk(rng, step), front=0.8)
    if spot is None:
        return
    for x in (-0.2, 0.35)[: rng.integers(0, 3)]:
        room.on_top(spot, fixtures.monitor(rng, step), (x + rng.uniform(-0.03, 0.03)) * spot.group.width, 0.05)
    if rng.random() < 0.4:
        room.on_top(spot, fixtures.table_clutter(rng, step), spot.group.width / 2 - 0.2, spot.group.depth - 0.33)
    seat = furniture.office_chair(rng, step) if rng.random() < 0.7 else furniture.chair(rng, step)
    x, y = spot.to_room(rng.uniform(-0.3, 0.05), spot.group.depth + seat.depth / 2 + rng.uniform(-0.1, 0.15))
    room.at(seat, x, y, spot.angle + math.pi + rng.normal(0, 0.3), tuck=0.25)


def _dining_place(room: Room, table: Group, *, around: float = 0.65, swivel: bool = False) -> None:
    """A table with chairs on its sides, facing it."""
    rng, step = room.rng, room.step
    spot = room.in_the_open(table, around=around) or room.in_the_open(table, around=around * 0.7)
    spot = spot or room.against_wall(table, front=0.6) or room.against_wall(table, front=0.3)
    if spot is None:
        return
    half = table.width / 2
    sides = [((x, table.depth), math.pi) for x in _places(half)] + [((x, 0.0), 0.0) for x in _places(half)]
    design = furniture.office_chair(rng, step) if swivel else furniture.chair(rng, step)
    sides += [((half, table.depth / 2), math.pi / 2), ((-half, table.depth / 2), -math.pi / 2)]
    for (x, y), turn in sides:
        if rng.random() < 0.25:
            continue
        seat = design if rng.random() < 0.9 else furniture.chair(rng, step)
        out = seat.depth / 2 + rng.uniform(-0.2, 0.12)
        # A chair that faces the table stands behind it as seen from its own front.
        x, y = x + math.sin(turn) * out, y - math.cos(turn) * out
        room.at(seat, *spot.to_room(x, y), spot.angle + turn + rng.normal(0, 0.12), tuck=0.3)
    for _ in range(rng.integers(0, 3)):
        room.on_top(
            spot, fixtures.table_clutter(rng, step), rng.uniform(-0.5, 0.5) * half, rng.uniform(0.15, 0.5) * table.depth
        )


def _places(half: float) -> np.ndarray:
    """Local x of chairs along a table side of that half length, 0.65 m apart."""
    count = max(1, int(2 * half / 0.65))
    return (np.arange(count) - (count - 1) / 2) * 0.65


def _before(room: Room, spot: Spot, group: Group, distance: float) -> None:
    """Puts a group before another one, facing it."""
    x, y = spot.to_room(room.rng.uniform(-0.15, 0.15), spot.group.depth + distance + group.depth / 2)
    placed = room.at(group, x, y, spot.angle + math.pi)
    if placed is not None and room.rng.random() < 0.6:
        _on_top(room, placed, fixtures.table_clutter(room.rng, room.step))


def _on_top(room: Room, spot: Spot | None, group: Group) -> None:
    """Puts a group in the middle of another one's top, if that stands at all and is wide enough."""
    if spot is not None and group.width <= spot.group.width and group.depth <= spot.group.depth + 0.02:
        free = (spot.group.width - group.width) / 2
        room.on_top(spot, group, room.rng.uniform(-free, free) * 0.7, (spot.group.depth - group.depth) / 2)


def _kitchen_run(room: Room, width: float, *, with_sink: bool = True) -> None:
    """A counter with what stands on it and, where no window is, cabinets above."""
    rng, step = room.rng, room.step
    for shorter in (1.0, 0.8, 0.65):
        spot = room.against_wall(fixtures.kitchen_counter(rng, step, width * shorter, with_sink=with_sink), front=0.8)
        if spot is not None:
            break
    if spot is None:
        return
    if rng.random() < 0.85:
        group = fixtures.wall_cabinet(rng, step, (spot.group.width - 0.1) * rng.uniform(0.6, 1.0))
        room.hang(group, rng.uniform(1.38, 1.5), wall=spot.wall, along=spot.along)
    if not with_sink:
        _on_top(room, spot, fixtures.microwave(rng, step))


def _radiator(room: Room) -> None:
    if room.rng.random() < 0.6:
        room.against_wall(fixtures.radiator(room.rng, room.step, room.rng.uniform(0.7, 1.3)), front=0.05)


def _pictures(room: Room, fewest: int, most: int) -> None:
    rng = room.rng
    for _ in range(rng.integers(fewest, most + 1)):
        category = "picture" if rng.random() < 0.75 else "poster"
        size = rng.uniform(0.35, 1.0), rng.uniform(0.35, 0.8)
        room.hang(fixtures.framed(rng, room.step, category, *size), rng.uniform(1.2, 1.5))


def _mirror(room: Room) -> None:
    rng = room.rng
    size = rng.uniform(0.45, 0.8), rng.uniform(0.8, 1.4)
    room.hang(fixtures.framed(rng, room.step, "mirror", *size, (0.7, 0.75, 0.78)), rng.uniform(0.5, 0.9))


def _whiteboard(room: Room) -> None:
    rng = room.rng
    size = rng.uniform(1.4, 2.4), rng.uniform(0.95, 1.2)
    room.hang(fixtures.framed(rng, room.step, "whiteboard", *size, (0.93, 0.93, 0.95)), rng.uniform(0.85, 1.0))


def _small_things(room: Room, fewest: int, most: int) -> None:
    """Bins, boxes, bags and ottomans at walls and, some, in the way."""
    rng, step = room.rng, room.step
    makers = (fixtures.bin_, fixtures.bin_, fixtures.cardboard_box, fixtures.bag, fixtures.ottoman, fixtures.plant)
    for _ in range(rng.integers(fewest, most + 1)):
        group = makers[rng.integers(len(makers))](rng, step)
        if rng.random() < 0.75:
            room.against_wall(group, front=0.0)
        else:
            room.in_the_open(group, around=0.1)

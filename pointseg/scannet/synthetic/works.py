"""Rooms that people work, learn, meet and pass through in: what stands in each."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from pointseg.scannet.synthetic.arrangements import (
    board,
    covered,
    desk_place,
    desk_things,
    floor_things,
    insist,
    kitchen_place,
    maybe,
    mirror,
    pictures,
    shelves,
    sit_before,
    sofa_place,
    standing_things,
    stored,
    table_place,
    tv_place,
    wall_things,
    windows,
)
from pointseg.scannet.synthetic.furniture import (
    bathrooms,
    cabinets,
    chairs,
    clutter,
    hangings,
    kitchens,
    sofas,
    standing,
    storage,
    tables,
)
from pointseg.scannet.synthetic.layout import Room, Wall
from pointseg.scannet.synthetic.openings import add_door

files = partial(cabinets.cabinet, category="file cabinet")
WORK_THINGS = (
    standing.bin_,
    standing.bin_,
    standing.bin_,
    standing.box_pile,
    standing.plant,
    standing.tower,
    standing.fan,
    chairs.stool,
    standing.easel,
    standing.suitcase,
)


def office(room: Room) -> None:
    rng, step = room.rng, room.step
    windows(room, 2, curtains=0.18)
    if room.area > 18 and rng.random() < 0.5:
        _desk_blocks(room, int(rng.integers(1, 3)))
    for _ in range(rng.integers(1, 4)):
        desk_place(room)
    if rng.random() < 0.55:
        shelves(room, storage.bookshelf, 0.3)
    if rng.random() < 0.3:
        shelves(room, storage.shelf, 0.4, clutter.DESK)
    for build, chance in ((files, 0.55), (files, 0.25), (cabinets.cabinet, 0.35), (cabinets.mini_fridge, 0.1)):
        covered(room, maybe(chance, room, build, front=0.3), clutter.DESK, 0.3)
    if rng.random() < 0.55:
        table_place(room, tables.table(rng, step, longest=1.8))
    if rng.random() < 0.45:
        board(room, "whiteboard")
    if rng.random() < 0.2:
        sofa_place(room)
    for _ in range(rng.integers(0, 3)):
        covered(room, maybe(0.8, room, chairs.chair, front=0.1), clutter.SOFT, 0.15, most=1)
    maybe(0.5, room, standing.radiator, front=0.05)
    _details(room, 0.35, 2.0, 1.2)


def _desk_blocks(room: Room, count: int) -> None:
    """Desks that stand free in pairs, face to face, often with a screen of fabric between."""
    rng, step = room.rng, room.step
    design = tables.desk(rng, step, longest=1.5)
    for _ in range(count):
        spot = room.in_the_open(design, around=0.5)
        if spot is None:
            continue
        desk_things(room, spot)
        sit_before(room, spot)
        x, y = spot.to_room(0.0, -design.depth / 2 - 0.08)
        other = room.at(design, x, y, spot.angle + math.pi)
        if other is not None:
            desk_things(room, other)
            sit_before(room, other)
            if rng.random() < 0.5:
                screen = standing.fabric_screen(rng, step)
                room.things += screen.placed(*spot.to_room(0.0, -0.07), spot.angle)


def classroom(room: Room) -> None:
    """Rows of tables or desks that face a board, chairs behind them; a teacher's desk."""
    rng, step = room.rng, room.step
    front = max(room.walls, key=lambda wall: wall.length * rng.uniform(0.7, 1.0))
    board(room, "whiteboard" if rng.random() < 0.6 else "blackboard", wall=front)
    category = "desk" if rng.random() < 0.3 else "table"
    width, depth = rng.uniform(0.6, 1.6), rng.uniform(0.45, 0.75)
    design = tables.table(rng, step, width=width, depth=depth, category=category)
    seat = chairs.chair(rng, step)
    pitch_x, pitch_y = width + rng.uniform(0.05, 0.6), depth + rng.uniform(0.75, 1.0)
    across = np.arange(0.7 + width / 2, front.length - 0.6 - width / 2, pitch_x)
    for y in np.arange(2.0, float(np.ptp(room.outline, axis=0).max()), pitch_y)[:6]:
        for x in across:
            at = front.to_room(float(x), float(y) + rng.normal(0, 0.02))
            spot = room.at(design, *at, front.angle + rng.normal(0, 0.02)) if rng.random() < 0.85 else None
            if spot is None:
                continue
            covered(room, spot, clutter.DESK[2:], 0.08, most=3)
            for place in np.linspace(-0.25, 0.25, max(1, int(width / 0.8))) * width if width > 1.0 else (0.0,):
                group = seat if rng.random() < 0.85 else chairs.chair(rng, step)
                out = design.depth + group.depth / 2 + rng.uniform(-0.22, 0.15)
                room.at(group, *spot.to_room(float(place), out), spot.angle + math.pi + rng.normal(0, 0.15), tuck=0.3)
    teacher = tables.desk(rng, step, longest=1.6)
    spot = room.at(teacher, *front.to_room(front.length * rng.uniform(0.25, 0.75), 1.2), front.angle)
    if spot is not None:
        desk_things(room, spot)
    if rng.random() < 0.3:
        room.against_wall(standing.podium(rng, step), front=0.1)
    windows(room, 3, curtains=0.27)
    for build, chance in ((cabinets.cabinet, 0.3), (storage.bookshelf, 0.4), (storage.shelf, 0.2), (files, 0.2)):
        covered(room, maybe(chance, room, build, front=0.3), clutter.SHELF, 0.3)
    if rng.random() < 0.4:
        board(room, str(rng.choice(["bulletin board", "whiteboard", "projector screen"])))
    maybe(0.5, room, standing.radiator, front=0.05)
    _details(room, 0.5, 1.0, 0.5)


def conference_room(room: Room) -> None:
    """One long table, or several pushed together, chairs all round, boards and screens."""
    rng, step = room.rng, room.step
    longest = float(np.ptp(room.outline, axis=0).max()) - 2.0
    width = min(rng.uniform(1.6, 4.0), longest)
    table = (
        tables.table(rng, step, width=width, depth=rng.uniform(0.9, 1.3))
        if rng.random() < 0.75
        else tables.table(rng, step)
    )
    seat = chairs.office_chair if rng.random() < 0.6 else chairs.chair
    table_place(room, table, seat=seat, share=0.9, fill=0.05)
    board(room, "whiteboard")
    if rng.random() < 0.4:
        board(room, str(rng.choice(["whiteboard", "projector screen", "bulletin board"])))
    if rng.random() < 0.4:
        tv_place(room)
    windows(room, 2, curtains=0.27)
    covered(room, maybe(0.5, room, cabinets.cabinet), clutter.TABLE, 0.2)
    if rng.random() < 0.2:
        shelves(room, storage.bookshelf, 0.3)
    for _ in range(rng.integers(0, 4)):
        maybe(0.8, room, seat, front=0.1)
    maybe(0.4, room, standing.radiator, front=0.05)
    _details(room, 0.4, 1.2, 0.6)


def library(room: Room) -> None:
    """Bookshelves along the walls and in rows, tables to read at, easy chairs."""
    rng, step = room.rng, room.step
    windows(room, 2, curtains=0.18)
    width, height, fill = rng.uniform(0.75, 1.2), rng.uniform(1.2, 2.2), rng.uniform(0.4, 1.0)
    build = partial(storage.bookshelf, width=width, height=height, fill=fill)
    for _ in range(rng.integers(1, 4)):
        shelves(room, build, 0.3, front=0.6)
    for _ in range(rng.integers(0, 2)):
        free = build(rng, step)
        spot = room.in_the_open(free, around=0.6)
        if spot is not None:  # another one at its back
            room.at(build(rng, step), *spot.to_room(0.0, -free.depth / 2 - 0.08), spot.angle + math.pi)
    for _ in range(rng.integers(1, 4)):
        table_place(room, tables.table(rng, step, longest=2.2))
    if rng.random() < 0.4:
        sofa_place(room)
    for build_easy, chance in ((sofas.armchair, 0.6), (sofas.armchair, 0.4), (sofas.ottoman, 0.3), (chairs.bench, 0.2)):
        maybe(chance, room, build_easy, front=0.2)
    if rng.random() < 0.4:
        desk_place(room)
    if rng.random() < 0.3:
        covered(room, room.in_the_open(kitchens.reception(rng, step), around=0.5), clutter.DESK, 0.2)
    _details(room, 0.5, 1.5, 0.6)


def hallway(room: Room) -> None:
    rng = room.rng
    for _ in range(rng.integers(0, 3)):
        add_door(room, wide=rng.random() < 0.2)
    for build, chance in (
        (chairs.bench, 0.35),
        (cabinets.lockers, 0.25),
        (standing.water_cooler, 0.15),
        (cabinets.machine, 0.1),
        (cabinets.cabinet, 0.25),
        (storage.bookshelf, 0.1),
        (chairs.chair, 0.4),
        (chairs.chair, 0.2),
        (standing.radiator, 0.4),
        (tables.end_table, 0.15),
        (tables.table, 0.12),
    ):
        covered(room, maybe(chance, room, build, front=0.5), clutter.SHELF, 0.15)
    if rng.random() < 0.4:
        board(room, "bulletin board")
    wall_things(room, (hangings.coats,), 0.3, (0.6, 0.8))
    _details(room, 0.6, 1.0, 0.4)


def copy_room(room: Room) -> None:
    """Copiers and printers, counters with paper, pigeon holes, bins."""
    rng, step = room.rng, room.step
    for chance in (0.95, 0.4):
        covered(room, maybe(chance, room, cabinets.copier), clutter.DESK[2:5], 0.2)
    if rng.random() < 0.6:
        style = kitchens.KitchenStyle(rng)
        counter = kitchens.kitchen_counter(rng, step, rng.uniform(1.0, 2.4), style, with_sink=rng.random() < 0.3)
        covered(room, room.against_wall(counter), clutter.DESK, 0.35)
    else:
        covered(room, room.against_wall(kitchens.reception(rng, step)), clutter.DESK, 0.35)
    for build, chance in ((tables.table, 0.4), (files, 0.4), (cabinets.cabinet, 0.35)):
        covered(room, maybe(chance, room, build, front=0.3), clutter.DESK, 0.3)
    shelves(room, partial(storage.bookshelf, category="shelf", fill=0.5), 0.4, clutter.DESK)
    if rng.random() < 0.3:
        board(room, "bulletin board")
    standing_things(room, (standing.bin_, standing.bin_, standing.box_pile), 2.5)
    _details(room, 0.3, 0.5, 0.5)


def lobby(room: Room) -> None:
    """A place to wait: seats in groups, low tables, plants, a counter."""
    rng, step = room.rng, room.step
    windows(room, 3, curtains=0.18)
    for _ in range(rng.integers(1, 3)):
        sofa_place(room)
    for _ in range(rng.integers(1, 3)):
        table_place(room, tables.table(rng, step, longest=1.2))
    if rng.random() < 0.5:
        spot = room.in_the_open(kitchens.reception(rng, step), around=0.6)
        covered(room, spot, clutter.DESK, 0.2)
    for build, chance in (
        (sofas.armchair, 0.6),
        (chairs.bench, 0.4),
        (cabinets.machine, 0.2),
        (standing.water_cooler, 0.2),
    ):
        maybe(chance, room, build)
    standing_things(room, (standing.plant, standing.plant, standing.bin_, standing.floor_lamp), 2.5)
    _details(room, 0.6, 0.8, 0.5)


def lounge_kitchen(room: Room) -> None:
    """A staff kitchen: a run, a table or a bar, machines."""
    rng, step = room.rng, room.step
    kitchen_place(room, rng.uniform(1.6, 3.0), island=rng.random() < 0.25)
    windows(room, 1, curtains=0.18)
    for _ in range(rng.integers(1, 3)):
        high = rng.random() < 0.25
        table = tables.bar_table(rng, step) if high else tables.table(rng, step, longest=1.6)
        table_place(room, table, seat=partial(chairs.stool, high=True) if high else None)
    for build, chance in ((cabinets.machine, 0.25), (standing.water_cooler, 0.3), (cabinets.mini_fridge, 0.2)):
        maybe(chance, room, build)
    if rng.random() < 0.25:
        board(room, "bulletin board")
    standing_things(room, (standing.bin_, standing.bin_, standing.box_pile), 2.0)
    _details(room, 0.3, 0.5, 0.5)


def washroom(room: Room) -> None:
    """A public toilet: stalls in a row, basins on a counter, dispensers."""
    rng = room.rng
    wall = max(room.walls, key=lambda wall: wall.length)
    width, depth = rng.uniform(0.9, 1.1), rng.uniform(1.35, 1.55)
    for along in np.arange(width / 2 + 0.05, wall.length - width / 2 - 0.05, width)[: rng.integers(1, 4)]:
        _stall(room, wall, float(along), width, depth)
    for _ in range(rng.integers(1, 3)):
        basin = insist(room, bathrooms.washbasin)
        covered(room, basin, clutter.BATH, 0.15)
        if basin is not None and rng.random() < 0.7:
            mirror(room, wall=basin.wall, along=basin.along)
    wall_things(room, (bathrooms.dispenser,), 2.5, (0.9, 1.2))
    standing_things(room, (standing.bin_,), 1.3, open_floor=0.0)
    maybe(0.4, room, standing.radiator, front=0.05)
    pictures(room, 0.1)


def _stall(room: Room, wall: Wall, along: float, width: float, depth: float) -> None:
    spot = room.against_wall_at(bathrooms.toilet(room.rng, room.step), wall, along, front=0.6)
    if spot is not None:
        x, y = wall.to_room(along, 0.0)
        room.things += [part.placed(x, y, wall.angle) for part in bathrooms.stall(room.rng, room.step, width, depth)]
        wall.taken.append((along - width / 2, along + width / 2, 0.0, 1.9))


def anything(room: Room) -> None:
    """A hobby, play or exercise room: whatever people keep, in no order."""
    rng, step = room.rng, room.step
    windows(room, 2, curtains=0.54)
    for recipe, chance in ((sofa_place, 0.5), (desk_place, 0.6), (tv_place, 0.4), (stored, 0.4)):
        if rng.random() < chance:
            recipe(room)
    if rng.random() < 0.7:
        table_place(room, tables.table(rng, step, longest=2.4))
    for build, chance in (
        (standing.piano, 0.3),
        (cabinets.cabinet, 0.5),
        (storage.bookshelf, 0.4),
        (storage.shelf, 0.3),
        (sofas.beanbag, 0.3),
        (standing.clothing_rack, 0.2),
        (chairs.bench, 0.3),
        (standing.ladder, 0.2),
        (cabinets.mini_fridge, 0.2),
    ):
        covered(room, maybe(chance, room, build), clutter.STORE, 0.3)
    if rng.random() < 0.4:
        mirror(room)
    standing_things(room, (*WORK_THINGS, standing.instrument, standing.box_pile, sofas.ottoman), 4.0, open_floor=0.4)
    _details(room, 0.7, 1.0, 2.0)


def _details(room: Room, mean_pictures: float, mean_standing: float, mean_floor: float) -> None:
    pictures(room, mean_pictures)
    wall_things(room, (hangings.switch, hangings.switch, hangings.clock, bathrooms.dispenser), 0.8, (1.05, 1.3))
    size = room.area / 18
    standing_things(room, WORK_THINGS, mean_standing * size)
    floor_things(room, mean_floor * size)

"""Rooms that people live in: what stands in each."""

from __future__ import annotations

from functools import partial

from pointseg.scannet.synthetic.arrangements import (
    bed_place,
    covered,
    desk_place,
    floor_things,
    insist,
    kitchen_place,
    maybe,
    mirror,
    pictures,
    shelves,
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
    sofas,
    standing,
    storage,
    tables,
)
from pointseg.scannet.synthetic.layout import Room
from pointseg.scannet.synthetic.openings import add_door, add_window

wardrobe = partial(cabinets.cabinet, category="wardrobe closet")
dresser = partial(cabinets.cabinet, category="dresser")
HOME_THINGS = (
    standing.bin_,
    standing.bin_,
    standing.box_pile,
    standing.basket,
    standing.suitcase,
    standing.plant,
    standing.fan,
    standing.instrument,
    standing.floor_lamp,
    sofas.ottoman,
    chairs.stool,
    standing.vacuum,
)


def bedroom(room: Room) -> None:
    rng = room.rng
    bed_place(room)
    if room.area > 12 and rng.random() < 0.25:
        bed_place(room, widest=1.2)  # a hotel's second bed
    maybe(0.55, room, wardrobe if rng.random() < 0.85 else cabinets.cabinet)
    windows(room, 2, curtains=0.85)
    if rng.random() < 0.5:
        desk_place(room)
    if rng.random() < 0.4:
        tv_place(room)
    covered(room, maybe(0.4, room, dresser), clutter.SHELF, 0.25)
    if rng.random() < 0.3:
        shelves(room, storage.bookshelf if rng.random() < 0.6 else storage.shelf, 0.3)
    covered(room, maybe(0.3, room, sofas.armchair), clutter.SOFT, 0.2, most=2)
    covered(room, maybe(0.15, room, cabinets.mini_fridge), clutter.STORE, 0.2)
    maybe(0.12, room, standing.clothing_rack)
    maybe(0.4, room, standing.radiator, front=0.05)
    if rng.random() < 0.3:
        mirror(room)
    _details(room, 0.5, 2.0, 2.5)


def living_room(room: Room) -> None:
    rng = room.rng
    windows(room, 2, curtains=0.72)
    sofa_place(room)
    if room.area > 18 and rng.random() < 0.5:
        sofa_place(room)
    if rng.random() < 0.75:
        tv_place(room)
    if room.area > 14 and rng.random() < 0.8:
        table_place(room, tables.table(rng, room.step, longest=2.0))
    for build, chance in ((sofas.armchair, 0.5), (sofas.armchair, 0.3), (chairs.chair, 0.3), (sofas.beanbag, 0.06)):
        covered(room, maybe(chance, room, build, front=0.2), clutter.SOFT, 0.15, most=2)
    if rng.random() < 0.35:
        shelves(room, storage.bookshelf if rng.random() < 0.65 else storage.shelf, 0.3)
    covered(room, maybe(0.25, room, cabinets.cabinet), clutter.SHELF, 0.25)
    covered(room, maybe(0.08, room, standing.piano), clutter.SHELF, 0.2)
    if rng.random() < 0.2:
        desk_place(room)
    covered(room, maybe(0.5, room, tables.end_table, front=0.1), clutter.SHELF, 0.3)
    if rng.random() < 0.35:
        room.in_the_open(sofas.ottoman(rng, room.step), around=0.2, square=False)
    maybe(0.4, room, standing.radiator, front=0.05)
    _details(room, 0.8, 2.0, 2.0)


def bathroom(room: Room) -> None:
    rng, step = room.rng, room.step
    shortest = min(wall.length for wall in room.walls if wall.length >= 1.5)
    tub = None
    if room.area > 4.0 and rng.random() < 0.52:
        width = min(rng.uniform(1.5, 1.8), shortest - 0.08)
        tub = room.against_wall(bathrooms.bathtub(rng, step, width), front=0.4, corner=True)
        covered(room, tub, clutter.BATH, 0.3, most=4)
    if tub is None and rng.random() < 0.75:
        room.against_wall(bathrooms.shower(rng, step), front=0.3, corner=True)
    toilet = insist(room, bathrooms.toilet)
    covered(room, toilet, clutter.BATH, 0.4, most=3)
    basin = insist(room, bathrooms.washbasin)
    covered(room, basin, clutter.BATH, 0.4, most=6)
    if basin is not None and rng.random() < 0.8:
        mirror(room, wall=basin.wall, along=basin.along)
    if rng.random() < 0.3:
        add_window(room, sill=rng.uniform(1.1, 1.4), width=rng.uniform(0.5, 0.9), curtains=0.1)
    covered(room, maybe(0.15, room, bathrooms.cistern_shelf, front=0.2), clutter.BATH, 0.5)
    covered(room, maybe(0.15, room, cabinets.washing_machine, front=0.3), clutter.STORE, 0.2)
    covered(room, maybe(0.2, room, cabinets.cabinet, front=0.3), clutter.BATH, 0.3)
    maybe(0.3, room, standing.radiator, front=0.05)
    wall_things(room, (bathrooms.towel,), 1.6, (0.7, 1.2))
    wall_things(room, (bathrooms.rolls, bathrooms.dispenser), 1.4, (0.6, 1.2))
    standing_things(room, (standing.bin_, standing.bin_, standing.basket, chairs.stool), 1.1, open_floor=0.0)
    if rng.random() < 0.4:
        room.in_the_open(bathrooms.mat(rng, step), around=0.0)
    pictures(room, 0.2, large=0.0)
    floor_things(room, 0.6)


def kitchen(room: Room) -> None:
    rng = room.rng
    kitchen_place(room, rng.uniform(2.0, 4.0), island=room.area > 13 and rng.random() < 0.5)
    if rng.random() < 0.55:
        add_window(room, sill=rng.uniform(0.95, 1.2), curtains=0.25)
    if rng.random() < 0.85:
        table_place(room, tables.table(rng, room.step, longest=1.8))
    covered(room, maybe(0.3, room, cabinets.cabinet), clutter.KITCHEN, 0.3)
    covered(room, maybe(0.15, room, cabinets.washing_machine, front=0.3), clutter.STORE, 0.3)
    if rng.random() < 0.2:
        shelves(room, storage.shelf, 0.5, clutter.KITCHEN)
    maybe(0.35, room, standing.radiator, front=0.05)
    standing_things(room, (standing.bin_, standing.bin_, standing.box_pile, chairs.stool, chairs.chair), 1.8)
    _details(room, 0.25, 0.5, 0.7)


def dining_room(room: Room) -> None:
    rng = room.rng
    windows(room, 2, curtains=0.72)
    table_place(room, tables.table(rng, room.step, longest=2.4), share=0.9, fill=0.1)
    covered(room, maybe(0.5, room, cabinets.cabinet), clutter.SHELF, 0.25)
    covered(room, maybe(0.3, room, dresser), clutter.SHELF, 0.2)
    if rng.random() < 0.25:
        shelves(room, storage.bookshelf, 0.3)
    maybe(0.4, room, standing.radiator, front=0.05)
    maybe(0.5, room, chairs.chair, front=0.1)
    _details(room, 0.9, 1.0, 0.8)


def laundry(room: Room) -> None:
    """A flat's utility room or a house's row of washing machines and dryers."""
    rng, step = room.rng, room.step
    for _ in range(1 if room.area < 8 else 2):
        category = "washing machine" if rng.random() < 0.6 else "clothes dryer"
        first = cabinets.washing_machine(rng, step, category)
        count = int(rng.integers(1, 3 if room.area < 8 else 5))
        for spot in room.row([first] * count, front=0.5):
            covered(room, spot, clutter.STORE, 0.25, most=3)
    covered(room, maybe(0.45, room, bathrooms.washbasin), clutter.BATH, 0.4)
    if rng.random() < 0.5:
        covered(room, room.against_wall(tables.table(rng, step, longest=1.4)), clutter.STORE, 0.3)
    covered(room, maybe(0.4, room, cabinets.cabinet), clutter.STORE, 0.3)
    if rng.random() < 0.4:
        stored(room)
    kinds = (
        standing.basket,
        standing.basket,
        standing.bin_,
        standing.drying_rack,
        standing.ironing_board,
        standing.box_pile,
    )
    standing_things(room, kinds, 2.5)
    _details(room, 0.1, 0.2, 1.5)


def storeroom(room: Room) -> None:
    rng = room.rng
    for _ in range(rng.integers(1, 4)):
        stored(room)
    if rng.random() < 0.4:
        shelves(room, storage.shelf, 0.6, clutter.STORE)
    covered(room, maybe(0.5, room, cabinets.cabinet), clutter.STORE, 0.4)
    covered(room, maybe(0.4, room, partial(tables.table, longest=1.8)), clutter.STORE, 0.4)
    covered(room, maybe(0.25, room, tables.desk), clutter.STORE, 0.4)
    for build, chance in (
        (cabinets.refrigerator, 0.12),
        (cabinets.washing_machine, 0.2),
        (standing.ladder, 0.5),
        (standing.clothing_rack, 0.2),
        (chairs.chair, 0.6),
        (chairs.chair, 0.3),
        (sofas.sofa, 0.12),
        (bathrooms.washbasin, 0.12),
    ):
        covered(room, maybe(chance, room, build, front=0.1), clutter.STORE, 0.4)
    standing_things(room, (standing.box_pile, standing.box_pile, *HOME_THINGS, standing.ladder), 6.0, open_floor=0.4)
    _details(room, 0.1, 0.0, 3.0)


def studio(room: Room) -> None:
    """One room for everything: a bed, a sofa, a kitchenette and a place to eat or work."""
    rng = room.rng
    kitchen_place(room, rng.uniform(1.6, 2.6), island=rng.random() < 0.2)
    bed_place(room, widest=1.6)
    sofa_place(room)
    windows(room, 2, curtains=0.72)
    table_place(room, tables.table(rng, room.step, longest=1.4))
    if rng.random() < 0.4:
        tv_place(room)
    maybe(0.5, room, wardrobe)
    if rng.random() < 0.5:
        desk_place(room)
    if rng.random() < 0.35:
        shelves(room, storage.bookshelf, 0.3)
    maybe(0.4, room, standing.radiator, front=0.05)
    _details(room, 0.6, 2.5, 3.0)


def entrance(room: Room) -> None:
    """A flat's small hall."""
    rng = room.rng
    wall_things(room, (hangings.coats,), 0.7, (0.6, 0.8))
    covered(room, maybe(0.35, room, cabinets.cabinet, front=0.5), clutter.SHELF, 0.2)
    maybe(0.25, room, chairs.bench, front=0.4)
    if rng.random() < 0.3:
        mirror(room)
    _details(room, 0.4, 0.4, 2.0)


def apartment(room: Room) -> None:
    """A flat of several rooms: the largest to live in, the smallest a bath or a hall, kitchen and bedrooms."""
    rng = room.rng
    parts = sorted(room.parts, key=lambda part: part.area)
    if len(parts) == 1:
        add_door(room)
        studio(room)
        return
    add_door(parts[-1])
    recipes = [living_room]
    rest = [bedroom, kitchen, bedroom] if rng.random() < 0.6 else [kitchen, bedroom, dining_room]
    recipes += rest[: len(parts) - 1]
    if parts[0].area < 7:
        recipes[len(parts) - 1] = bathroom if parts[0].area > 3.2 else entrance
    for part, recipe in zip(reversed(parts), recipes, strict=True):
        recipe(part)


def _details(room: Room, mean_pictures: float, mean_standing: float, mean_floor: float) -> None:
    """What no room is without: pictures, switches, things standing and lying about, in numbers that vary."""
    pictures(room, mean_pictures)
    wall_things(room, (hangings.switch, hangings.switch, hangings.clock), 0.7, (1.05, 1.3))
    wall_things(room, (hangings.wall_shelf, hangings.coats), 0.2, (0.8, 1.1))
    size = room.area / 15
    standing_things(room, HOME_THINGS, mean_standing * size)
    floor_things(room, mean_floor * size)

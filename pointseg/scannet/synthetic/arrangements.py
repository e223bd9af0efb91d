"""What stands together: beds with nightstands, desks with what is on and under them, tables with chairs, kitchens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.furniture import (
    beds,
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
from pointseg.scannet.synthetic.layout import Room, Spot, Wall
from pointseg.scannet.synthetic.openings import add_window
from pointseg.scannet.synthetic.shapes import Group, Surface

Builder = Callable[[Generator, float], Group]


def maybe(chance: float, room: Room, build: Builder, *, front: float = 0.4) -> Spot | None:
    """Against a wall, that often."""
    if room.rng.random() >= chance:
        return None
    return room.against_wall(build(room.rng, room.step), front=front)


def insist(room: Room, build: Builder, *, front: float = 0.4, corner: bool = False) -> Spot | None:
    """`against_wall` for what the room cannot do without: other designs, then less space before it."""
    for space in (front, front, front, 0.2, 0.2, 0.1):
        spot = room.against_wall(build(room.rng, room.step), front=space, corner=corner)
        if spot is not None:
            return spot
    return None


def covered(room: Room, spot: Spot | None, kinds: Sequence[clutter.Maker], share: float, *, most: int = 12) -> None:
    """Small things on every free surface of what stands at a spot; `share` is about how much of it they cover."""
    if spot is not None:
        _on_surfaces(room, spot, spot.group.tops, kinds, share, most=most)


def _on_surfaces(
    room: Room, spot: Spot, surfaces: Sequence[Surface], kinds: Sequence[clutter.Maker], share: float, *, most: int
) -> None:
    for top in surfaces:
        floor = top.z < 0.05  # beneath a table or desk
        amount = share * room.rng.uniform(0.0, 2.0) * (0.5 if floor else 1.0)
        if min(np.ptp(top.x), np.ptp(top.y)) > 0.08:
            things = clutter.scatter(room.rng, room.step, top, amount, clutter.FLOOR if floor else kinds, most)
            room.things += [thing.placed(spot.x, spot.y, spot.angle) for thing in things]


def windows(room: Room, most: int, *, curtains: float = 0.3) -> None:
    for _ in range(room.rng.binomial(most, 0.45)):
        add_window(room, curtains=curtains)


def bed_place(room: Room, *, widest: float = 2.0) -> Spot | None:
    """A bed with nightstands, each with things on it, where there is space beside its head."""
    rng, step = room.rng, room.step
    if rng.random() < 0.06:
        return room.against_wall(beds.bunk_bed(rng, step), front=0.4, corner=True)
    spot = None
    for width in (widest, 1.4, 1.0):
        spot = spot or room.against_wall(beds.bed(rng, step, widest=width), front=0.35, corner=rng.random() < 0.3)
    if spot is None or spot.wall is None:
        return None
    covered(room, spot, clutter.SOFT, 0.05, most=4)
    for side in (-1, 1):
        if rng.random() < 0.6:
            stand = cabinets.cabinet(rng, step, "nightstand") if rng.random() < 0.8 else tables.end_table(rng, step)
            along = spot.along + side * (spot.group.width / 2 + stand.width / 2 + rng.uniform(0.08, 0.2))
            placed = room.against_wall_at(stand, spot.wall, along)
            covered(room, placed, (clutter.lamp, clutter.lamp, clutter.books, clutter.bottle, clutter.cup), 0.35)
    return spot


def desk_place(room: Room, *, seat: Builder | None = None) -> Spot | None:
    """A desk at a wall, a chair before it, a monitor or a laptop and papers on it, things beneath; some have a wing."""
    rng, step = room.rng, room.step
    spot = room.against_wall(tables.desk(rng, step), front=0.7)
    if spot is None:
        return None
    desk_things(room, spot)
    if rng.random() < 0.15:
        wing = tables.table(rng, step, width=rng.uniform(0.7, 1.2), depth=rng.uniform(0.4, 0.6), category="desk")
        x, y = spot.to_room(spot.group.width / 2 - wing.depth / 2, spot.group.depth + 0.05 + wing.width / 2)
        covered(room, room.at(wing, x, y, spot.angle + math.pi / 2), clutter.DESK, 0.2)
    sit_before(room, spot, seat)
    return spot


def desk_things(room: Room, spot: Spot) -> None:
    """Monitors at the back of a desk, keyboards, papers and the like before them."""
    rng, top = room.rng, spot.group.tops[0]
    monitors = ((), (0.0,), (-0.26, 0.26), (-0.3, 0.0, 0.3))[rng.choice(4, p=(0.2, 0.45, 0.27, 0.08))]
    for share in monitors:
        item = clutter.monitor(rng, room.step)
        at = spot.to_room(share * (top.x[1] - top.x[0]), top.y[0] + 0.14)
        turn = spot.angle - share * rng.uniform(0.5, 1.2)
        room.things += [thing.placed(*at, turn, top.z) for thing in item.things]
    before = replace(top, y=(top.y[0] + (0.3 if monitors else 0.0), top.y[1]))
    _on_surfaces(room, spot, [before, *spot.group.tops[1:]], clutter.DESK, 0.22, most=9)


def sit_before(room: Room, spot: Spot, seat: Builder | None = None) -> None:
    """A chair at the front of a desk or counter, turned to it more or less."""
    rng = room.rng
    build = seat or (chairs.office_chair if rng.random() < 0.65 else chairs.chair)
    group = build(rng, room.step)
    out = spot.group.depth + group.depth / 2 + rng.uniform(-0.15, 0.2)
    x, y = spot.to_room(rng.uniform(-0.25, 0.15), out)
    room.at(group, x, y, spot.angle + math.pi + rng.normal(0, 0.4), tuck=0.3)


def table_place(
    room: Room,
    table: Group,
    *,
    around: float = 0.6,
    seat: Builder | None = None,
    share: float = 0.7,
    fill: float = 0.08,
) -> Spot | None:
    """A table with chairs of one design on its sides, facing it, and things on it and under it."""
    spot = room.in_the_open(table, around=around) or room.in_the_open(table, around=around * 0.6)
    spot = spot or room.against_wall(table, front=0.5) or room.against_wall(table, front=0.2)
    if spot is None:
        return None
    seats_around(room, spot, seat, share)
    covered(room, spot, clutter.TABLE, fill)
    return spot


def seats_around(room: Room, spot: Spot, seat: Builder | None, share: float) -> None:
    rng, step, table = room.rng, room.step, spot.group
    half = table.width / 2
    sides = [((x, table.depth), math.pi) for x in _places(half)] + [((x, 0.0), 0.0) for x in _places(half)]
    sides += [((half, table.depth / 2), math.pi / 2), ((-half, table.depth / 2), -math.pi / 2)]
    build = seat or chairs.chair
    design = build(rng, step)
    for (x, y), turn in sides:
        if rng.random() >= share:
            continue
        group = design if rng.random() < 0.85 else build(rng, step)
        out = group.depth / 2 + rng.uniform(-0.22, 0.2)
        # A chair that faces the table stands behind it as seen from its own front.
        x, y = x + math.sin(turn) * out + rng.normal(0, 0.04), y - math.cos(turn) * out
        placed = room.at(group, *spot.to_room(x, y), spot.angle + turn + rng.normal(0, 0.18), tuck=0.3)
        if placed is not None and rng.random() < 0.12:
            covered(room, placed, clutter.SOFT, 0.3, most=1)


def _places(half: float) -> np.ndarray:
    """Local x of chairs along a table side of that half length, 0.65 m apart."""
    count = max(1, int(2 * half / 0.65))
    return (np.arange(count) - (count - 1) / 2) * 0.65


def sofa_place(room: Room) -> Spot | None:
    """A sofa, or two, with a coffee table before it, end tables and armchairs around."""
    rng, step = room.rng, room.step
    longest = float(max(wall.length for wall in room.walls)) - 0.2
    group = sofas.sofa(rng, step, longest=min(longest, 2.6))
    spot = room.against_wall(group, front=0.8) if rng.random() < 0.8 else room.in_the_open(group, around=0.5)
    spot = spot or room.against_wall(sofas.sofa(rng, step, longest=min(longest, 1.7)), front=0.4)
    if spot is None:
        return None
    covered(room, spot, clutter.SOFT, 0.1, most=3)
    if rng.random() < 0.88:
        low = tables.coffee_table(rng, step)
        x, y = spot.to_room(rng.uniform(-0.2, 0.2), spot.group.depth + rng.uniform(0.3, 0.5) + low.depth / 2)
        covered(room, room.at(low, x, y, spot.angle + math.pi + rng.normal(0, 0.05)), clutter.TABLE, 0.2)
    for side in (-1, 1):
        kind = rng.random()
        if spot.wall is not None and kind < 0.3:
            build = tables.end_table if kind < 0.22 else standing.floor_lamp
            beside = build(rng, step)
            along = spot.along + side * (spot.group.width / 2 + beside.width / 2 + rng.uniform(0.07, 0.15))
            placed = room.against_wall_at(beside, spot.wall, along, front=0.0)
            covered(room, placed, (clutter.lamp, clutter.books, clutter.cup, clutter.plant), 0.4)
        elif kind < 0.6:
            easy = sofas.armchair(rng, step) if rng.random() < 0.7 else chairs.chair(rng, step)
            out = spot.group.depth + rng.uniform(0.2, 1.0)
            x, y = spot.to_room(side * (spot.group.width / 2 + rng.uniform(0.2, 0.5)), out)
            room.at(easy, x, y, spot.angle + side * math.pi / 2 + rng.normal(0, 0.3))
    return spot


def tv_place(room: Room) -> None:
    """A television on a stand or dresser, or on the wall."""
    rng, step = room.rng, room.step
    if rng.random() < 0.25:
        width = rng.uniform(0.7, 1.4)
        room.hang(hangings.framed(rng, step, "tv", width, width * 0.58), rng.uniform(0.9, 1.3))
        return
    stand = cabinets.cabinet(rng, step, "tv stand" if rng.random() < 0.7 else "dresser")
    spot = room.against_wall(stand, front=0.6)
    if spot is None:
        return
    television = standing.tv(rng, step)
    surfaces = stand.tops
    if television.width < stand.width + 0.3:
        room.on_top(spot, television, rng.normal(0, 0.05), 0.05)
        surfaces = surfaces[1:]
    _on_surfaces(room, spot, surfaces, clutter.SHELF, 0.2, most=12)


def kitchen_place(room: Room, width: float, *, island: bool = False) -> kitchens.KitchenStyle:
    """A run of refrigerator, counters, stove and sink in some order, cabinets and a hood above, a second run."""
    rng, step, style = room.rng, room.step, kitchens.KitchenStyle(room.rng)
    fridge, has_fridge = cabinets.refrigerator(rng, step), rng.random() < 0.75
    for shorter in (1.0, 0.75, 0.55, 0.4):
        length = width * shorter
        cut = length * rng.uniform(0.35, 0.65)
        wet = rng.random() < 0.5
        parts = [
            kitchens.kitchen_counter(rng, step, max(cut, 0.55), style, with_sink=wet),
            cabinets.stove(rng, step),
            kitchens.kitchen_counter(rng, step, max(length - cut, 0.55), style, with_sink=not wet),
        ]
        if shorter < 0.5:
            parts = [kitchens.kitchen_counter(rng, step, max(length, 0.8), style, with_sink=True)]
        if has_fridge and (shorter > 0.5 or rng.random() < 0.5):
            parts.insert(0 if rng.random() < 0.7 else len(parts), fridge)
        spots = room.row(parts, front=0.7)
        if spots:
            break
    for spot in spots:
        _above(room, spot, style)
        kind = clutter.STORE if spot.group is fridge else clutter.KITCHEN
        covered(room, spot, kind, 0.22, most=9)
    if has_fridge and all(spot.group is not fridge for spot in spots):
        covered(room, room.against_wall(fridge, front=0.5, corner=True), clutter.STORE, 0.2)
    if rng.random() < 0.45:
        second = kitchens.kitchen_counter(rng, step, rng.uniform(0.8, 2.0), style, with_sink=False)
        spot = room.against_wall(second, front=0.6, corner=rng.random() < 0.5)
        if spot is not None:
            _above(room, spot, style)
            covered(room, spot, clutter.KITCHEN, 0.25)
    if island:
        block = kitchens.island(rng, step, style)
        spot = room.in_the_open(block, around=0.55)
        if spot is not None:
            covered(room, spot, clutter.KITCHEN, 0.15)
            design = chairs.stool(rng, step, high=True)
            for x in np.arange(-block.width / 2 + 0.3, block.width / 2 - 0.2, 0.55):
                if rng.random() < 0.6:
                    room.at(design, *spot.to_room(float(x), -0.15), spot.angle + rng.normal(0, 0.2), tuck=0.15)
    return style


def _above(room: Room, spot: Spot, style: kitchens.KitchenStyle) -> None:
    """A wall cabinet over a counter or a refrigerator, a hood over a stove, where no window is."""
    rng, step, main = room.rng, room.step, spot.group.things[0].category
    if main == "stove":
        if rng.random() < 0.6:
            room.hang(kitchens.hood(rng, step), rng.uniform(1.45, 1.6), wall=spot.wall, along=spot.along)
    elif main == "refrigerator":
        low = spot.group.height + 0.08
        if low + 0.35 < room.height and rng.random() < 0.3:
            over = kitchens.wall_cabinet(rng, step, spot.group.width - 0.1, style)
            if low + over.height < room.height - 0.02:
                room.hang(over, low, wall=spot.wall, along=spot.along)
    elif rng.random() < 0.6:
        over = kitchens.wall_cabinet(rng, step, spot.group.width - 0.1, style)
        room.hang(over, rng.uniform(1.35, 1.5), wall=spot.wall, along=spot.along)


def pictures(room: Room, mean: float, *, large: float = 0.15) -> None:
    """Pictures and posters; the share `large` are as big as windows and boards."""
    rng = room.rng
    for _ in range(rng.poisson(1.5 * mean)):
        category = "picture" if rng.random() < 0.85 else "poster"
        width, height = rng.uniform(0.7, 1.5, 2) if rng.random() < large else rng.uniform(0.2, 0.65, 2)
        height = min(height, room.height - 1.25)
        room.hang(hangings.framed(rng, room.step, category, float(width), float(height)), rng.uniform(1.0, 1.5))


def board(room: Room, category: str, *, wall: Wall | None = None) -> None:
    rng = room.rng
    size = rng.uniform(0.8, 3.0), rng.uniform(0.7, 1.25)
    group = hangings.framed(rng, room.step, category, *size)
    along = wall.length / 2 + rng.normal(0, 0.2) if wall is not None and wall.length > size[0] + 0.3 else None
    if wall is None or along is None or room.hang(group, rng.uniform(0.8, 1.05), wall=wall, along=along) is None:
        room.hang(group, rng.uniform(0.8, 1.05))


def mirror(room: Room, *, wall: Wall | None = None, along: float | None = None) -> None:
    rng = room.rng
    size = rng.uniform(0.35, 1.1), rng.uniform(0.5, 1.3 if wall is None else 0.9)
    room.hang(
        hangings.framed(rng, room.step, "mirror", *size),
        rng.uniform(0.4, 0.8) if wall is None else 1.1,
        wall=wall,
        along=along,
    )


def wall_things(room: Room, kinds: Sequence[Builder], mean: float, low: tuple[float, float]) -> None:
    """Small things hung on walls at heights in `low`."""
    for _ in range(room.rng.poisson(mean)):
        group = kinds[room.rng.integers(len(kinds))](room.rng, room.step)
        z = room.rng.uniform(*low)
        if z + group.height < room.height - 0.05:
            spot = room.hang(group, z)
            if spot is not None:
                lifted = [replace(top, z=top.z + z) for top in group.tops]
                _on_surfaces(room, spot, lifted, clutter.SHELF, 0.3, most=12)


def standing_things(room: Room, kinds: Sequence[Builder], mean: float, *, open_floor: float = 0.2) -> None:
    """Things on the floor, at walls or, that share, in the way; with something on them at times."""
    rng = room.rng
    for _ in range(rng.poisson(mean)):
        group = kinds[rng.integers(len(kinds))](rng, room.step)
        if rng.random() < open_floor:
            spot = room.in_the_open(group, around=0.08, square=False)
        else:
            spot = room.against_wall(group, front=0.0)
        covered(room, spot, clutter.SHELF, 0.15, most=3)


def floor_things(room: Room, mean: float) -> None:
    """Shoes, bags, clothes, boxes lying about."""
    rng, (low, high) = room.rng, (room.outline.min(0), room.outline.max(0))
    for _ in range(rng.poisson(mean)):
        item = clutter.FLOOR[rng.integers(len(clutter.FLOOR))](rng, room.step)
        group = Group(item.width, item.depth, item.height, [t.placed(0.0, item.depth / 2, 0.0) for t in item.things])
        for _ in range(5):
            if room.at(group, *rng.uniform(low, high), rng.uniform(0, 2 * math.pi)) is not None:
                break


def shelves(
    room: Room, build: Builder, fill: float, kinds: Sequence[clutter.Maker] = clutter.SHELF, *, front: float = 0.4
) -> None:
    covered(room, room.against_wall(build(room.rng, room.step), front=front), kinds, fill)


def stored(room: Room, *, front: float = 0.4) -> None:
    """A rack with boxes on its boards."""
    rng, step = room.rng, room.step
    spot = room.against_wall(storage.rack(rng, step), front=front)
    if spot is None:
        return
    for top in spot.group.tops:
        for thing in storage.boxes_on(rng, step, top, rng.uniform(0.3, 0.9)):
            room.things.append(thing.placed(spot.x, spot.y, spot.angle))

"""The shell of a room or flat: walls with their openings, skirting, floor, ceiling, passages between the rooms."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.layout import Room, Wall
from pointseg.scannet.synthetic.openings import add_passage
from pointseg.scannet.synthetic.outlines import PARTITION, Passage, flat, outline
from pointseg.scannet.synthetic.palette import FLOORING, WALL_PAINT, WHITE, WOOD, Color, pick
from pointseg.scannet.synthetic.shapes import Sheet, Thing, broken_lines

CEILING_SHARE = 0.35  # rooms whose ceiling is there to be scanned


def empty_room(rng: Generator, step: float, width: float, depth: float) -> Room:
    walls, floor = outline(rng, width, depth)
    room = Room(rng, step, walls, height=rng.uniform(2.3, 2.9))
    room.floor = floor
    return room


def empty_flat(rng: Generator, step: float, width: float, depth: float, rooms: int) -> Room:
    """A flat of `rooms` rooms with doorways and wide passages between them."""
    outlines, passages = flat(rng, width, depth, rooms)
    room = Room.of_parts(rng, step, outlines, height=rng.uniform(2.35, 2.8))
    low, high = room.outline.min(0), room.outline.max(0)
    for wall in room.walls:
        middle = np.array(wall.to_room(wall.length / 2, 0.0))
        wall.outer = bool(np.isclose(middle, low).any() or np.isclose(middle, high).any())
    for passage in passages:
        _pass_through(room, passage)
    return room


def _pass_through(room: Room, passage: Passage) -> None:
    rng = room.rng
    width = rng.uniform(0.8, 0.95)
    if passage.length > 2.2 and rng.random() < 0.4:
        width = rng.uniform(1.2, passage.length - 0.7)
    height = min(rng.uniform(2.0, 2.2), room.height - 0.1)
    wall = _wall_at(room.parts[passage.first], passage)
    other = _opposite(room.parts[passage.second], passage)
    dx, dy = passage.start[0] - wall.start[0], passage.start[1] - wall.start[1]
    start = abs(dx) + abs(dy)  # the wall runs along an axis
    left = start + rng.uniform(0.15, passage.length - width - 0.15)
    add_passage(room, wall, other, left, left + width, height, PARTITION)


def _wall_at(part: Room, passage: Passage) -> Wall:
    return min(part.walls, key=lambda wall: abs(wall.angle - passage.angle))


def _opposite(part: Room, passage: Passage) -> Wall:
    return min(part.walls, key=lambda wall: abs(np.cos(wall.angle - passage.angle) + 1))


def add_shell(room: Room) -> None:
    """Walls with the openings cut so far, floor and, often, ceiling; they become the first things of the room."""
    rng, step = room.rng, room.step
    walls, floors, ceiling = Thing("wall", step), [], Thing("ceiling", step)
    paint, boards = pick(rng, WALL_PAINT), pick(rng, FLOORING)
    skirting = rng.uniform(0.06, 0.12) if rng.random() < 0.6 else 0.0
    skirting_color = pick(rng, WHITE + WOOD)
    for part in room.parts:
        if len(room.parts) > 1:
            paint = paint if rng.random() < 0.6 else pick(rng, WALL_PAINT)
            boards = boards if rng.random() < 0.5 else pick(rng, FLOORING)
        for wall in part.walls:
            own = Thing("wall", step)
            feature = paint if rng.random() < 0.93 else pick(rng, WALL_PAINT)
            own.wall_panel((0, wall.length), (0, room.height), 0.0, feature, holes=wall.openings)
            if skirting:
                holes = [(x0 - 0.08, x1 + 0.08, -1.0, 1.0) for x0, x1, z0, _ in wall.openings if z0 < skirting]
                own.wall_panel((0, wall.length), (0, skirting), 0.012, skirting_color, holes=holes)
            walls.sheets += own.placed(*wall.start, wall.angle).sheets
        floor = Thing("floor", step)
        ground = _flat(part.floor, step)
        floor.add(ground, _laid(rng, ground, boards))
        floors.append(floor)
        ceiling.add(np.add(_flat(part.floor, step), (0, 0, room.height)).swapaxes(0, 1), pick(rng, WHITE))
    room.things[:0] = [walls, *floors]
    if rng.random() < CEILING_SHARE:
        room.things.append(ceiling)
    else:
        room.things[:] = _cut_off(room)


def _cut_off(room: Room) -> list[Thing]:
    """The things without what is too high for a scan that never looked up: over a ragged line around the room."""
    rng, level = room.rng, room.rng.uniform(1.2, 2.3)
    waves = [(rng.normal(0, 1.5, 2), rng.uniform(0, 2 * np.pi)) for _ in range(3)]
    cut = []
    for thing in room.things:
        sheets = []
        for sheet in thing.sheets:
            x, y, z = np.moveaxis(sheet.points, -1, 0)
            if np.nanmax(z) > level - 0.45:
                top = level + sum(0.15 * np.sin(x * k[0] + y * k[1] + phase) for k, phase in waves)
                points = np.where((z > top)[..., None], np.nan, sheet.points)
                sheet = Sheet(points, sheet.color, sheet.seen)
            if np.isfinite(sheet.points).any():
                sheets.append(sheet)
        if sheets:
            cut.append(Thing(thing.category, thing.step, sheets))
    return cut


def _laid(rng: Generator, ground: np.ndarray, color: Color) -> np.ndarray:
    """Colours [U, V, 3] of a floor laid in boards or tiles, each a little different, or of a speckled carpet."""
    kind = rng.choice(["boards", "tiles", "carpet"], p=(0.4, 0.25, 0.35))
    x, y = ground[..., 0], ground[..., 1]
    if kind == "carpet":
        shade = rng.normal(1.0, 0.05, x.shape)
    else:
        wide = rng.uniform(0.1, 0.2) if kind == "boards" else rng.uniform(0.25, 0.6)
        long = rng.uniform(0.8, 1.6) if kind == "boards" else wide
        across, along = np.nan_to_num([x / wide, y / long])
        row = np.floor(across)
        tile = np.floor(along + (0.37 * row if kind == "boards" else 0.0)) * 7919 + row * 104729
        shade = 1.0 + rng.uniform(0.05, 0.12) * np.sin(tile)  # as good as random from one to the next
        if kind == "tiles":
            joint = (np.minimum(across % 1, along % 1) * wide) < 0.03
            shade = np.where(joint, rng.uniform(0.75, 1.15), shade)
    return np.clip(np.asarray(color) * shade[..., None], 0, 1)


def _flat(outline: np.ndarray, step: float) -> np.ndarray:
    """A grid [U, V, 3] at z = 0 over a plan whose edges run along the axes, NaN outside it."""
    x, y = (broken_lines([float(v) for v in outline[:, axis]], step) for axis in (0, 1))
    inside = np.zeros((len(x), len(y)), dtype=bool)
    for nudge in (-1e-3, 1e-3):  # a vertex on the outline belongs to the floor
        for nudge_y in (-1e-3, 1e-3):
            covered = np.zeros_like(inside)
            for (ax, ay), (bx, _) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
                crossed = (x + nudge > min(ax, bx)) & (x + nudge < max(ax, bx))
                covered ^= crossed[:, None] & (y + nudge_y < ay)
            inside |= covered
    points = np.zeros((len(x), len(y), 3))
    points[..., 0], points[..., 1] = x[:, None], y
    points[~inside] = np.nan
    return points

"""The shell of a room: outline, walls, floor, ceiling, doors, windows with curtains."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.furniture import METAL, WHITE, WOOD, pick
from pointseg.scannet.synthetic.layout import CELL, Room, Wall
from pointseg.scannet.synthetic.shapes import Thing, Vec3, broken_lines

WALL_PAINT: tuple[Vec3, ...] = (*WHITE, (0.80, 0.76, 0.66), (0.70, 0.76, 0.80))


def empty_room(rng: Generator, step: float, width: float, depth: float) -> Room:
    return Room(rng, step, _outline(rng, width, depth), height=rng.uniform(2.35, 2.8))


def add_shell(room: Room) -> None:
    """Walls with the openings cut so far, floor and, mostly, ceiling; they become the first things of the room."""
    rng, step = room.rng, room.step
    walls, floor, ceiling = Thing("wall", step), Thing("floor", step), Thing("ceiling", step)
    paint = pick(rng, WALL_PAINT)
    for wall in room.walls:
        part = Thing("wall", step)
        part.wall_panel((0, wall.length), (0, room.height), 0.0, paint, holes=wall.openings)
        walls.sheets += part.placed(*wall.start, wall.angle).sheets
    floor.add(_flat(room.outline, step), pick(rng, WOOD))
    ceiling.add(np.add(_flat(room.outline, step), (0, 0, room.height)).swapaxes(0, 1), pick(rng, WHITE))
    room.things = [walls, floor, *([ceiling] if rng.random() < 0.6 else []), *room.things]


def add_door(room: Room) -> None:
    """A door in its frame, closed or standing open into the room; the floor before it stays free."""
    rng, plan = room.rng, room.plan
    width, height = rng.uniform(0.82, 0.98), rng.uniform(2.0, 2.1)
    for wall, x in room.wall_candidates(width + 0.24, False, room.walls):
        left, right = x - width / 2, x + width / 2
        on_wall, before = (left - 0.1, right + 0.1, 0.0, height + 0.08), wall.floor_rect(left, right, 0.0, 0.95)
        if not (wall.is_free(on_wall) and plan.is_free(before, may_use_kept=True)):
            continue
        wall.taken.append(on_wall)
        wall.openings.append((left - 0.05, right + 0.05, 0.0, height + 0.05))
        plan.keep(before)
        openness = 0.0 if rng.random() < 0.6 else rng.uniform(0.3, 1.6)
        reach, out = width * max(0.1, math.cos(openness)), width * math.sin(openness) + 0.05
        leaf = wall.floor_rect(left - 0.05, left + reach, 0.0, out)
        if openness and plan.is_free(leaf, may_use_kept=True):
            plan.occupy(leaf)
        else:
            openness = 0.0
        at = wall.to_room(x, 0.0)
        room.things += [thing.placed(*at, wall.angle) for thing in _door(rng, room.step, width, height, openness)]
        return


def add_window(room: Room, *, sill: float | None = None, width: float | None = None, curtains: bool = True) -> None:
    """A window let into the wall, now and then with curtains or blinds before it."""
    rng = room.rng
    width = width or rng.uniform(0.8, 1.9)
    sill = sill or rng.uniform(0.75, 1.0)
    top = min(room.height - 0.2, sill + rng.uniform(0.9, 1.4))
    for wall, x in room.wall_candidates(width + 0.5, False, room.walls):
        left, right = x - width / 2, x + width / 2
        on_wall = (left - 0.06, right + 0.06, sill - 0.06, top + 0.06)
        if not wall.is_free(on_wall):
            continue
        wall.taken.append(on_wall)
        wall.openings.append((left, right, sill, top))
        things = [_window(rng, room.step, width, (sill, top))]
        if curtains and rng.random() < 0.6:
            _add_curtains(room, wall, x, width, top)
        elif rng.random() < 0.3:
            blinds = Thing("blinds", room.step)
            blinds.wall_panel((-width / 2, width / 2), (rng.uniform(sill, top - 0.2), top), -0.02, pick(rng, WHITE))
            things.append(blinds)
        room.things += [thing.placed(*wall.to_room(x, 0.0), wall.angle) for thing in things]
        return


def _add_curtains(room: Room, wall: Wall, x: float, window: float, top: float) -> None:
    """A curtain on each side of a window where there is space, to the floor or short."""
    rng = room.rng
    color = pick(rng, (*WHITE, *WOOD, (0.45, 0.5, 0.6), (0.6, 0.35, 0.33)))
    long = rng.random() < 0.7
    low = rng.uniform(0.03, 0.12) if long else rng.uniform(0.6, 0.75)
    high = min(room.height - 0.05, top + rng.uniform(0.08, 0.2))
    cover = window * rng.uniform(0.2, 0.48)
    for side in (-1, 1):
        edge = x + side * (window / 2 + rng.uniform(0.1, 0.22))
        inner = edge - side * (cover + 0.1)
        x0, x1 = max(min(edge, inner), 0.03), min(max(edge, inner), wall.length - 0.03)
        footprint = wall.floor_rect(x0, x1, 0.0, 0.16)
        if x1 - x0 < 0.2 or (long and not room.plan.is_free(footprint, may_use_kept=True)):
            continue
        curtain = Thing("curtain", room.step)
        curtain.cloth((x0, x1), (low, high), 0.09, color, rng.uniform(0.02, 0.045), rng)
        room.things.append(curtain.placed(*wall.start, wall.angle))
        wall.taken.append((x0, x1, low, high))
        if long:
            room.plan.occupy(footprint)


def _outline(rng: Generator, width: float, depth: float) -> np.ndarray:
    """A rectangle, an L or a rectangle with a niche cut into one side; corners [K, 2] on the cell grid."""
    width, depth = round(width / CELL) * CELL, round(depth / CELL) * CELL
    kind = rng.random()
    if min(width, depth) < 2.8 or kind < 0.55:
        return np.array([(0, 0), (width, 0), (width, depth), (0, depth)])
    cut_x = round(width * rng.uniform(0.15, 0.42) / CELL) * CELL
    cut_y = round(depth * rng.uniform(0.15, 0.42) / CELL) * CELL
    if kind < 0.82:
        corners = [
            (0, 0),
            (width, 0),
            (width, depth - cut_y),
            (width - cut_x, depth - cut_y),
            (width - cut_x, depth),
            (0, depth),
        ]
    else:
        deep = round(min(cut_y, 0.6) / CELL) * CELL
        left = round(rng.uniform(0.2, 0.6) * (width - cut_x) / CELL) * CELL
        right, back = left + cut_x, depth - deep
        corners = [
            (0, 0),
            (width, 0),
            (width, depth),
            (right, depth),
            (right, back),
            (left, back),
            (left, depth),
            (0, depth),
        ]
    outline = np.array(corners)
    if rng.random() < 0.5:  # mirrored; reversed so that it stays counter-clockwise
        outline = np.stack([width - outline[:, 0], outline[:, 1]], axis=1)[::-1]
    return outline


def _flat(outline: np.ndarray, step: float) -> np.ndarray:
    """A grid [U, V, 3] over the room's floor at z = 0, NaN outside the outline."""
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


def _door(rng: Generator, step: float, width: float, height: float, openness: float) -> list[Thing]:
    """Frame and leaf around local (0, 0); an open leaf stands into the room and shows a strip of the next floor."""
    frame, leaf, color = Thing("doorframe", step), Thing("door", step), pick(rng, WOOD + WHITE)
    edge, half = rng.uniform(0.07, 0.09), width / 2
    for x0, x1, z0, z1, inner in (
        (-half - edge, -half, 0, height, "+x"),
        (half, half + edge, 0, height, "-x"),
        (-half - edge, half + edge, height, height + edge, "-z"),
    ):
        frame.box((x0, -0.12, z0), (x1, 0.025, z1), color, faces=f"+y {inner}")
    depth, hinge = rng.uniform(0.03, 0.08), -half
    if openness:
        leaf.box((0, -0.04, 0.01), (width, 0.0, height), color, faces="-x +x -y +z")
    if rng.random() < 0.5:
        leaf.fronts((0, width), (0.01, height), 0.0, color, (1, 1 + int(rng.integers(3))), relief=-0.012)
    else:
        leaf.wall_panel((0, width), (0.01, height), 0.0, color)
    leaf.box((width - 0.13, 0.0, 1.0), (width - 0.04, 0.06, 1.03), pick(rng, METAL), faces="-x +x -y +y +z -z")
    if not openness:
        return [frame, leaf.placed(hinge, -depth, 0.0)]
    beyond = Thing("floor", step)
    beyond.box((-half, -rng.uniform(0.4, 1.0), -0.05), (half, 0.0, 0.0), pick(rng, WOOD), faces="+z")
    return [frame, leaf.placed(hinge, 0.03, openness), beyond]


def _window(rng: Generator, step: float, width: float, z: tuple[float, float]) -> Thing:
    """Reveal, frame, bars and glass around local x = 0; glass returns little to a depth camera."""
    thing, deep, half = Thing("window", step), rng.uniform(0.06, 0.16), width / 2
    color, bar = pick(rng, WHITE + WOOD[:1]), rng.uniform(0.04, 0.06)
    thing.box((-half, -deep, z[0] - 0.03), (half, rng.uniform(0.01, 0.05), z[0]), color, faces="-x +x +y +z -z")
    for x0, x1, z0, z1 in ((-half - 0.001, -half, *z), (half, half + 0.001, *z), (-half, half, z[1], z[1] + 0.001)):
        thing.box((x0, -deep, z0), (x1, 0, z1), color, faces="-z" if z0 == z[1] else "-x +x")
    panes = max(1, round(width / 0.7))
    marks = np.linspace(-half, half, panes + 1)
    for number, x in enumerate(marks):
        low, high = x - (bar if number else 0), x + (bar if number < panes else 0)
        thing.box((low, -deep - 0.01, z[0]), (high, -deep + 0.03, z[1]), color, faces="-x +x +y")
    for low in (z[0], z[1] - bar):
        thing.box((-half, -deep - 0.01, low), (half, -deep + 0.03, low + bar), color, faces="+y +z -z")
    thing.wall_panel(
        (-half + bar, half - bar), (z[0] + bar, z[1] - bar), -deep, (0.75, 0.82, 0.9), seen=rng.uniform(0.25, 0.9)
    )
    return thing

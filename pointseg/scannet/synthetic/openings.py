"""What is let into walls: doors of several kinds, windows with sills, blinds and curtains, passages between rooms."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.layout import Room, Wall
from pointseg.scannet.synthetic.palette import BRIGHT, FABRIC, GLASS, METAL, WHITE, WOOD, Color, darker, pick
from pointseg.scannet.synthetic.shapes import ALL, Thing

WALL_DEPTH = 0.12  # how far a door's frame reaches into its wall, metres


def add_door(room: Room, *, wide: bool = False) -> None:
    """A door in its frame: closed, ajar or open into the room or away from it; the floor before it stays free."""
    rng, plan = room.rng, room.plan
    kind = rng.choice(
        ["leaf", "none", "double", "sliding"], p=(0.3, 0.0, 0.5, 0.2) if wide else (0.5, 0.45, 0.025, 0.025)
    )
    width = rng.uniform(1.4, 1.9) if kind in ("double", "sliding") else rng.uniform(0.75, 0.95)
    height = min(rng.uniform(1.95, 2.2), room.height - 0.15)
    for wall, x in room.wall_candidates(width + 0.24, False, outer_walls(room)):
        left, right = x - width / 2, x + width / 2
        on_wall, before = (left - 0.1, right + 0.1, 0.0, height + 0.08), (left, right, 0.0, 0.95)
        if not (wall.is_free(on_wall) and plan.is_free(wall.frame, before, may_use_kept=True)):
            continue
        wall.taken.append(on_wall)
        wall.openings.append((left - 0.05, right + 0.05, 0.0, height + 0.05))
        plan.keep(wall.frame, before)
        openness = _openness(rng) if kind == "leaf" else 0.0
        if openness > 0:
            reach, out = width * max(0.1, math.cos(openness)), width * math.sin(openness) + 0.05
            leaf = (left - 0.05, left + reach, 0.0, out)
            if plan.is_free(wall.frame, leaf, may_use_kept=True):
                plan.occupy(wall.frame, leaf)
            else:
                openness = 0.0
        at = wall.to_room(x, 0.0)
        things = _door(rng, room.step, width, height, openness, str(kind))
        room.things += [thing.placed(*at, wall.angle) for thing in things]
        return


def outer_walls(room: Room) -> list[Wall]:
    return [wall for wall in room.walls if wall.outer] or room.walls


def _openness(rng: Generator) -> float:
    """Angle of a door's leaf: 0 closed, positive into the room, negative away from it."""
    kind = rng.random()
    if kind < 0.5:
        return 0.0
    return rng.uniform(0.15, 1.65) if kind < 0.8 else -rng.uniform(0.3, 1.5)


def _door(rng: Generator, step: float, width: float, height: float, openness: float, kind: str) -> list[Thing]:
    """Frame and leaves around local (0, 0); an open doorway shows a strip of the next room's floor."""
    # Most frames go to the wall, as annotators have it.
    frame, color = Thing("doorframe" if rng.random() < 0.4 else "wall", step), pick(rng, WOOD + WHITE)
    edge, half = rng.uniform(0.05, 0.09), width / 2
    frame_color = color if rng.random() < 0.5 else pick(rng, WHITE + WOOD + METAL)
    for x0, x1, z0, z1, inner in (
        (-half - edge, -half, 0, height, "+x"),
        (half, half + edge, 0, height, "-x"),
        (-half - edge, half + edge, height, height + edge, "-z"),
    ):
        frame.box((x0, -WALL_DEPTH, z0), (x1, rng.uniform(0.012, 0.03), z1), frame_color, faces=f"+y {inner}")
    depth = rng.uniform(0.02, 0.08)
    style, window = int(rng.integers(4)), rng.random() < 0.15
    if kind in ("double", "sliding"):
        leaves = [_leaf(rng, step, half, height, color, style, window) for _ in range(2)]
        offset = 0.04 if kind == "sliding" else 0.0  # sliding leaves run one behind the other
        return [frame, leaves[0].placed(-half, -depth, 0.0), leaves[1].placed(0.0, -depth - offset, 0.0)]
    beyond = Thing("floor", step)
    beyond.box((-half, -rng.uniform(0.3, 1.0), -0.05), (half, 0.0, 0.0), pick(rng, WOOD), faces="+z")
    if kind == "none":
        return [frame, beyond]
    leaf = _leaf(rng, step, width, height, color, style, window, both_sides=openness != 0)
    if rng.random() < 0.5:
        leaf = leaf.mirrored()  # hinged on the other side when closed
        leaf = leaf.placed(width, 0.0, 0.0)
    if not openness:
        return [frame, leaf.placed(-half, -depth, 0.0)]
    return [frame, leaf.placed(-half, 0.03 if openness > 0 else -WALL_DEPTH, openness), beyond]


def _leaf(
    rng: Generator,
    step: float,
    width: float,
    height: float,
    color: Color,
    style: int,
    window: bool,
    *,
    both_sides: bool = False,
) -> Thing:
    """A door's leaf from x = 0, its face at y = 0: plain, panelled or with a pane of glass; and its handle."""
    leaf = Thing("door", step)
    if both_sides:
        leaf.box((0, -0.04, 0.01), (width, 0.0, height), color, faces="-x +x -y +z")
    if window:
        pane = (0.15, width - 0.15, height * rng.uniform(0.1, 0.5), height - 0.15)
        leaf.wall_panel((0, width), (0.01, height), 0.0, color, holes=[pane])
        leaf.wall_panel(pane[:2], pane[2:], -0.02, GLASS, seen=rng.uniform(0.05, 0.5))
    elif style < 2:
        leaf.wall_panel((0, width), (0.01, height), 0.0, color)
    else:
        leaf.fronts((0, width), (0.01, height), 0.0, color, (1, style), relief=-0.012)
    metal, z = pick(rng, METAL), rng.uniform(0.92, 1.08)
    if rng.random() < 0.6:
        leaf.box((width - 0.17, 0.035, z), (width - 0.05, 0.055, z + 0.025), metal, faces=ALL)
        leaf.box((width - 0.07, 0.0, z), (width - 0.05, 0.05, z + 0.025), metal, faces="-x +x +z -z")
    else:
        leaf.ball((width - 0.07, 0.045, z), (0.03, 0.03, 0.03), metal)
    return leaf


def add_window(room: Room, *, sill: float | None = None, width: float | None = None, curtains: float = 0.35) -> None:
    """A window let into the wall, now and then with curtains (that often) or blinds before it."""
    rng = room.rng
    width = width or rng.uniform(0.6, 1.7)
    sill = sill or rng.uniform(0.5, 1.15)
    top = min(room.height - 0.2, sill + rng.uniform(0.7, 1.4))
    for wall, x in room.wall_candidates(width + 0.5, False, outer_walls(room)):
        left, right = x - width / 2, x + width / 2
        on_wall = (left - 0.06, right + 0.06, sill - 0.06, top + 0.06)
        if not wall.is_free(on_wall):
            continue
        wall.taken.append(on_wall)
        wall.openings.append((left, right, sill, top))
        things = _window(rng, room.step, width, (sill, top))
        if rng.random() < curtains:
            _add_curtains(room, wall, x, width, top)
        elif rng.random() < 0.5:
            things.append(_blinds(rng, room.step, width, (sill, top)))
        room.things += [thing.placed(*wall.to_room(x, 0.0), wall.angle) for thing in things]
        return


def _window(rng: Generator, step: float, width: float, z: tuple[float, float]) -> list[Thing]:
    """Reveal, sill, frame, bars and glass around local x = 0; glass returns little to a depth camera."""
    thing, deep, half = Thing("window", step), rng.uniform(0.03, 0.18), width / 2
    color, bar = pick(rng, WHITE + WOOD[:1] + METAL[:2]), rng.uniform(0.03, 0.06)
    sill = Thing("windowsill", step)
    out = rng.uniform(0.0, 0.16)
    sill.box((-half - 0.03, -deep, z[0] - 0.035), (half + 0.03, out, z[0]), color, faces="-x +x +y +z -z")
    reveal = Thing("wall", step)
    for x0, x1, z0, z1 in ((-half - 0.001, -half, *z), (half, half + 0.001, *z), (-half, half, z[1], z[1] + 0.001)):
        reveal.box((x0, -deep, z0), (x1, 0, z1), pick(rng, WHITE), faces="-z" if z0 == z[1] else "-x +x")
    marks = np.linspace(-half, half, int(rng.integers(1, 2 + int(width / 0.6))) + 1)
    rows = np.linspace(*z, int(rng.choice([1, 1, 2, 3])) + 1)
    for number, x in enumerate(marks):
        low, high = x - (bar if number else 0), x + (bar if number < len(marks) - 1 else 0)
        thing.box((low, -deep - 0.01, z[0]), (high, -deep + 0.03, z[1]), color, faces="-x +x +y")
    for number, row in enumerate(rows):
        low, high = row - (bar if number else 0), row + (bar if number < len(rows) - 1 else 0)
        thing.box((-half, -deep - 0.01, low), (half, -deep + 0.03, high), color, faces="+y +z -z")
    thing.wall_panel((-half + bar, half - bar), (z[0] + bar, z[1] - bar), -deep, GLASS, seen=rng.uniform(0.0, 0.35))
    return [thing, sill, reveal]


def _blinds(rng: Generator, step: float, width: float, z: tuple[float, float]) -> Thing:
    """Drawn down part of the way: a roller's plain cloth or slats, which a scan shows as ripples."""
    blinds, half = Thing("blinds", step), width / 2 + rng.uniform(-0.02, 0.05)
    low, high = rng.uniform(z[0], z[1] - 0.2), z[1] + rng.uniform(-0.03, 0.06)
    blinds.wall_panel((-half, half), (low, high), 0.02, pick(rng, WHITE + WOOD[3:4]))
    sheet = blinds.sheets[-1].points
    if rng.random() < 0.6:
        sheet[..., 1] += 0.012 * np.sin(sheet[..., 2] * 2 * math.pi / 0.09)
    blinds.box((-half, 0.0, high), (half, 0.06, high + 0.05), pick(rng, WHITE))
    return blinds


def _add_curtains(room: Room, wall: Wall, x: float, window: float, top: float) -> None:
    """A curtain on each side of a window where there is space, to the floor or short, and the rod."""
    rng = room.rng
    color = pick(rng, WHITE + WOOD + FABRIC + BRIGHT)
    long = rng.random() < 0.7
    low = rng.uniform(0.02, 0.12) if long else rng.uniform(0.6, 0.75)
    high = min(room.height - 0.08, top + rng.uniform(0.08, 0.25))
    cover = window * (0.52 if rng.random() < 0.5 else rng.uniform(0.12, 0.5))
    for side in (-1, 1):
        if rng.random() < 0.15:
            continue
        edge = x + side * (window / 2 + rng.uniform(0.1, 0.22))
        inner = edge - side * (cover + 0.1)
        x0, x1 = max(min(edge, inner), 0.03), min(max(edge, inner), wall.length - 0.03)
        footprint = (x0, x1, 0.0, 0.16)
        if x1 - x0 < 0.2 or (long and not room.plan.is_free(wall.frame, footprint, may_use_kept=True)):
            continue
        curtain = Thing("curtain", room.step)
        curtain.cloth((x0, x1), (low, high), 0.09, darker(color, rng.uniform(0.9, 1.0)), rng.uniform(0.02, 0.05), rng)
        room.things.append(curtain.placed(*wall.start, wall.angle))
        wall.taken.append((x0, x1, low, high))
        if long:
            room.plan.occupy(wall.frame, footprint)
    rod = Thing("rod", room.step)
    half = window / 2 + 0.2
    start, end = max(x - half, 0.02), min(x + half, wall.length - 0.02)
    rod.bar((start, 0.09, high + 0.02), (end, 0.09, high + 0.02), 0.012, pick(rng, METAL + WOOD))
    room.things.append(rod.placed(*wall.start, wall.angle))


def add_passage(room: Room, wall: Wall, other: Wall, left: float, right: float, height: float, gap: float) -> None:
    """An opening from `left` to `right` on `wall` through to the wall `gap` behind it, with its reveal and floor."""
    rng = room.rng
    (ax, ay), (bx, by) = wall.to_room(left, 0.0), wall.to_room(right, 0.0)
    cos, sin = math.cos(other.angle), math.sin(other.angle)
    ends = [(px - other.start[0]) * cos + (py - other.start[1]) * sin for px, py in ((ax, ay), (bx, by))]
    for place, (low, high) in ((wall, (left, right)), (other, (min(ends), max(ends)))):
        place.openings.append((low, high, 0.0, height))
        place.taken.append((low - 0.1, high + 0.1, 0.0, height + 0.1))
    framed = rng.random() < 0.5
    reveal, floor = Thing("doorframe" if framed else "wall", room.step), Thing("floor", room.step)
    color = pick(rng, WOOD + WHITE if framed else WHITE)
    for x0, x1 in ((left - 0.001, left), (right, right + 0.001)):
        reveal.box((x0, -gap, 0.0), (x1, 0.0, height), color, faces="-x +x")
    reveal.box((left, -gap, height), (right, 0.0, height + 0.001), color, faces="-z")
    if framed:
        for y0, y1, face in ((0.0, 0.02, "+y"), (-gap - 0.02, -gap, "-y")):
            for x0, x1, z0, z1 in (
                (left - 0.07, left, 0.0, height),
                (right, right + 0.07, 0.0, height),
                (left - 0.07, right + 0.07, height, height + 0.07),
            ):
                reveal.box((x0, y0, z0), (x1, y1, z1), color, faces=f"-x +x +z {face}")
    floor.box((left, -gap, -0.001), (right, 0.0, 0.0), pick(rng, WOOD), faces="+z")
    room.things += [thing.placed(*wall.start, wall.angle) for thing in (reveal, floor)]
    room.plan.open_up(wall.frame, (left, right, -gap, 0.0))
    for y0, y1 in ((0.0, 0.9), (-gap - 0.9, -gap)):
        room.plan.keep(wall.frame, (left, right, y0, y1))
    if right - left < 1.1 and rng.random() < 0.35:  # a leaf, standing wide open
        leaf = _leaf(
            rng, room.step, right - left - 0.02, height - 0.01, color, int(rng.integers(4)), False, both_sides=True
        )
        body = (left - 0.05, left + 0.1, 0.0, right - left)
        if room.plan.is_free(wall.frame, body, may_use_kept=True):
            room.plan.occupy(wall.frame, body)
            wall.taken.append((left - 0.15, left + 0.1, 0.0, height))
            x, y = wall.to_room(left, 0.03)
            room.things.append(leaf.placed(x, y, wall.angle + rng.uniform(1.3, 1.6)))

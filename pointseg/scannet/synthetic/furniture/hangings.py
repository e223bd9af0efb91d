"""What hangs on walls: pictures, posters, mirrors, boards, screens, clocks, shelves; local z = 0 is the lower edge.

Pictures, boards and screens share sizes and frames, with each other and with windows.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.palette import BRIGHT, FABRIC, METAL, SCREEN, WHITE, WOOD, Color, pick
from pointseg.scannet.synthetic.shapes import ALL, Group, Surface, Thing

# category -> (frame widths, thicknesses, share of the surface that a depth camera gets back)
FRAMES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "picture": ((0.0, 0.07), (0.01, 0.05), (0.8, 1.0)),
    "poster": ((0.0, 0.02), (0.004, 0.012), (1.0, 1.0)),
    "mirror": ((0.01, 0.07), (0.01, 0.04), (0.1, 0.7)),
    "whiteboard": ((0.01, 0.05), (0.012, 0.04), (0.7, 1.0)),
    "blackboard": ((0.02, 0.06), (0.015, 0.04), (0.9, 1.0)),
    "bulletin board": ((0.015, 0.05), (0.012, 0.03), (1.0, 1.0)),
    "tv": ((0.01, 0.03), (0.04, 0.09), (0.3, 0.9)),
    "projector screen": ((0.0, 0.02), (0.01, 0.03), (1.0, 1.0)),
}


def framed(rng: Generator, step: float, category: str, width: float, height: float) -> Group:
    """A frame around a flat field."""
    frames, thicknesses, returned = FRAMES[category]
    frame, thick = rng.uniform(*frames), rng.uniform(*thicknesses)
    frame = min(frame, 0.2 * min(width, height))
    thing, half, edge = Thing(category, step), width / 2, max(frame, 0.004)
    field, border = _colors(rng, category)
    inset = thick * rng.uniform(0.5, 1.0)
    thing.wall_panel((-half + edge, half - edge), (edge, height - edge), inset, field, seen=rng.uniform(*returned))
    if category in ("picture", "poster", "bulletin board"):
        _paint(thing, rng, plain=category == "bulletin board")
    for x0, x1, z0, z1 in (
        (-half, half, 0, edge),
        (-half, half, height - edge, height),
        (-half, -half + edge, edge, height - edge),
        (half - edge, half, edge, height - edge),
    ):
        thing.box((x0, 0.002, z0), (x1, thick, z1), border, faces="-x +x +y +z -z")
    if category == "whiteboard" and rng.random() < 0.6:  # the tray for pens
        thing.box((-half * 0.8, thick, 0), (half * 0.8, thick + 0.06, 0.015), border, faces="-x +x +y +z -z")
    return Group(width, thick, height, [thing], covers=category != "poster")


def _colors(rng: Generator, category: str) -> tuple[Color, Color]:
    border = pick(rng, WOOD + METAL + WHITE)
    if category in ("whiteboard", "projector screen"):
        return pick(rng, WHITE), pick(rng, METAL[2:3] + WHITE)
    if category == "blackboard":
        return pick(rng, ((0.15, 0.22, 0.18), (0.14, 0.14, 0.15))), pick(rng, WOOD)
    if category == "mirror":
        return (0.62, 0.66, 0.68), border
    if category == "tv":
        return SCREEN, pick(rng, METAL[3:4])
    return pick(rng, BRIGHT + FABRIC + WHITE), border


def _paint(thing: Thing, rng: Generator, *, plain: bool) -> None:
    """Gives the last sheet bands and blotches of two more colours, or notes pinned on a board."""
    sheet = thing.sheets.pop()
    x, z = sheet.points[..., 0], sheet.points[..., 2]
    waves = (3, 12) if not plain else (9, 22)
    pattern = np.sin(x * rng.uniform(*waves) + rng.uniform(0, 6)) + np.sin(z * rng.uniform(*waves) + rng.uniform(0, 6))
    colors = np.array([sheet.color, pick(rng, BRIGHT), pick(rng, BRIGHT + WHITE)])
    thing.add(sheet.points, colors[np.digitize(pattern, (-0.6, 0.5) if not plain else (1.0, 1.5))], sheet.seen)


def wall_shelf(rng: Generator, step: float) -> Group:
    """One or two boards on the wall for things to stand on."""
    width, depth, half_count = rng.uniform(0.5, 1.4), rng.uniform(0.15, 0.3), int(rng.integers(1, 4))
    thing, color = Thing("shelf", step), pick(rng, WOOD + WHITE)
    gap = rng.uniform(0.25, 0.36)
    tops = []
    for number in range(half_count):
        z = number * gap
        thing.box((-width / 2, 0, z), (width / 2, depth, z + 0.025), color, faces=ALL)
        tops.append(Surface((-width / 2 + 0.03, width / 2 - 0.03), (0.01, depth - 0.01), z + 0.025, gap - 0.05))
    return Group(width, depth, half_count * gap, [thing], tops=tops)


def clock(rng: Generator, step: float) -> Group:
    thing, radius = Thing("clock", step), rng.uniform(0.1, 0.2)
    thing.turned([(1.0, 0.0), (1.0, 0.03), (0.9, 0.04), (0.0, 0.03)], pick(rng, WHITE + METAL), half=(radius, radius))
    face = thing.pitched(-np.pi / 2, 0.0, 0.0).placed(0.0, 0.0, 0.0, radius)
    return Group(2 * radius, 0.05, 2 * radius, [face])


def coats(rng: Generator, step: float) -> Group:
    """A row of hooks with coats and bags on it."""
    width, things = rng.uniform(0.4, 1.2), []
    rack = Thing("coat rack", step)
    rack.box((-width / 2, 0, 1.0), (width / 2, 0.03, 1.1), pick(rng, WOOD + WHITE), faces="-x +x +y +z -z")
    for x in np.arange(-width / 2 + 0.1, width / 2 - 0.05, 0.2):
        if rng.random() < 0.65:
            coat = Thing(str(rng.choice(["jacket", "coat", "clothes"])), step)
            long, wide = rng.uniform(0.5, 0.95), rng.uniform(0.12, 0.2)
            coat.ball(
                (0, 0.1, 1.02 - long / 2),
                (wide, rng.uniform(0.05, 0.1), long / 2),
                pick(rng, FABRIC + BRIGHT),
                exponent=3.5,
            )
            things.append(coat.placed(float(x), 0.0, rng.normal(0, 0.05)))
    return Group(width, 0.22, 1.1, [rack, *things])


def switch(rng: Generator, step: float) -> Group:
    """A light switch or a socket: 1 cm of plastic."""
    thing = Thing("light switch", step)
    thing.box((-0.04, 0, 0), (0.04, 0.012, 0.11), pick(rng, WHITE), faces="-x +x +y +z -z")
    return Group(0.08, 0.012, 0.11, [thing])

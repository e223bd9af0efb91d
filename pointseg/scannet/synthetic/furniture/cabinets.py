"""Boxes with fronts: cabinets, wardrobes, dressers, nightstands, refrigerators, machines.

They share their fronts, so that a tall plain one is a wardrobe, a cupboard or a refrigerator by where it stands.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.furniture.chairs import legs
from pointseg.scannet.synthetic.palette import GLASS, METAL, PLASTIC, SCREEN, WHITE, WOOD, Color, darker, pick
from pointseg.scannet.synthetic.shapes import ALL, Group, Surface, Thing

# category -> ranges of width, depth, height; grids of (columns, rows) of doors or drawers
Span = tuple[float, float]
DESIGNS: dict[str, tuple[Span, Span, Span, tuple[tuple[int, int], ...]]] = {
    "cabinet": ((0.45, 1.6), (0.32, 0.6), (0.7, 2.1), ((1, 1), (2, 1), (3, 1), (2, 2), (2, 3))),
    "wardrobe closet": ((0.8, 2.2), (0.5, 0.68), (1.75, 2.25), ((1, 1), (2, 1), (3, 1), (4, 1), (2, 2))),
    "file cabinet": ((0.38, 0.95), (0.42, 0.66), (0.55, 1.4), ((1, 2), (1, 3), (1, 4), (2, 3))),
    "dresser": ((0.7, 1.6), (0.40, 0.55), (0.7, 1.25), ((1, 3), (2, 3), (2, 4), (3, 2))),
    "nightstand": ((0.35, 0.6), (0.33, 0.48), (0.42, 0.7), ((1, 1), (1, 2), (1, 3))),
    "tv stand": ((0.9, 1.9), (0.34, 0.52), (0.38, 0.68), ((2, 1), (3, 1), (2, 2))),
    "bathroom vanity": ((0.5, 1.5), (0.44, 0.58), (0.74, 0.86), ((1, 1), (2, 1), (3, 1), (2, 2))),
}


def cabinet(rng: Generator, step: float, category: str = "cabinet", *, widest: float = 9.0) -> Group:
    """One of `DESIGNS`: on a plinth or legs, doors or drawers, open compartments, a door ajar at times."""
    widths, depths, heights, grids = DESIGNS[category]
    width, depth, height = min(rng.uniform(*widths), widest), rng.uniform(*depths), rng.uniform(*heights)
    color = pick(rng, METAL + WHITE + WOOD[1:2] if category == "file cabinet" else WOOD + WHITE + PLASTIC[:1])
    thing, half = Thing(category, step), width / 2
    foot = rng.uniform(0.08, 0.22) if rng.random() < 0.25 and height < 1.3 else 0.0
    if foot:
        legs(thing, rng, (-half + 0.04, half - 0.04), (0.04, depth - 0.06), foot, 0.018, pick(rng, WOOD + METAL))
    top = "" if category == "bathroom vanity" else " +z"  # a vanity carries a counter with a basin let in
    front = depth - 0.03
    thing.box((-half, 0, foot), (half, front, height), color, faces="-x +x -y" + (top + " -z" if foot else top))
    open_share = {"tv stand": 0.35, "nightstand": 0.25, "cabinet": 0.12}.get(category, 0.0)
    tops = [Surface((-half + 0.03, half - 0.03), (0.03, depth - 0.04), height, 0.6)]
    if rng.random() < open_share:
        tops.append(_compartment(thing, half, front, foot, height, color, rng))
    else:
        grid = grids[rng.integers(len(grids))]
        fronts(thing, rng, (-half, half), (foot, height), front, grid, color)
    if rng.random() < 0.4 and top:  # a top that stands out
        out = rng.uniform(0.01, 0.03)
        slab = pick(rng, WOOD + WHITE) if rng.random() < 0.3 else color
        thing.box((-half - out, 0, height), (half + out, depth + out, height + 0.025), slab, faces="-x +x +y +z -z")
        height += 0.025
        tops[0] = Surface(tops[0].x, tops[0].y, height, 0.6)
    swing = 0.0
    if category in ("wardrobe closet", "cabinet") and foot == 0 and rng.random() < 0.15:
        swing = _ajar(thing, rng, half, front, height, color)
    return Group(width + 0.02, depth + swing, height, [thing], covers=foot == 0, tops=tops if top else [])


def _compartment(
    thing: Thing, half: float, front: float, foot: float, height: float, color: Color, rng: Generator
) -> Surface:
    """An open front: a hollow with boards, in place of doors."""
    inner, dark = 0.02, darker(color, 0.7)
    low, high = foot + 0.05, height - 0.02
    thing.wall_panel((-half, half), (foot, height), front, color, holes=[(-half + inner, half - inner, low, high)])
    thing.wall_panel((-half + inner, half - inner), (low, high), 0.02, dark)
    boards = np.linspace(low, high, int(rng.integers(2, 4)))
    for z in boards[:-1]:
        thing.box((-half + inner, 0.02, z), (half - inner, front, z + 0.012), color, faces="+z +y -z")
    return Surface(
        (-half + 0.05, half - 0.05), (0.05, front - 0.03), float(boards[-2]) + 0.012, high - float(boards[-2]) - 0.05
    )


def _ajar(thing: Thing, rng: Generator, half: float, front: float, height: float, color: Color) -> float:
    """A door standing open at one side; returns how far it reaches out."""
    wide = min(half, 0.6)
    angle, leaf = rng.uniform(0.3, 1.5), Thing(thing.category, thing.step)
    leaf.box((0, -0.02, 0.06), (wide, 0.0, height - 0.02), color, faces="-x +x -y +y +z")
    part = leaf.placed(-half, front + 0.03, angle)
    thing.take(part if rng.random() < 0.5 else part.mirrored())
    return wide * math.sin(angle)


def fronts(
    thing: Thing,
    rng: Generator,
    x: tuple[float, float],
    z: tuple[float, float],
    y: float,
    grid: tuple[int, int],
    color: Color,
    *,
    handles: bool = True,
) -> None:
    """The face of a box at `y`: `grid` = (columns, rows) of doors or drawers: flush, raised or framed; handles."""
    style = rng.choice(["flush", "raised", "framed"], p=(0.3, 0.45, 0.25))
    if style == "flush":
        thing.wall_panel(x, z, y + 0.015, color)
        thing.box((x[0], y, z[0]), (x[1], y + 0.015, z[1]), color, faces="-x +x +z")
    else:
        thing.fronts(x, z, y, color, grid, relief=rng.uniform(0.012, 0.022))
    across, up = np.linspace(*x, grid[0] + 1), np.linspace(*z, grid[1] + 1)
    metal, upright, out = pick(rng, METAL + WOOD), up[1] - up[0] > 0.5, y + 0.02
    kind = rng.choice(["bar", "knob", "none"], p=(0.5, 0.3, 0.2)) if handles else "none"
    for column in range(grid[0]):
        for row in range(grid[1]):
            x0, x1, z0, z1 = across[column], across[column + 1], up[row], up[row + 1]
            if style == "framed" and x1 - x0 > 0.25 and z1 - z0 > 0.25:  # a sunken panel inside each front
                thing.wall_panel((x0 + 0.07, x1 - 0.07), (z0 + 0.07, z1 - 0.07), y + 0.028, darker(color, 0.93))
            if kind == "none":
                continue
            if upright:
                at = (x1 - 0.06 if column % 2 == 0 else x0 + 0.06, min(max((z0 + z1) / 2, 0.7), max(z1 - 0.1, 0.1)))
            else:
                at = ((x0 + x1) / 2, (z0 + z1) / 2)
            if kind == "knob":
                thing.ball((at[0], out + 0.015, at[1]), (0.016, 0.016, 0.016), metal)
            else:
                dx, dz = (0.008, 0.07) if upright else (0.06, 0.008)
                thing.box((at[0] - dx, out, at[1] - dz), (at[0] + dx, out + 0.028, at[1] + dz), metal, faces=ALL)


def refrigerator(rng: Generator, step: float) -> Group:
    """One door, two, or two side by side; plain like a cupboard, or with handles and a split."""
    width, depth, height = rng.uniform(0.52, 0.95), rng.uniform(0.55, 0.8), rng.uniform(1.3, 1.95)
    thing, color, half = Thing("refrigerator", step), pick(rng, WHITE + METAL + WHITE), width / 2
    thing.box((-half, 0, 0.02), (half, depth - 0.05, height), color, radius=0.01, faces="-x +x -y +z")
    plain = rng.random() < 0.35
    if plain:
        fronts(thing, rng, (-half, half), (0.02, height), depth - 0.05, (1, int(rng.integers(1, 3))), color)
    else:
        split = height * rng.uniform(0.28, 0.72)
        doors = [(-half, half, 0.04, split - 0.006), (-half, half, split + 0.006, height)]
        if rng.random() < 0.2:
            doors = [(-half, -0.005, 0.04, height), (0.005, half, 0.04, height)]
        for x0, x1, low, high in doors:
            thing.box((x0, depth - 0.06, low), (x1, depth - 0.02, high), color, radius=0.012)
            middle = min(max((low + high) / 2, 0.75), 1.3) if high - low > 0.5 else (low + high) / 2
            at = x0 + 0.05 if x0 > -half else x1 - 0.07
            if rng.random() < 0.7:
                thing.box(
                    (at, depth - 0.02, middle - 0.15), (at + 0.025, depth + 0.02, middle + 0.15), pick(rng, METAL)
                )
    top = Surface((-half + 0.05, half - 0.05), (0.08, depth - 0.12), height, 0.4)
    return Group(width, depth, height, [thing], covers=True, tops=[top])


def mini_fridge(rng: Generator, step: float) -> Group:
    width, depth, height = rng.uniform(0.42, 0.56), rng.uniform(0.42, 0.56), rng.uniform(0.5, 0.88)
    thing, color, half = Thing("mini fridge", step), pick(rng, WHITE + METAL + PLASTIC[:1]), width / 2
    thing.box((-half, 0, 0.02), (half, depth - 0.04, height), color, radius=0.01, faces="-x +x -y +z")
    fronts(thing, rng, (-half, half), (0.02, height), depth - 0.04, (1, 1), color)
    return Group(
        width, depth, height, [thing], tops=[Surface((-half + 0.03, half - 0.03), (0.04, depth - 0.06), height, 0.5)]
    )


def washing_machine(rng: Generator, step: float, category: str = "washing machine") -> Group:
    """A front loader with its round door, or a top loader with a raised panel at the back."""
    thing, color = Thing(category, step), pick(rng, WHITE + METAL[:1] + WHITE)
    width, depth, height = rng.uniform(0.56, 0.72), rng.uniform(0.55, 0.75), rng.uniform(0.82, 1.0)
    half = width / 2
    thing.box((-half, 0, 0), (half, depth, height), color, radius=0.015)
    kind = rng.random()
    top = height
    if kind < 0.5:
        door = Thing(category, step)
        door.turned([(1.0, 0.0), (1.0, 0.03), (0.8, 0.04), (0.7, 0.02), (0.0, 0.02)], GLASS, half=(0.2, 0.2), seen=0.7)
        thing.take(door.pitched(-math.pi / 2, 0.0, 0.0).placed(0.0, depth, 0.0, height * 0.5))
        thing.box(
            (-half + 0.02, depth, height - 0.12), (half - 0.02, depth + 0.008, height - 0.02), darker(color, 0.85)
        )
    elif kind < 0.85:
        top = height + rng.uniform(0.1, 0.18)
        thing.box((-half, 0, height), (half, 0.14, top), color, radius=0.02)
        thing.wall_panel((-half + 0.05, half - 0.05), (height + 0.02, top - 0.02), 0.145, darker(color, 0.6))
    return Group(
        width + 0.02,
        depth + 0.04,
        top,
        [thing],
        tops=[Surface((-half + 0.05, half - 0.05), (0.18, depth - 0.05), height, 0.6)],
    )


def stove(rng: Generator, step: float) -> Group:
    """An oven with plates on top, a door with a handle and, mostly, a raised back."""
    thing, color = Thing("stove", step), pick(rng, WHITE + METAL)
    width, depth, top = rng.uniform(0.55, 0.78), rng.uniform(0.58, 0.66), rng.uniform(0.87, 0.93)
    half = width / 2
    thing.box((-half, 0, 0), (half, depth - 0.03, top), color, radius=0.008)
    thing.box(
        (-half + 0.02, depth - 0.04, 0.15), (half - 0.02, depth - 0.01, top - 0.14), darker(color, 0.5), radius=0.008
    )
    thing.bar(
        (-half + 0.06, depth + 0.02, top - 0.18), (half - 0.06, depth + 0.02, top - 0.18), 0.012, pick(rng, METAL)
    )
    for x in (-half * 0.5, half * 0.5):
        for y in (depth * 0.3, depth * 0.68):
            profile = [(1.0, top), (1.0, top + 0.012), (0.0, top + 0.012)]
            thing.turned(profile, SCREEN, centre=(x, y), half=(0.09, 0.09))
    if rng.random() < 0.6:
        thing.box((-half, 0, top), (half, 0.05, top + 0.16), color, radius=0.01)
    top_free = Surface((-half + 0.08, half - 0.08), (0.1, depth - 0.08), top + 0.013, 0.4)
    return Group(width, depth + 0.02, top, [thing], covers=True, tops=[top_free])


def copier(rng: Generator, step: float) -> Group:
    """A standing copier: a body, a lid, trays at its side."""
    thing, color = Thing("copier", step), pick(rng, WHITE + METAL[2:3])
    width, depth, top = rng.uniform(0.58, 0.85), rng.uniform(0.55, 0.7), rng.uniform(0.9, 1.15)
    half, dark = width / 2, pick(rng, PLASTIC[:1])
    thing.box((-half, 0, 0.05), (half, depth, top - 0.18), color, radius=0.01)
    thing.box((-half, 0, top - 0.12), (half, depth - 0.05, top), dark, radius=0.015, faces=ALL)
    thing.box((-half, 0, top - 0.2), (half, 0.12, top - 0.1), color)
    thing.fronts((-half + 0.03, half - 0.03), (0.1, top - 0.3), depth, color, (1, 3), relief=0.012)
    thing.box((half, 0.1, top - 0.42), (half + 0.25, depth - 0.15, top - 0.39), color, faces=ALL)
    return Group(
        width + 0.5, depth + 0.02, top, [thing], tops=[Surface((-half + 0.1, half - 0.1), (0.1, depth - 0.2), top, 0.4)]
    )


def machine(rng: Generator, step: float) -> Group:
    """A tall machine that sells drinks or snacks: a box as plain as a wardrobe, with a lit front."""
    thing, half = Thing("vending machine", step), rng.uniform(0.4, 0.5)
    depth, height = rng.uniform(0.7, 0.85), rng.uniform(1.7, 1.95)
    color = pick(rng, METAL + PLASTIC)
    thing.box((-half, 0, 0.03), (half, depth, height), color, radius=0.01)
    thing.box(
        (-half + 0.06, depth - 0.01, 0.6), (half - 0.25, depth + 0.01, height - 0.1), SCREEN, faces="+y", seen=0.7
    )
    return Group(2 * half, depth + 0.02, height, [thing], covers=True)


def lockers(rng: Generator, step: float) -> Group:
    """A row of narrow steel doors, one or two high; annotators say "cabinet"."""
    count = int(rng.integers(2, 7))
    width, depth, height = count * rng.uniform(0.28, 0.4), rng.uniform(0.38, 0.5), rng.uniform(1.6, 1.95)
    thing, color = Thing("cabinet", step), pick(rng, METAL + PLASTIC)
    thing.box((-width / 2, 0, 0), (width / 2, depth - 0.03, height), color, faces="-x +x -y +z")
    fronts(thing, rng, (-width / 2, width / 2), (0.0, height), depth - 0.03, (count, int(rng.integers(1, 3))), color)
    top = Surface((-width / 2 + 0.05, width / 2 - 0.05), (0.05, depth - 0.06), height, 0.4)
    return Group(width, depth, height, [thing], covers=True, tops=[top])

"""Tables and desks. The same tops and the same legs serve both: what stands around decides which one it is."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.furniture.chairs import legs
from pointseg.scannet.synthetic.palette import GLASS, METAL, STONE, WHITE, WOOD, Color, darker, pick
from pointseg.scannet.synthetic.shapes import ALL, Group, Surface, Thing

SUPPORTS = ("legs", "frame", "trestles", "panels", "pedestals", "tees")


def table(
    rng: Generator,
    step: float,
    *,
    width: float | None = None,
    depth: float | None = None,
    category: str | None = None,
    longest: float = 3.0,
) -> Group:
    """A dining, meeting, class or work table: rectangular, or, when no size is asked for, also round or oval."""
    shape = rng.choice(["square", "round", "oval", "soft"], p=(0.58, 0.2, 0.08, 0.14)) if width is None else "square"
    width = min(width or rng.uniform(0.75, 1.9), longest)
    depth = min(depth or rng.uniform(0.6, 1.05), longest)
    top, thick = rng.uniform(0.70, 0.79), rng.uniform(0.018, 0.06)
    return _table(
        rng, step, category or ("table" if rng.random() < 0.9 else "dining table"), shape, width, depth, top, thick
    )


def coffee_table(rng: Generator, step: float) -> Group:
    shape = rng.choice(["square", "round", "oval", "soft"], p=(0.6, 0.15, 0.12, 0.13))
    width, depth, top = rng.uniform(0.6, 1.35), rng.uniform(0.45, 0.8), rng.uniform(0.28, 0.52)
    return _table(
        rng, step, "coffee table", shape, width, depth, top, rng.uniform(0.015, 0.08), shelf=rng.random() < 0.35
    )


def end_table(rng: Generator, step: float) -> Group:
    shape = rng.choice(["square", "round", "soft"])
    width, depth, top = rng.uniform(0.35, 0.6), rng.uniform(0.35, 0.6), rng.uniform(0.4, 0.65)
    return _table(rng, step, "end table", shape, width, depth, top, rng.uniform(0.015, 0.05), shelf=rng.random() < 0.3)


def _table(
    rng: Generator,
    step: float,
    category: str,
    shape: str,
    width: float,
    depth: float,
    top: float,
    thick: float,
    *,
    shelf: bool = False,
) -> Group:
    thing, under = Thing(category, step), pick(rng, WOOD + METAL)
    glass = rng.random() < (0.12 if category == "coffee table" else 0.05)
    color, seen = (GLASS, rng.uniform(0.1, 0.5)) if glass else (pick(rng, WOOD + WHITE + STONE[:2]), 1.0)
    if shape == "round":
        width = depth = min(width, 1.4)
    if shape == "square":
        thing.box(
            (-width / 2, 0, top - thick),
            (width / 2, depth, top),
            color,
            faces=ALL,
            seen=seen,
            radius=rng.choice([0, thick / 2]),
        )
    else:
        exponent = 5.0 if shape == "soft" else 2.0
        half = (width / 2, depth / 2)
        profile = [(0.0, top - thick), (1.0, top - thick), (1.0, top), (0.0, top)]
        thing.turned(profile, color, centre=(0, half[1]), half=half, exponent=exponent, seen=seen)
    if shape in ("round", "oval") and rng.random() < 0.65:
        _pedestal(thing, rng, depth / 2, min(width, depth), top - thick, under)
    else:
        inset = 0.15 * min(width, depth) if shape in ("round", "oval") else rng.uniform(0.01, 0.08)
        support = str(rng.choice(SUPPORTS, p=(0.5, 0.14, 0.08, 0.1, 0.06, 0.12)))
        stand_on(
            thing, rng, support, (-width / 2 + inset, width / 2 - inset), (inset, depth - inset), top - thick, under
        )
    free = 0.7 if shape in ("round", "oval") else 0.92
    tops = [_inside(width, depth, free, top, 1.0)]
    if shelf and top > 0.3:
        low = rng.uniform(0.1, 0.18)
        thing.box((-width * 0.4, depth * 0.1, low), (width * 0.4, depth * 0.9, low + 0.02), darker(under), faces=ALL)
        tops.append(_inside(width, depth, 0.7, low + 0.02, top - thick - low - 0.05))
    elif top > 0.6:
        tops.append(_inside(width, depth, 0.6, 0.0, top - 0.2))
    return Group(width, depth, top, [thing], tops=tops)


def _inside(width: float, depth: float, share: float, z: float, clear: float) -> Surface:
    return Surface(
        (-width / 2 * share, width / 2 * share), (depth / 2 * (1 - share), depth / 2 * (1 + share)), z, clear
    )


def _pedestal(thing: Thing, rng: Generator, y: float, size: float, top: float, color: Color) -> None:
    foot = size * rng.uniform(0.25, 0.36)
    if rng.random() < 0.6:
        stem = rng.uniform(0.08, 0.3)
        thing.turned([(1.0, 0.0), (0.95, 0.03), (stem, 0.07), (stem, top)], color, centre=(0, y), half=(foot, foot))
        return
    thing.bar((0, y, 0.1), (0, y, top), rng.uniform(0.03, 0.07), color, sides=8)
    turn, count = rng.uniform(0, 2), int(rng.integers(3, 6))
    for number in range(count):
        angle = turn + 2 * math.pi * number / count
        thing.bar((0, y, 0.14), (foot * math.cos(angle), y + foot * math.sin(angle), 0.02), (0.035, 0.02), color)


def stand_on(
    thing: Thing, rng: Generator, support: str, x: tuple[float, float], y: tuple[float, float], top: float, color: Color
) -> None:
    """What carries a rectangular top, between x and y, from the floor to `top`."""
    thick = rng.uniform(0.016, 0.045)
    if support in ("legs", "frame"):
        legs(
            thing,
            rng,
            (x[0] + thick, x[1] - thick),
            (y[0] + thick, y[1] - thick),
            top,
            thick,
            color,
            splay=rng.uniform(0, 0.04) if rng.random() < 0.3 else 0.0,
        )
        if rng.random() < 0.6 or support == "frame":  # an apron under the top
            low = top - rng.uniform(0.04, 0.1)
            for yy in (y[0] + thick, y[1] - thick):
                thing.box((x[0], yy - 0.01, low), (x[1], yy + 0.01, top), color, faces="-y +y -z")
            for xx in (x[0] + thick, x[1] - thick):
                thing.box((xx - 0.01, y[0], low), (xx + 0.01, y[1], top), color, faces="-x +x -z")
        if support == "frame":
            low = rng.uniform(0.05, 0.25)
            middle = (y[0] + y[1]) / 2
            for xx in (x[0] + thick, x[1] - thick):
                thing.bar((xx, y[0], low), (xx, y[1], low), thick * 0.8, color, sides=4)
            thing.bar((x[0], middle, low), (x[1], middle, low), thick * 0.8, color, sides=4)
    elif support == "panels":
        for xx in (x[0], x[1] - thick):
            thing.box((xx, y[0], 0), (xx + thick, y[1], top), color, faces="-x +x -y +y")
        if rng.random() < 0.7:
            thing.box(
                (x[0], y[0] + 0.03, max(0.05, top - rng.uniform(0.25, 0.5))),
                (x[1], y[0] + 0.05, top),
                color,
                faces="-y +y -z",
            )
    elif support == "pedestals":
        wide = min(0.45, (x[1] - x[0]) * 0.3)
        for x0 in (x[0], x[1] - wide) if rng.random() < 0.5 else (x[1] - wide,):
            _drawers(thing, rng, (x0, x0 + wide), y, top, color)
        if (x[1] - x[0]) > 0.9:
            thing.box((x[0], y[0], 0), (x[0] + 0.03, y[1], top), color, faces="-x +x -y +y")
    else:
        share = 0.12 if support == "tees" else 0.2
        span, middle = x[1] - x[0], (y[0] + y[1]) / 2
        for xx in (x[0] + share * span, x[1] - share * span):
            if support == "tees":
                thing.box((xx - 0.03, middle - 0.04, 0.03), (xx + 0.03, middle + 0.04, top), color)
                thing.box((xx - 0.03, y[0] + 0.02, 0), (xx + 0.03, y[1] - 0.02, 0.04), color)
                thing.box(
                    (xx - 0.02, y[0] + 0.05, top - 0.04), (xx + 0.02, y[1] - 0.05, top), color, faces="-x +x -y +y -z"
                )
            else:
                for sy in (-1, 1):
                    foot = middle + sy * (y[1] - y[0]) / 2 * 0.85
                    for dx in (-0.18, 0.18):
                        thing.bar((xx + dx, foot, 0), (xx, middle, top), 0.022, color, sides=4)


def _drawers(
    thing: Thing, rng: Generator, x: tuple[float, float], y: tuple[float, float], top: float, color: Color
) -> None:
    """A block of drawers with its fronts towards +y."""
    thing.box((x[0], y[0], 0.02), (x[1], y[1] - 0.02, top), color, faces="-x +x -y")
    thing.fronts(x, (0.02, top), y[1] - 0.02, color, (1, int(rng.integers(2, 5))), relief=0.015)
    metal = pick(rng, METAL)
    for z in np.linspace(0.02, top, 4)[1:] - 0.09:
        thing.box((sum(x) / 2 - 0.05, y[1] - 0.005, z), (sum(x) / 2 + 0.05, y[1] + 0.015, z + 0.015), metal)


def desk(rng: Generator, step: float, *, longest: float = 1.9) -> Group:
    """Stands with its back at the wall or facing another: a slab on whatever carries tables, drawers more often.

    At times with a hutch of shelves or a raised top.
    """
    width, depth = min(rng.uniform(0.9, 1.9), longest), rng.uniform(0.5, 0.85)
    top, thick = rng.uniform(0.69, 0.79), rng.uniform(0.018, 0.05)
    if rng.random() < 0.05:
        top = rng.uniform(0.95, 1.1)  # standing desk
    thing, half = Thing("desk", step), width / 2
    glass = rng.random() < 0.03
    color, under = pick(rng, WOOD + WHITE + METAL[:3]), pick(rng, WOOD + METAL + WHITE)
    seen = rng.uniform(0.1, 0.5) if glass else 1.0
    thing.box((-half, 0, top - thick), (half, depth, top), GLASS if glass else color, faces=ALL, seen=seen)
    support = str(rng.choice(SUPPORTS, p=(0.26, 0.12, 0.03, 0.2, 0.27, 0.12)))
    stand_on(thing, rng, support, (-half + 0.02, half - 0.02), (0.03, depth - 0.03), top - thick, under)
    tops = [Surface((-half + 0.03, half - 0.03), (0.03, depth - 0.08), top, 0.6)]
    if support != "pedestals":
        tops.append(Surface((-half + 0.12, half - 0.12), (0.06, depth * 0.5), 0.0, top - 0.2))
    height = top
    if rng.random() < 0.18:  # a hutch
        height = top + rng.uniform(0.3, 0.7)
        boards = np.linspace(top, height, int(rng.integers(2, 4)) + 1)
        for x in (-half, half - 0.02):
            thing.box((x, 0, top), (x + 0.02, 0.26, height), color)
        thing.wall_panel((-half, half), (top, height), 0.01, darker(color))
        for low, high in itertools.pairwise(boards[1:]):
            tops.append(Surface((-half + 0.04, half - 0.04), (0.03, 0.24), float(low), float(high - low) - 0.04))
        for z in boards[1:]:
            thing.box((-half, 0, z - 0.02), (half, 0.26, z), color, faces="+y +z -z")
        tops[0] = Surface((-half + 0.03, half - 0.03), (0.28, depth - 0.08), top, 0.6)
        tops.append(Surface((-half + 0.04, half - 0.04), (0.03, 0.24), height, 0.5))
    return Group(width, depth, height if height > 1.0 else top, [thing], tops=tops)


def bar_table(rng: Generator, step: float) -> Group:
    """A high table to stand or sit at on stools."""
    width, depth = rng.uniform(0.6, 1.4), rng.uniform(0.45, 0.7)
    shape = rng.choice(["square", "round"])
    return _table(rng, step, "table", shape, width, depth, rng.uniform(0.92, 1.1), rng.uniform(0.02, 0.05))

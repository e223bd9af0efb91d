"""Kitchen runs, islands, bars, wall cabinets, hoods and the sinks let into tops."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.furniture.cabinets import fronts
from pointseg.scannet.synthetic.palette import METAL, STONE, WHITE, WOOD, Color, darker, pick
from pointseg.scannet.synthetic.shapes import ALL, Group, Surface, Thing


class KitchenStyle:
    """What the parts of one kitchen share: heights, depths, colours."""

    def __init__(self, rng: Generator) -> None:
        self.depth, self.top = rng.uniform(0.55, 0.66), rng.uniform(0.84, 0.95)
        self.color: Color = pick(rng, WHITE + WOOD)
        self.stone: Color = pick(rng, STONE + WOOD + WHITE[:1])
        self.splash = rng.uniform(0.05, 0.12) if rng.random() < 0.5 else 0.0
        self.category = "kitchen cabinet" if rng.random() < 0.6 else "kitchen cabinets"


def kitchen_counter(rng: Generator, step: float, width: float, style: KitchenStyle, *, with_sink: bool) -> Group:
    """Base cabinets, a worktop and, let into it, a sink with its tap; drawers and a dishwasher among the doors."""
    depth, top, half = style.depth, style.top, width / 2
    base, worktop = Thing(style.category, step), Thing("kitchen counter" if rng.random() < 0.75 else "counter", step)
    base.box((-half, 0, 0), (half, depth - 0.06, top - 0.04), style.color, faces="-x +x")
    base.box((-half, 0, 0), (half, depth - 0.1, 0.09), darker(style.color, 0.6), faces="+y")
    x, things = -half, [worktop, base]
    while x < half - 0.05:
        wide = min(rng.uniform(0.38, 0.7), half - x)
        wide = half - x if half - x - wide < 0.3 else wide
        if 0.52 < wide < 0.66 and rng.random() < 0.2:
            machine = Thing("dishwasher", step)
            machine.box((x, depth - 0.07, 0.09), (x + wide, depth - 0.04, top - 0.05), pick(rng, METAL + WHITE))
            machine.bar(
                (x + 0.08, depth - 0.02, top - 0.12),
                (x + wide - 0.08, depth - 0.02, top - 0.12),
                0.01,
                pick(rng, METAL),
            )
            things.append(machine)
        else:
            grid = (1, int(rng.choice([1, 1, 3, 4])))
            fronts(base, rng, (x, x + wide), (0.09, top - 0.04), depth - 0.06, grid, style.color)
        x += wide
    x_range = (-half - 0.01, half + 0.01)
    worktop.box((x_range[0], 0, top - 0.04), (x_range[1], depth, top), style.stone, faces="-x +x +y")
    if style.splash:
        worktop.box((-half, 0, top), (half, 0.02, top + style.splash), style.stone, faces="-x +x +y +z")
    tops = [Surface((-half + 0.05, half - 0.05), (0.05, depth - 0.08), top, 0.4)]
    if with_sink:
        sink_half = (min(rng.uniform(0.2, 0.4), half - 0.1), rng.uniform(0.17, 0.21))
        reach = max(half - sink_half[0] - 0.08, 0.0)
        centre = (rng.uniform(-reach, reach), depth / 2 + 0.02)
        slab_with_hole(worktop, x_range, (0.0, depth), top, centre, sink_half, style.stone)
        things.append(sink_in(rng, step, centre, sink_half, top, double=sink_half[0] > 0.32))
        tops = [
            Surface(span, (0.05, depth - 0.08), top, 0.4)
            for span in (
                (-half + 0.05, centre[0] - sink_half[0] - 0.03),
                (centre[0] + sink_half[0] + 0.03, half - 0.05),
            )
            if span[1] - span[0] > 0.2
        ]
    else:
        worktop.box((x_range[0], 0, top - 0.04), (x_range[1], depth, top), style.stone, faces="+z")
    return Group(width + 0.02, depth, top, things, covers=True, tops=tops)


def island(rng: Generator, step: float, style: KitchenStyle, longest: float = 2.4) -> Group:
    """A counter that stands free: cabinets beneath on one side, a slab that stands out on the other for stools."""
    width, depth, top = min(rng.uniform(1.0, 2.4), longest), rng.uniform(0.6, 1.0), style.top + rng.uniform(0, 0.12)
    over = rng.uniform(0.0, 0.3)
    base, worktop, half = Thing(style.category, step), Thing("counter", step), width / 2
    base.box((-half + 0.03, over, 0), (half - 0.03, depth - 0.03, top - 0.04), style.color, faces="-x +x -y")
    grid = (max(1, round(width / 0.55)), 1)
    fronts(base, rng, (-half + 0.03, half - 0.03), (0.08, top - 0.04), depth - 0.05, grid, style.color)
    worktop.box((-half, 0, top - 0.05), (half, depth, top), style.stone, faces=ALL, radius=0.008)
    return Group(
        width, depth, top, [worktop, base], tops=[Surface((-half + 0.06, half - 0.06), (0.05, depth - 0.05), top, 0.6)]
    )


def reception(rng: Generator, step: float) -> Group:
    """A counter to stand at, as in lobbies, shops and copy rooms: a slab on panels, like a high desk."""
    width, depth, top = rng.uniform(1.2, 2.6), rng.uniform(0.5, 0.8), rng.uniform(0.86, 1.12)
    thing, half, color = Thing("counter", step), width / 2, pick(rng, WOOD + WHITE)
    thing.box((-half, 0, top - 0.04), (half, depth, top), pick(rng, WOOD + STONE), faces=ALL)
    thing.box((-half + 0.03, depth * 0.6, 0), (half - 0.03, depth - 0.06, top - 0.04), color, faces="-x +x -y +y")
    for x in (-half + 0.03, half - 0.06):
        thing.box((x, 0.02, 0), (x + 0.03, depth - 0.06, top - 0.04), color, faces="-x +x -y")
    return Group(
        width, depth, top, [thing], tops=[Surface((-half + 0.05, half - 0.05), (0.05, depth - 0.05), top, 0.6)]
    )


def wall_cabinet(rng: Generator, step: float, width: float, style: KitchenStyle) -> Group:
    """Hangs over the counter; its local z = 0 is its underside; doors, at times one ajar, or open boards."""
    depth, height = rng.uniform(0.28, 0.38), rng.uniform(0.5, 0.9)
    thing, half = Thing(style.category, step), width / 2
    thing.box((-half, 0, 0), (half, depth - 0.02, height), style.color, faces="-x +x +z -z")
    fronts(thing, rng, (-half, half), (0, height), depth - 0.02, (max(1, round(width / 0.45)), 1), style.color)
    if rng.random() < 0.15:
        leaf = Thing(style.category, step)
        leaf.box((0, -0.02, 0.01), (0.4, 0.0, height - 0.01), style.color, faces="-x +x -y +y +z -z")
        thing.take(leaf.placed(-half, depth, rng.uniform(0.6, 1.6)))
    return Group(width, depth, height, [thing], covers=True)


def hood(rng: Generator, step: float) -> Group:
    """A range hood: a box or a slanted skirt; local z = 0 is its underside."""
    thing, color, half = Thing("range hood", step), pick(rng, METAL + WHITE), rng.uniform(0.3, 0.38)
    depth, height = rng.uniform(0.42, 0.52), rng.uniform(0.12, 0.25)
    if rng.random() < 0.5:
        thing.box((-half, 0, 0), (half, depth, height), color, faces=ALL)
    else:
        for z0, z1, s0, s1 in ((0.0, height, 1.0, 0.35), (height, 0.7, 0.35, 0.35)):
            thing.turned([(s0, z0), (s1, z1)], color, centre=(0, depth / 2), half=(half, depth / 2), exponent=9)
        height = 0.7
    return Group(2 * half, depth, height, [thing])


def slab_with_hole(
    thing: Thing,
    x: tuple[float, float],
    y: tuple[float, float],
    z: float,
    centre: tuple[float, float],
    half: tuple[float, float],
    color: Color,
) -> None:
    """The top face of a slab without a rectangle around `centre`, as four boxes' top faces."""
    left, right, front, back = centre[0] - half[0], centre[0] + half[0], centre[1] + half[1], centre[1] - half[1]
    for x0, x1, y0, y1 in ((x[0], left, *y), (right, x[1], *y), (left, right, y[0], back), (left, right, front, y[1])):
        if x1 - x0 > 0.005 and y1 - y0 > 0.005:
            thing.box((x0, y0, z - 0.04), (x1, y1, z), color, faces="+z")


def sink_in(
    rng: Generator,
    step: float,
    centre: tuple[float, float],
    half: tuple[float, float],
    top: float,
    *,
    double: bool = False,
) -> Thing:
    """One basin or two whose rim lies on a worktop of height `top`, with a tap behind."""
    thing = Thing("sink", step)
    color, deep, exponent = pick(rng, METAL[2:3] + WHITE), rng.uniform(0.12, 0.2), float(rng.choice([2.2, 5.0, 8.0]))
    profile = [(1.0, top), (1.0, top + 0.01), (0.92, top + 0.01), (0.85, top - deep), (0.0, top - deep - 0.01)]
    basins = np.array([-0.5, 0.5]) * half[0] if double else [0.0]
    wide = half[0] / len(basins)
    for x in basins:
        thing.turned(profile, color, centre=(centre[0] + x, centre[1]), half=(wide, half[1]), exponent=exponent)
    tap(thing, rng, (centre[0], centre[1] - half[1] + 0.015), top)
    return thing


def tap(thing: Thing, rng: Generator, foot: tuple[float, float], z: float) -> None:
    (x, y), color, high = foot, pick(rng, METAL[:3]), rng.uniform(0.1, 0.3)
    reach = y + rng.uniform(0.1, 0.18)
    thing.bar((x, y, z), (x, y, z + high), 0.016, color)
    thing.bar((x, y, z + high), (x, reach, z + high - 0.01), 0.012, color)
    thing.bar((x, reach, z + high), (x, reach, z + high - 0.05), 0.012, color)

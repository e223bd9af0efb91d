"""Kitchen and bathroom fixtures, small free-standing things, and what hangs on walls."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.furniture import BRIGHT, FABRIC, METAL, WHITE, WOOD, cabinet, darker, fronts, pick
from pointseg.scannet.synthetic.shapes import Group, Thing, Vec3


def kitchen_counter(rng: Generator, step: float, width: float, *, with_sink: bool) -> Group:
    """Base cabinets (`kitchen cabinet`), a worktop (`kitchen counter`) and, let into it, a sink with its tap."""
    depth, top, half = rng.uniform(0.58, 0.65), rng.uniform(0.86, 0.93), width / 2
    base, worktop = Thing("kitchen cabinet", step), Thing("kitchen counter", step)
    color = pick(rng, WHITE + WOOD)
    base.box((-half, 0, 0), (half, depth - 0.06, top - 0.04), color, faces="-x +x")
    fronts(base, rng, (-half, half), (0.06, top - 0.04), depth - 0.06, (max(1, round(width / 0.55)), 1), color)
    stone = pick(rng, METAL + WOOD)
    worktop.box((-half - 0.01, 0, top - 0.04), (half + 0.01, depth, top), stone, faces="-x +x +y")
    if not with_sink:
        worktop.box((-half - 0.01, 0, top - 0.04), (half + 0.01, depth, top), stone, faces="+z")
        return Group(width + 0.02, depth, top, [worktop, base], covers=True)
    sink_half = (rng.uniform(0.24, 0.36), rng.uniform(0.18, 0.21))
    x, y = rng.uniform(-half + 0.5, half - 0.5) if width > 1.1 else 0.0, depth / 2 + 0.02
    _slab_with_hole(worktop, (-half - 0.01, half + 0.01), (0.0, depth), top, (x, y), sink_half, stone)
    sink = _sink(rng, step, (x, y), sink_half, top)
    return Group(width + 0.02, depth, top, [worktop, base, sink], covers=True)


def _slab_with_hole(
    thing: Thing,
    x: tuple[float, float],
    y: tuple[float, float],
    z: float,
    centre: tuple[float, float],
    half: tuple[float, float],
    color: Vec3,
) -> None:
    """The top face of a slab without a rectangle around `centre`, as four boxes' top faces."""
    left, right, front, back = centre[0] - half[0], centre[0] + half[0], centre[1] + half[1], centre[1] - half[1]
    for x0, x1, y0, y1 in ((x[0], left, *y), (right, x[1], *y), (left, right, y[0], back), (left, right, front, y[1])):
        if x1 - x0 > 0.005 and y1 - y0 > 0.005:
            thing.box((x0, y0, z - 0.04), (x1, y1, z), color, faces="+z")


def _sink(rng: Generator, step: float, centre: tuple[float, float], half: tuple[float, float], top: float) -> Thing:
    """A basin whose rim lies on a worktop of height `top`, with a tap behind it."""
    thing = Thing("sink", step)
    color, deep = pick(rng, METAL[2:] + WHITE), rng.uniform(0.14, 0.2)
    profile = [(1.0, top), (1.0, top + 0.012), (0.9, top + 0.012), (0.84, top - deep), (0.0, top - deep - 0.01)]
    thing.turned(profile, color, centre=centre, half=half, exponent=5)
    _tap(thing, (centre[0], centre[1] - half[1] + 0.015), top, pick(rng, METAL))
    return thing


def _tap(thing: Thing, foot: tuple[float, float], z: float, color: Vec3) -> None:
    x, y = foot
    thing.rod(x, y, (z, z + 0.22), 0.015, color)
    thing.box((x - 0.015, y, z + 0.19), (x + 0.015, y + 0.15, z + 0.22), color, faces="-x +x +y +z -z")


def wall_cabinet(rng: Generator, step: float, width: float) -> Group:
    """Hangs over the kitchen counter; its local z = 0 is its underside."""
    depth, height, color = rng.uniform(0.3, 0.36), rng.uniform(0.6, 0.8), pick(rng, WHITE + WOOD)
    thing = Thing("kitchen cabinet", step)
    thing.box((-width / 2, 0, 0), (width / 2, depth - 0.02, height), color, faces="-x +x +z -z")
    fronts(thing, rng, (-width / 2, width / 2), (0, height), depth - 0.02, (max(1, round(width / 0.5)), 1), color)
    return Group(width, depth, height, [thing], covers=True)


def refrigerator(rng: Generator, step: float) -> Group:
    width, depth, height = rng.uniform(0.6, 0.9), rng.uniform(0.64, 0.78), rng.uniform(1.5, 1.85)
    thing, color, half = Thing("refrigerator", step), pick(rng, WHITE + METAL), width / 2
    split = height * rng.uniform(0.3, 0.72)
    thing.box((-half, 0, 0.03), (half, depth - 0.05, height), color, radius=0.01, faces="-x +x -y +z")
    for low, high in ((0.05, split - 0.008), (split + 0.008, height)):
        thing.box((-half, depth - 0.06, low), (half, depth - 0.03, high), color, radius=0.012)
        middle = min(max((low + high) / 2, 0.75), 1.3) if high - low > 0.5 else (low + high) / 2
        thing.box((half - 0.1, depth - 0.03, middle - 0.15), (half - 0.07, depth, middle + 0.15), pick(rng, METAL))
    return Group(width, depth, height, [thing], covers=True)


def washing_machine(rng: Generator, step: float) -> Group:
    thing = Thing("washing machine", step)
    width, depth, height = rng.uniform(0.58, 0.64), rng.uniform(0.55, 0.65), rng.uniform(0.83, 0.92)
    thing.box((-width / 2, 0, 0), (width / 2, depth, height), pick(rng, WHITE), radius=0.02)
    thing.box((-0.18, depth, 0.28), (0.18, depth + 0.03, 0.64), pick(rng, METAL), radius=0.03)
    return Group(width, depth + 0.03, height, [thing])


def bathtub(rng: Generator, step: float, width: float) -> Group:
    """A tub with its long side at the wall and, along the open side, a shower curtain partly drawn."""
    depth, top, color = rng.uniform(0.70, 0.80), rng.uniform(0.48, 0.58), pick(rng, WHITE)
    tub = Thing("bathtub", step)
    profile = [(1.0, 0.0), (1.0, top), (0.90, top), (0.80, 0.2), (0.72, 0.12), (0.0, 0.12)]
    tub.turned(profile, color, centre=(0, depth / 2), half=(width / 2, depth / 2), exponent=9)
    curtain = Thing("shower curtain", step)
    drawn = width * rng.uniform(0.35, 0.65)
    start = -width / 2 + 0.02 if rng.random() < 0.5 else width / 2 - drawn - 0.02
    fold, z = rng.uniform(0.02, 0.035), (rng.uniform(0.18, 0.35), rng.uniform(1.85, 2.05))
    curtain.cloth((start, start + drawn), z, depth + 0.06, pick(rng, WHITE + BRIGHT), fold, rng)
    rod = Thing("rack", step)
    rod.box(
        (-width / 2, depth + 0.045, z[1]),
        (width / 2, depth + 0.07, z[1] + 0.025),
        pick(rng, METAL),
        faces="-y +y +z -z",
    )
    return Group(width, depth + 0.1, top, [tub, curtain, rod])


def toilet(rng: Generator, step: float) -> Group:
    """Bowl with seat, and a tank at the wall."""
    thing, color = Thing("toilet", step), pick(rng, WHITE)
    width, seat, tank_top = rng.uniform(0.36, 0.42), rng.uniform(0.38, 0.43), rng.uniform(0.72, 0.85)
    tank, reach = rng.uniform(0.17, 0.21), rng.uniform(0.64, 0.72)
    thing.box(
        (-width / 2 - 0.02, 0, seat - 0.04),
        (width / 2 + 0.02, tank, tank_top),
        color,
        radius=0.03,
        faces="-x +x -y +y +z -z",
    )
    middle, half = (tank + reach) / 2, (width / 2, (reach - tank) / 2 + 0.03)
    bowl = [
        (0.62, 0.0),
        (0.6, seat * 0.4),
        (0.98, seat - 0.06),
        (1.0, seat),
        (0.72, seat),
        (0.5, seat - 0.14),
        (0.0, seat - 0.18),
    ]
    if rng.random() < 0.5:  # lid down
        bowl = [*bowl[:4], (0.98, seat + 0.025), (0.0, seat + 0.035)]
    else:  # lid up, leaning on the tank
        thing.box(
            (-width / 2 + 0.02, tank, seat + 0.01), (width / 2 - 0.02, tank + 0.03, seat + 0.40), color, radius=0.015
        )
    thing.turned(bowl, color, centre=(0, middle), half=half, exponent=2.4)
    thing.box((-width / 4, 0.05, 0), (width / 4, middle, seat - 0.05), color)
    return Group(width + 0.04, reach + 0.03, tank_top, [thing])


def washbasin(rng: Generator, step: float) -> Group:
    """A sink on a pedestal, or let into a vanity cabinet with a counter."""
    if rng.random() < 0.4:
        thing, color = Thing("sink", step), pick(rng, WHITE)
        width, depth, top = rng.uniform(0.5, 0.62), rng.uniform(0.42, 0.5), rng.uniform(0.8, 0.86)
        half = (width / 2, depth / 2)
        profile = [(0.35, top - 0.2), (1.0, top - 0.06), (1.0, top), (0.85, top), (0.7, top - 0.12), (0.0, top - 0.14)]
        thing.turned(profile, color, centre=(0, depth / 2), half=half, exponent=3)
        thing.turned([(1.0, 0.0), (0.8, 0.1), (0.8, top - 0.16)], color, centre=(0, depth * 0.4), half=(0.11, 0.1))
        _tap(thing, (0, 0.03), top, pick(rng, METAL))
        return Group(width, depth, top, [thing])
    group = cabinet(rng, step, "bathroom vanity")
    counter, stone, top = Thing("counter", step), pick(rng, WHITE + METAL), group.height + 0.035
    half, centre = (rng.uniform(0.2, 0.25), rng.uniform(0.15, 0.18)), (0.0, group.depth / 2 + 0.02)
    x = (-group.width / 2 - 0.01, group.width / 2 + 0.01)
    counter.box((x[0], 0, top - 0.035), (x[1], group.depth + 0.02, top), stone, faces="-x +x +y")
    _slab_with_hole(counter, x, (0, group.depth + 0.02), top, centre, half, stone)
    sink = _sink(rng, step, centre, half, top)
    return Group(group.width + 0.02, group.depth + 0.02, top, [sink, counter, *group.things])


def bin_(rng: Generator, step: float) -> Group:
    """A waste bin, round or square, open at the top."""
    thing = Thing("trash can" if rng.random() < 0.7 else "recycling bin", step)
    radius, height = rng.uniform(0.13, 0.19), rng.uniform(0.3, 0.65)
    profile = [(0.8, 0.0), (1.0, height), (0.93, height), (0.75, 0.1 + height * rng.uniform(0, 0.6)), (0.0, 0.12)]
    exponent = 2.0 if rng.random() < 0.5 else 8.0
    half = (radius, radius * rng.uniform(0.75, 1.0))
    thing.turned(profile, pick(rng, METAL + BRIGHT), centre=(0, half[1]), half=half, exponent=exponent)
    return Group(2 * radius, 2 * half[1], height, [thing])


def ottoman(rng: Generator, step: float) -> Group:
    width, depth, top = rng.uniform(0.45, 0.7), rng.uniform(0.4, 0.6), rng.uniform(0.36, 0.45)
    thing = Thing("ottoman", step)
    thing.box((-width / 2, 0, 0.03), (width / 2, depth, top), pick(rng, FABRIC), radius=0.06)
    return Group(width, depth, top, [thing])


def radiator(rng: Generator, step: float, width: float) -> Group:
    thing, height = Thing("radiator", step), rng.uniform(0.5, 0.65)
    low = 0.12
    ribs = max(4, round(width / 0.09))
    for rib in range(ribs):
        x = -width / 2 + rib * width / ribs
        thing.box(
            (x + 0.01, 0.02, low), (x + width / ribs - 0.01, 0.11, low + height), pick(rng, WHITE[:1]), radius=0.02
        )
    return Group(width, 0.12, low + height, [thing])


def floor_lamp(rng: Generator, step: float) -> Group:
    thing, height, radius = Thing("lamp", step), rng.uniform(1.4, 1.75), rng.uniform(0.16, 0.24)
    metal = pick(rng, METAL)
    thing.turned([(1.0, 0.0), (1.0, 0.02), (0.0, 0.03)], metal, centre=(0, radius), half=(0.14, 0.14))
    thing.rod(0, radius, (0.02, height - 0.25), 0.013, metal)
    shade = [(1.0, height - 0.28), (0.7, height)]
    thing.turned(shade, pick(rng, WHITE), centre=(0, radius), half=(radius, radius))
    return Group(2 * radius, 2 * radius, height, [thing])


def cardboard_box(rng: Generator, step: float) -> Group:
    width, depth, height = rng.uniform(0.25, 0.5), rng.uniform(0.2, 0.4), rng.uniform(0.15, 0.4)
    thing = Thing("box", step)
    thing.box((-width / 2, 0, 0), (width / 2, depth, height), pick(rng, WOOD[1:2]))
    return Group(width, depth, height, [thing])


def bag(rng: Generator, step: float) -> Group:
    width, depth, height = rng.uniform(0.28, 0.42), rng.uniform(0.18, 0.28), rng.uniform(0.3, 0.48)
    thing = Thing("bag", step)
    thing.box((-width / 2, 0, 0), (width / 2, depth, height), pick(rng, BRIGHT + FABRIC), radius=0.09)
    return Group(width, depth, height, [thing])


def plant(rng: Generator, step: float) -> Group:
    radius, height = rng.uniform(0.12, 0.18), rng.uniform(0.5, 1.1)
    thing = Thing("plant", step)
    thing.turned(
        [(0.7, 0), (1.0, 0.25), (0.85, 0.25), (0.0, 0.22)], pick(rng, BRIGHT), centre=(0, 0.2), half=(radius, radius)
    )
    for _ in range(9):
        angle, reach, top = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.2), rng.uniform(0.5, 1.0) * height
        x, y = reach * math.cos(angle), 0.2 + reach * math.sin(angle)
        thing.box((x - 0.05, y - 0.015, 0.2), (x + 0.05, y + 0.015, max(top, 0.35)), (0.25, 0.42, 0.2), radius=0.015)
    return Group(0.4, 0.4, height, [thing])


def table_clutter(rng: Generator, step: float) -> Group:
    """Something small that stands on a table or a shelf."""
    kind = rng.integers(4)
    if kind == 0:
        thing = Thing("bottle", step)
        thing.turned(
            [(1.0, 0), (1.0, 0.16), (0.4, 0.2), (0.4, 0.26), (0, 0.26)],
            pick(rng, BRIGHT),
            centre=(0, 0.05),
            half=(0.04, 0.04),
        )
        return Group(0.1, 0.1, 0.26, [thing])
    if kind == 1:
        thing = Thing("books", step)
        thing.box((-0.11, 0, 0), (0.11, 0.28, rng.uniform(0.03, 0.12)), pick(rng, BRIGHT))
        return Group(0.24, 0.28, 0.1, [thing])
    if kind == 2:
        thing = Thing("box", step)
        thing.box((-0.1, 0, 0), (0.1, 0.15, rng.uniform(0.08, 0.2)), pick(rng, BRIGHT))
        return Group(0.2, 0.15, 0.2, [thing])
    return table_lamp(rng, step)


def table_lamp(rng: Generator, step: float) -> Group:
    thing, height = Thing("lamp", step), rng.uniform(0.35, 0.5)
    thing.turned(
        [(1.0, 0), (1.0, 0.02), (0.25, 0.04), (0.25, height - 0.2)],
        pick(rng, METAL),
        centre=(0, 0.14),
        half=(0.07, 0.07),
    )
    thing.turned([(1.0, height - 0.2), (0.65, height)], pick(rng, WHITE), centre=(0, 0.14), half=(0.14, 0.14))
    return Group(0.28, 0.28, height, [thing])


def monitor(rng: Generator, step: float) -> Group:
    width, height = rng.uniform(0.45, 0.62), rng.uniform(0.3, 0.38)
    thing, dark = Thing("monitor", step), pick(rng, METAL[1:2])
    thing.box((-0.1, 0.04, 0), (0.1, 0.2, 0.015), dark)
    thing.box((-0.025, 0.08, 0), (0.025, 0.11, 0.14), dark)
    thing.box((-width / 2, 0.11, 0.11), (width / 2, 0.15, 0.11 + height), dark, radius=0.01, seen=0.9)
    return Group(width, 0.22, 0.11 + height, [thing])


def television(rng: Generator, step: float) -> Group:
    width = rng.uniform(0.8, 1.3)
    height, thing, dark = width * 0.58, Thing("tv", step), pick(rng, METAL[1:2])
    thing.box((-0.2, 0.02, 0), (0.2, 0.22, 0.02), dark)
    thing.box((-0.04, 0.08, 0), (0.04, 0.12, 0.08), dark)
    thing.box((-width / 2, 0.1, 0.07), (width / 2, 0.15, 0.07 + height), darker(dark, 0.5), radius=0.01, seen=0.75)
    return Group(width, 0.24, 0.07 + height, [thing])


def microwave(rng: Generator, step: float) -> Group:
    thing = Thing("microwave", step)
    thing.box((-0.24, 0.02, 0.01), (0.24, 0.37, 0.29), pick(rng, METAL + WHITE), radius=0.01)
    return Group(0.48, 0.38, 0.3, [thing])


def framed(rng: Generator, step: float, category: str, width: float, height: float, color: Vec3 | None = None) -> Group:
    """A picture, poster, mirror or whiteboard: a frame around a flat field; local z = 0 is its lower edge."""
    thing, half = Thing(category, step), width / 2
    frame = {"picture": rng.uniform(0.03, 0.07), "mirror": 0.04, "whiteboard": 0.03, "poster": 0.01}[category]
    thick = {"picture": rng.uniform(0.02, 0.045), "mirror": 0.025, "whiteboard": 0.025, "poster": 0.008}[category]
    seen = 0.5 if category == "mirror" else 1.0
    thing.wall_panel(
        (-half + frame, half - frame), (frame, height - frame), thick * 0.6, color or pick(rng, BRIGHT), seen=seen
    )
    if color is None:
        _paint(thing, rng)
    edge = pick(rng, WOOD + METAL)
    for x0, x1, z0, z1 in (
        (-half, half, 0, frame),
        (-half, half, height - frame, height),
        (-half, -half + frame, frame, height - frame),
        (half - frame, half, frame, height - frame),
    ):
        thing.box((x0, 0.002, z0), (x1, thick, z1), edge, faces="-x +x +y +z -z")
    return Group(width, thick, height, [thing], covers=True)


def _paint(thing: Thing, rng: Generator) -> None:
    """Gives the last sheet bands and blotches of two more colours."""
    sheet = thing.sheets.pop()
    x, z = sheet.points[..., 0], sheet.points[..., 2]
    pattern = np.sin(x * rng.uniform(3, 12) + rng.uniform(0, 6)) + np.sin(z * rng.uniform(3, 12) + rng.uniform(0, 6))
    colors = np.array([sheet.color, pick(rng, BRIGHT), pick(rng, BRIGHT + WHITE)])
    thing.add(sheet.points, colors[np.digitize(pattern, (-0.6, 0.5))], sheet.seen)


def towel(rng: Generator, step: float) -> Group:
    thing, width, height = Thing("towel", step), rng.uniform(0.35, 0.6), rng.uniform(0.5, 0.8)
    thing.cloth((-width / 2, width / 2), (0, height), 0.06, pick(rng, BRIGHT + WHITE), 0.012, rng)
    return Group(width, 0.08, height, [thing])

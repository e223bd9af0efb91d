"""What stands about on floors: bins, lamps, plants, radiators, boxes, suitcases, ladders, pianos, coolers."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.furniture.clutter import leaves
from pointseg.scannet.synthetic.furniture.storage import storage_box
from pointseg.scannet.synthetic.palette import BRIGHT, FABRIC, METAL, PLASTIC, SCREEN, STONE, WHITE, WOOD, darker, pick
from pointseg.scannet.synthetic.shapes import ALL, Group, Surface, Thing


def bin_(rng: Generator, step: float) -> Group:
    """A waste or recycling bin: round or square, open, with a swing lid or a bag over its rim."""
    thing = Thing(str(rng.choice(["trash can", "recycling bin", "trash bin", "bin"], p=(0.7, 0.16, 0.06, 0.08))), step)
    radius, height = rng.uniform(0.11, 0.24), rng.uniform(0.24, 0.8)
    exponent = float(rng.choice([2.0, 8.0]))
    half = (radius, radius * rng.uniform(0.6, 1.0))
    foot, color, kind = rng.uniform(0.7, 1.0), pick(rng, METAL + BRIGHT + PLASTIC), rng.random()
    if kind < 0.6:  # open
        deep = 0.1 + height * rng.uniform(0, 0.7)
        profile = [(foot, 0.0), (1.0, height), (0.93, height), (0.85 * foot, deep), (0.0, deep + 0.02)]
    else:
        profile = [(foot, 0.0), (1.0, height * 0.82), (1.04, height * 0.82), (0.9, height), (0.0, height + 0.02)]
    thing.turned(profile, color, centre=(0, half[1]), half=half, exponent=exponent)
    if kind < 0.25:
        rim = [(1.06, height * 0.75), (1.05, height + 0.01), (0.92, height + 0.01), (0.8, height * 0.7)]
        thing.turned(rim, pick(rng, WHITE + PLASTIC[:1]), centre=(0, half[1]), half=half, exponent=exponent)
    return Group(2.1 * radius, 2.1 * half[1], height, [thing])


def radiator(rng: Generator, step: float) -> Group:
    """Ribs, a plate or a low box along the wall."""
    thing, width, height = Thing("radiator", step), rng.uniform(0.5, 1.7), rng.uniform(0.35, 0.75)
    low, color, kind = rng.uniform(0.06, 0.16), pick(rng, WHITE + METAL[:1]), rng.random()
    depth = rng.uniform(0.07, 0.22)
    if kind < 0.45:
        ribs = max(4, round(width / rng.uniform(0.06, 0.12)))
        edges = np.linspace(-width / 2, width / 2, ribs + 1)
        for x0, x1 in itertools.pairwise(edges):
            thing.box((x0 + 0.006, 0.02, low), (x1 - 0.006, depth, low + height), color, radius=0.018)
    else:
        thing.box((-width / 2, 0.0, low), (width / 2, depth, low + height), color, radius=0.01, faces=ALL)
    top = Surface((-width / 2 + 0.05, width / 2 - 0.05), (0.01, depth), low + height, 0.3)
    return Group(width, depth + 0.01, low + height, [thing], tops=[top])


def floor_lamp(rng: Generator, step: float) -> Group:
    thing, height, radius = Thing("lamp", step), rng.uniform(1.3, 1.8), rng.uniform(0.12, 0.24)
    metal = pick(rng, METAL + WOOD)
    foot = rng.uniform(0.1, 0.16)
    if rng.random() < 0.8:
        thing.turned([(1.0, 0.0), (1.0, 0.02), (0.0, 0.03)], metal, centre=(0, radius), half=(foot, foot))
        thing.bar((0, radius, 0.02), (0, radius, height - 0.1), 0.013, metal)
    else:
        for turn in (0.5, 2.6, 4.7):
            thing.bar(
                (0.25 * math.cos(turn), radius + 0.25 * math.sin(turn), 0), (0, radius, height - 0.3), 0.014, metal
            )
        radius = max(radius, 0.22)
    if rng.random() < 0.75:
        shade = [(1.0, height - rng.uniform(0.2, 0.35)), (rng.uniform(0.5, 1.0), height)]
    else:  # an uplighter's bowl
        shade = [(0.3, height - 0.12), (1.0, height)]
    thing.turned(shade, pick(rng, WHITE + METAL), centre=(0, radius), half=(radius, radius))
    return Group(2 * radius, 2 * radius, height, [thing])


def plant(rng: Generator, step: float) -> Group:
    """A potted plant on the floor."""
    thing, radius, pot = Thing("plant", step), rng.uniform(0.12, 0.22), rng.uniform(0.18, 0.42)
    color, height = pick(rng, BRIGHT + WHITE + STONE), pot + rng.uniform(0.3, 1.2)
    thing.turned([(0.7, 0), (1.0, pot), (0.88, pot), (0.0, pot - 0.03)], color, half=(radius, radius))
    if height > 0.9:
        thing.bar((0, 0, pot - 0.03), (0, 0, height * 0.7), 0.015, pick(rng, WOOD))
        leaves(thing, rng, height * 0.55, height, rng.uniform(0.2, 0.35))
    leaves(thing, rng, pot, height * 0.85, rng.uniform(0.15, 0.3))
    thing = thing.placed(0.0, 0.28, 0.0)
    return Group(0.56, 0.56, height, [thing])


def box_pile(rng: Generator, step: float) -> Group:
    """Boxes and bins one on another."""
    width, depth, z, things = rng.uniform(0.25, 0.6), rng.uniform(0.25, 0.5), 0.0, []
    for _ in range(int(rng.choice([1, 2, 3], p=(0.55, 0.3, 0.15)))):
        part = storage_box(rng, step, width * rng.uniform(0.75, 1.0), depth * rng.uniform(0.8, 1.0), 0.45)
        high = float(max(s.points[..., 2].max() for s in part.sheets))
        things.append(part.placed(rng.normal(0, 0.015), 0.02, rng.normal(0, 0.05), z))
        z += high
    top = Surface((-width / 3, width / 3), (0.05, depth * 0.7), z, 0.4)
    return Group(width + 0.06, depth + 0.06, z, things, tops=[top])


def suitcase(rng: Generator, step: float) -> Group:
    thing, w, d, h = Thing("suitcase", step), rng.uniform(0.34, 0.52), rng.uniform(0.2, 0.3), rng.uniform(0.5, 0.75)
    color = pick(rng, PLASTIC + BRIGHT + FABRIC)
    thing.box((-w / 2, 0.02, 0.04), (w / 2, d, h), color, radius=0.05, faces=ALL)
    if rng.random() < 0.3:
        for x in (-0.1, 0.1):
            thing.bar((x, 0.05, h), (x, 0.05, h + 0.35), 0.008, SCREEN, sides=4)
        thing.bar((-0.1, 0.05, h + 0.35), (0.1, 0.05, h + 0.35), 0.015, SCREEN)
    return Group(w, d, h, [thing])


def basket(rng: Generator, step: float) -> Group:
    """A laundry basket or hamper with clothes heaped in it."""
    thing = Thing(str(rng.choice(["laundry basket", "laundry hamper", "basket"])), step)
    radius, height = rng.uniform(0.2, 0.3), rng.uniform(0.3, 0.65)
    half = (radius, radius * rng.uniform(0.7, 1.0))
    exponent = float(rng.choice([2.0, 5.0]))
    fill = height * rng.uniform(0.4, 0.95)
    profile = [(0.85, 0), (1.0, height), (0.94, height), (0.86, fill)]
    thing.turned(profile, pick(rng, PLASTIC + WOOD[3:4] + WHITE), centre=(0, half[1]), half=half, exponent=exponent)
    wash = Thing("clothes", step)
    wash.heap(
        (0, half[1]),
        (half[0] * 0.85, half[1] * 0.85),
        fill,
        rng.uniform(0.08, 0.25),
        pick(rng, FABRIC + BRIGHT + WHITE),
        rng,
    )
    return Group(2 * radius, 2 * half[1], height, [thing, wash])


def ladder(rng: Generator, step: float) -> Group:
    """A step ladder standing open or folded against the wall."""
    thing, height, half = Thing("ladder", step), rng.uniform(0.8, 1.9), rng.uniform(0.2, 0.26)
    color, reach = pick(rng, METAL + WOOD), rng.uniform(0.35, 0.8)
    for x in (-half, half):
        thing.bar((x, reach, 0), (x * 0.8, 0.12, height), 0.02, color, sides=4)
        thing.bar((x, 0.02, 0), (x * 0.8, 0.1, height), 0.016, color, sides=4)
    for share in np.arange(0.2, 1.0, 0.25 / height):
        y = reach + (0.12 - reach) * share
        thing.box((-half, y - 0.04, share * height - 0.02), (half, y + 0.04, share * height), color, faces=ALL)
    return Group(2 * half + 0.05, reach + 0.05, height, [thing])


def ironing_board(rng: Generator, step: float) -> Group:
    thing, top, color = Thing("ironing board", step), rng.uniform(0.8, 0.92), pick(rng, BRIGHT + METAL)
    profile = [(0, top - 0.03), (1, top - 0.03), (1, top), (0, top)]
    thing.turned(profile, color, centre=(0, 0.19), half=(0.62, 0.18), exponent=3)
    metal = pick(rng, METAL)
    for y in (0.08, 0.3):
        thing.bar((-0.45, y, 0), (0.3, y, top - 0.03), 0.014, metal)
        thing.bar((0.45, y, 0), (-0.3, y, top - 0.03), 0.014, metal)
    return Group(1.26, 0.38, top, [thing], tops=[Surface((-0.4, 0.4), (0.08, 0.3), top, 0.5)])


def drying_rack(rng: Generator, step: float) -> Group:
    """Wires on crossed legs with clothes over them."""
    thing, top, metal = Thing("drying rack", step), rng.uniform(0.85, 1.05), pick(rng, METAL + WHITE)
    for x in (-0.6, 0.6):
        thing.bar((x, 0.02, 0), (x, 0.5, top), 0.012, metal)
        thing.bar((x, 0.5, 0), (x, 0.02, top), 0.012, metal)
    things = [thing]
    for y in np.linspace(0.04, 0.48, 5):
        thing.bar((-0.6, y, top), (0.6, y, top), 0.006, metal, sides=4)
        if rng.random() < 0.6:
            cloth, x = Thing("clothes" if rng.random() < 0.6 else "towel", step), rng.uniform(-0.4, 0.4)
            hang = rng.uniform(0.1, 0.5, 2)
            cloth.draped(
                (x - 0.18, x + 0.18),
                (y - 0.02, y + 0.02),
                top + 0.01,
                (0, 0, *hang),
                pick(rng, FABRIC + WHITE + BRIGHT),
                rng,
            )
            things.append(cloth)
    return Group(1.25, 0.62, top, things)


def piano(rng: Generator, step: float) -> Group:
    thing, half, color = Thing("piano", step), rng.uniform(0.68, 0.76), pick(rng, WOOD + METAL[3:4])
    height = rng.uniform(1.0, 1.25)
    thing.box((-half, 0, 0), (half, 0.36, height), color, radius=0.01)
    thing.box((-half, 0.36, 0.58), (half, 0.62, 0.74), color, faces=ALL)
    thing.box((-half + 0.08, 0.42, 0.74), (half - 0.08, 0.56, 0.76), WHITE[0], faces="+z +y")
    for x in (-half, half - 0.06):
        thing.box((x, 0.52, 0), (x + 0.06, 0.6, 0.6), color)
    return Group(
        2 * half,
        0.62,
        height,
        [thing],
        covers=True,
        tops=[Surface((-half + 0.1, half - 0.1), (0.03, 0.3), height, 0.5)],
    )


def water_cooler(rng: Generator, step: float) -> Group:
    thing, color = Thing("water cooler", step), pick(rng, WHITE + METAL[3:4])
    thing.box((-0.16, 0, 0), (0.16, 0.32, 0.98), color, radius=0.02)
    bottle = [(0.5, 0.98), (1.0, 1.06), (1.0, 1.36), (0.0, 1.38)]
    thing.turned(bottle, (0.6, 0.75, 0.85), centre=(0, 0.16), half=(0.14, 0.14), seen=0.6)
    return Group(0.34, 0.34, 1.38, [thing], covers=False)


def clothing_rack(rng: Generator, step: float) -> Group:
    """A rail on two feet with clothes in a row."""
    thing, half, height, metal = (
        Thing("clothing rack", step),
        rng.uniform(0.4, 0.75),
        rng.uniform(1.3, 1.65),
        pick(rng, METAL),
    )
    for x in (-half, half):
        thing.bar((x, 0.22, 0), (x, 0.22, height), 0.015, metal)
        thing.bar((x, 0, 0.03), (x, 0.44, 0.03), 0.016, metal)
    thing.bar((-half, 0.22, height), (half, 0.22, height), 0.014, metal)
    things = [thing]
    for x in np.arange(-half + 0.06, half - 0.05, rng.uniform(0.06, 0.14)):
        if rng.random() < 0.8:
            coat, long = Thing("clothes", step), rng.uniform(0.5, 1.0)
            coat.ball(
                (0, 0.22, height - long / 2 - 0.03),
                (0.03, rng.uniform(0.16, 0.22), long / 2),
                pick(rng, FABRIC + BRIGHT),
                exponent=4,
            )
            things.append(coat.placed(float(x), 0.0, rng.normal(0, 0.06)))
    return Group(2 * half + 0.05, 0.46, height, things)


def easel(rng: Generator, step: float) -> Group:
    """A board on three legs: a whiteboard or a flip chart on wheels."""
    thing, half, height = (
        Thing("whiteboard" if rng.random() < 0.6 else "easel", step),
        rng.uniform(0.33, 0.8),
        rng.uniform(1.6, 1.9),
    )
    metal, board = pick(rng, METAL), Thing(thing.category, step)
    board.box((-half, 0.25, 0.75), (half, 0.27, height), pick(rng, WHITE), faces=ALL)
    thing.take(board.pitched(rng.uniform(0, 0.12), 0.25, 0.75))
    for x in (-half, half):
        thing.bar((x, 0.26, 0.02), (x, 0.26, height), 0.015, metal)
        thing.bar((x, 0.0, 0.03), (x, 0.5, 0.03), 0.018, metal)
    return Group(2 * half + 0.05, 0.52, height, [thing])


def podium(rng: Generator, step: float) -> Group:
    thing, color, top = Thing("podium", step), pick(rng, WOOD), rng.uniform(1.0, 1.2)
    thing.box((-0.28, 0, 0), (0.28, 0.45, top), color)
    thing.box((-0.32, -0.0, top), (0.32, 0.5, top + 0.03), darker(color), faces=ALL)
    return Group(0.66, 0.52, top, [thing], tops=[Surface((-0.25, 0.25), (0.05, 0.4), top + 0.03, 0.4)])


def tower(rng: Generator, step: float) -> Group:
    """A computer's case, beside or under a desk."""
    w, d, h = rng.uniform(0.15, 0.22), rng.uniform(0.38, 0.5), rng.uniform(0.34, 0.48)
    thing, color = Thing("computer tower", step), pick(rng, PLASTIC[:3])
    thing.box((-w / 2, 0, 0), (w / 2, d, h), color, radius=0.006)
    thing.wall_panel((-w / 2 + 0.02, w / 2 - 0.02), (0.05, h - 0.04), d + 0.006, darker(color, 0.7))
    return Group(w, d, h, [thing])


def fan(rng: Generator, step: float) -> Group:
    thing, height, radius = Thing("fan", step), rng.uniform(0.5, 1.3), rng.uniform(0.16, 0.24)
    color = pick(rng, PLASTIC)
    thing.turned([(1.0, 0.0), (0.9, 0.04), (0.0, 0.05)], color, centre=(0, 0.2), half=(0.18, 0.18))
    thing.bar((0, 0.2, 0.04), (0, 0.2, height), 0.018, color)
    thing.ball((0, 0.22, height), (radius, 0.08, radius), color)
    return Group(0.42, 0.42, height + radius, [thing])


def vacuum(rng: Generator, step: float) -> Group:
    thing, color = Thing("vacuum cleaner", step), pick(rng, BRIGHT + PLASTIC)
    thing.ball((0, 0.25, 0.14), (0.13, 0.2, 0.14), color)
    thing.bar((0, 0.1, 0.1), (0.05, 0.02, 1.0), 0.018, SCREEN)
    return Group(0.3, 0.46, 1.0, [thing])


def instrument(rng: Generator, step: float) -> Group:
    """A guitar leaning in its stand."""
    thing, color = Thing("guitar", step), pick(rng, WOOD + BRIGHT)
    body = Thing("guitar", step)
    for z, size in ((0.2, 0.19), (0.42, 0.14)):
        body.ball((0, 0.2, z), (size, 0.05, size * 0.9), color, across=4)
    body.bar((0, 0.2, 0.5), (0, 0.2, 1.0), 0.025, darker(color, 0.6), sides=4)
    thing.take(body.pitched(0.2, 0.2, 0.0))
    return Group(0.42, 0.32, 1.0, [thing])


def tv(rng: Generator, step: float) -> Group:
    """A television on its foot, for tops; its footprint is that of a `Group` set on another."""
    width = rng.uniform(0.6, 1.35)
    height, thing, dark = width * 0.58, Thing("tv", step), pick(rng, METAL[3:4])
    thing.box((-0.2, 0.02, 0), (0.2, 0.22, 0.02), dark)
    thing.box((-0.04, 0.08, 0), (0.04, 0.12, 0.08), dark)
    thing.box(
        (-width / 2, 0.1, 0.07), (width / 2, 0.15, 0.07 + height), SCREEN, radius=0.01, seen=rng.uniform(0.3, 0.9)
    )
    return Group(width, 0.24, 0.07 + height, [thing])


def fabric_screen(rng: Generator, step: float) -> Group:
    """A panel of fabric between desks."""
    thing, half, height = Thing("divider", step), rng.uniform(0.5, 0.9), rng.uniform(1.1, 1.7)
    thing.box((-half, 0, 0.03), (half, 0.05, height), pick(rng, FABRIC), radius=0.01)
    return Group(2 * half, 0.06, height, [thing])

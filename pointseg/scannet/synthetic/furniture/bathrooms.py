"""Toilets, bathtubs, showers, washbasins and what else stands in a bathroom."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.furniture.cabinets import cabinet
from pointseg.scannet.synthetic.furniture.kitchens import sink_in, slab_with_hole, tap
from pointseg.scannet.synthetic.palette import BRIGHT, GLASS, METAL, STONE, WHITE, pick
from pointseg.scannet.synthetic.shapes import ALL, Group, Surface, Thing


def toilet(rng: Generator, step: float) -> Group:
    """Bowl with seat, lid up or down, and a tank at the wall, or none where it is in the wall."""
    thing, color = Thing("toilet", step), pick(rng, WHITE)
    width, seat, tank_top = rng.uniform(0.34, 0.42), rng.uniform(0.37, 0.46), rng.uniform(0.68, 0.88)
    tank, reach = rng.uniform(0.16, 0.22), rng.uniform(0.6, 0.74)
    hung = rng.random() < 0.15
    half_tank = width / 2 + rng.uniform(0.0, 0.06)
    if not hung:
        thing.box(
            (-half_tank, 0, seat - 0.04), (half_tank, tank, tank_top), color, radius=rng.uniform(0.01, 0.04), faces=ALL
        )
        thing.box(
            (-half_tank - 0.01, 0, tank_top), (half_tank + 0.01, tank + 0.01, tank_top + 0.03), color, radius=0.01
        )
    else:
        tank, tank_top = 0.04, seat
    middle, half = (tank + reach) / 2, (width / 2, (reach - tank) / 2 + 0.03)
    low = 0.12 if hung else 0.0
    narrow = rng.uniform(0.5, 0.75)
    bowl = [(narrow, low), (narrow, seat * 0.4), (0.98, seat - 0.06), (1.0, seat)]
    if rng.random() < 0.55:
        bowl += [(0.98, seat + 0.025), (0.0, seat + 0.035)]
    else:
        bowl += [(0.72, seat), (0.5, seat - 0.14), (0.0, seat - 0.18)]
        lid = Thing("toilet", step)
        lid.box(
            (-width / 2 + 0.02, tank, seat + 0.01), (width / 2 - 0.02, tank + 0.025, seat + 0.38), color, radius=0.012
        )
        thing.take(lid.pitched(rng.uniform(-0.05, 0.12), tank, seat))
        tank_top = max(tank_top, seat + 0.38)
    thing.turned(bowl, color, centre=(0, middle), half=half, exponent=rng.uniform(2.1, 2.8))
    if not hung:
        thing.box((-width / 4, 0.05, 0), (width / 4, middle, seat - 0.05), color)
    tops = [] if hung else [Surface((-half_tank + 0.04, half_tank - 0.04), (0.02, tank - 0.02), tank_top + 0.03, 0.4)]
    return Group(2 * half_tank + 0.04, reach + 0.05, tank_top, [thing], tops=tops)


def bathtub(rng: Generator, step: float, width: float) -> Group:
    """A tub with its long side at the wall; along the open side a shower curtain on its rod, or a pane."""
    depth, top, color = rng.uniform(0.66, 0.84), rng.uniform(0.42, 0.6), pick(rng, WHITE)
    tub = Thing("bathtub", step)
    exponent = rng.uniform(5, 10)
    slope = rng.uniform(0.05, 0.15)
    rim = rng.uniform(0.86, 0.94)
    profile = [(1.0, 0.0), (1.0, top), (rim, top), (rim - slope, 0.2), (rim - slope - 0.08, 0.12), (0.0, 0.12)]
    tub.turned(profile, color, centre=(0, depth / 2), half=(width / 2, depth / 2), exponent=exponent)
    things = [tub]
    kind = rng.choice(["curtain", "pane", "none"], p=(0.55, 0.13, 0.32))
    if kind == "curtain":
        things += _shower_curtain(rng, step, width, depth + 0.05)
    elif kind == "pane":
        pane = Thing("shower door", step)
        seen = rng.uniform(0.1, 0.5)
        half = width * rng.uniform(0.35, 0.5)
        pane.box(
            (-width / 2, depth - 0.05, top), (-width / 2 + half, depth - 0.04, 1.9), GLASS, faces="+y -y", seen=seen
        )
        things.append(pane)
    return Group(
        width, depth + 0.1, top, things, tops=[Surface((-width / 2 + 0.1, width / 2 - 0.1), (0.0, 0.06), top, 0.3)]
    )


def _shower_curtain(rng: Generator, step: float, width: float, y: float) -> list[Thing]:
    """Cloth in folds from a rod across `width`, drawn aside or nearly closed."""
    curtain, rod = Thing("shower curtain", step), Thing("shower curtain rod", step)
    drawn = width * rng.uniform(0.12, 0.5)
    start = -width / 2 + 0.02 if rng.random() < 0.5 else width / 2 - drawn - 0.02
    z = (rng.uniform(0.12, 0.35), rng.uniform(1.8, 2.05))
    curtain.cloth((start, start + drawn), z, y, pick(rng, WHITE + BRIGHT + WHITE), rng.uniform(0.015, 0.045), rng)
    rod.bar((-width / 2, y, z[1] + 0.03), (width / 2, y, z[1] + 0.03), 0.013, pick(rng, METAL))
    return [curtain, rod]


def shower(rng: Generator, step: float) -> Group:
    """A cubicle in a corner: tray, panes or a curtain, a rail and a head; its walls are tiled."""
    size, deep = rng.uniform(0.76, 1.1), rng.uniform(0.76, 1.0)
    half, tray = size / 2, Thing("shower floor", step)
    rim = rng.uniform(0.04, 0.16)
    profile = [(1.0, 0.0), (1.0, rim), (0.92, rim), (0.88, rim - 0.03), (0.0, rim - 0.035)]
    tray.turned(profile, pick(rng, WHITE), centre=(0, deep / 2), half=(half, deep / 2), exponent=10)
    things = [tray]
    metal = pick(rng, METAL)
    if rng.random() < 0.45:
        things += _shower_curtain(rng, step, size, deep + 0.02)
    else:
        door, seen = Thing("shower door", step), rng.uniform(0.08, 0.5)
        door.box((-half, deep - 0.02, rim), (half, deep - 0.01, 1.9), GLASS, faces="+y -y", seen=seen)
        for x in (-half, 0.0, half - 0.02):
            door.box((x, deep - 0.03, rim), (x + 0.025, deep, 1.92), metal, faces="-x +x +y -y")
        things.append(door)
    side = Thing("shower wall", step)
    side.box((half - 0.02, 0, rim), (half, deep, 1.95), GLASS, faces="-x +x +y", seen=rng.uniform(0.2, 0.9))
    head = Thing("shower head", step)
    head.bar((0, 0.03, 1.0), (0, 0.03, 1.95), 0.012, metal)
    head.bar((0, 0.03, 1.95), (0, 0.25, 1.9), 0.012, metal)
    head.ball((0, 0.26, 1.88), (0.07, 0.07, 0.02), metal)
    return Group(size, deep + 0.06, 1.95, [*things, side, head])


def washbasin(rng: Generator, step: float) -> Group:
    """A sink on a pedestal, hung on the wall, on a table's legs, or let into a vanity cabinet with a counter."""
    kind = rng.choice(["pedestal", "wall", "vanity"], p=(0.22, 0.2, 0.58))
    if kind != "vanity":
        thing, color = Thing("sink", step), pick(rng, WHITE)
        width, depth, top = rng.uniform(0.42, 0.64), rng.uniform(0.36, 0.52), rng.uniform(0.78, 0.88)
        half, exponent = (width / 2, depth / 2), rng.uniform(2.2, 6.0)
        profile = [(0.4, top - 0.2), (1.0, top - 0.07), (1.0, top), (0.86, top), (0.7, top - 0.12), (0.0, top - 0.14)]
        thing.turned(profile, color, centre=(0, depth / 2), half=half, exponent=exponent)
        if kind == "pedestal":
            stem = rng.uniform(0.08, 0.13)
            profile = [(1.0, 0.0), (0.8, 0.1), (0.8, top - 0.16)]
            thing.turned(profile, color, centre=(0, depth * 0.4), half=(stem, stem))
        else:
            thing.bar((0, depth * 0.4, top - 0.18), (0, 0.02, top - 0.35), 0.02, pick(rng, METAL))
        tap(thing, rng, (0, 0.04), top)
        return Group(width, depth, top, [thing])
    group = cabinet(rng, step, "bathroom vanity", widest=1.5)
    category = str(rng.choice(["counter", "bathroom counter"]))
    counter, stone, top = Thing(category, step), pick(rng, WHITE + STONE), group.height + 0.035
    basins = [0.0] if group.width < 1.15 or rng.random() < 0.5 else [-group.width / 4, group.width / 4]
    half = (min(rng.uniform(0.17, 0.25), group.width / 2 - 0.08), rng.uniform(0.13, 0.17))
    y, x = group.depth / 2 + 0.03, (-group.width / 2 - 0.01, group.width / 2 + 0.01)
    counter.box((x[0], 0, top - 0.035), (x[1], group.depth + 0.02, top), stone, faces="-x +x +y")
    edges = [x[0], *((a + b) / 2 for a, b in itertools.pairwise(basins)), x[1]]
    sinks = []
    for centre, low, high in zip(basins, edges[:-1], edges[1:], strict=True):
        slab_with_hole(counter, (low, high), (0, group.depth + 0.02), top, (centre, y), half, stone)
        sinks.append(sink_in(rng, step, (centre, y), half, top))
    if rng.random() < 0.5:
        counter.box((x[0], 0, top), (x[1], 0.02, top + 0.1), stone, faces="-x +x +y +z")
    side = basins[-1] + half[0] + 0.04
    tops = [Surface((side, x[1] - 0.03), (0.05, group.depth - 0.03), top, 0.4)] if x[1] - side > 0.12 else []
    return Group(group.width + 0.02, group.depth + 0.02, top, [*sinks, counter, *group.things], tops=tops)


def stall(rng: Generator, step: float, width: float, depth: float) -> list[Thing]:
    """Partitions and door of a public toilet's stall, around local x = 0."""
    wall, door, color = Thing("bathroom stall", step), Thing("bathroom stall door", step), pick(rng, METAL + BRIGHT)
    half, z = width / 2, (0.2, 1.85)
    for x in (-half, half):
        wall.box((x - 0.015, 0, z[0]), (x + 0.015, depth, z[1]), color, faces=ALL)
    door.box((0, 0, z[0]), (width - 0.1, 0.025, z[1]), color, faces=ALL)
    return [wall, door.placed(-half + 0.05, depth, -rng.uniform(0.0, 1.4))]


def towel(rng: Generator, step: float) -> Group:
    """Hangs from a bar or a hook in folds."""
    thing, width, height = Thing("towel", step), rng.uniform(0.25, 0.65), rng.uniform(0.35, 0.85)
    thing.cloth((-width / 2, width / 2), (0, height), 0.06, pick(rng, BRIGHT + WHITE), rng.uniform(0.006, 0.025), rng)
    rack = Thing("towel rack", step)
    rack.bar((-width / 2 - 0.04, 0.05, height), (width / 2 + 0.04, 0.05, height), 0.009, pick(rng, METAL), sides=4)
    return Group(width + 0.08, 0.09, height, [thing, rack])


def mat(rng: Generator, step: float) -> Group:
    """A bath or door mat: nothing but a thin step in the floor."""
    width, depth = rng.uniform(0.45, 0.9), rng.uniform(0.35, 0.6)
    thing = Thing("mat", step)
    thing.box((-width / 2, 0, 0), (width / 2, depth, rng.uniform(0.006, 0.02)), pick(rng, BRIGHT + WHITE), radius=0.005)
    return Group(width, depth, 0.02, [thing])


def rolls(rng: Generator, step: float) -> Group:
    """Toilet paper on its holder; local z = 0 is its underside."""
    thing = Thing("toilet paper", step)
    thing.bar((-0.05, 0.07, 0.06), (0.05, 0.07, 0.06), 0.055, pick(rng, WHITE), sides=9)
    return Group(0.14, 0.13, 0.12, [thing])


def dispenser(rng: Generator, step: float) -> Group:
    """A box for towels or soap on the wall; local z = 0 is its underside."""
    width, height = rng.uniform(0.12, 0.3), rng.uniform(0.18, 0.4)
    category = "paper towel dispenser" if width > 0.2 else "soap dispenser"
    thing = Thing(category, step)
    depth = rng.uniform(0.09, 0.2)
    thing.box((-width / 2, 0, 0), (width / 2, depth, height), pick(rng, METAL + WHITE), radius=0.02, faces=ALL)
    return Group(width, depth, height, [thing])


def cistern_shelf(rng: Generator, step: float) -> Group:
    """A narrow set of boards over or beside a toilet."""
    thing, half = Thing("shelf", step), rng.uniform(0.2, 0.32)
    height, depth, color = rng.uniform(0.9, 1.6), rng.uniform(0.18, 0.28), pick(rng, METAL + WHITE)
    for x in (-half, half):
        for y in (0.02, depth - 0.02):
            thing.bar((x, y, 0), (x, y, height), 0.012, color, sides=4)
    tops = []
    for z in np.linspace(0.15, height, int(rng.integers(3, 5))):
        thing.box((-half, 0, z - 0.015), (half, depth, z), color, faces=ALL)
        tops.append(Surface((-half + 0.03, half - 0.03), (0.02, depth - 0.02), float(z), 0.28))
    return Group(2 * half + 0.04, depth, height, [thing], tops=tops)

"""Beds: single, double, bunk and mattresses on the floor; made or unmade. The head is at the wall, y = 0."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.furniture.chairs import legs
from pointseg.scannet.synthetic.palette import BRIGHT, FABRIC, METAL, WHITE, WOOD, Color, darker, pick
from pointseg.scannet.synthetic.shapes import ALL, Group, Surface, Thing


def bed(rng: Generator, step: float, *, widest: float = 2.0) -> Group:
    """Frame, mattress, headboard, pillows, and covers that lie flat, hang down, are folded back or crumpled."""
    sizes = [w for w in (0.9, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0) if w <= widest] or [0.9]
    width, depth = float(rng.choice(sizes)) + rng.uniform(-0.04, 0.04), rng.uniform(1.95, 2.15)
    thing, half = Thing("bed", step), width / 2
    wood = pick(rng, WOOD + FABRIC + METAL + WHITE)
    top = rng.uniform(0.42, 0.7)
    mattress = rng.uniform(0.16, 0.28)
    low = top - mattress
    base = rng.choice(["box", "rails", "floor"], p=(0.5, 0.42, 0.08))
    if base == "floor":
        top, low = mattress + 0.02, 0.02
    elif base == "box":
        thing.box((-half, 0.04, rng.uniform(0.0, 0.1)), (half, depth, low + 0.02), wood, radius=0.01)
    else:
        thing.box((-half, 0.04, low - rng.uniform(0.08, 0.18)), (half, depth, low + 0.02), wood, radius=0.01, faces=ALL)
        legs(thing, rng, (-half + 0.04, half - 0.04), (0.08, depth - 0.05), low, 0.03, wood)
    _bedding(thing, rng, half, depth, low, top)
    height = top
    if base != "floor" and rng.random() < 0.8:
        height = _headboard(thing, rng, half, top, wood)
    if base == "rails" and rng.random() < 0.4:
        foot = top + rng.uniform(-0.05, 0.3)
        thing.box((-half, depth, 0.0), (half, depth + 0.04, foot), wood, radius=0.015)
        depth += 0.05
    things = [thing, *_pillows(rng, step, half, top)]
    if rng.random() < 0.3:
        throw = Thing("blanket", step)
        y0 = depth * rng.uniform(0.55, 0.7)
        hang = rng.uniform(0.05, top * 0.7)
        throw.draped((-half, half), (y0, depth - 0.1), top + 0.05, (hang, hang, 0, 0), pick(rng, BRIGHT + FABRIC), rng)
        things.append(throw)
    lying = Surface((-half + 0.15, half - 0.15), (depth * 0.35, depth - 0.15), top + 0.045, 1.0)
    return Group(width + 0.06, depth + 0.02, height, things, tops=[lying])


def _bedding(thing: Thing, rng: Generator, half: float, depth: float, low: float, top: float) -> None:
    """Mattress and cover: a blanket hanging down, folded back at the head, or crumpled to one side."""
    sheet, cover = pick(rng, WHITE + BRIGHT), pick(rng, FABRIC + WHITE + BRIGHT)
    thing.box((-half + 0.02, 0.06, low), (half - 0.02, depth - 0.02, top), sheet, radius=0.05)
    kind = rng.choice(["made", "folded", "unmade", "bare"], p=(0.42, 0.3, 0.23, 0.05))
    if kind == "bare":
        return
    start = depth * (rng.uniform(0.05, 0.3) if kind == "made" else rng.uniform(0.25, 0.5))
    hang = rng.uniform(0.05, max(0.08, top - 0.12), 2)
    foot = rng.uniform(0.0, max(0.05, top - 0.15))
    x = (-half, half)
    wrinkle = rng.uniform(0.006, 0.02)
    if kind == "unmade":
        wrinkle = rng.uniform(0.03, 0.06)
        shift = rng.uniform(0.1, 0.5) * half
        x = (-half + shift, half) if rng.random() < 0.5 else (-half, half - shift)
    thing.draped(x, (start, depth), top + 0.025, (hang[0], hang[1], 0.0, foot), cover, rng, wrinkle=wrinkle)
    if kind == "folded":
        thing.draped(
            x,
            (start, start + rng.uniform(0.15, 0.4)),
            top + 0.05,
            (hang[0], hang[1], 0.02, 0.02),
            darker(sheet, 0.95),
            rng,
        )
    if kind == "unmade":
        for _ in range(2):
            at = (rng.uniform(-half + 0.3, half - 0.3), rng.uniform(start, depth - 0.4))
            thing.heap(at, (rng.uniform(0.2, 0.35), rng.uniform(0.2, 0.4)), top, rng.uniform(0.1, 0.22), cover, rng)


def _headboard(thing: Thing, rng: Generator, half: float, top: float, color: Color) -> float:
    """A board, an upholstered panel, bars or a bent top; returns the height."""
    height = top + rng.uniform(0.15, 0.7)
    kind = rng.choice(["board", "padded", "bars", "arched"], p=(0.4, 0.25, 0.2, 0.15))
    if kind == "board":
        thing.box((-half, 0, 0.05), (half, rng.uniform(0.025, 0.06), height), color, radius=0.01)
    elif kind == "padded":
        count = int(rng.integers(1, 5))
        edges = np.linspace(-half - 0.03, half + 0.03, count + 1)
        for a, b in itertools.pairwise(edges):
            thing.box((a, 0, 0.1), (b, 0.09, height), color, radius=0.035)
    elif kind == "bars":
        for x in np.linspace(-half, half, int(rng.integers(4, 11))):
            thing.bar((x, 0.03, 0.0), (x, 0.03, height), 0.012 if abs(x) < half - 0.01 else 0.025, color)
        thing.bar((-half, 0.03, height), (half, 0.03, height), 0.022, color)
    else:
        across = np.linspace(-half, half, 9)
        crest = height - 0.3 * (height - top) * (across / half) ** 2
        points = np.empty((9, 4, 3))
        points[..., 0] = across[:, None]
        points[..., 2] = np.linspace(0.1, 1, 4) * crest[:, None]
        for y, flip in ((0.05, True), (0.01, False)):
            points[..., 1] = y
            thing.bent(points[::-1] if flip else points, color)
    return height


def _pillows(rng: Generator, step: float, half: float, top: float) -> list[Thing]:
    pillows = []
    places = [0.0] if half < 0.65 else [-half / 2, half / 2]
    for x in places:
        for layer in range(int(rng.choice([0, 1, 2], p=(0.1, 0.65, 0.25)))):
            pillow, wide = Thing("pillow", step), rng.uniform(0.26, 0.36)
            deep, tall = rng.uniform(0.17, 0.24), rng.uniform(0.05, 0.09)
            pillow.ball(
                (0, 0, tall), (wide, deep, tall), pick(rng, WHITE + WHITE + BRIGHT + FABRIC), exponent=2.6, across=4
            )
            lean = rng.uniform(0.3, 0.9) if rng.random() < 0.25 else 0.0
            pillow = pillow.pitched(-lean, deep, 0.0) if lean else pillow
            shift = rng.normal(0, 0.05)
            pillows.append(pillow.placed(x + shift, 0.3 + 0.05 * layer, rng.normal(0, 0.12), top + 0.01 + 0.1 * layer))
    return pillows


def bunk_bed(rng: Generator, step: float) -> Group:
    """Two beds one over the other, posts and a ladder."""
    thing, wood = Thing("bed", step), pick(rng, WOOD + METAL)
    width, depth, high = rng.uniform(0.92, 1.05), rng.uniform(1.98, 2.1), rng.uniform(1.25, 1.45)
    half, height = width / 2, high + rng.uniform(0.35, 0.5)
    for x in (-half, half):
        for y in (0.03, depth - 0.03):
            thing.bar((x, y, 0.0), (x, y, height), 0.035, wood, sides=4)
    for low in (0.3, high):
        thing.box((-half, 0.02, low - 0.12), (half, depth - 0.02, low), wood, faces=ALL)
        _bedding(thing, rng, half - 0.02, depth - 0.04, low, low + rng.uniform(0.12, 0.2))
    for z in (high + 0.25, height - 0.03):
        for x in (-half, half):
            thing.bar((x, 0.03, z), (x, depth * rng.uniform(0.6, 1.0), z), 0.02, wood, sides=4)
        for y in (0.03, depth - 0.03):
            thing.bar((-half, y, z), (half, y, z), 0.02, wood, sides=4)
    for y in (depth - 0.45, depth - 0.1):
        thing.bar((half + 0.02, y, 0.0), (half + 0.02, y, high + 0.2), 0.018, wood, sides=4)
    for z in np.arange(0.25, high, 0.28):
        thing.bar((half + 0.02, depth - 0.45, z), (half + 0.02, depth - 0.1, z), 0.016, wood, sides=4)
    lower = _pillows(rng, step, half, 0.48)
    return Group(
        width + 0.12,
        depth,
        height,
        [thing, *lower],
        tops=[Surface((-half + 0.1, half - 0.1), (0.7, depth - 0.2), 0.5, 0.6)],
    )

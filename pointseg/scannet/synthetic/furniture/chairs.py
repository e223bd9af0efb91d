"""What one sits on alone: chairs of many kinds, office chairs, armchairs' lighter kin, stools and benches.

The back is at y = 0, one sits facing +y.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.palette import BRIGHT, FABRIC, METAL, PLASTIC, WHITE, WOOD, Color, pick
from pointseg.scannet.synthetic.shapes import ALL, Group, Surface, Thing


def chair(rng: Generator, step: float) -> Group:
    """A dining, kitchen, visitor's or classroom chair."""
    builders = (_framed, _shell, _folding, _tub, _rocking)
    return builders[rng.choice(5, p=(0.60, 0.22, 0.06, 0.09, 0.03))](rng, step)


def legs(
    thing: Thing,
    rng: Generator,
    x: tuple[float, float],
    y: tuple[float, float],
    top: float,
    radius: float,
    color: Color,
    *,
    splay: float = 0.0,
) -> None:
    """Four legs under the corners of a rectangle, straight, tapered or splayed outwards by `splay`."""
    taper = radius * rng.uniform(0.5, 1.0)
    square = rng.random() < 0.4
    for px, sx in zip(x, (-1, 1), strict=True):
        for py, sy in zip(y, (-1, 1), strict=True):
            foot = (px + sx * splay, py + sy * splay, 0.0)
            thing.bar(foot, (px, py, top), (taper, radius), color, sides=4 if square else 6)


def _framed(rng: Generator, step: float) -> Group:
    """Seat, back on a frame, four legs, a sled or crossed stretchers; arms and a cushion at times."""
    thing = Thing("chair", step)
    width, depth = rng.uniform(0.38, 0.52), rng.uniform(0.40, 0.52)
    seat, top = rng.uniform(0.42, 0.50), rng.uniform(0.76, 1.08)
    frame = pick(rng, WOOD + METAL + WHITE)
    color = pick(rng, FABRIC + WOOD) if rng.random() < 0.6 else frame
    half, back, thick = width / 2, 0.07, rng.uniform(0.02, 0.07)
    soft = 0.02 if thick > 0.045 else 0.006
    thing.box((-half, back - 0.04, seat - thick), (half, depth, seat), color, radius=soft, faces=ALL)
    radius = rng.uniform(0.011, 0.024)
    base = rng.choice(["legs", "sled", "stretchers"], p=(0.5, 0.2, 0.3))
    x, y = (-half + radius, half - radius), (back - 0.03, depth - 0.02)
    if base == "sled":
        for side in x:
            thing.bar((side, y[0], radius), (side, y[1] + 0.03, radius), radius, frame)
            thing.bar((side, y[1] + 0.03, radius), (side, y[1], seat - thick), radius, frame)
            thing.bar((side, y[0], radius), (side, y[0], seat), radius, frame)
    else:
        legs(thing, rng, x, y, seat - thick, radius, frame, splay=rng.uniform(0, 0.05))
        if base == "stretchers":
            low = rng.uniform(0.12, 0.3)
            for side in x:
                thing.bar((side, y[0], low), (side, y[1], low), radius * 0.7, frame)
            thing.bar((x[0], sum(y) / 2, low), (x[1], sum(y) / 2, low), radius * 0.7, frame)
    thing.take(_back(rng, step, half, seat, top, color, frame, radius).pitched(rng.uniform(0.03, 0.25), back, seat))
    if rng.random() < 0.25:
        arm = seat + rng.uniform(0.16, 0.26)
        for side in (-half, half):
            thing.box((side - 0.02, back, arm), (side + 0.02, depth * 0.85, arm + 0.025), frame, radius=0.008)
            thing.bar((side, depth * 0.75, seat - 0.02), (side, depth * 0.75, arm), radius, frame)
    things = [thing]
    if rng.random() < 0.12:
        cushion = Thing("pillow", step)
        middle = (back + depth) / 2
        cushion.ball((0, middle, seat + 0.03), (half * 0.9, depth * 0.42, 0.03), pick(rng, BRIGHT + FABRIC), across=5)
        things.append(cushion)
    return Group(width, depth, top, things, tops=[_seat(half, (back, depth), seat)])


def _back(
    rng: Generator, step: float, half: float, seat: float, top: float, color: Color, frame: Color, radius: float
) -> Thing:
    """An upright back at y = 0.03-0.07 from the seat's height up: solid, panel, rails, slats, or a bent hoop."""
    part = Thing("chair", step)
    y0, y1 = 0.03, 0.03 + rng.uniform(0.015, 0.06)
    style = rng.choice(["solid", "panel", "rails", "slats", "hoop"], p=(0.28, 0.24, 0.18, 0.18, 0.12))
    if style == "solid":
        part.box((-half, y0, seat - 0.03), (half, y1, top), color, radius=min(0.02, (y1 - y0) / 2))
        return part
    for x in (-half + radius, half - radius):
        part.bar((x, 0.04, seat - 0.05), (x, 0.04, top), radius, frame)
    if style == "panel":
        low = seat + rng.uniform(0.08, 0.25)
        part.box((-half, y0, low), (half, y1, top), color, radius=min(0.02, (y1 - y0) / 2), faces=ALL)
    elif style == "rails":
        count = int(rng.integers(2, 5))
        tall = rng.uniform(0.04, 0.08)
        for low in np.linspace(seat + 0.12, top - tall, count):
            part.box((-half, y0, low), (half, y0 + 0.02, low + tall), frame, faces=ALL)
    else:
        part.box((-half, y0, top - 0.06), (half, y0 + 0.025, top), frame, radius=0.01, faces=ALL)
        count = int(rng.integers(3, 8))
        spread = half * (0.8 if style == "slats" else 0.65)
        for x in np.linspace(-spread, spread, count):
            part.bar((x * 0.8, 0.04, seat), (x, 0.04, top - 0.03), 0.009, frame, sides=4)
    return part


def _seat(half: float, y: tuple[float, float], z: float) -> Surface:
    return Surface((-half * 0.8, half * 0.8), (y[0] + 0.05, y[1] - 0.03), z, 0.5)


def _shell(rng: Generator, step: float) -> Group:
    """A bent shell of plastic or plywood on four legs, a wire base, a pedestal or castors; tablet arms in class."""
    thing = Thing("chair", step)
    width, depth, seat = rng.uniform(0.42, 0.52), rng.uniform(0.44, 0.54), rng.uniform(0.42, 0.48)
    rise, color, frame = rng.uniform(0.32, 0.44), pick(rng, PLASTIC + WOOD + BRIGHT + WHITE), pick(rng, METAL + WOOD)
    half, curve = width / 2, rng.uniform(0.02, 0.08)
    # Along the section: front edge, seat, bend, back; across: sides curl up and forward.
    angle = np.linspace(0, rng.uniform(1.25, 1.5), 5)
    bend = 0.1
    y = np.r_[depth, depth - 0.04, np.linspace(depth - 0.1, 0.17, 4), 0.16 - bend * np.sin(angle)]
    z = np.r_[seat - 0.025, seat, np.full(4, seat - 0.01), seat - 0.01 + bend * (1 - np.cos(angle))]
    lean = math.tan(math.pi / 2 - angle[-1])
    up = np.linspace(0.05, rise, 5)
    y, z = np.r_[y, y[-1] - up * lean * 0.8], np.r_[z, z[-1] + up]
    across = np.linspace(-1, 1, 7)
    narrow = np.where(z > seat + rise * 0.9, 0.9, 1.0)
    points = np.empty((len(y), len(across), 3))
    points[..., 0] = across * half * narrow[:, None]
    points[..., 1] = y[:, None] + curve * (across**2) * (z > seat + 0.05)[:, None]
    points[..., 2] = z[:, None] + curve * (across**2) * (z <= seat + 0.05)[:, None]
    thing.bent(points.swapaxes(0, 1), color)
    thing.bent(points - (0, 0.008, 0.008), color)
    base = rng.choice(["legs", "wire", "pedestal", "castors"], p=(0.5, 0.2, 0.1, 0.2))
    if base in ("legs", "wire"):
        wide = half * rng.uniform(0.6, 0.9)
        legs(thing, rng, (-wide, wide), (0.16, depth - 0.08), seat - 0.02, rng.uniform(0.009, 0.018), frame, splay=0.05)
        if base == "wire":
            thing.bar((-wide, 0.16, 0.2), (wide, depth - 0.08, 0.2), 0.007, frame, sides=4)
            thing.bar((wide, 0.16, 0.2), (-wide, depth - 0.08, 0.2), 0.007, frame, sides=4)
    else:
        _star(thing, rng, (0.0, depth / 2), seat - 0.02, frame, 4 if base == "pedestal" else 5)
    if rng.random() < 0.12:  # a writing tablet
        tablet = seat + 0.24
        thing.box((half - 0.08, 0.22, tablet), (half + 0.16, 0.62, tablet + 0.02), pick(rng, WOOD + WHITE), faces=ALL)
        thing.bar((half, 0.2, seat - 0.02), (half + 0.02, 0.3, tablet), 0.012, frame)
    return Group(width, depth, float(z.max()), [thing], tops=[_seat(half, (0.15, depth), seat)])


def _star(thing: Thing, rng: Generator, centre: tuple[float, float], top: float, color: Color, feet: int) -> None:
    """Feet in a star, with castors if five, and the column to the seat."""
    turn, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.24, 0.31)
    x, y = centre
    for foot in range(feet):
        angle = turn + foot * 2 * math.pi / feet
        end = (x + reach * math.cos(angle), y + reach * math.sin(angle))
        thing.bar((x, y, 0.11), (*end, 0.07 if feet == 5 else 0.02), (0.028, 0.018), color)
        if feet == 5:
            thing.ball((*end, 0.03), (0.03, 0.03, 0.03), (0.1, 0.1, 0.1))
    thing.bar((x, y, 0.08), (x, y, top), (0.035, 0.022), color)


def _folding(rng: Generator, step: float) -> Group:
    """Two crossing frames, a thin seat and a narrow back."""
    thing = Thing("chair", step)
    width, depth, seat, top = rng.uniform(0.40, 0.46), rng.uniform(0.42, 0.50), rng.uniform(0.42, 0.46), 0.8
    color, frame, half = pick(rng, PLASTIC + METAL + WOOD), pick(rng, METAL + WOOD), width / 2
    thing.box((-half + 0.02, 0.1, seat - 0.025), (half - 0.02, depth - 0.02, seat), color, faces=ALL)
    for x in (-half, half):
        thing.bar((x, depth, 0.0), (x, 0.02, top), 0.012, frame)
        thing.bar((x * 0.9, 0.02, 0.0), (x * 0.9, depth - 0.06, seat), 0.012, frame)
    back = Thing("chair", step)
    back.box((-half, 0.03, top - 0.2), (half, 0.045, top), color, faces=ALL)
    thing.take(back.pitched(0.25, 0.08, seat))
    return Group(width, depth, top, [thing], tops=[_seat(half, (0.1, depth), seat)])


def _tub(rng: Generator, step: float) -> Group:
    """A round-backed easy chair: the shell runs round into the arms."""
    thing = Thing("armchair", step)
    width, depth, seat = rng.uniform(0.58, 0.78), rng.uniform(0.56, 0.74), rng.uniform(0.38, 0.46)
    top, color, foot = rng.uniform(0.68, 0.86), pick(rng, FABRIC + BRIGHT), rng.uniform(0.05, 0.2)
    middle, half = depth / 2, (width / 2, depth / 2)
    angle = np.linspace(math.pi * 0.92, math.pi * 2.08, 15)
    thick = rng.uniform(0.06, 0.1)
    arm = rng.uniform(0.15, 0.24)
    crest = seat + arm + (top - seat - arm) * np.clip(-np.sin(angle), 0, 1) ** 2
    heights = np.linspace(foot, 1.0, 5)
    outer, inner = np.empty((2, len(angle), 5, 3))
    for points, scale in ((outer, 1.0), (inner, 1.0 - thick / half[0])):
        points[..., 0] = (half[0] * scale * np.cos(angle))[:, None]
        points[..., 1] = (middle + half[1] * scale * np.sin(angle))[:, None]
        points[..., 2] = foot + (heights - foot) / (1 - foot) * (crest - foot)[:, None]
    for points in (outer, inner[::-1], np.stack([outer[:, -1], inner[:, -1]], axis=1)):
        thing.bent(points, color)
    thing.box((-half[0] * 0.82, 0.1, foot), (half[0] * 0.82, depth - 0.02, seat - 0.1), color, radius=0.02)
    thing.box((-half[0] * 0.84, 0.08, seat - 0.12), (half[0] * 0.84, depth, seat), color, radius=0.04)
    legs(thing, rng, (-half[0] * 0.7, half[0] * 0.7), (0.12, depth - 0.1), foot + 0.01, 0.018, pick(rng, WOOD + METAL))
    return Group(width, depth, top, [thing], tops=[_seat(half[0] * 0.8, (0.12, depth), seat)])


def _rocking(rng: Generator, step: float) -> Group:
    """A framed chair with arms on two bent runners."""
    thing = Thing("rocking chair", step)
    color, seat, half = pick(rng, WOOD), rng.uniform(0.40, 0.45), rng.uniform(0.24, 0.28)
    depth, top = 0.8, rng.uniform(1.0, 1.15)
    thing.box((-half, 0.22, seat - 0.03), (half, 0.68, seat), color, radius=0.01, faces=ALL)
    legs(thing, rng, (-half + 0.03, half - 0.03), (0.26, 0.62), seat, 0.018, color)
    back = _back(rng, step, half, seat, top, color, color, 0.018).pitched(0.3, 0.24, seat)
    thing.take(back.placed(0.0, 0.18, 0.0))
    runner = np.linspace(-1, 1, 7)
    for x in (-half + 0.03, half - 0.03):
        for a, b in itertools.pairwise(runner):
            thing.bar((x, 0.42 + 0.4 * a, 0.02 + 0.08 * a * a), (x, 0.42 + 0.4 * b, 0.02 + 0.08 * b * b), 0.016, color)
        thing.bar((x, 0.2, seat + 0.22), (x, 0.64, seat + 0.22), 0.02, color)
        thing.bar((x, 0.62, seat), (x, 0.62, seat + 0.22), 0.014, color)
    return Group(2 * half, depth, top, [thing], tops=[_seat(half, (0.25, 0.66), seat)])


def office_chair(rng: Generator, step: float) -> Group:
    """A swivel chair: five feet, column, cushions or mesh, often arms, at times a head rest."""
    thing = Thing("office chair", step)
    width, depth = rng.uniform(0.52, 0.64), rng.uniform(0.55, 0.66)
    seat, top = rng.uniform(0.42, 0.56), rng.uniform(0.82, 1.2)
    color, frame = pick(rng, FABRIC + PLASTIC + BRIGHT[:2]), pick(rng, METAL + PLASTIC[:1])
    middle, half = depth / 2, rng.uniform(0.21, 0.26)
    _star(thing, rng, (0.0, middle), seat - 0.05, frame, 5)
    thick = rng.uniform(0.05, 0.1)
    thing.box((-half, middle - 0.2, seat - thick), (half, middle + 0.25, seat), color, radius=0.035, faces=ALL)
    part = Thing("office chair", step)
    low, back = seat + rng.uniform(0.0, 0.16), middle - 0.22
    size = rng.uniform(0.8, 1.0) * half
    if rng.random() < 0.6:
        part.box((-size, back, low), (size, back + rng.uniform(0.05, 0.1), top), color, radius=0.035, faces=ALL)
    else:  # curved: thin and bent around the sitter
        across, up = np.linspace(-1, 1, 7), np.linspace(low, top, 7)
        points = np.empty((7, 7, 3))
        points[..., 0], points[..., 2] = across * size, up[:, None]
        points[..., 1] = back + 0.03 + 0.06 * across**2 + 0.03 * np.sin((up[:, None] - low) / (top - low) * 5)
        part.bent(points, color)
        part.bent(points[:, ::-1] - (0, 0.03, 0), color)
    if rng.random() < 0.15:
        part.ball((0, back + 0.05, top + 0.1), (0.14, 0.04, 0.07), color, exponent=4, across=4)
        top += 0.17
    thing.take(part.pitched(rng.uniform(0.04, 0.25), back, seat))
    thing.box((-0.04, back - 0.03, seat - 0.08), (0.04, back + 0.02, low + 0.15), frame, faces="-x +x -y +y")
    if rng.random() < 0.7:
        arm, out = seat + rng.uniform(0.16, 0.24), half + rng.uniform(0.02, 0.05)
        for x in (-out, out):
            thing.box((x - 0.035, middle - 0.13, arm), (x + 0.035, middle + 0.12, arm + 0.035), frame, radius=0.012)
            thing.bar((x * 0.9, middle, seat - 0.05), (x, middle - 0.02, arm), 0.02, frame)
    things = [thing]
    if rng.random() < 0.15:  # a jacket over the back
        jacket = Thing("jacket", step)
        jacket.draped(
            (-size, size), (back - 0.05, back + 0.1), top - 0.02, (0.05, 0.05, 0.45, 0.3), pick(rng, FABRIC), rng
        )
        things.append(jacket)
    return Group(width, depth, top, things, tops=[_seat(half, (middle - 0.18, middle + 0.22), seat)])


def stool(rng: Generator, step: float, *, high: bool = False) -> Group:
    """A stool without a back or with a low one; high ones stand at bars."""
    thing = Thing("stool", step)
    size, top = rng.uniform(0.3, 0.42), rng.uniform(0.62, 0.8) if high else rng.uniform(0.40, 0.5)
    color, frame, half = pick(rng, WOOD + FABRIC + PLASTIC), pick(rng, WOOD + METAL), size / 2
    across = float(rng.choice([2.0, 2.0, 6.0]))
    thing.turned(
        [(0.0, top - 0.04), (1.0, top - 0.04), (1.0, top), (0.0, top)],
        color,
        centre=(0, half),
        half=(half, half),
        exponent=across,
    )
    if rng.random() < 0.25:
        thing.turned(
            [(1.0, 0.0), (0.9, 0.03), (0.13, 0.05), (0.13, top - 0.04)], frame, centre=(0, half), half=(half, half)
        )
    else:
        wide = half * 0.62
        legs(thing, rng, (-wide, wide), (half - wide, half + wide), top - 0.03, 0.016, frame, splay=half * 0.3)
        z = top * 0.35
        for y in (half - wide, half + wide):
            thing.bar((-wide * 1.3, y, z), (wide * 1.3, y, z), 0.01, frame, sides=4)
    if high and rng.random() < 0.4:
        back = Thing("stool", step)
        back.box((-half, 0.0, top + 0.08), (half, 0.03, top + 0.28), color, radius=0.01, faces=ALL)
        for x in (-half * 0.8, half * 0.8):
            back.bar((x, 0.01, top), (x, 0.01, top + 0.1), 0.01, frame, sides=4)
        thing.take(back)
    return Group(size, size, top, [thing], tops=[_seat(half, (0.0, size), top)])


def bench(rng: Generator, step: float) -> Group:
    """A long seat without arms, with a back at times."""
    thing = Thing("bench", step)
    width, depth, top = rng.uniform(0.9, 1.8), rng.uniform(0.32, 0.48), rng.uniform(0.42, 0.5)
    color, half = pick(rng, WOOD + FABRIC + METAL), width / 2
    thing.box((-half, 0, top - rng.uniform(0.03, 0.1)), (half, depth, top), color, radius=0.01, faces=ALL)
    if rng.random() < 0.5:
        legs(thing, rng, (-half + 0.06, half - 0.06), (0.05, depth - 0.05), top - 0.03, 0.025, pick(rng, WOOD + METAL))
    else:
        for x in (-half + 0.03, half - 0.08):
            thing.box((x, 0.03, 0), (x + 0.05, depth - 0.03, top - 0.03), color)
    height = top
    if rng.random() < 0.3:
        height = top + rng.uniform(0.3, 0.45)
        thing.box((-half, 0.0, top), (half, 0.04, height), color, radius=0.01)
    return Group(
        width, depth, height, [thing], tops=[Surface((-half + 0.05, half - 0.05), (0.06, depth - 0.03), top, 0.5)]
    )

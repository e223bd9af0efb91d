"""Upholstered seats: sofas straight and in an L, armchairs, ottomans, and the cushions and throws on them."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.furniture.chairs import legs
from pointseg.scannet.synthetic.palette import BRIGHT, FABRIC, METAL, WHITE, WOOD, Color, darker, pick
from pointseg.scannet.synthetic.shapes import ALL, Group, Surface, Thing


class _Style:
    """The dimensions that the seats of one suite share."""

    def __init__(self, rng: Generator) -> None:
        self.color: Color = pick(rng, FABRIC + FABRIC + BRIGHT + WHITE[:1])
        self.seat = rng.uniform(0.36, 0.48)
        self.top = rng.uniform(0.66, 0.98)
        self.back = rng.uniform(0.12, 0.28)
        self.arm = float(rng.choice([0.0, 1.0], p=(0.12, 0.88))) * rng.uniform(0.07, 0.26)
        self.arm_top = rng.uniform(self.seat + 0.06, max(self.seat + 0.08, self.top - 0.05))
        self.round_arm = rng.random() < 0.3
        self.foot = rng.uniform(0.02, 0.18)
        self.radius = rng.uniform(0.015, 0.08)
        self.cushion = rng.uniform(0.10, 0.2)
        self.loose = rng.random() < 0.6  # separate cushions against the back
        self.lean = -rng.uniform(0.05, 0.25)
        self.metal_legs = rng.random() < 0.5


def sofa(rng: Generator, step: float, *, longest: float = 2.6) -> Group:
    """A sofa or loveseat, straight or with a chaise at one end; pillows and a throw lie on it."""
    style = _Style(rng)
    width, depth = min(rng.uniform(1.3, 2.6), longest), rng.uniform(0.78, 1.02)
    thing = Thing("couch", step)
    chaise = rng.uniform(0.5, 0.9) if width > 1.9 and rng.random() < 0.3 else 0.0
    _seats(thing, rng, style, width, depth, max(1, round(width / rng.uniform(0.6, 0.85))), chaise)
    things = [thing]
    inner = width / 2 - style.arm - 0.2
    for _ in range(rng.choice([0, 1, 2, 3, 4], p=(0.35, 0.2, 0.25, 0.1, 0.1))):
        x = rng.uniform(-inner, inner)
        things.append(_pillow(rng, step, x, style.back + 0.22, style.seat))
    if rng.random() < 0.2:
        blanket, x = Thing("blanket", step), rng.uniform(-inner, inner)
        if rng.random() < 0.5:
            blanket.heap(
                (x, depth * 0.65), (0.3, 0.2), style.seat, rng.uniform(0.1, 0.2), pick(rng, BRIGHT + FABRIC), rng
            )
        else:  # thrown over the back
            hang = (0.02, 0.02, 0.3, rng.uniform(0.2, 0.45))
            blanket.draped((x - 0.3, x + 0.3), (0.0, style.back), style.top, hang, pick(rng, BRIGHT + FABRIC), rng)
        things.append(blanket)
    seat = Surface((-inner, inner), (style.back + 0.25, depth - 0.05), style.seat, 0.5)
    return Group(width, depth + chaise, style.top, things, tops=[seat])


def armchair(rng: Generator, step: float) -> Group:
    style = _Style(rng)
    width, depth = rng.uniform(0.66, 1.0), rng.uniform(0.7, 0.95)
    thing = Thing("armchair" if rng.random() < 0.7 else "sofa chair", step)
    style.arm = max(style.arm, 0.08)
    _seats(thing, rng, style, width, depth, 1, 0.0)
    things = [thing]
    if rng.random() < 0.3:
        things.append(_pillow(rng, step, 0.0, style.back + 0.2, style.seat))
    half = width / 2 - style.arm
    return Group(
        width, depth, style.top, things, tops=[Surface((-half, half), (style.back + 0.2, depth), style.seat, 0.5)]
    )


def _seats(thing: Thing, rng: Generator, style: _Style, width: float, depth: float, seats: int, chaise: float) -> None:
    """Base, arms, back and cushions; the last seat reaches `chaise` metres further out."""
    half, color, seat = width / 2, style.color, style.seat
    soft = style.radius
    thing.box((-half, 0.02, style.foot), (half, depth - 0.03, seat - style.cushion + 0.02), color, radius=0.02)
    legs(
        thing,
        rng,
        (-half + 0.08, half - 0.08),
        (0.08, depth - 0.1),
        style.foot + 0.01,
        0.02,
        pick(rng, METAL if style.metal_legs else WOOD),
    )
    back = Thing(thing.category, thing.step)
    back.box(
        (-half, 0.0, style.foot), (half, style.back, style.top), color, radius=min(soft, style.back / 3), faces=ALL
    )
    thing.take(back.pitched(-style.lean * 0.25, style.back, style.foot))
    if style.arm:
        for x in (-half, half - style.arm):
            thing.box(
                (x, 0.04, style.foot), (x + style.arm, depth, style.arm_top), color, radius=min(soft, style.arm / 2.2)
            )
            if style.round_arm:
                ends = (x + style.arm / 2, 0.05, style.arm_top), (x + style.arm / 2, depth + 0.02, style.arm_top)
                thing.bar(*ends, style.arm * 0.6, color, sides=8)
    inner = (width - 2 * style.arm) / seats
    for number in range(seats):
        x = -half + style.arm + number * inner
        out = depth - 0.01 + (chaise if number == seats - 1 else 0.0)
        shade = darker(color, rng.uniform(0.93, 1.0))
        sag = rng.uniform(-0.015, 0.02)
        thing.box(
            (x + 0.004, style.back - 0.02, seat - style.cushion),
            (x + inner - 0.004, out, seat + sag),
            shade,
            radius=0.045,
        )
        if chaise and number == seats - 1:
            thing.box(
                (x, depth - 0.1, style.foot), (x + inner, out - 0.01, seat - style.cushion + 0.02), color, radius=0.02
            )
        if style.loose:
            high = min(style.top + 0.06, seat + rng.uniform(0.34, 0.5))
            part = Thing(thing.category, thing.step)
            part.box(
                (x + 0.008, style.back - 0.03, seat - 0.02),
                (x + inner - 0.008, style.back + 0.13, high),
                shade,
                radius=0.06,
            )
            thing.take(part.pitched(-style.lean, style.back, seat))


def _pillow(rng: Generator, step: float, x: float, y: float, seat: float) -> Thing:
    """A throw pillow leaning against the back, or lying."""
    pillow, size = Thing("pillow", step), rng.uniform(0.17, 0.26)
    height = size * rng.uniform(0.7, 1.0)
    pillow.ball(
        (0, 0, height),
        (size, rng.uniform(0.05, 0.1), height),
        pick(rng, BRIGHT + FABRIC + WHITE),
        exponent=3.5,
        across=2.4,
    )
    flat = rng.random() < 0.2
    pillow = pillow.pitched(rng.uniform(1.3, 1.57) if flat else rng.uniform(0.2, 0.5), 0.0, 0.0)
    return pillow.placed(x, y + (0.2 if flat else 0.0), rng.normal(0, 0.25), seat + (0.06 if flat else 0.01))


def ottoman(rng: Generator, step: float) -> Group:
    """A padded block or drum to sit on or put feet on."""
    width, depth, top = rng.uniform(0.38, 0.8), rng.uniform(0.38, 0.6), rng.uniform(0.34, 0.48)
    thing, color = Thing("ottoman", step), pick(rng, FABRIC + BRIGHT)
    if rng.random() < 0.3:
        half = width / 2
        thing.ball((0, half, top / 2), (half, half, top / 2), color, exponent=4)
        return Group(
            width, width, top, [thing], tops=[Surface((-half * 0.6, half * 0.6), (half * 0.4, half * 1.6), top, 0.5)]
        )
    foot = rng.uniform(0.0, 0.12)
    thing.box((-width / 2, 0, foot), (width / 2, depth, top), color, radius=rng.uniform(0.02, 0.07))
    if foot > 0.04:
        legs(thing, rng, (-width / 2 + 0.05, width / 2 - 0.05), (0.05, depth - 0.05), foot, 0.02, pick(rng, WOOD))
    return Group(
        width,
        depth,
        top,
        [thing],
        tops=[Surface((-width / 2 + 0.06, width / 2 - 0.06), (0.05, depth - 0.05), top, 0.5)],
    )


def beanbag(rng: Generator, step: float) -> Group:
    """A bag of beads with a dent where one sits."""
    thing, radius, top = Thing("beanbag chair", step), rng.uniform(0.36, 0.5), rng.uniform(0.5, 0.75)
    thing.ball((0, radius, top * 0.45), (radius, radius, top * 0.45), pick(rng, BRIGHT + FABRIC), across=2.2)
    points = thing.sheets[-1].points
    dent = np.exp(-(points[..., 0] ** 2 + (points[..., 1] - radius * 1.3) ** 2) / (0.4 * radius) ** 2)
    points[..., 2] -= 0.25 * dent * points[..., 2]
    return Group(2 * radius, 2 * radius, top, [thing])

"""Small things: what lies and stands on tops, on shelves, on beds and on the floor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.furniture.storage import storage_box
from pointseg.scannet.synthetic.palette import (
    BRIGHT,
    FABRIC,
    LEAF,
    METAL,
    PLASTIC,
    SCREEN,
    STONE,
    WHITE,
    WOOD,
    darker,
    pick,
)
from pointseg.scannet.synthetic.shapes import ALL, Surface, Thing


@dataclass(frozen=True)
class Item:
    """A small thing around local (0, 0), z from 0: its size and, if it carries others, the height of its top."""

    width: float
    depth: float
    height: float
    things: list[Thing]
    top: float = 0.0


Maker = Callable[[Generator, float], Item]


def books(rng: Generator, step: float) -> Item:
    """A pile of books or papers, each turned a little."""
    things, z = [], 0.0
    for _ in range(int(rng.choice([1, 2, 3, 5], p=(0.4, 0.3, 0.2, 0.1)))):
        book, w, d = (
            Thing("book" if rng.random() < 0.5 else "books", step),
            rng.uniform(0.13, 0.24),
            rng.uniform(0.18, 0.3),
        )
        thick = rng.uniform(0.012, 0.06)
        book.box((-w / 2, -d / 2, z), (w / 2, d / 2, z + thick), pick(rng, BRIGHT + WHITE + FABRIC))
        things.append(book.placed(0, 0, rng.normal(0, 0.25)))
        z += thick
    return Item(0.3, 0.32, z, things, top=z)


def bottle(rng: Generator, step: float) -> Item:
    thing, radius, tall = Thing("bottle", step), rng.uniform(0.025, 0.055), rng.uniform(0.12, 0.34)
    shoulder, neck = rng.uniform(0.6, 0.8) * tall, rng.uniform(0.25, 0.6)
    thing.turned(
        [(1, 0), (1, shoulder), (neck, shoulder + 0.04), (neck, tall), (0, tall)],
        pick(rng, BRIGHT + WHITE + PLASTIC),
        half=(radius, radius),
    )
    return Item(2 * radius, 2 * radius, tall, [thing])


def cup(rng: Generator, step: float) -> Item:
    thing, radius, tall = Thing("cup", step), rng.uniform(0.03, 0.05), rng.uniform(0.07, 0.14)
    thing.turned(
        [(0.8, 0), (1, tall), (0.9, tall), (0.75, 0.01), (0, 0.01)], pick(rng, WHITE + BRIGHT), half=(radius, radius)
    )
    return Item(2 * radius, 2 * radius, tall, [thing])


def bowl(rng: Generator, step: float) -> Item:
    """A plate, a bowl, a pot or a pan."""
    name = str(rng.choice(["plate", "bowl", "pot"]))
    thing, radius = Thing(name, step), rng.uniform(0.08, 0.17)
    tall = {"plate": 0.02, "bowl": 0.08, "pot": 0.14}[name] * rng.uniform(0.8, 1.3)
    foot = {"plate": 0.6, "bowl": 0.5, "pot": 0.97}[name]
    thing.turned(
        [(foot, 0), (1, tall), (0.96, tall), (foot * 0.9, 0.01), (0, 0.01)],
        pick(rng, WHITE + METAL + BRIGHT),
        half=(radius, radius),
    )
    if name == "pot":
        thing.bar((radius, 0, tall * 0.8), (radius + 0.14, 0, tall * 0.85), 0.01, SCREEN, sides=4)
    return Item(2 * radius, 2 * radius, tall, [thing])


def box(rng: Generator, step: float) -> Item:
    width, depth = rng.uniform(0.08, 0.32), rng.uniform(0.06, 0.26)
    thing = storage_box(rng, step, width, depth, rng.uniform(0.05, 0.28))
    high = float(max(s.points[..., 2].max() for s in thing.sheets))
    return Item(width, depth, high, [thing.placed(0, -depth / 2, 0)], top=high)


def plant(rng: Generator, step: float) -> Item:
    """A pot with leaves on stems, or a bush."""
    thing, radius, pot = Thing("plant", step), rng.uniform(0.05, 0.12), rng.uniform(0.08, 0.2)
    thing.turned(
        [(0.7, 0), (1, pot), (0.88, pot), (0, pot - 0.02)], pick(rng, BRIGHT + WHITE + STONE), half=(radius, radius)
    )
    tall = pot + rng.uniform(0.1, 0.5)
    leaves(thing, rng, pot, tall, radius * rng.uniform(1.0, 2.2))
    return Item(2.6 * radius, 2.6 * radius, tall, [thing])


def leaves(thing: Thing, rng: Generator, low: float, high: float, reach: float) -> None:
    """Bent leaves from (0, 0, low) upwards and outwards; their number grows with the size."""
    count = int(rng.integers(7, 16))
    color = pick(rng, LEAF)
    for turn in np.linspace(0, 2 * math.pi, count, endpoint=False) + rng.uniform(0, 1):
        out, tip = reach * rng.uniform(0.4, 1.0), low + (high - low) * rng.uniform(0.4, 1.0)
        share = np.linspace(0, 1, 5)
        wide = rng.uniform(0.02, 0.07) * (np.sin(share * math.pi) + 0.15)
        cos, sin = math.cos(turn), math.sin(turn)
        points = np.empty((5, 3, 3))
        across = np.array([-1.0, 0.0, 1.0]) * wide[:, None]
        along = (out * share**1.5)[:, None]
        points[..., 0], points[..., 1] = along * cos - across * sin, along * sin + across * cos
        points[..., 2] = (low + (tip - low) * np.sin(share * 2.0))[:, None] + 0.01 * np.abs(across) / 0.05
        shade = darker(color, rng.uniform(0.8, 1.15))
        thing.bent(points, np.clip(shade, 0, 1))
        thing.bent(points[:, ::-1], np.clip(shade, 0, 1))


def lamp(rng: Generator, step: float) -> Item:
    """A table lamp: foot, stem and shade, or a bent desk lamp."""
    thing, high, metal = Thing("lamp", step), rng.uniform(0.3, 0.6), pick(rng, METAL + WOOD + WHITE)
    if rng.random() < 0.65:
        shade, cone = rng.uniform(0.09, 0.17), rng.uniform(0.5, 1.0)
        body = rng.uniform(0.15, 0.9)
        thing.turned([(1, 0), (1, 0.02), (body, 0.05), (0.3 * body + 0.1, high - 0.2)], metal, half=(0.07, 0.07))
        thing.turned([(1.0, high - 0.22), (cone, high)], pick(rng, WHITE + WOOD[3:4]), half=(shade, shade))
        return Item(2 * shade, 2 * shade, high, [thing])
    thing.turned([(1, 0), (1, 0.02), (0, 0.025)], metal, half=(0.08, 0.08))
    thing.bar((0, 0, 0.02), (0, -0.12, high * 0.6), 0.009, metal, sides=4)
    thing.bar((0, -0.12, high * 0.6), (0, 0.1, high), 0.009, metal, sides=4)
    thing.bar((0, 0.08, high + 0.02), (0, 0.17, high - 0.06), (0.03, 0.06), metal)
    return Item(0.2, 0.3, high, [thing])


def monitor(rng: Generator, step: float) -> Item:
    width = rng.uniform(0.4, 0.72)
    height, thing, dark = width * rng.uniform(0.55, 0.72), Thing("monitor", step), pick(rng, PLASTIC[:1] + METAL)
    lift = rng.uniform(0.06, 0.18)
    thing.box((-0.12, -0.09, 0), (0.12, 0.09, 0.015), dark)
    thing.box((-0.025, -0.04, 0), (0.025, -0.015, lift + height * 0.4), dark)
    screen = Thing("monitor", step)
    screen.box((-width / 2, -0.02, lift), (width / 2, 0.02, lift + height), dark, radius=0.008, faces=ALL)
    screen.wall_panel(
        (-width / 2 + 0.015, width / 2 - 0.015),
        (lift + 0.015, lift + height - 0.015),
        0.022,
        SCREEN,
        seen=rng.uniform(0.5, 1.0),
    )
    thing.take(screen.pitched(rng.uniform(0.0, 0.15), 0, lift))
    return Item(width, 0.2, lift + height, [thing])


def laptop(rng: Generator, step: float) -> Item:
    thing, width, depth = Thing("laptop", step), rng.uniform(0.3, 0.4), rng.uniform(0.2, 0.26)
    color = pick(rng, METAL + PLASTIC[:1])
    thing.box((-width / 2, 0, 0), (width / 2, depth, 0.02), color)
    if rng.random() < 0.75:
        lid = Thing("laptop", step)
        lid.box((-width / 2, 0, 0.02), (width / 2, 0.008, 0.02 + depth), SCREEN, faces=ALL)
        thing.take(lid.pitched(rng.uniform(0.05, 0.5), 0.0, 0.02))
    return Item(width, depth, 0.24, [thing.placed(0, -depth / 2, 0)])


def keyboard(rng: Generator, step: float) -> Item:
    thing, mouse = Thing("keyboard", step), Thing("mouse", step)
    thing.box((-0.21, -0.07, 0), (0.21, 0.07, 0.025), pick(rng, PLASTIC[:3]), radius=0.008)
    mouse.ball((0.29, 0, 0.015), (0.03, 0.05, 0.018), pick(rng, PLASTIC[:3]))
    return Item(0.66, 0.16, 0.04, [thing, mouse])


def telephone(rng: Generator, step: float) -> Item:
    thing, color = Thing("telephone", step), pick(rng, PLASTIC[:3])
    thing.take(_wedge(step, 0.2, 0.2, 0.03, 0.1, color))
    thing.box((-0.09, -0.08, 0.07), (-0.03, 0.1, 0.11), color, radius=0.02, faces=ALL)
    return Item(0.22, 0.22, 0.1, [thing])


def _wedge(
    step: float, width: float, depth: float, front: float, back: float, color: tuple[float, float, float]
) -> Thing:
    part = Thing("telephone", step)
    part.box((-width / 2, -depth / 2, 0), (width / 2, depth / 2, 1.0), color)
    for sheet in part.sheets:
        share = sheet.points[..., 1] / depth + 0.5
        sheet.points[..., 2] *= back + (front - back) * share
    return part


def printer(rng: Generator, step: float) -> Item:
    thing, color = Thing("printer", step), pick(rng, PLASTIC[:3] + WHITE)
    w, d, h = rng.uniform(0.35, 0.5), rng.uniform(0.32, 0.44), rng.uniform(0.16, 0.36)
    thing.box((-w / 2, -d / 2, 0), (w / 2, d / 2, h), color, radius=0.02)
    thing.box((-w * 0.35, d / 2, 0.04), (w * 0.35, d / 2 + 0.1, 0.06), darker(color), faces=ALL)
    return Item(w, d + 0.12, h, [thing], top=h)


def microwave(rng: Generator, step: float) -> Item:
    thing, w, d, h = Thing("microwave", step), rng.uniform(0.42, 0.55), rng.uniform(0.3, 0.4), rng.uniform(0.24, 0.32)
    thing.box((-w / 2, -d / 2, 0.01), (w / 2, d / 2, h), pick(rng, METAL + WHITE + PLASTIC[:1]), radius=0.008)
    thing.wall_panel((-w / 2 + 0.03, w / 2 - 0.13), (0.05, h - 0.04), d / 2 + 0.003, SCREEN)
    return Item(w, d, h, [thing], top=h)


def appliance(rng: Generator, step: float) -> Item:
    """A toaster, a coffee maker, a kettle: a rounded block with something on it."""
    name = str(rng.choice(["toaster", "coffee maker", "kettle"]))
    thing, color = Thing(name, step), pick(rng, METAL + PLASTIC + WHITE)
    if name == "toaster":
        thing.box((-0.14, -0.09, 0), (0.14, 0.09, 0.19), color, radius=0.03)
        return Item(0.3, 0.2, 0.19, [thing])
    if name == "kettle":
        thing.turned([(1, 0), (0.7, 0.2), (0.5, 0.22), (0, 0.23)], color, half=(0.09, 0.09))
        thing.bar((0.07, 0, 0.2), (0.13, 0, 0.06), 0.012, SCREEN, sides=4)
        return Item(0.26, 0.2, 0.23, [thing])
    thing.box((-0.1, -0.13, 0), (0.1, -0.03, 0.34), color, radius=0.015)
    thing.box((-0.1, -0.13, 0.26), (0.1, 0.11, 0.35), color, radius=0.015, faces=ALL)
    thing.turned([(0.8, 0.02), (1, 0.1), (0.7, 0.18), (0, 0.18)], SCREEN, centre=(0, 0.04), half=(0.07, 0.07))
    return Item(0.22, 0.28, 0.35, [thing])


def clothes(rng: Generator, step: float) -> Item:
    thing, size = Thing("clothes", step), rng.uniform(0.15, 0.35)
    thing.heap(
        (0, 0),
        (size, size * rng.uniform(0.6, 1.0)),
        0.0,
        rng.uniform(0.06, 0.2),
        pick(rng, FABRIC + BRIGHT + WHITE),
        rng,
    )
    return Item(2 * size, 2 * size, 0.18, [thing])


def towels(rng: Generator, step: float) -> Item:
    """A stack of folded towels or clothes."""
    thing, z = Thing("towel" if rng.random() < 0.6 else "clothes", step), 0.0
    for _ in range(int(rng.integers(1, 5))):
        thing.box((-0.16, -0.12, z), (0.16, 0.12, z + 0.055), pick(rng, WHITE + BRIGHT), radius=0.022, faces=ALL)
        z += 0.05
    return Item(0.34, 0.26, z, [thing])


def bag(rng: Generator, step: float) -> Item:
    """A backpack, a handbag, a shopping bag: a slumped body with straps."""
    name = str(rng.choice(["backpack", "bag", "purse", "paper bag"], p=(0.45, 0.3, 0.1, 0.15)))
    thing, color = Thing(name, step), pick(rng, FABRIC + BRIGHT + PLASTIC)
    w, d, h = rng.uniform(0.12, 0.22), rng.uniform(0.07, 0.14), rng.uniform(0.25, 0.5)
    if name == "paper bag":
        thing.box((-w, -d, 0), (w, d, h), pick(rng, WOOD[3:4] + WHITE), faces="-x +x -y +y")
        thing.heap((0, 0), (w * 0.9, d * 0.9), h * 0.6, 0.1, color, rng)
        return Item(2 * w, 2 * d, h, [thing])
    thing.ball((0, 0, h / 2), (w, d, h / 2), color, exponent=rng.uniform(2.5, 5), across=rng.uniform(2.5, 5))
    thing.ball((0, d * 0.8, h * 0.33), (w * 0.75, d * 0.5, h * 0.25), darker(color, 0.9), exponent=4, across=4)
    for x in (-w * 0.5, w * 0.5):
        thing.bar((x, -d * 0.9, h * 0.2), (x, -d * 0.7, h * 0.95), 0.015, darker(color), sides=4)
    return Item(2 * w, 2.6 * d, h, [thing.pitched(rng.uniform(-0.15, 0.15), 0, 0)])


def shoes(rng: Generator, step: float) -> Item:
    thing, color = Thing("shoes", step), pick(rng, FABRIC + BRIGHT + WHITE)
    for x in (-0.07, 0.07):
        part = Thing("shoes", step)
        part.ball((0, 0, 0.045), (0.045, 0.14, 0.045), color, across=3)
        part.ball((0, -0.08, 0.07), (0.04, 0.06, 0.05), color)
        thing.take(part.placed(x, rng.normal(0, 0.02), rng.normal(0, 0.2)))
    return Item(0.28, 0.3, 0.12, [thing])


def ball(rng: Generator, step: float) -> Item:
    radius = rng.uniform(0.06, 0.14)
    thing = Thing(str(rng.choice(["ball", "decoration", "stuffed animal"])), step)
    thing.ball((0, 0, radius), (radius, radius, radius), pick(rng, BRIGHT))
    if thing.category == "stuffed animal":
        thing.ball((0, 0.02, radius * 2.2), (radius * 0.7,) * 3, pick(rng, BRIGHT + WOOD))
    return Item(2 * radius, 2 * radius, 2.6 * radius, [thing])


def frame(rng: Generator, step: float) -> Item:
    """A small picture or a clock that stands."""
    thing, w, h = (
        Thing(str(rng.choice(["picture", "decoration", "clock"])), step),
        rng.uniform(0.06, 0.14),
        rng.uniform(0.12, 0.28),
    )
    thing.box((-w, -0.01, 0), (w, 0.012, h), pick(rng, WOOD + METAL + BRIGHT), faces=ALL)
    return Item(2 * w, 0.1, h, [thing.pitched(0.15, 0, 0)])


def papers(rng: Generator, step: float) -> Item:
    """Loose sheets: almost nothing above the top they lie on."""
    thing = Thing("paper" if rng.random() < 0.5 else "papers", step)
    for _ in range(int(rng.integers(1, 4))):
        sheet = Thing("paper", step)
        sheet.box((-0.105, -0.15, 0), (0.105, 0.15, 0.004), pick(rng, WHITE), faces="+z")
        thing.take(sheet.placed(*rng.normal(0, 0.04, 2), rng.normal(0, 0.4)))
    return Item(0.3, 0.36, 0.005, [thing])


DESK: tuple[Maker, ...] = (
    keyboard,
    keyboard,
    papers,
    papers,
    books,
    books,
    cup,
    bottle,
    laptop,
    lamp,
    telephone,
    box,
    printer,
    frame,
    plant,
)
TABLE: tuple[Maker, ...] = (cup, bottle, bowl, books, papers, box, plant, laptop, bag, clothes, frame)
KITCHEN: tuple[Maker, ...] = (bottle, bottle, bowl, bowl, cup, appliance, appliance, microwave, box, towels, plant)
SHELF: tuple[Maker, ...] = (box, box, books, frame, plant, bowl, bottle, towels, ball, lamp, bag)
STORE: tuple[Maker, ...] = (box, box, box, bottle, bag, towels, printer, ball, appliance)
SOFT: tuple[Maker, ...] = (clothes, clothes, books, bag, laptop, towels, box, ball, papers)
BATH: tuple[Maker, ...] = (bottle, bottle, cup, towels, box, plant)
FLOOR: tuple[Maker, ...] = (shoes, shoes, bag, bag, box, box, clothes, books, ball)


def scatter(
    rng: Generator, step: float, top: Surface, share: float, kinds: Sequence[Maker], most: int = 12
) -> list[Thing]:
    """Things on a surface, without overlap, over about `share` of its area; now and then one on another."""
    taken: list[tuple[float, float, float]] = []  # x, y, radius
    things: list[Thing] = []
    area, covered = (top.x[1] - top.x[0]) * (top.y[1] - top.y[0]), 0.0
    for _ in range(3 * most):
        if covered >= share * area or len(taken) >= most:
            break
        item = kinds[rng.integers(len(kinds))](rng, step)
        if item.height > top.clear or min(item.width, item.depth) > min(np.ptp(top.x), np.ptp(top.y)) + 0.05:
            continue
        angle = rng.normal(0, 0.3) if rng.random() < 0.8 else rng.uniform(0, 2 * math.pi)
        half_x, half_y = item.width / 2, item.depth / 2
        if top.x[1] - top.x[0] < 2 * half_x or top.y[1] - top.y[0] < 2 * half_y:
            x, y, angle = sum(top.x) / 2, sum(top.y) / 2, 0.0
        else:
            x, y = rng.uniform(top.x[0] + half_x, top.x[1] - half_x), rng.uniform(top.y[0] + half_y, top.y[1] - half_y)
        radius = 0.5 * max(item.width, item.depth)
        if any(math.hypot(x - a, y - b) < 0.85 * (radius + r) for a, b, r in taken):
            continue
        taken.append((x, y, radius))
        covered += item.width * item.depth
        things += [thing.placed(x, y, angle, top.z + 0.002) for thing in item.things]
        if item.top and rng.random() < 0.25:
            second = kinds[rng.integers(len(kinds))](rng, step)
            if max(second.width, second.depth) < max(item.width, item.depth) and item.top + second.height < top.clear:
                things += [
                    thing.placed(x, y, angle + rng.normal(0, 0.3), top.z + item.top + 0.002) for thing in second.things
                ]
    return things

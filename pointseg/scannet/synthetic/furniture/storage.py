"""Bookshelves, open shelves and racks, with what stands on their boards."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.palette import (
    BRIGHT,
    CARDBOARD,
    FABRIC,
    METAL,
    PLASTIC,
    WHITE,
    WOOD,
    Color,
    darker,
    pick,
)
from pointseg.scannet.synthetic.shapes import ALL, Group, Surface, Thing


def bookshelf(
    rng: Generator,
    step: float,
    *,
    width: float | None = None,
    height: float | None = None,
    category: str = "bookshelf",
    fill: float | None = None,
) -> Group:
    """Sides, boards, mostly a back; rows of books that stand in and out, lie and lean, and gaps where other things go.

    Wide low ones, tall ones, ladder shelves that lean, cubes of equal compartments; full or nearly empty.
    """
    kind = rng.choice(["tall", "low", "ladder", "cubes"], p=(0.6, 0.15, 0.08, 0.17)) if height is None else "tall"
    width = width or (rng.uniform(0.8, 1.9) if kind == "low" else rng.uniform(0.45, 1.3))
    height = height or (rng.uniform(0.5, 1.1) if kind == "low" else rng.uniform(1.2, 2.25))
    depth, wood = rng.uniform(0.22, 0.42), pick(rng, WOOD + WHITE + METAL[:2])
    fill = rng.uniform(0.1, 1.0) if fill is None else fill
    thing, half, board = Thing(category, step), width / 2, rng.uniform(0.015, 0.04)
    columns = max(1, round(width / 0.36)) if kind == "cubes" else max(1, round(width / rng.uniform(0.8, 1.2)))
    uprights = np.linspace(-half, half - board, columns + 1)
    back = kind != "ladder" and rng.random() < 0.75
    for x in uprights:
        if kind == "ladder":
            thing.bar((x, depth, 0.0), (x, 0.02, height), 0.018, wood, sides=4)
            thing.bar((x, 0.02, 0.0), (x, 0.02, height), 0.018, wood, sides=4)
        else:
            thing.box((x, 0, 0), (x + board, depth, height), wood)
    if back:
        thing.wall_panel((-half, half), (0.03, height), 0.012, darker(wood, rng.uniform(0.7, 1.0)))
    spacing = width / columns if kind == "cubes" else rng.uniform(0.26, 0.42)
    heights = np.linspace(rng.uniform(0.03, 0.12), height - board, max(2, round(height / spacing)) + 1)
    tops = [Surface((-half + 0.05, half - 0.05), (0.03, depth - 0.03), height, 0.5)]
    for number, low in enumerate(heights):
        deep = depth * (1 - 0.75 * low / height) if kind == "ladder" else depth
        thing.box((-half, 0, low), (half, deep - 0.005, low + board), wood, faces="+y +z -z")
        if number + 1 == len(heights):
            break
        room = float(heights[number + 1] - low - board)
        for x0, x1 in zip(uprights[:-1] + board, uprights[1:], strict=True):
            if rng.random() < fill:
                _row(thing, rng, (float(x0), float(x1)), float(low + board), room, deep)
            else:
                tops.append(
                    Surface((float(x0) + 0.02, float(x1) - 0.02), (0.03, deep - 0.02), float(low + board), room - 0.03)
                )
    return Group(width, depth, height, [thing], covers=back, tops=tops)


def _row(thing: Thing, rng: Generator, span: tuple[float, float], low: float, room: float, depth: float) -> None:
    """Books over part of a board, standing, or a pile of lying ones; the annotators' shelf includes them."""
    length = (span[1] - span[0]) * rng.uniform(0.35, 1.0)
    start = span[0] if rng.random() < 0.6 else span[1] - length
    if rng.random() < 0.15:
        z = low
        for _ in range(int(rng.integers(2, 6))):
            thick = rng.uniform(0.02, 0.05)
            wide = min(length, rng.uniform(0.18, 0.3))
            if z + thick > low + room:
                break
            thing.box(
                (start, 0.03, z), (start + wide, depth - rng.uniform(0.01, 0.08), z + thick), pick(rng, BRIGHT + WHITE)
            )
            z += thick
        return
    books = max(2, int(length / rng.uniform(0.025, 0.06)))
    edges = np.repeat(np.linspace(start, start + length, books + 1), 2)[1:-1]
    even = rng.random() < 0.3  # binders and volumes of a series
    tall = np.repeat(rng.uniform(0.82 if even else 0.55, 0.92, books) * room, 2)
    front = np.repeat(depth - rng.uniform(0.01, 0.03 if even else 0.1, books), 2)
    rows = max(2, math.ceil(room * 0.75 / thing.step) + 1)
    points = np.empty((rows + 2, 2 * books, 3))
    points[..., 0] = edges
    points[:rows, :, 1], points[rows:, :, 1] = front, [front * 0.5, np.full(2 * books, 0.02)]
    points[:rows, :, 2], points[rows:, :, 2] = low + np.linspace(0, 1, rows)[:, None] * tall, low + tall
    points[..., 0] += rng.uniform(-0.2, 0.2) * (points[..., 2] - low) * (rng.random() < 0.3)
    series = pick(rng, BRIGHT + FABRIC)
    color = np.repeat(
        np.array([series if even else pick(rng, BRIGHT + FABRIC + WHITE) for _ in range(books)]), 2, axis=0
    )
    thing.add(points, np.broadcast_to(color, points.shape))


def shelf(rng: Generator, step: float) -> Group:
    """The same furniture as a bookshelf, used for other things: annotators call it "shelf"."""
    group = bookshelf(rng, step, category="shelf", fill=rng.uniform(0.0, 0.12))
    return group


def rack(rng: Generator, step: float, *, category: str = "rack") -> Group:
    """A shelving rack of metal posts and boards, as in storage rooms, with boxes and bins on every board."""
    width, depth, height = rng.uniform(0.7, 1.6), rng.uniform(0.35, 0.62), rng.uniform(1.1, 2.15)
    thing, metal, half = Thing(category, step), pick(rng, METAL + PLASTIC), width / 2
    for x in (-half + 0.02, half - 0.02):
        for y in (0.02, depth - 0.02):
            thing.bar((x, y, 0.0), (x, y, height), 0.018, metal, sides=4)
    boards = np.linspace(rng.uniform(0.08, 0.25), height - 0.02, int(rng.integers(3, 6)))
    things, tops = [thing], []
    for number, z in enumerate(boards):
        thing.box((-half, 0, z - 0.03), (half, depth, z), metal, faces=ALL)
        clear = float(boards[number + 1] - z - 0.06) if number + 1 < len(boards) else 0.45
        tops.append(Surface((-half + 0.04, half - 0.04), (0.03, depth - 0.03), float(z), clear))
    return Group(width, depth, height, things, tops=tops[::-1])


def boxes_on(rng: Generator, step: float, top: Surface, share: float) -> list[Thing]:
    """Boxes and bins side by side over `share` of a board."""
    things, x = [], top.x[0]
    while x < top.x[1] - 0.15:
        width = min(rng.uniform(0.18, 0.5), top.x[1] - x)
        if rng.random() < share and top.clear > 0.1:
            box = storage_box(rng, step, width - 0.02, min(top.y[1] - top.y[0], rng.uniform(0.25, 0.5)), top.clear)
            things.append(box.placed(x + width / 2, top.y[0], 0.0, top.z + 0.002))
        x += width
    return things


def storage_box(rng: Generator, step: float, width: float, depth: float, clear: float) -> Thing:
    """A cardboard box, closed, open or with flaps, or a bin of plastic with a lid."""
    high = min(rng.uniform(0.12, 0.45), clear)
    if rng.random() < 0.35:
        thing = Thing("storage bin", step)
        color: Color = pick(rng, PLASTIC + BRIGHT + WHITE)
        half = (width / 2, depth / 2)
        profile = [(0.88, 0.0), (0.98, high * 0.9), (1.0, high * 0.9), (1.0, high), (0.0, high)]
        thing.turned(profile, color, centre=(0, half[1]), half=half, exponent=8)
        return thing
    thing, color = Thing("box", step), pick(rng, CARDBOARD + CARDBOARD + WHITE + BRIGHT)
    kind = rng.random()
    if kind < 0.65:
        thing.box((-width / 2, 0, 0), (width / 2, depth, high), color)
    else:
        thing.box((-width / 2, 0, 0), (width / 2, depth, high), color, faces="-x +x -y +y")
        thing.box((-width / 2, 0, 0), (width / 2, depth, high * rng.uniform(0.3, 0.8)), darker(color, 0.7), faces="+z")
        if kind < 0.85:
            for x, lean in ((-width / 2, -1), (width / 2, 1)):
                end = x + lean * 0.09
                flap = np.array([[[x, 0, high], [x, depth, high]], [[end, 0, high + 0.05], [end, depth, high + 0.05]]])
                thing.bent(flap if lean > 0 else flap[::-1], color)
    return thing

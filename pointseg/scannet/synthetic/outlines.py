"""Floor plans: rectangles with corners cut out or off and with piers and niches, and flats of several of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.layout import CELL

PARTITION = 0.10  # thickness of a wall inside a flat, metres


def on_grid(length: float) -> float:
    return round(length / CELL) * CELL


def outline(rng: Generator, width: float, depth: float, *, plain: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Corners [K, 2] of a room within `width` x `depth`, counter-clockwise on the cell grid, and those of its floor.

    The share `plain` are rectangles; others have corners cut out (L and T shapes) or off (slanted walls, under which
    the floor is drawn on) and piers standing out of a wall.
    """
    width, depth = on_grid(width), on_grid(depth)
    corners = np.array([(0.0, 0.0), (width, 0.0), (width, depth), (0.0, depth)])
    if min(width, depth) < 2.0 or rng.random() < plain:
        return corners, corners
    cuts = _cuts(rng, width, depth)
    pier_side = int(rng.integers(4)) if rng.random() < 0.35 else -1
    walls: list[np.ndarray] = []
    floor: list[np.ndarray] = []
    for number, corner in enumerate(corners):
        onward, before = _direction(corners, number), _direction(corners, number - 1)
        kind, along, back = cuts[number]
        arrive, leave = corner - before * back, corner + onward * along
        if kind == "none":
            walls.append(corner)
        elif kind == "out":
            walls += [arrive, arrive + onward * along, leave]
        else:
            walls += [arrive, leave]
        floor += walls[-3:] if kind == "out" else [corner]
        if number == pier_side:
            following = cuts[(number + 1) % 4]
            length = float(np.abs(corners[(number + 1) % 4] - corner).sum())
            start, end = (along if kind != "none" else 0.0), length - (following[2] if following[0] != "none" else 0.0)
            wide, deep = on_grid(rng.uniform(0.3, 1.2)), on_grid(rng.uniform(0.15, 0.45))
            if end - start > wide + 1.2:
                at = on_grid(rng.uniform(start + 0.5, end - wide - 0.5))
                inward = np.array([-onward[1], onward[0]])
                foot, far = corner + onward * at, corner + onward * (at + wide)
                pier = [foot, foot + inward * deep, far + inward * deep, far]
                walls += pier
                floor += pier
    return np.array(walls), np.array(floor)


def _cuts(rng: Generator, width: float, depth: float) -> list[tuple[str, float, float]]:
    """For each corner: none, cut "out" or "off", how much of the side after it, how much of the side before it."""
    cuts = [("none", 0.0, 0.0)] * 4
    for number in rng.permutation(4)[: rng.choice([0, 1, 1, 2])]:
        after, before = (width, depth) if number % 2 == 0 else (depth, width)
        if rng.random() < 0.22:
            size = on_grid(rng.uniform(0.5, 0.3 * min(width, depth) + 0.1))
            cuts[number] = ("off", size, on_grid(size * rng.uniform(0.6, 1.4)))
        else:
            cuts[number] = ("out", on_grid(after * rng.uniform(0.12, 0.42)), on_grid(before * rng.uniform(0.12, 0.42)))
    return cuts


def _direction(corners: np.ndarray, number: int) -> np.ndarray:
    step = corners[(number + 1) % 4] - corners[number % 4]
    return step / np.abs(step).sum()


@dataclass(frozen=True)
class Passage:
    """The stretch of wall that two parts of a flat share and that an opening is cut into."""

    first: int
    second: int
    start: tuple[float, float]  # on the first part's side
    length: float
    angle: float  # the direction of the first part's wall


def flat(rng: Generator, width: float, depth: float, rooms: int) -> tuple[list[np.ndarray], list[Passage]]:
    """A rectangle cut into `rooms` rectangles by walls inside; each cut leaves a passage between two of them."""
    boxes = [(0.0, on_grid(width), 0.0, on_grid(depth))]
    while len(boxes) < rooms:
        sizes = [(b[1] - b[0]) * (b[3] - b[2]) for b in boxes]
        x0, x1, y0, y1 = boxes.pop(int(np.argmax(sizes)))
        share = rng.uniform(0.36, 0.62)
        if x1 - x0 > y1 - y0:
            cut = on_grid(x0 + share * (x1 - x0))
            boxes += [(x0, cut, y0, y1), (cut + PARTITION, x1, y0, y1)]
        else:
            cut = on_grid(y0 + share * (y1 - y0))
            boxes += [(x0, x1, y0, cut), (x0, x1, cut + PARTITION, y1)]
    outlines = [np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]) for x0, x1, y0, y1 in boxes]
    return outlines, _passages(rng, boxes)


def _passages(rng: Generator, boxes: list[tuple[float, float, float, float]]) -> list[Passage]:
    """A spanning tree of passages over the shared walls that are long enough for a door."""
    shared = []
    for first, a in enumerate(boxes):
        for second, b in enumerate(boxes):
            if abs(a[1] + PARTITION - b[0]) < 1e-6:  # b to the right of a: a's right wall runs up
                low, high = max(a[2], b[2]), min(a[3], b[3])
                shared.append(Passage(first, second, (a[1], low), high - low, math.pi / 2))
            if abs(a[3] + PARTITION - b[2]) < 1e-6:  # b behind a: a's back wall runs to the left
                low, high = max(a[0], b[0]), min(a[1], b[1])
                shared.append(Passage(first, second, (high, a[3]), high - low, math.pi))
    group = list(range(len(boxes)))
    chosen = []
    for number in rng.permutation(len(shared)):
        passage = shared[number]
        if passage.length > 1.3 and group[passage.first] != group[passage.second]:
            chosen.append(passage)
            old = group[passage.second]
            group = [group[passage.first] if name == old else name for name in group]
    return chosen

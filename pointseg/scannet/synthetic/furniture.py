"""Furniture of rooms: each function draws one piece's dimensions and colours from `rng` and builds it as a `Group`."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.shapes import Group, Thing, Vec3

WOOD: tuple[Vec3, ...] = (
    (0.55, 0.38, 0.22),
    (0.70, 0.53, 0.34),
    (0.36, 0.24, 0.15),
    (0.80, 0.68, 0.50),
    (0.85, 0.83, 0.79),
)
FABRIC: tuple[Vec3, ...] = (
    (0.35, 0.38, 0.45),
    (0.55, 0.50, 0.44),
    (0.45, 0.22, 0.20),
    (0.25, 0.33, 0.28),
    (0.72, 0.67, 0.58),
    (0.20, 0.22, 0.27),
)
WHITE: tuple[Vec3, ...] = ((0.90, 0.90, 0.88), (0.86, 0.86, 0.83), (0.93, 0.92, 0.89))
METAL: tuple[Vec3, ...] = ((0.55, 0.56, 0.58), (0.30, 0.30, 0.32), (0.72, 0.72, 0.73))
BRIGHT: tuple[Vec3, ...] = (
    (0.70, 0.25, 0.22),
    (0.24, 0.42, 0.62),
    (0.80, 0.66, 0.26),
    (0.32, 0.50, 0.33),
    (0.60, 0.42, 0.58),
    (0.85, 0.80, 0.70),
)


def pick(rng: Generator, palette: tuple[Vec3, ...]) -> Vec3:
    """A colour near one of the palette's."""
    color = np.array(palette[rng.integers(len(palette))]) + rng.normal(0, 0.03, 3) + rng.normal(0, 0.04)
    red, green, blue = np.clip(color, 0.05, 0.97)
    return float(red), float(green), float(blue)


def darker(color: Vec3, factor: float = 0.8) -> Vec3:
    return color[0] * factor, color[1] * factor, color[2] * factor


def _corner_legs(thing: Thing, half: tuple[float, float], y: float, top: float, radius: float, color: Vec3) -> None:
    """Four legs, square or round after the thickness, around (0, y)."""
    for side_x in (-1, 1):
        for side_y in (-1, 1):
            thing.rod(side_x * (half[0] - radius), y + side_y * (half[1] - radius), (0.0, top), radius, color)


def chair(rng: Generator, step: float) -> Group:
    """A dining or visitor's chair; the back is at y = 0, one sits facing +y."""
    thing = Thing("chair", step)
    width, depth = rng.uniform(0.40, 0.50), rng.uniform(0.42, 0.50)
    seat, top = rng.uniform(0.42, 0.48), rng.uniform(0.80, 0.98)
    color, frame = pick(rng, WOOD + FABRIC), pick(rng, WOOD + METAL)
    half, lean = width / 2, -rng.uniform(0.05, 0.22)
    back = 0.10
    thing.box((-half, back - 0.06, seat - 0.05), (half, depth, seat), color, radius=0.02, faces="-x +x -y +y +z -z")
    _corner_legs(thing, (half, (depth - 0.04) / 2), (depth + 0.04) / 2, seat - 0.04, rng.uniform(0.015, 0.025), frame)
    style = rng.integers(3)
    if style == 0:  # solid back
        thing.box((-half, back - 0.05, seat + 0.02), (half, back - 0.02, top), color, radius=0.015, lean=lean)
    elif style == 1:  # back rest on two posts
        for x in (-half, half - 0.035):
            thing.box((x, back - 0.05, seat), (x + 0.035, back - 0.02, top), frame, lean=lean)
        low = seat + rng.uniform(0.15, 0.25)
        thing.box(
            (-half, back - 0.055 + lean * (low - seat), low),
            (half, back - 0.02 + lean * (low - seat), top),
            color,
            lean=lean,
        )
    else:  # rails
        for x in (-half, half - 0.035):
            thing.box((x, back - 0.05, seat), (x + 0.035, back - 0.02, top), frame, lean=lean)
        for low in np.linspace(seat + 0.12, top - 0.09, 3):
            shift = lean * (low - seat)
            thing.box((-half, back - 0.05 + shift, low), (half, back - 0.03 + shift, low + 0.07), frame, lean=lean)
    return Group(width, depth, top, [thing])


def office_chair(rng: Generator, step: float) -> Group:
    """A swivel chair: five feet, column, cushions, often arms."""
    thing = Thing("office chair", step)
    width, depth = rng.uniform(0.52, 0.64), rng.uniform(0.55, 0.64)
    seat, top = rng.uniform(0.44, 0.54), rng.uniform(0.92, 1.15)
    color, frame = pick(rng, FABRIC), pick(rng, METAL)
    middle, half = depth / 2, rng.uniform(0.22, 0.26)
    turn = rng.uniform(0, 2 * math.pi)
    for spoke in range(5):
        angle = turn + spoke * 2 * math.pi / 5
        reach = np.linspace(0.0, 0.28, max(3, math.ceil(0.28 / step)))
        across = np.array([-0.025, -0.02, 0.02, 0.025])
        points = np.empty((len(reach), 4, 3))
        points[..., 0] = reach[:, None] * math.cos(angle) - across * math.sin(angle)
        points[..., 1] = middle + reach[:, None] * math.sin(angle) + across * math.cos(angle)
        points[..., 2] = np.array([0.02, 0.09, 0.09, 0.02]) - 0.10 * (reach[:, None] - 0.14)
        thing.add(points, frame)
    thing.rod(0.0, middle, (0.05, seat - 0.06), 0.03, frame)
    front = middle + 0.23
    thing.box((-half, middle - 0.22, seat - 0.08), (half, front, seat), color, radius=0.04, faces="-x +x -y +y +z -z")
    lean = -rng.uniform(0.08, 0.2)
    thing.box(
        (-half + 0.02, middle - 0.24, seat + 0.08), (half - 0.02, middle - 0.17, top), color, radius=0.035, lean=lean
    )
    thing.box((-0.04, middle - 0.26, seat - 0.06), (0.04, middle - 0.23, seat + 0.35), frame, lean=lean)
    if rng.random() < 0.7:
        for side in (-1, 1):
            x = side * (half + 0.03)
            thing.box(
                (x - 0.03, middle - 0.12, seat + 0.18), (x + 0.03, middle + 0.13, seat + 0.22), frame, radius=0.015
            )
            thing.box((x - 0.02, middle - 0.04, seat - 0.05), (x + 0.02, middle + 0.03, seat + 0.18), frame)
    return Group(width, depth, top, [thing])


def _upholstered(thing: Thing, rng: Generator, width: float, depth: float, seats: int) -> float:
    """Arms, back and seat cushions of a sofa or an armchair; returns its height."""
    color = pick(rng, FABRIC)
    seat, top = rng.uniform(0.38, 0.46), rng.uniform(0.72, 0.92)
    arm, back = rng.uniform(0.12, 0.22), rng.uniform(0.18, 0.26)
    arm_top = rng.uniform(seat + 0.08, top - 0.10)
    half = width / 2
    thing.box((-half, 0, 0.04), (half, back, top), color, radius=0.06)
    thing.box((-half, back - 0.06, 0.04), (half, depth - 0.03, seat - 0.13), color, radius=0.02)
    for x in (-half, half - arm):
        thing.box((x, 0.05, 0.04), (x + arm, depth, arm_top), color, radius=min(0.07, arm / 2 - 0.01))
    inner = (width - 2 * arm) / seats
    for number in range(seats):
        x = -half + arm + number * inner
        thing.box((x + 0.005, back - 0.02, seat - 0.15), (x + inner - 0.005, depth - 0.01, seat), color, radius=0.045)
        cushion_top = min(top + 0.04, seat + 0.48)
        thing.box(
            (x + 0.01, back - 0.03, seat - 0.02),
            (x + inner - 0.01, back + 0.13, cushion_top),
            color,
            radius=0.06,
            lean=-0.15,
        )
    return top


def sofa(rng: Generator, step: float) -> Group:
    width, depth = rng.uniform(1.5, 2.3), rng.uniform(0.82, 0.98)
    thing = Thing("couch", step)
    top = _upholstered(thing, rng, width, depth, seats=2 if width < 1.8 else 3)
    things = [thing]
    for _ in range(rng.integers(0, 3)):
        x = rng.uniform(-width / 2 + 0.4, width / 2 - 0.4)
        things.append(_cushion(rng, step, x, 0.42, rng.uniform(0.44, 0.5), upright=True))
    return Group(width, depth, top, things)


def armchair(rng: Generator, step: float) -> Group:
    width, depth = rng.uniform(0.75, 0.95), rng.uniform(0.75, 0.9)
    thing = Thing("armchair", step)
    return Group(width, depth, _upholstered(thing, rng, width, depth, seats=1), [thing])


def _cushion(rng: Generator, step: float, x: float, y: float, z: float, *, upright: bool) -> Thing:
    thing = Thing("pillow", step)
    if upright:
        size = rng.uniform(0.38, 0.45)
        thing.box((x - size / 2, y, z), (x + size / 2, y + 0.12, z + size), pick(rng, BRIGHT), radius=0.06, lean=-0.3)
    else:
        width, depth = rng.uniform(0.55, 0.7), rng.uniform(0.38, 0.46)
        thing.box((x - width / 2, y, z), (x + width / 2, y + depth, z + 0.13), pick(rng, WHITE + BRIGHT), radius=0.06)
    return thing


def bed(rng: Generator, step: float) -> Group:
    """Head at the wall (y = 0): frame, mattress or duvet, headboard, pillows."""
    width, depth = float(rng.choice([0.95, 1.4, 1.6, 1.85])) + rng.uniform(-0.05, 0.05), rng.uniform(2.0, 2.15)
    thing = Thing("bed", step)
    half, top, color = width / 2, rng.uniform(0.45, 0.65), pick(rng, FABRIC + WHITE + BRIGHT)
    wood = pick(rng, WOOD)
    frame_top = top - rng.uniform(0.2, 0.28)
    thing.box((-half, 0.05, 0.06), (half, depth, frame_top), wood)
    cover = depth * rng.uniform(0.3, 0.45)
    thing.box((-half + 0.02, 0.06, frame_top - 0.05), (half - 0.02, cover + 0.1, top), pick(rng, WHITE), radius=0.06)
    hang = rng.uniform(frame_top - 0.15, frame_top)
    thing.box((-half - 0.015, cover, hang), (half + 0.015, depth + 0.01, top + 0.035), color, radius=0.07)
    head = rng.uniform(0.85, 1.2)
    thing.box((-half, 0, 0.1), (half, 0.05, head), wood, radius=0.02)
    if rng.random() < 0.3:
        thing.box((-half, depth, 0.1), (half, depth + 0.04, top + rng.uniform(0.05, 0.2)), wood, radius=0.02)
        depth += 0.04
    pillows = [
        _cushion(rng, step, x, 0.1, top - 0.01, upright=False)
        for x in ([-half / 2, half / 2] if width > 1.2 else [0.0])
    ]
    return Group(width + 0.04, depth, head, [thing, *pillows])


def table(rng: Generator, step: float, width: float | None = None, depth: float | None = None) -> Group:
    """A dining or meeting table, square-cornered or, when no size is asked for, sometimes round."""
    round_top = width is None and rng.random() < 0.3
    width = width or rng.uniform(0.9, 1.7)
    depth = depth or (width if round_top else rng.uniform(0.75, 0.95))
    thing = Thing("table", step)
    top, thick, color, leg = rng.uniform(0.70, 0.78), rng.uniform(0.025, 0.05), pick(rng, WOOD), pick(rng, WOOD + METAL)
    if round_top:
        width = depth = min(width, 1.3)
        radius = width / 2
        thing.turned(
            [(0.0, top - thick), (1.0, top - thick), (1.0, top), (0.0, top)],
            color,
            centre=(0, radius),
            half=(radius, radius),
        )
        thing.turned(
            [(1.0, 0.0), (0.9, 0.04), (0.16, 0.09), (0.16, top - thick)], leg, centre=(0, radius), half=(0.3, 0.3)
        )
        return Group(width, depth, top, [thing])
    thing.box((-width / 2, 0, top - thick), (width / 2, depth, top), color, faces="-x +x -y +y +z -z")
    if rng.random() < 0.75:
        inset = rng.uniform(0.02, 0.1)
        _corner_legs(
            thing, (width / 2 - inset, depth / 2 - inset), depth / 2, top - thick, rng.uniform(0.02, 0.04), leg
        )
    else:  # trestles
        for x in (-width * 0.32, width * 0.32):
            thing.box((x - 0.04, depth * 0.45, 0.04), (x + 0.04, depth * 0.55, top - thick), leg)
            thing.box((x - 0.04, depth * 0.12, 0), (x + 0.04, depth * 0.88, 0.05), leg)
    return Group(width, depth, top, [thing])


def coffee_table(rng: Generator, step: float) -> Group:
    width, depth, top = rng.uniform(0.8, 1.25), rng.uniform(0.5, 0.7), rng.uniform(0.36, 0.48)
    thing, color = Thing("coffee table", step), pick(rng, WOOD)
    thing.box((-width / 2, 0, top - 0.04), (width / 2, depth, top), color, faces="-x +x -y +y +z -z")
    _corner_legs(thing, (width / 2 - 0.02, depth / 2 - 0.02), depth / 2, top - 0.04, 0.025, darker(color))
    if rng.random() < 0.5:
        thing.box((-width / 2 + 0.05, 0.05, 0.12), (width / 2 - 0.05, depth - 0.05, 0.14), color)
    return Group(width, depth, top, [thing])


def desk(rng: Generator, step: float) -> Group:
    """Stands with its back at the wall, open towards +y: panels or a drawer block carry the top."""
    width, depth, top = rng.uniform(1.1, 1.7), rng.uniform(0.6, 0.8), rng.uniform(0.71, 0.77)
    thing, color, half = Thing("desk", step), pick(rng, WOOD), width / 2
    thing.box((-half, 0, top - 0.035), (half, depth, top), color, faces="-x +x -y +y +z -z")
    side = darker(color, 0.9)
    if rng.random() < 0.6:  # drawers on one side
        x = half - 0.42
        thing.box((x, 0.03, 0.03), (half - 0.01, depth - 0.06, top - 0.035), side)
        drawers = np.linspace(0.05, top - 0.05, 4)
        for low, high in itertools.pairwise(drawers):
            thing.box((x + 0.02, depth - 0.06, low + 0.01), (half - 0.03, depth - 0.04, high - 0.01), side)
    else:
        thing.box((half - 0.04, 0.03, 0), (half - 0.01, depth - 0.04, top - 0.035), side)
    thing.box((-half + 0.01, 0.03, 0), (-half + 0.04, depth - 0.04, top - 0.035), side)
    thing.box((-half + 0.04, 0.05, top - rng.uniform(0.3, 0.55)), (half - 0.02, 0.07, top - 0.035), side)
    return Group(width, depth, top, [thing])


def bookshelf(rng: Generator, step: float, *, width: float | None = None, height: float | None = None) -> Group:
    """Sides, back and boards; rows of books whose backs stand in and out."""
    width = width or rng.uniform(0.7, 1.2)
    height = height or rng.uniform(1.1, 2.1)
    depth, wood = rng.uniform(0.26, 0.36), pick(rng, WOOD)
    thing, half, board = Thing("bookshelf", step), width / 2, 0.025
    thing.box((-half, 0, 0), (-half + board, depth, height), wood)
    thing.box((half - board, 0, 0), (half, depth, height), wood)
    thing.wall_panel((-half, half), (0.05, height), 0.015, darker(wood))
    heights = np.linspace(0.06, height - board, max(3, round(height / rng.uniform(0.30, 0.38)) + 1))
    for number, low in enumerate(heights):
        thing.box((-half + board, 0, low), (half - board, depth - 0.01, low + board), wood, faces="+y +z -z")
        if number + 1 < len(heights) and rng.random() < 0.85:
            _books(thing, rng, (-half + board, half - board), low + board, heights[number + 1] - low - board, depth)
    return Group(width, depth, height, [thing], covers=True)


def _books(thing: Thing, rng: Generator, span: tuple[float, float], low: float, room: float, depth: float) -> None:
    """One row of books over part of the board: fronts and tops as one stepped sheet."""
    length = (span[1] - span[0]) * rng.uniform(0.5, 1.0)
    start = span[0] if rng.random() < 0.6 else span[1] - length
    books = max(3, int(length / rng.uniform(0.04, 0.07)))
    edges = np.repeat(np.linspace(start, start + length, books + 1), 2)[1:-1]
    tall = np.repeat(rng.uniform(0.6, 0.9, books) * room, 2)
    front = np.repeat(depth - rng.uniform(0.02, 0.09, books), 2)
    rows = max(2, math.ceil(room * 0.75 / thing.step) + 1)
    points = np.empty((rows + 2, 2 * books, 3))
    points[..., 0] = edges
    points[:rows, :, 1], points[rows:, :, 1] = front, [front * 0.5, np.full(2 * books, 0.02)]
    points[:rows, :, 2], points[rows:, :, 2] = low + np.linspace(0, 1, rows)[:, None] * tall, low + tall
    color = np.repeat(np.array([pick(rng, BRIGHT + FABRIC) for _ in range(books)]), 2, axis=0)
    thing.add(points, np.broadcast_to(color, points.shape))


def cabinet(rng: Generator, step: float, category: str = "cabinet") -> Group:
    """Cabinets, wardrobes, file cabinets, dressers, nightstands, TV stands: a box with doors or drawers and handles."""
    (w0, w1), (d0, d1), (h0, h1), (columns, rows) = {
        "cabinet": ((0.7, 1.3), (0.38, 0.5), (0.8, 1.5), (2, 1)),
        "wardrobe": ((0.9, 1.8), (0.55, 0.65), (1.8, 2.2), (3, 1)),
        "file cabinet": ((0.40, 0.48), (0.5, 0.65), (0.7, 1.35), (1, 4)),
        "dresser": ((0.8, 1.3), (0.42, 0.5), (0.75, 1.05), (2, 3)),
        "nightstand": ((0.40, 0.52), (0.36, 0.44), (0.45, 0.62), (1, 2)),
        "tv stand": ((1.1, 1.7), (0.38, 0.48), (0.42, 0.58), (3, 1)),
        "bathroom vanity": ((0.7, 1.1), (0.48, 0.55), (0.78, 0.86), (2, 1)),
    }[category]
    width, depth, height = rng.uniform(w0, w1), rng.uniform(d0, d1), rng.uniform(h0, h1)
    color = pick(rng, METAL + WHITE) if category == "file cabinet" else pick(rng, WOOD + WHITE)
    thing, half = Thing(category, step), width / 2
    top = "" if category == "bathroom vanity" else " +z"  # a vanity carries a counter with a basin let in
    thing.box((-half, 0, 0.0), (half, depth - 0.03, height), color, faces="-x +x -y" + top)
    fronts(thing, rng, (-half, half), (0.0, height), depth - 0.03, (columns, rows), color)
    return Group(width, depth, height, [thing], covers=True)


def fronts(
    thing: Thing,
    rng: Generator,
    x: tuple[float, float],
    z: tuple[float, float],
    y: float,
    grid: tuple[int, int],
    color: Vec3,
) -> None:
    """The face of a cabinet at `y`: `grid` = (columns, rows) doors or drawers, each with a handle."""
    thing.fronts(x, z, y, color, grid, relief=0.02)
    across, up = np.linspace(*x, grid[0] + 1), np.linspace(*z, grid[1] + 1)
    metal, upright = pick(rng, METAL), grid[1] == 1
    for column in range(grid[0]):
        for row in range(grid[1]):
            middle_z = (up[row] + up[row + 1]) / 2
            if upright:
                handle = across[column + 1] - 0.07 if column % 2 == 0 else across[column] + 0.05
                thing.box((handle, y + 0.02, middle_z - 0.07), (handle + 0.02, y + 0.05, middle_z + 0.07), metal)
            else:
                middle_x = (across[column] + across[column + 1]) / 2
                thing.box((middle_x - 0.06, y + 0.02, middle_z), (middle_x + 0.06, y + 0.05, middle_z + 0.02), metal)

"""An empty room and the packing of things into it: walls with openings, free floor, free wall space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.furniture import METAL, WHITE, WOOD, fronts, pick
from pointseg.scannet.synthetic.shapes import Group, Thing, Vec3, broken_lines

CELL = 0.05  # side of a cell of the floor plan, metres
GAP = 0.03  # free space kept between things, metres

Rect = tuple[float, float, float, float]  # x0, x1, y0, y1 on the floor, or x0, x1, z0, z1 on a wall


@dataclass
class Wall:
    """One straight piece of wall: local x along it from `start`, local y into the room."""

    start: tuple[float, float]
    angle: float  # radians; the direction of local x
    length: float
    openings: list[Rect] = field(default_factory=list)  # doors and windows, cut out of the wall
    taken: list[Rect] = field(default_factory=list)  # everything that stands at it or hangs on it

    def to_room(self, x: float, y: float) -> tuple[float, float]:
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return self.start[0] + x * cos - y * sin, self.start[1] + x * sin + y * cos

    def floor_rect(self, x0: float, x1: float, y0: float, y1: float) -> Rect:
        """The room's rectangle of a rectangle given along the wall."""
        (ax, ay), (bx, by) = self.to_room(x0, y0), self.to_room(x1, y1)
        return min(ax, bx), max(ax, bx), min(ay, by), max(ay, by)

    def is_free(self, rect: Rect) -> bool:
        x0, x1, z0, z1 = rect
        return not any(x0 < b and a < x1 and z0 < d and c < z1 for a, b, c, d in self.taken)


@dataclass(frozen=True)
class Spot:
    """Where a group stands: its local frame in the room, and its wall if it has one."""

    x: float
    y: float
    angle: float
    group: Group
    wall: Wall | None = None
    along: float = 0.0  # local x on the wall

    def to_room(self, x: float, y: float) -> tuple[float, float]:
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return self.x + x * cos - y * sin, self.y + x * sin + y * cos


class FloorPlan:
    """Which cells of the floor carry something (`solid`) and which must stay walkable (`kept`)."""

    def __init__(self, outline: np.ndarray) -> None:
        """`outline [K, 2]`: corners of the room, counter-clockwise, edges parallel to the axes, minimum at (0, 0)."""
        self.shape = tuple(int(round(extent / CELL)) for extent in outline.max(0))
        x, y = ((np.arange(extent) + 0.5) * CELL for extent in self.shape)
        inside = np.zeros(self.shape, dtype=bool)
        for (ax, ay), (bx, _) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
            # Crossing number of a ray towards +y: only edges along x count.
            crossed = (x > min(ax, bx)) & (x < max(ax, bx))
            inside ^= crossed[:, None] & (y < ay)
        self.solid = ~inside
        self.kept = np.zeros(self.shape, dtype=bool)

    def _cells(self, rect: Rect) -> tuple[slice, slice] | None:
        """The cells a rectangle touches; None if it leaves the plan."""
        low = [math.floor(edge / CELL + 1e-6) for edge in (rect[0], rect[2])]
        high = [math.ceil(edge / CELL - 1e-6) for edge in (rect[1], rect[3])]
        if min(low) < 0 or high[0] > self.shape[0] or high[1] > self.shape[1]:
            return None
        return slice(low[0], high[0]), slice(low[1], high[1])

    def is_free(self, rect: Rect, *, may_use_kept: bool = False) -> bool:
        cells = self._cells(rect)
        if cells is None or self.solid[cells].any():
            return False
        return may_use_kept or not self.kept[cells].any()

    def occupy(self, rect: Rect) -> None:
        cells = self._cells(rect)
        if cells is not None:
            self.solid[cells] = True

    def keep(self, rect: Rect) -> None:
        x0, x1, y0, y1 = rect
        extent_x, extent_y = (extent * CELL for extent in self.shape)
        cells = self._cells((max(x0, 0), min(x1, extent_x), max(y0, 0), min(y1, extent_y)))
        if cells is not None:
            self.kept[cells] = True


class Room:
    """A room being furnished. Everything random comes from `rng`; `things` is the result."""

    def __init__(self, rng: Generator, step: float, width: float, depth: float) -> None:
        self.rng, self.step = rng, step
        self.height = rng.uniform(2.4, 2.9)
        self.outline = _outline(rng, width, depth)
        self.plan = FloorPlan(self.outline)
        self.walls = _walls(self.outline)
        self.things: list[Thing] = []
        self.wall_color, self.floor_color = pick(rng, WHITE + ((0.80, 0.76, 0.66), (0.70, 0.76, 0.80))), pick(rng, WOOD)

    # --- placing ----------------------------------------------------------------------------------------------------

    def against_wall(
        self, group: Group, *, front: float = 0.5, corner: bool = False, walls: Sequence[Wall] | None = None
    ) -> Spot | None:
        """Puts the group's back to a wall, `front` metres of floor kept free before it; None if it fits nowhere."""
        for wall, along in self._wall_candidates(group.width, corner, walls or self.walls):
            spot = self.against_wall_at(group, wall, along, front=front)
            if spot is not None:
                return spot
        return None

    def against_wall_at(self, group: Group, wall: Wall, along: float, *, front: float = 0.3) -> Spot | None:
        """`against_wall` at one place: the middle of the group's back at local x `along` of the wall."""
        half, gap = group.width / 2, 0.025
        if along - half < GAP or along + half > wall.length - GAP:
            return None
        body = wall.floor_rect(along - half, along + half, 0.0, group.depth + gap)
        before = wall.floor_rect(along - half, along + half, group.depth + gap, group.depth + gap + front)
        on_wall = (along - half, along + half, 0.0, group.height)
        free = wall.is_free(on_wall) and self.plan.is_free(body) and self.plan.is_free(before, may_use_kept=True)
        if not free:
            return None
        self.plan.occupy(body)
        self.plan.keep(before)
        wall.taken.append(on_wall)
        return self._stand(group, *wall.to_room(along, gap), wall.angle, wall, along)

    def in_the_open(self, group: Group, *, around: float = 0.6) -> Spot | None:
        """Puts the group away from walls, `around` metres kept free on all sides."""
        for _ in range(60):
            turned = self.rng.random() < 0.5
            width, depth = (group.depth, group.width) if turned else (group.width, group.depth)
            extent_x, extent_y = (extent * CELL for extent in self.plan.shape)
            if extent_x < width or extent_y < depth:
                continue
            x0, y0 = self.rng.uniform(0, extent_x - width), self.rng.uniform(0, extent_y - depth)
            body = (x0, x0 + width, y0, y0 + depth)
            wide = (x0 - around, x0 + width + around, y0 - around, y0 + depth + around)
            if self.plan.is_free(body) and self.plan.is_free(wide, may_use_kept=True):
                self.plan.occupy(body)
                self.plan.keep(wide)
                middle = (x0 + width / 2, y0 + depth / 2)
                angle = (math.pi / 2 if turned else 0.0) + (math.pi if self.rng.random() < 0.5 else 0.0)
                # The local origin is the middle of the group's back.
                back = (middle[0] + math.sin(angle) * group.depth / 2, middle[1] - math.cos(angle) * group.depth / 2)
                return self._stand(group, *back, angle)
        return None

    def at(self, group: Group, x: float, y: float, angle: float, *, tuck: float = 0.0) -> Spot | None:
        """Puts the middle of the group at (x, y) if that floor is free; kept floor may be used.

        The front `tuck` metres may reach under something else, as a chair does at a table.
        """
        back = (x + math.sin(angle) * group.depth / 2, y - math.cos(angle) * group.depth / 2)
        spot = Spot(*back, angle, group)
        half = group.width / 2
        corners = np.array([spot.to_room(a, b) for a in (-half, half) for b in (0.0, group.depth - tuck)])
        (x0, y0), (x1, y1) = corners.min(0), corners.max(0)
        if not self.plan.is_free((x0, x1, y0, y1), may_use_kept=True):
            return None
        self.plan.occupy((x0, x1, y0, y1))
        return self._stand(group, *back, angle)

    def on_top(self, spot: Spot, group: Group, x: float, y: float, turn: float = 0.0) -> None:
        """Puts the group on a thing at (x, y) of that thing's frame."""
        self.things += group.placed(*spot.to_room(x, y), spot.angle + turn, spot.group.height + 0.002)

    def hang(self, group: Group, z: float, *, wall: Wall | None = None, along: float | None = None) -> Spot | None:
        """Hangs the group on a wall with its lower edge at `z`; None if no wall has that place free."""
        candidates = self._wall_candidates(group.width, False, [wall] if wall else self.walls)
        if wall is not None and along is not None:
            candidates = [(wall, along)]
        for place, x in candidates:
            rect = (x - group.width / 2 - GAP, x + group.width / 2 + GAP, z - GAP, z + group.height + GAP)
            if place.is_free(rect) and rect[0] > 0 and rect[1] < place.length:
                place.taken.append(rect)
                at_x, at_y = place.to_room(x, 0.0)
                self.things += group.placed(at_x, at_y, place.angle, z)
                return Spot(at_x, at_y, place.angle, group, place, x)
        return None

    def _wall_candidates(self, width: float, corner: bool, walls: Sequence[Wall]) -> list[tuple[Wall, float]]:
        """Walls and local x of the middle where something of that width could be, in random order."""
        candidates = []
        for wall in walls:
            room = wall.length - width - 2 * GAP
            if room < 0:
                continue
            ends = [GAP + width / 2, wall.length - GAP - width / 2]
            places = ends if corner else [*np.arange(ends[0], ends[1], 0.12), ends[1]]
            candidates += [(wall, float(x)) for x in places]
        order = self.rng.permutation(len(candidates))
        return [candidates[i] for i in order]

    def _stand(
        self, group: Group, x: float, y: float, angle: float, wall: Wall | None = None, along: float = 0.0
    ) -> Spot:
        self.things += group.placed(x, y, angle)
        return Spot(x, y, angle, group, wall, along)

    # --- the shell ----------------------------------------------------------------------------------------------------

    def add_door(self) -> None:
        """A door in its frame, closed or standing open into the room; the floor before it stays free."""
        width, height = self.rng.uniform(0.82, 0.98), self.rng.uniform(2.0, 2.1)
        for wall, x in self._wall_candidates(width + 0.24, False, self.walls):
            rect = (x - width / 2 - 0.1, x + width / 2 + 0.1, 0.0, height + 0.08)
            before = wall.floor_rect(x - width / 2, x + width / 2, 0.0, 0.95)
            if not (wall.is_free(rect) and self.plan.is_free(before, may_use_kept=True)):
                continue
            wall.taken.append(rect)
            wall.openings.append((x - width / 2, x + width / 2, 0.0, height))
            self.plan.keep(before)
            at = wall.to_room(x, 0.0)
            openness = 0.0 if self.rng.random() < 0.6 else self.rng.uniform(0.3, 1.65)
            if openness:
                self.plan.occupy(wall.floor_rect(x - width / 2 - 0.05, x - width / 2 + width * max(0.1, math.cos(openness)), 0.0, width * min(1.0, math.sin(openness)) + 0.05))  # fmt: skip
            self.things += [
                thing.placed(*at, wall.angle)
                for thing in _door(self.rng, self.step, width, height, openness, self.floor_color)
            ]
            return

    def add_window(self, *, sill: float | None = None, width: float | None = None, curtains: bool = True) -> None:
        """A window let into the wall, now and then with curtains or blinds before it."""
        width = width or self.rng.uniform(0.8, 1.9)
        sill = sill or self.rng.uniform(0.75, 1.0)
        top = min(self.height - 0.2, sill + self.rng.uniform(0.9, 1.4))
        for wall, x in self._wall_candidates(width + 0.5, False, self.walls):
            rect = (x - width / 2 - 0.06, x + width / 2 + 0.06, sill - 0.06, top + 0.06)
            if not wall.is_free(rect):
                continue
            wall.taken.append(rect)
            wall.openings.append((x - width / 2, x + width / 2, sill, top))
            at = wall.to_room(x, 0.0)
            self.things.append(_window(self.rng, self.step, width, (sill, top)).placed(*at, wall.angle))
            if curtains and self.rng.random() < 0.8:
                self._add_curtains(wall, x, width, top)
            elif self.rng.random() < 0.3:
                blinds = Thing("blinds", self.step)
                low = self.rng.uniform(sill, top - 0.2)
                blinds.wall_panel((-width / 2, width / 2), (low, top), -0.02, pick(self.rng, WHITE))
                self.things.append(blinds.placed(*at, wall.angle))
            return

    def _add_curtains(self, wall: Wall, x: float, window: float, top: float) -> None:
        rng = self.rng
        color = pick(rng, WHITE + WOOD + ((0.45, 0.5, 0.6), (0.6, 0.35, 0.33)))
        long = rng.random() < 0.7
        low = rng.uniform(0.03, 0.12) if long else rng.uniform(0.6, 0.75)
        high = min(self.height - 0.05, top + rng.uniform(0.08, 0.2))
        cover = window * rng.uniform(0.2, 0.48)
        for side in (-1, 1):
            edge = x + side * (window / 2 + rng.uniform(0.1, 0.22))
            inner = edge - side * (cover + 0.1)
            x0, x1 = max(min(edge, inner), 0.03), min(max(edge, inner), wall.length - 0.03)
            footprint = wall.floor_rect(x0, x1, 0.0, 0.16)
            if x1 - x0 < 0.2 or (long and not self.plan.is_free(footprint, may_use_kept=True)):
                continue
            curtain = Thing("curtain", self.step)
            curtain.cloth((x0, x1), (low, high), 0.09, color, rng.uniform(0.02, 0.045), rng)
            self.things.append(curtain.placed(*wall.start, wall.angle))
            wall.taken.append((x0, x1, low, high))
            if long:
                self.plan.occupy(footprint)

    def add_shell(self) -> None:
        """Walls with the openings cut so far, floor and ceiling; call it last."""
        rng = self.rng
        walls = Thing("wall", self.step)
        shell = []
        for wall in self.walls:
            part = Thing("wall", self.step)
            part.wall_panel((0, wall.length), (0, self.height), 0.0, self.wall_color, holes=wall.openings)
            shell.append(part.placed(*wall.start, wall.angle))
        for part in shell:
            walls.sheets += part.sheets
        floor, ceiling = Thing("floor", self.step), Thing("ceiling", self.step)
        for thing, z in ((floor, 0.0), (ceiling, self.height)):
            points = _flat(self.outline, self.step)
            points[..., 2] = z
            color = self.floor_color if thing is floor else pick(rng, WHITE)
            thing.add(points if thing is floor else points.swapaxes(0, 1), color)
        self.things = [walls, floor, ceiling, *self.things]


def _outline(rng: Generator, width: float, depth: float) -> np.ndarray:
    """A rectangle, an L or a rectangle with a niche cut into one side; corners [K, 2] on the cell grid."""
    width, depth = round(width / CELL) * CELL, round(depth / CELL) * CELL
    kind = rng.random()
    if min(width, depth) < 2.8 or kind < 0.55:
        return np.array([(0, 0), (width, 0), (width, depth), (0, depth)])
    cut_x = round(width * rng.uniform(0.15, 0.42) / CELL) * CELL
    cut_y = round(depth * rng.uniform(0.15, 0.42) / CELL) * CELL
    if kind < 0.82:
        corners = [
            (0, 0),
            (width, 0),
            (width, depth - cut_y),
            (width - cut_x, depth - cut_y),
            (width - cut_x, depth),
            (0, depth),
        ]
    else:
        deep = round(min(cut_y, 0.6) / CELL) * CELL
        left = round(rng.uniform(0.2, 0.6) * (width - cut_x) / CELL) * CELL
        corners = [(0, 0), (width, 0), (width, depth), (left + cut_x, depth), (left + cut_x, depth - deep), (left, depth - deep), (left, depth), (0, depth)]  # fmt: skip
    outline = np.array(corners)
    if rng.random() < 0.5:  # mirrored; reversed so that it stays counter-clockwise
        outline = np.stack([width - outline[:, 0], outline[:, 1]], axis=1)[::-1]
    return outline


def _walls(outline: np.ndarray) -> list[Wall]:
    walls = []
    for start, end in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        dx, dy = end - start
        walls.append(Wall((float(start[0]), float(start[1])), math.atan2(dy, dx), float(math.hypot(dx, dy))))
    return walls


def _flat(outline: np.ndarray, step: float) -> np.ndarray:
    """A grid [U, V, 3] over the room's floor at z = 0, NaN outside the outline."""
    x, y = (broken_lines([float(v) for v in outline[:, axis]], step) for axis in (0, 1))
    inside = np.zeros((len(x), len(y)), dtype=bool)
    for nudge in (-1e-3, 1e-3):  # a vertex on the outline belongs to the floor
        for nudge_y in (-1e-3, 1e-3):
            covered = np.zeros_like(inside)
            for (ax, ay), (bx, _) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
                crossed = (x + nudge > min(ax, bx)) & (x + nudge < max(ax, bx))
                covered ^= crossed[:, None] & (y + nudge_y < ay)
            inside |= covered
    points = np.zeros((len(x), len(y), 3))
    points[..., 0], points[..., 1] = x[:, None], y
    points[~inside] = np.nan
    return points


def _door(rng: Generator, step: float, width: float, height: float, openness: float, floor_color: Vec3) -> list[Thing]:
    """Frame and leaf around local (0, 0); an open leaf stands into the room and shows a strip of the next floor."""
    frame, leaf, color = Thing("doorframe", step), Thing("door", step), pick(rng, WOOD + WHITE)
    edge, half = rng.uniform(0.06, 0.09), width / 2
    for x0, x1, z0, z1 in (
        (-half - edge, -half, 0, height),
        (half, half + edge, 0, height),
        (-half - edge, half + edge, height, height + edge),
    ):
        frame.box((x0, -0.12, z0), (x1, 0.025, z1), color, faces="-x +x +y -z")
    depth, hinge = rng.uniform(0.03, 0.08), -half
    leaf.box((0, -0.04, 0.01), (width, 0.0, height), color)
    fronts_color = color
    if rng.random() < 0.6:
        fronts(leaf, rng, (0.1, width - 0.1), (0.15, height - 0.15), -0.01, (1, 1 + rng.integers(3)), fronts_color)
    leaf.box((width - 0.13, 0.0, 1.0), (width - 0.04, 0.06, 1.03), pick(rng, METAL), faces="-x +x -y +y +z -z")
    if not openness:
        return [frame, leaf.placed(hinge, -depth, 0.0)]
    leaf.box((0, -0.04, 0.01), (width, 0.0, height), color, faces="-y")
    beyond = Thing("floor", step)
    beyond.box((-half, -rng.uniform(0.4, 1.0), -0.05), (half, 0.0, 0.0), floor_color, faces="+z")
    return [frame, leaf.placed(hinge, 0.03, openness), beyond]


def _window(rng: Generator, step: float, width: float, z: tuple[float, float]) -> Thing:
    """Reveal, frame, bars and glass around local x = 0; glass returns little to a depth camera."""
    thing, deep, half = Thing("window", step), rng.uniform(0.06, 0.16), width / 2
    color, bar = pick(rng, WHITE + WOOD[:1]), rng.uniform(0.04, 0.06)
    thing.box((-half, -deep, z[0] - 0.03), (half, rng.uniform(0.01, 0.05), z[0]), color, faces="-x +x +y +z -z")
    for x0, x1, z0, z1 in ((-half - 0.001, -half, *z), (half, half + 0.001, *z), (-half, half, z[1], z[1] + 0.001)):
        thing.box((x0, -deep, z0), (x1, 0, z1), color, faces={(True): "-z"}.get(z0 == z[1], "-x +x"))
    panes = max(1, round(width / 0.7))
    marks = np.linspace(-half, half, panes + 1)
    for number, x in enumerate(marks):
        low, high = x - (bar if number else 0), x + (bar if number < panes else 0)
        thing.box((low, -deep - 0.01, z[0]), (high, -deep + 0.03, z[1]), color, faces="-x +x +y")
    for low in (z[0], z[1] - bar):
        thing.box((-half, -deep - 0.01, low), (half, -deep + 0.03, low + bar), color, faces="+y +z -z")
    thing.wall_panel(
        (-half + bar, half - bar), (z[0] + bar, z[1] - bar), -deep, (0.75, 0.82, 0.9), seen=rng.uniform(0.25, 0.9)
    )
    return thing

"""The packing of things into a room: free floor, free wall space, and where a thing comes to stand or hang."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.shapes import Group, Thing

CELL = 0.05  # side of a cell of the floor plan, metres
GAP = 0.03  # free space kept between things, metres

Rect = tuple[float, float, float, float]  # x0, x1, y0, y1 on the floor, or x0, x1, z0, z1 on a wall


@dataclass
class Wall:
    """One straight piece of wall: local x along it from `start`, local y into the room."""

    start: tuple[float, float]
    angle: float  # radians; the direction of local x
    length: float
    openings: list[Rect] = field(default_factory=list)  # cut out: doors, windows, what is hidden behind furniture
    taken: list[Rect] = field(default_factory=list)  # everything that stands at it or hangs on it

    @classmethod
    def between(cls, start: np.ndarray, end: np.ndarray) -> Wall:
        dx, dy = end - start
        return cls((float(start[0]), float(start[1])), math.atan2(dy, dx), math.hypot(dx, dy))

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
        self.shape = tuple(round(extent / CELL) for extent in outline.max(0))
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

    def __init__(self, rng: Generator, step: float, outline: np.ndarray, height: float) -> None:
        self.rng, self.step, self.outline, self.height = rng, step, outline, height
        self.plan = FloorPlan(outline)
        self.walls = [Wall.between(*ends) for ends in zip(outline, np.roll(outline, -1, axis=0), strict=True)]
        self.things: list[Thing] = []

    def against_wall(
        self, group: Group, *, front: float = 0.5, corner: bool = False, walls: Sequence[Wall] | None = None
    ) -> Spot | None:
        """Puts the group's back to a wall, `front` metres of floor kept free before it; None if it fits nowhere."""
        for wall, along in self.wall_candidates(group.width, corner, walls or self.walls):
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
        if group.covers:
            wall.openings.append((along - half + 0.02, along + half - 0.02, 0.0, group.height - 0.02))
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
        candidates = self.wall_candidates(group.width, False, [wall] if wall else self.walls)
        if wall is not None and along is not None:
            candidates = [(wall, along)]
        for place, x in candidates:
            rect = (x - group.width / 2 - GAP, x + group.width / 2 + GAP, z - GAP, z + group.height + GAP)
            if place.is_free(rect) and rect[0] > 0 and rect[1] < place.length:
                place.taken.append(rect)
                if group.covers:
                    half = group.width / 2 - 0.02
                    place.openings.append((x - half, x + half, z + 0.02, z + group.height - 0.02))
                at_x, at_y = place.to_room(x, 0.0)
                self.things += group.placed(at_x, at_y, place.angle, z)
                return Spot(at_x, at_y, place.angle, group, place, x)
        return None

    def wall_candidates(self, width: float, corner: bool, walls: Sequence[Wall]) -> list[tuple[Wall, float]]:
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

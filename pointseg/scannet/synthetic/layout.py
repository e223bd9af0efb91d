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
MOST_CANDIDATES = 80  # places tried for a thing before it is left out

Rect = tuple[float, float, float, float]  # x0, x1, y0, y1 on the floor, or x0, x1, z0, z1 on a wall


Frame = tuple[float, float, float]  # x, y, angle of a local frame in the room


def from_frame(frame: Frame, x: float, y: float) -> tuple[float, float]:
    cos, sin = math.cos(frame[2]), math.sin(frame[2])
    return frame[0] + x * cos - y * sin, frame[1] + x * sin + y * cos


@dataclass
class Wall:
    """One straight piece of wall: local x along it from `start`, local y into the room."""

    start: tuple[float, float]
    angle: float  # radians; the direction of local x
    length: float
    openings: list[Rect] = field(default_factory=list)  # cut out: doors, windows, what is hidden behind furniture
    taken: list[Rect] = field(default_factory=list)  # everything that stands at it or hangs on it
    outer: bool = True  # no room of the same flat lies behind it: windows and the front door go here

    @classmethod
    def between(cls, start: np.ndarray, end: np.ndarray) -> Wall:
        dx, dy = end - start
        return cls((float(start[0]), float(start[1])), math.atan2(dy, dx), math.hypot(dx, dy))

    @property
    def frame(self) -> Frame:
        return *self.start, self.angle

    def to_room(self, x: float, y: float) -> tuple[float, float]:
        return from_frame(self.frame, x, y)

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
        return from_frame((self.x, self.y, self.angle), x, y)


class FloorPlan:
    """Which cells of the floor carry something (`solid`) and which must stay walkable (`kept`).

    Areas are given as a rectangle in a local frame, which may be turned by any angle.
    """

    def __init__(self, outlines: Sequence[np.ndarray]) -> None:
        """`outlines`: corners [K, 2] of each room, counter-clockwise; the common minimum is at (0, 0)."""
        self.shape = tuple(round(extent / CELL) for extent in np.concatenate(outlines).max(0))
        x, y = ((np.arange(extent) + 0.5) * CELL for extent in self.shape)
        inside = np.zeros(self.shape, dtype=bool)
        for outline in outlines:
            for (ax, ay), (bx, by) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
                # Crossing number of a ray towards +y: edges along y do not count.
                if abs(bx - ax) > 1e-9:
                    crossed = (x > min(ax, bx)) & (x < max(ax, bx))
                    inside ^= crossed[:, None] & (y < (ay + (x - ax) * (by - ay) / (bx - ax))[:, None])
        self.solid = ~inside
        self.kept = np.zeros(self.shape, dtype=bool)

    def _cells(self, frame: Frame, rect: Rect, *, clip: bool = False) -> tuple[slice, slice, np.ndarray | bool] | None:
        """The block of cells a rectangle touches and which of them it covers; None if it leaves the plan."""
        corners = [from_frame(frame, x, y) for x in rect[:2] for y in rect[2:]]
        low = [math.floor(min(c[axis] for c in corners) / CELL + 1e-6) for axis in (0, 1)]
        high = [math.ceil(max(c[axis] for c in corners) / CELL - 1e-6) for axis in (0, 1)]
        if clip:
            low = [max(edge, 0) for edge in low]
            high = [min(edge, extent) for edge, extent in zip(high, self.shape, strict=True)]
        if min(low) < 0 or high[0] > self.shape[0] or high[1] > self.shape[1]:
            return None
        block = slice(low[0], high[0]), slice(low[1], high[1])
        cos, sin = math.cos(frame[2]), math.sin(frame[2])
        if abs(sin * cos) < 1e-3:
            return *block, True
        x = ((np.arange(low[0], high[0]) + 0.5) * CELL - frame[0])[:, None]
        y = (np.arange(low[1], high[1]) + 0.5) * CELL - frame[1]
        along, out, margin = x * cos + y * sin, y * cos - x * sin, 0.5 * CELL
        covered = (along > rect[0] - margin) & (along < rect[1] + margin)
        return *block, covered & (out > rect[2] - margin) & (out < rect[3] + margin)

    def is_free(self, frame: Frame, rect: Rect, *, may_use_kept: bool = False) -> bool:
        cells = self._cells(frame, rect)
        if cells is None:
            return False
        x, y, covered = cells
        if (self.solid[x, y] & covered).any():
            return False
        return may_use_kept or not (self.kept[x, y] & covered).any()

    def occupy(self, frame: Frame, rect: Rect) -> None:
        x, y, covered = self._cells(frame, rect, clip=True)
        self.solid[x, y] |= covered

    def keep(self, frame: Frame, rect: Rect) -> None:
        x, y, covered = self._cells(frame, rect, clip=True)
        self.kept[x, y] |= covered

    def open_up(self, frame: Frame, rect: Rect) -> None:
        """Makes walkable floor of the rectangle, as a doorway does."""
        x, y, covered = self._cells(frame, rect, clip=True)
        self.solid[x, y] &= ~np.broadcast_to(covered, self.solid[x, y].shape)
        self.kept[x, y] |= covered


class Room:
    """A room being furnished. Everything random comes from `rng`; `things` is the result.

    A flat is a room of several `parts`, rooms of their own that share the plan and the things.
    """

    def __init__(
        self, rng: Generator, step: float, outline: np.ndarray, height: float, *, flat: Room | None = None
    ) -> None:
        """`outline [K, 2]`: corners, counter-clockwise, metres."""
        self.rng, self.step, self.outline, self.height = rng, step, outline, height
        self.plan = flat.plan if flat else FloorPlan([outline])
        self.things: list[Thing] = flat.things if flat else []
        self.walls = [Wall.between(*ends) for ends in zip(outline, np.roll(outline, -1, axis=0), strict=True)]
        self.floor = outline  # what is floored; more than the outline where a slanted wall hides a corner
        self.parts = [self]

    @classmethod
    def of_parts(cls, rng: Generator, step: float, outlines: Sequence[np.ndarray], height: float) -> Room:
        (x0, y0), (x1, y1) = np.concatenate(outlines).min(0), np.concatenate(outlines).max(0)
        flat = cls(rng, step, np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]), height)
        flat.plan = FloorPlan(outlines)
        flat.parts = [cls(rng, step, outline, height, flat=flat) for outline in outlines]
        flat.walls = [wall for part in flat.parts for wall in part.walls]
        return flat

    @property
    def area(self) -> float:
        x, y = self.outline.T
        return float(abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2)

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
        spots = self._row_at([group], wall, along - group.width / 2, front)
        return spots[0] if spots else None

    def row(self, groups: Sequence[Group], *, front: float = 0.5, corner: bool = False) -> list[Spot]:
        """Puts groups side by side with their backs to one wall, as in a kitchen; none if they fit nowhere."""
        width = sum(group.width for group in groups)
        for wall, along in self.wall_candidates(width, corner, self.walls):
            spots = self._row_at(groups, wall, along - width / 2, front)
            if spots:
                return spots
        return []

    def _row_at(self, groups: Sequence[Group], wall: Wall, start: float, front: float) -> list[Spot]:
        """The groups from local x `start` of the wall on, if all that floor and wall is free."""
        gap, width, depth = 0.02, sum(g.width for g in groups), max(g.depth for g in groups)
        if start < GAP or start + width > wall.length - GAP:
            return []
        edges = np.cumsum([start, *(group.width for group in groups)])
        on_wall = [(float(a), float(b), 0.0, g.height) for a, b, g in zip(edges[:-1], edges[1:], groups, strict=True)]
        body = (start, start + width, 0.0, depth + gap)
        before = (start, start + width, depth + gap, depth + gap + front)
        free = (
            all(wall.is_free(rect) for rect in on_wall)
            and self.plan.is_free(wall.frame, body)
            and self.plan.is_free(wall.frame, before, may_use_kept=True)
        )
        if not free:
            return []
        self.plan.occupy(wall.frame, body)
        self.plan.keep(wall.frame, before)
        wall.taken += on_wall
        spots = []
        for group, (x0, x1, _, _) in zip(groups, on_wall, strict=True):
            if group.covers:
                wall.openings.append((x0 + 0.02, x1 - 0.02, 0.0, group.height - 0.02))
            along, turn = (x0 + x1) / 2, 0.0
            if not group.covers and len(groups) == 1:
                turn = float(np.clip(self.rng.normal(0, 0.5), -1, 1)) * min(0.06, 0.03 / group.width)
            spots.append(self._stand(group, *wall.to_room(along, gap), wall.angle + turn, wall, along))
        return spots

    def in_the_open(self, group: Group, *, around: float = 0.6, square: bool = True) -> Spot | None:
        """Puts the group away from walls, `around` metres kept free on all sides; turned at will if not `square`."""
        low, high, half = self.outline.min(0), self.outline.max(0), group.width / 2
        for _ in range(40):
            angle = self.rng.integers(4) * math.pi / 2 if square else self.rng.uniform(0, 2 * math.pi)
            x, y = self.rng.uniform(low, high)
            back = (x + math.sin(angle) * group.depth / 2, y - math.cos(angle) * group.depth / 2)
            frame, body = (*back, float(angle)), (-half, half, 0.0, group.depth)
            wide = (-half - around, half + around, -around, group.depth + around)
            if self.plan.is_free(frame, body) and self.plan.is_free(frame, wide, may_use_kept=True):
                self.plan.occupy(frame, body)
                self.plan.keep(frame, wide)
                return self._stand(group, *frame)
        return None

    def at(self, group: Group, x: float, y: float, angle: float, *, tuck: float = 0.0) -> Spot | None:
        """Puts the middle of the group at (x, y) if that floor is free; kept floor may be used.

        The front `tuck` metres may reach under something else, as a chair does at a table.
        """
        frame = (x + math.sin(angle) * group.depth / 2, y - math.cos(angle) * group.depth / 2, angle)
        body = (-group.width / 2, group.width / 2, 0.0, group.depth - tuck)
        if not self.plan.is_free(frame, body, may_use_kept=True):
            return None
        self.plan.occupy(frame, body)
        return self._stand(group, *frame)

    def on_top(self, spot: Spot, group: Group, x: float, y: float, turn: float = 0.0) -> None:
        """Puts the group on a thing at (x, y) of that thing's frame."""
        height = spot.group.tops[0].z if spot.group.tops else spot.group.height
        self.things += group.placed(*spot.to_room(x, y), spot.angle + turn, height + 0.002)

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
        order = self.rng.permutation(len(candidates))[:MOST_CANDIDATES]
        return [candidates[i] for i in order]

    def _stand(
        self, group: Group, x: float, y: float, angle: float, wall: Wall | None = None, along: float = 0.0
    ) -> Spot:
        self.things += group.placed(x, y, angle)
        return Spot(x, y, angle, group, wall, along)

"""Surfaces that furniture is made of: boxes, turned bodies and cloth, as grids of vertices.

Everything is a `Sheet`: a `[U, V, 3]` grid of points, neighbours joined to quads later, outward side = d/du x d/dv.
Builders work in the local frame of the object: x along the wall behind it, y out into the room, z up, metres.
Letters: U, V = lines of a sheet's grid.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

Vec3 = tuple[float, float, float]
ALL = "-x +x -y +y +z -z"  # the faces of a box that is seen from below too


@dataclass(frozen=True)
class Sheet:
    """One surface patch."""

    points: np.ndarray  # [U, V, 3] float64, metres; NaN where the sheet has a hole
    color: np.ndarray  # [3] or [U, V, 3] float64, 0..1
    seen: float = 1.0  # share of the surface a depth camera gets back; glass and mirrors return little


@dataclass
class Thing:
    """One object as an annotator would outline it: a raw category and the sheets of its surface."""

    category: str
    step: float  # largest distance between neighbouring vertices, metres
    sheets: list[Sheet] = field(default_factory=list)

    def add(self, points: np.ndarray, color: Vec3 | np.ndarray, seen: float = 1.0) -> None:
        self.sheets.append(Sheet(points, np.asarray(color, dtype=np.float64), seen))

    def box(
        self,
        low: Vec3,
        high: Vec3,
        color: Vec3,
        *,
        radius: float = 0.0,
        lean: float = 0.0,
        faces: str = "-x +x -y +y +z",
        seen: float = 1.0,
    ) -> None:
        """The named faces of a box; edges rounded by `radius`; `lean` shifts y by `lean` per metre of height."""
        low_corner, high_corner = np.array(low), np.array(high)
        centre, half = (low_corner + high_corner) / 2, (high_corner - low_corner) / 2
        radius = min(radius, float(half.min()))
        for face in faces.split():
            axis, side = "xyz".index(face[1]), 1 if face[0] == "+" else -1
            u_axis, v_axis = (axis + 1) % 3, (axis + 2) % 3
            u = lines(low[u_axis], high[u_axis], self.step)
            v = lines(low[v_axis], high[v_axis], self.step)
            points = np.empty((len(u), len(v), 3))
            points[..., u_axis], points[..., v_axis] = u[:, None], v
            points[..., axis] = high[axis] if side > 0 else low[axis]
            if radius > 0:
                offset = points - centre
                inner = np.clip(offset, radius - half, half - radius)
                outer = offset - inner
                length = np.sqrt((outer * outer).sum(-1, keepdims=True))
                points = centre + inner + radius * outer / length
            if lean:
                points[..., 1] += lean * (points[..., 2] - low[2])
            self.add(points if side > 0 else points.swapaxes(0, 1), color, seen)

    def turned(
        self,
        profile: Sequence[tuple[float, float]],
        color: Vec3,
        *,
        centre: tuple[float, float] = (0.0, 0.0),
        half: tuple[float, float] = (1.0, 1.0),
        exponent: float = 2.0,
        seen: float = 1.0,
    ) -> None:
        """A body around a vertical axis: cross-sections are superellipses with half axes `half` times a scale.

        `profile` lists (scale, z) from the bottom outside over the rim to the inside. Exponent 2 gives ellipses,
        larger ones rounded rectangles.
        """
        scale, height = _subdivided(np.array(profile, dtype=np.float64), self.step / max(half), self.step)
        around = _superellipse(half, exponent, self.step / max(s for s, _ in profile))
        points = np.empty((len(around), len(scale), 3))
        points[..., :2] = np.array(centre) + around[:, None] * scale[:, None]
        points[..., 2] = height
        self.add(points, color, seen)

    def rod(self, x: float, y: float, z: tuple[float, float], radius: float, color: Vec3) -> None:
        """A vertical round bar."""
        self.turned([(1.0, z[0]), (1.0, z[1]), (0.0, z[1])], color, centre=(x, y), half=(radius, radius))

    def wall_panel(
        self,
        x: tuple[float, float],
        z: tuple[float, float],
        y: float,
        color: Vec3,
        *,
        holes: Sequence[tuple[float, float, float, float]] = (),
        seen: float = 1.0,
    ) -> None:
        """An upright rectangle facing +y, without the rectangles `holes` = (x0, x1, z0, z1)."""
        across = broken_lines([*x, *(edge for hole in holes for edge in hole[:2])], self.step)
        up = broken_lines([*z, *(edge for hole in holes for edge in hole[2:])], self.step)
        points = np.empty((len(up), len(across), 3))
        points[..., 0], points[..., 1], points[..., 2] = across, y, up[:, None]
        for x0, x1, z0, z1 in holes:
            inside_x = (across > x0 + 1e-6) & (across < x1 - 1e-6)
            inside_z = (up > z0 + 1e-6) & (up < z1 - 1e-6)
            # A hole that reaches the panel's edge takes the edge too.
            inside_z |= ((up <= z[0] + 1e-6) & (z0 <= z[0])) | ((up >= z[1] - 1e-6) & (z1 >= z[1]))
            points[np.ix_(inside_z, inside_x)] = np.nan
        self.add(points, color, seen)

    def fronts(
        self,
        x: tuple[float, float],
        z: tuple[float, float],
        y: float,
        color: Vec3,
        grid: tuple[int, int],
        relief: float,
    ) -> None:
        """One face at `y` towards +y with `grid` = (columns, rows) of doors or drawers raised by `relief` out of it."""
        margin = 0.012
        across, up = np.linspace(*x, grid[0] + 1), np.linspace(*z, grid[1] + 1)
        columns, raised_x = _ridges(across, margin, self.step)
        rows, raised_z = _ridges(up, margin, self.step)
        points = np.empty((len(rows), len(columns), 3))
        points[..., 0], points[..., 2] = columns, rows[:, None]
        points[..., 1] = y + relief * (raised_z[:, None] & raised_x)
        self.add(points, color)

    def cloth(
        self, x: tuple[float, float], z: tuple[float, float], y: float, color: Vec3, fold: float, rng: Generator
    ) -> None:
        """A curtain in folds of depth `fold`, facing +y."""
        across = lines(*x, self.step * 0.7)
        up = lines(*z, self.step)
        wave = rng.uniform(0.12, 0.25)
        phase = (
            2 * math.pi * across / wave + 0.8 * np.sin(2 * math.pi * across / rng.uniform(0.5, 1.1)) + rng.uniform(0, 6)
        )
        flare = np.linspace(1.0, rng.uniform(0.5, 0.8), len(up))[:, None]
        points = np.empty((len(up), len(across), 3))
        points[..., 0], points[..., 2] = across, up[:, None]
        points[..., 1] = y + fold * flare * np.sin(phase + rng.uniform(-0.6, 0.6) * flare)
        shade = 0.9 + 0.1 * np.sin(phase)[None, :, None] * np.ones((len(up), 1, 1))
        self.add(points, np.asarray(color) * shade)

    def bent(self, points: np.ndarray, color: Vec3 | np.ndarray) -> None:
        """A sheet through a coarse grid of points [U, V, 3], with straight pieces filled in to the step."""
        for axis in (0, 1):
            ahead = np.moveaxis(points, axis, 0)
            length = np.sqrt((np.diff(ahead, axis=0) ** 2).sum(-1)).max(1)
            counts = np.maximum(np.ceil(length / self.step - 1e-9).astype(int), 1)
            at = np.concatenate([*(i + np.arange(n) / n for i, n in enumerate(counts)), [len(counts)]])
            low = np.minimum(at.astype(int), len(counts) - 1)
            share = (at - low)[:, None, None]
            points = np.moveaxis(ahead[low] * (1 - share) + ahead[low + 1] * share, 0, axis)
        self.add(points, color)

    def bar(self, start: Vec3, end: Vec3, radius: float | tuple[float, float], color: Vec3, *, sides: int = 6) -> None:
        """A straight bar between two points, closed at both ends; two radii make it taper."""
        first, last = (radius, radius) if isinstance(radius, (int, float)) else radius
        a, b = np.array(start), np.array(end)
        axis = (b - a) / math.dist(start, end)
        u = np.cross(axis, (0.0, 0.0, 1.0) if abs(axis[2]) < 0.9 else (1.0, 0.0, 0.0))
        u /= math.sqrt(float(u @ u))
        v = np.cross(axis, u)
        angle = np.linspace(0.0, 2 * math.pi, sides + 1)
        ring = np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v
        share = lines(0.0, 1.0, min(self.step / math.dist(start, end), 1.0))
        share, size = np.r_[0.0, share, 1.0], np.r_[0.0, first + (last - first) * share, 0.0]
        self.add((a + share[:, None] * (b - a)) + ring[:, None] * size[:, None], color)

    def ball(self, centre: Vec3, half: Vec3, color: Vec3, *, exponent: float = 2.0, across: float = 2.0) -> None:
        """A superellipsoid: `exponent` upright, `across` in plan; 2 is an ellipsoid, more is a rounded box."""
        angle = np.linspace(-math.pi / 2, math.pi / 2, max(5, math.ceil(math.pi * max(half[2], 0.05) / self.step) + 1))
        cos, sin = np.cos(angle), np.sin(angle)
        profile = np.column_stack(
            [np.abs(cos) ** (2 / exponent), centre[2] + half[2] * np.sign(sin) * np.abs(sin) ** (2 / exponent)]
        )
        profile[0, 0] = profile[-1, 0] = 0.0
        around = [(float(s), float(z)) for s, z in profile]
        self.turned(around, color, centre=centre[:2], half=half[:2], exponent=across)

    def draped(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        z: float,
        hang: tuple[float, float, float, float],
        color: Vec3,
        rng: Generator,
        *,
        wrinkle: float = 0.012,
    ) -> None:
        """A blanket over the block `x`, `y` of height `z`, hanging down by `hang` = (-x, +x, -y, +y) at its sides."""
        width, depth, out = x[1] - x[0], y[1] - y[0], 0.015
        s = lines(-hang[0], width + hang[1], self.step)
        t = lines(-hang[2], depth + hang[3], self.step)
        side, end = np.clip(s, 0, width), np.clip(t, 0, depth)
        over_s, over_t = s - side, t - end
        drop = np.maximum(np.abs(over_s)[:, None], np.abs(over_t))
        waves = [rng.uniform(4, 16, 2) * rng.choice([-1, 1], 2) for _ in range(4)]
        bumps = sum(np.sin(s[:, None] * a + t * b + rng.uniform(0, 6)) for a, b in waves) * wrinkle / 2
        flare = out + 0.12 * rng.uniform(0, 1) * drop
        points = np.empty((len(s), len(t), 3))
        points[..., 0] = x[0] + side[:, None] + np.sign(over_s)[:, None] * (flare + np.abs(bumps))
        points[..., 1] = y[0] + end + np.sign(over_t) * (flare + np.abs(bumps))
        points[..., 2] = z + np.where(drop > 0, 0.0, np.maximum(bumps + 1.5 * wrinkle, 0.003)) - drop
        shade = 1 + 3 * np.clip(bumps, -0.03, 0.03)
        self.add(points, np.clip(np.asarray(color) * shade[..., None], 0, 1))

    def heap(
        self, centre: tuple[float, float], half: tuple[float, float], z: float, top: float, color: Vec3, rng: Generator
    ) -> None:
        """A crumpled lump on a surface at `z`: clothes, a thrown blanket."""
        start = len(self.sheets)
        self.ball((*centre, z), (*half, top), color, exponent=2.0, across=2.5)
        points = self.sheets[start].points
        for _ in range(5):
            k = rng.normal(0, 14, 2)
            points[..., 2] += 0.12 * top * np.sin(points[..., 0] * k[0] + points[..., 1] * k[1] + rng.uniform(0, 6))
        points[..., 2] = np.maximum(points[..., 2], z)

    def mirrored(self) -> Thing:
        """The same object with x turned round; outward sides stay outward."""
        return Thing(
            self.category,
            self.step,
            [
                Sheet(
                    (s.points * (-1, 1, 1)).swapaxes(0, 1),
                    s.color if s.color.ndim == 1 else s.color.swapaxes(0, 1),
                    s.seen,
                )
                for s in self.sheets
            ],
        )

    def pitched(self, angle: float, y: float, z: float) -> Thing:
        """The same object tilted about the line parallel to x through (y, z); positive leans it back, towards -y."""
        cos, sin = math.cos(angle), math.sin(angle)

        def tilt(points: np.ndarray) -> np.ndarray:
            out, up = points[..., 1] - y, points[..., 2] - z
            return np.stack([points[..., 0], y + out * cos - up * sin, z + out * sin + up * cos], axis=-1)

        return Thing(self.category, self.step, [Sheet(tilt(s.points), s.color, s.seen) for s in self.sheets])

    def take(self, *parts: Thing) -> None:
        """Adds the surfaces of parts that were built apart."""
        for part in parts:
            self.sheets += part.sheets

    def placed(self, x: float, y: float, angle: float, z: float = 0.0) -> Thing:
        """The same object turned by `angle` (radians, counter-clockwise) and moved to (x, y, z)."""
        cos, sin = math.cos(angle), math.sin(angle)

        def move(points: np.ndarray) -> np.ndarray:
            moved = np.empty_like(points)
            moved[..., 0] = points[..., 0] * cos - points[..., 1] * sin + x
            moved[..., 1] = points[..., 0] * sin + points[..., 1] * cos + y
            moved[..., 2] = points[..., 2] + z
            return moved

        sheets = [Sheet(move(sheet.points), sheet.color, sheet.seen) for sheet in self.sheets]
        return Thing(self.category, self.step, sheets)


@dataclass(frozen=True)
class Surface:
    """A level rectangle in a group's frame on which small things can stand: a top, a board, the floor beneath."""

    x: tuple[float, float]
    y: tuple[float, float]
    z: float
    clear: float  # free height above it, metres


@dataclass
class Group:
    """Things that stand together, the main one first: footprint x in [-width/2, width/2], y in [0, depth]."""

    width: float
    depth: float
    height: float
    things: list[Thing]
    covers: bool = False  # hides the wall behind it altogether
    tops: list[Surface] = field(default_factory=list)  # where clutter may lie, the main top first

    def placed(self, x: float, y: float, angle: float, z: float = 0.0) -> list[Thing]:
        return [thing.placed(x, y, angle, z) for thing in self.things]


def lines(low: float, high: float, step: float) -> np.ndarray:
    """Evenly spaced coordinates from `low` to `high`, at most `step` apart."""
    return np.linspace(low, high, max(2, math.ceil((high - low) / step - 1e-9) + 1))


def broken_lines(edges: Sequence[float], step: float) -> np.ndarray:
    """Coordinates at most `step` apart that pass through every one of `edges` exactly."""
    marks = sorted(set(edges))
    pieces = [lines(low, high, step)[:-1] for low, high in itertools.pairwise(marks)]
    return np.concatenate([*pieces, [marks[-1]]])


def _ridges(edges: np.ndarray, margin: float, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates from the first to the last of `edges`, and which lie on a ridge, `margin` inside two edges."""
    pieces = [lines(low + margin, high - margin, step) for low, high in itertools.pairwise(edges)]
    places = np.concatenate([part for piece in pieces for part in ([piece[0] - 0.003], piece, [piece[-1] + 0.003])])
    raised = np.concatenate([part for piece in pieces for part in ([False], np.ones(len(piece), bool), [False])])
    return np.concatenate([edges[:1], places, edges[-1:]]), np.concatenate([[False], raised, [False]])


def _superellipse(half: tuple[float, float], exponent: float, step: float) -> np.ndarray:
    """Points [K, 2] at equal distances, at most `step`, along |x/a|^e + |y/b|^e = 1; the last is the first."""
    angle = np.linspace(0.0, 2 * math.pi, 721)
    cos, sin = np.cos(angle), np.sin(angle)
    x = half[0] * np.sign(cos) * np.abs(cos) ** (2 / exponent)
    y = half[1] * np.sign(sin) * np.abs(sin) ** (2 / exponent)
    travelled = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    at = np.linspace(0.0, travelled[-1], max(8, math.ceil(travelled[-1] / step)) + 1)
    curve = np.column_stack([np.interp(at, travelled, x), np.interp(at, travelled, y)])
    curve[-1] = curve[0]
    return curve


def _subdivided(profile: np.ndarray, scale_step: float, height_step: float) -> tuple[np.ndarray, np.ndarray]:
    """Points along the polyline `profile [K, 2]`, at most one step apart in either coordinate."""
    pieces = [profile[:1]]
    for start, end in itertools.pairwise(profile):
        pieces_needed = max(abs(end[0] - start[0]) / scale_step, abs(end[1] - start[1]) / height_step)
        share = np.linspace(0.0, 1.0, max(1, math.ceil(pieces_needed)) + 1)[1:, None]
        pieces.append(start + share * (end - start))
    joined = np.concatenate(pieces)
    return joined[:, 0], joined[:, 1]

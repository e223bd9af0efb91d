"""Triangle meshes whose vertices know their object: joining sheets, welding, smooth random fields.

P = vertices, F = triangles.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.shapes import Thing


@dataclass(frozen=True)
class Mesh:
    """A mesh with the object each vertex belongs to."""

    xyz: np.ndarray  # [P, 3] float64, metres
    rgb: np.ndarray  # [P, 3] float64, 0..1
    normal: np.ndarray  # [P, 3] float64, unit, towards the seen side
    thing: np.ndarray  # [P] int64, index into the room's things
    faces: np.ndarray  # [F, 3] int64

    def reordered(self, order: np.ndarray, faces: np.ndarray | None = None) -> Mesh:
        """Vertices `order` in that order; `faces` (default: all) must use no other vertex."""
        faces = self.faces if faces is None else faces
        number = np.empty(len(self.xyz), dtype=np.int64)
        number[order] = np.arange(len(order))
        return Mesh(self.xyz[order], self.rgb[order], self.normal[order], self.thing[order], number[faces])


def join(things: list[Thing]) -> tuple[Mesh, np.ndarray]:
    """All sheets as one mesh, vertices that coincide within an object merged; and `seen [P]` of each vertex."""
    points, colors, owner, seen, faces, start = [], [], [], [], [], 0
    for index, thing in enumerate(things):
        for sheet in thing.sheets:
            rows, columns = sheet.points.shape[:2]
            count = rows * columns
            points.append(sheet.points.reshape(-1, 3))
            colors.append(np.broadcast_to(sheet.color, sheet.points.shape).reshape(-1, 3))
            owner.append(np.full(count, index))
            seen.append(np.full(count, sheet.seen))
            faces.append(_grid_faces(rows, columns) + start)
            start += count
    xyz, thing, triangles = np.concatenate(points), np.concatenate(owner), np.concatenate(faces)
    triangles = triangles[np.isfinite(xyz[:, 0])[triangles].all(1)]
    used = np.unique(triangles)
    first, number = cells_of(xyz[used], 0.001, thing[used])
    renumbered = np.empty(len(xyz), dtype=np.int64)
    renumbered[used] = number
    triangles = proper(renumbered[triangles])
    kept = used[first]
    xyz = xyz[kept]
    mesh = Mesh(xyz, np.concatenate(colors)[kept], vertex_normals(xyz, triangles), thing[kept], triangles)
    return mesh, np.concatenate(seen)[kept]


@functools.lru_cache(maxsize=4096)
def _grid_faces(rows: int, columns: int) -> np.ndarray:
    """Two triangles for each quad of a grid, counter-clockwise seen from outside: [2 (rows-1) (columns-1), 3]."""
    corner = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])


def cells_of(
    xyz: np.ndarray, side: float, part: np.ndarray | None = None, shift: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Cubes of a grid (of each `part [P]` apart): first vertex of each cube that has any [Q], each vertex's cube [P].

    The cubes' middles lie at multiples of `side` moved by `shift`, all metres.
    """
    grid = np.rint((xyz - shift) / side).astype(np.int64)
    grid -= grid.min(0)
    key = np.zeros(len(xyz), np.int64) if part is None else part.astype(np.int64)
    for axis in range(3):
        key = key * (int(grid[:, axis].max()) + 1) + grid[:, axis]
    _, first, number = np.unique(key, return_index=True, return_inverse=True)
    return first, number


def proper(faces: np.ndarray) -> np.ndarray:
    """The triangles with three different corners."""
    a, b, c = faces.T
    return faces[(a != b) & (b != c) & (a != c)]


def vertex_normals(xyz: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted normals [P, 3] of unit length; 0 for vertices of no proper triangle."""
    corners = xyz[faces]
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    # np.cross written out: it is three times slower.
    total = np.empty((len(xyz), 3))
    for axis in range(3):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        total[:, axis] = np.bincount(
            faces.ravel(), np.repeat(one[:, i] * two[:, j] - one[:, j] * two[:, i], 3), len(xyz)
        )
    return total / np.maximum(np.sqrt((total * total).sum(1, keepdims=True)), 1e-12)


def smooth_noise(xyz: np.ndarray, shortest: float, longest: float, rng: Generator) -> np.ndarray:
    """A random field [P] float32 of mean 0, variance 1 and wavelengths from `shortest` to `longest` metres."""
    waves = 9
    direction = rng.normal(size=(waves, 3))
    direction /= np.sqrt((direction * direction).sum(1, keepdims=True))
    frequency = (direction * (2 * math.pi / rng.uniform(shortest, longest, (waves, 1)))).astype(np.float32)
    phase = rng.uniform(0, 2 * math.pi, waves).astype(np.float32)
    x, y, z = np.ascontiguousarray(xyz.T, dtype=np.float32)
    total = np.zeros(len(xyz), np.float32)
    for (fx, fy, fz), shift in zip(frequency, phase, strict=True):
        total += np.cos(x * fx + y * fy + z * fz + shift)
    return total * np.float32(math.sqrt(2 / waves))

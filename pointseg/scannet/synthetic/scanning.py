"""From perfect surfaces to what a hand-held scanner would bring home: visibility, holes, noise, colours, one mesh.

P = vertices, F = triangles, C = camera positions.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.layout import CELL, FloorPlan
from pointseg.scannet.synthetic.shapes import Thing

PIXEL = math.radians(1.1)  # angle of a depth map's cell at its finest level
LEVELS = 4  # depth maps of cells PIXEL, 2 PIXEL, ...: near surfaces are splatted coarsely so that they have no gaps


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


def scan(things: list[Thing], plan: FloorPlan, step: float, rng: Generator) -> tuple[Mesh, int]:
    """The scanned mesh of a room, vertices in blocks like a fused volume's, and the number of camera positions."""
    mesh, returned = join(things, step)
    cameras = camera_positions(plan, rng)
    score, distance = observe(mesh, cameras, step, rng)
    keep = score > np.maximum(0.10 + 0.06 * smooth_noise(mesh.xyz, 0.12, 0.5, rng), 0.01)
    keep &= smooth_noise(mesh.xyz, 0.08, 0.3, rng) < 2.4
    # Glass, mirrors and dark screens lose patches, not single vertices.
    keep &= (returned >= 1) | (smooth_noise(mesh.xyz, 0.15, 0.5, rng) < 3.0 * (returned - 0.5))
    faces = mesh.faces[keep[mesh.faces].all(1)]
    order = block_order(mesh.xyz, np.unique(faces), step, rng)
    return _noisy(mesh.reordered(order, faces), distance[order], step, rng), len(cameras)


def join(things: list[Thing], step: float) -> tuple[Mesh, np.ndarray]:
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
    first, number = _merged(xyz[used], thing[used])
    renumbered = np.empty(len(xyz), dtype=np.int64)
    renumbered[used] = number
    triangles = renumbered[triangles]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (a != c)]
    kept = used[first]
    xyz = xyz[kept]
    mesh = Mesh(xyz, np.concatenate(colors)[kept], _vertex_normals(xyz, triangles), thing[kept], triangles)
    return mesh, np.concatenate(seen)[kept]


@functools.lru_cache(maxsize=4096)
def _grid_faces(rows: int, columns: int) -> np.ndarray:
    """Two triangles for each quad of a grid, counter-clockwise seen from outside: [2 (rows-1) (columns-1), 3]."""
    corner = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])


def _merged(xyz: np.ndarray, thing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First index of each set of coinciding vertices [Q] of one object, and each vertex's set [P]."""
    grid = np.rint(xyz / 0.001).astype(np.int64) + (1 << 15)
    key = ((thing.astype(np.int64) << 16 | grid[:, 0]) << 16 | grid[:, 1]) << 16 | grid[:, 2]
    _, first, number = np.unique(key, return_index=True, return_inverse=True)
    return first, number


def _vertex_normals(xyz: np.ndarray, faces: np.ndarray) -> np.ndarray:
    corners = xyz[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack([np.bincount(faces.ravel(), np.repeat(normal[:, axis], 3), len(xyz)) for axis in range(3)], axis=1)
    return total / np.maximum(np.sqrt((total * total).sum(1, keepdims=True)), 1e-12)


def camera_positions(plan: FloorPlan, rng: Generator) -> np.ndarray:
    """Where the scanner was held: [C, 3], spread over the walkable floor at 1.3-1.7 m."""
    blocked = plan.solid.copy()
    for _ in range(5):  # 0.25 m from anything solid
        blocked[1:] |= blocked[:-1]
        blocked[:-1] |= blocked[1:]
        blocked[:, 1:] |= blocked[:, :-1]
        blocked[:, :-1] |= blocked[:, 1:]
    if blocked.all():
        blocked = plan.solid
    cells = np.argwhere(~blocked)
    candidates = (cells[rng.permutation(len(cells))[:400]] + 0.5) * CELL
    wanted = int(np.clip(round(len(cells) * CELL * CELL * 0.9) + 5, 7, 14))
    chosen, nearest = [0], np.full(len(candidates), np.inf)
    while len(chosen) < min(wanted, len(candidates)):
        nearest = np.minimum(nearest, ((candidates - candidates[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(nearest.argmax()))
    height = rng.uniform(1.3, 1.8, len(chosen))
    return np.column_stack([candidates[chosen], height])


def observe(mesh: Mesh, cameras: np.ndarray, step: float, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """How well each vertex is seen [P] (0: not at all) and from how far by the best camera [P]."""
    count = len(mesh.xyz)
    score, best, distance = np.zeros(count), np.zeros(count), np.zeros(count)
    # Triangles' centres thicken the splatted surface.
    surface = np.concatenate([mesh.xyz, mesh.xyz[mesh.faces].mean(1)]).astype(np.float32)
    normal = mesh.normal.astype(np.float32)
    for camera in cameras:
        offset = surface - camera.astype(np.float32)
        reach = np.sqrt((offset * offset).sum(1))
        elevation = np.arcsin(np.clip(offset[:, 2] / reach, -1, 1))
        nearest = _nearest_surface(offset, reach, elevation, step)[:count]
        reach, elevation = reach[:count], elevation[:count]
        facing = np.clip(-(offset[:count] * normal).sum(1) / reach, 1e-3, 1)
        slope = np.minimum(np.sqrt(1 - facing * facing) / facing, 5)
        tolerance = 0.02 + 0.5 * slope * np.maximum(reach * PIXEL, 1.5 * step)
        highest = math.radians(rng.uniform(5, 18))
        visible = (
            (facing > 0.06) & (reach > 0.35) & (reach < 6) & (elevation < highest) & (reach <= nearest + tolerance)
        )
        weight = np.where(visible, facing / (1 + (reach / 2.5) ** 2), 0)
        score += weight
        better = weight > best
        best[better], distance[better] = weight[better], reach[better]
    return score, distance


def _nearest_surface(offset: np.ndarray, reach: np.ndarray, elevation: np.ndarray, step: float) -> np.ndarray:
    """For each point [Q, 3] around a camera, the distance [Q] of the nearest one in (about) its direction."""
    columns = ((np.arctan2(offset[:, 1], offset[:, 0]) + math.pi) / PIXEL).astype(np.int32)
    rows = ((elevation + math.pi / 2) / PIXEL).astype(np.int32)
    spread = np.log2(np.maximum(step / (reach * PIXEL), 1.0))
    level = np.minimum(np.ceil(spread).astype(np.int8), LEVELS - 1)
    nearest = np.full(len(reach), np.inf, dtype=np.float32)
    for number in range(LEVELS):
        width = int(2 * math.pi / PIXEL) + 2 >> number
        cell = (rows >> number) * (width + 1) + (columns >> number)
        depth = np.full(int(cell.max()) + 1, np.inf, dtype=np.float32)
        members = level == number
        np.minimum.at(depth, cell[members], reach[members])
        np.minimum(nearest, depth[cell], out=nearest)
    return nearest


def smooth_noise(xyz: np.ndarray, shortest: float, longest: float, rng: Generator) -> np.ndarray:
    """A random field [P] of zero mean and unit variance with wavelengths from `shortest` to `longest` metres."""
    waves = 9
    direction = rng.normal(size=(waves, 3))
    direction /= np.sqrt((direction * direction).sum(1, keepdims=True))
    frequency = direction * (2 * math.pi / rng.uniform(shortest, longest, (waves, 1)))
    phase = rng.uniform(0, 2 * math.pi, waves)
    total = np.zeros(len(xyz))
    for (fx, fy, fz), shift in zip(frequency, phase, strict=True):
        total += np.cos(xyz[:, 0] * fx + xyz[:, 1] * fy + xyz[:, 2] * fz + shift)
    return total * math.sqrt(2 / waves)


def block_order(xyz: np.ndarray, vertices: np.ndarray, step: float, rng: Generator) -> np.ndarray:
    """`vertices` in the order a hashed volume is meshed: blocks of space in random order, each cell by cell."""
    cell = np.floor(xyz[vertices] / step).astype(np.int64)
    cell -= cell.min(0)
    x, y, z = (cell // 10).T
    block = (x * (y.max() + 1) + y) * (z.max() + 1) + z
    _, number = np.unique(block, return_inverse=True)
    shuffled = rng.permutation(number.max() + 1)[number]
    return vertices[np.lexsort((cell[:, 0], cell[:, 1], cell[:, 2], shuffled))]


def _noisy(mesh: Mesh, distance: np.ndarray, step: float, rng: Generator) -> Mesh:
    """Depth noise along the normal, waves of fused surfaces, drift of the poses; uneven vertices; shaded colours."""
    count = len(mesh.xyz)
    depth = rng.normal(0, 0.003, count) * (1 + (distance / 3) ** 2) + 0.003 * smooth_noise(mesh.xyz, 0.15, 0.8, rng)
    slide = rng.uniform(-0.35, 0.35, (count, 3)) * np.minimum(_shortest_edges(mesh), step)[:, None]
    slide -= (slide * mesh.normal).sum(1, keepdims=True) * mesh.normal
    drift = np.column_stack([smooth_noise(mesh.xyz, 2.0, 6.0, rng) for _ in range(3)]) * (0.006, 0.006, 0.003)
    xyz = mesh.xyz + depth[:, None] * mesh.normal + slide + drift

    light = rng.normal(size=3) * (0.5, 0.5, 0.2) + (0, 0, 1)
    facing_light = (mesh.normal * (light / math.sqrt((light * light).sum()))).sum(1)
    shade = 0.78 + 0.16 * facing_light + 0.05 * smooth_noise(mesh.xyz, 0.4, 2.5, rng)
    rgb = mesh.rgb * shade[:, None] * rng.normal(1, 0.03, 3) + rng.normal(0, 0.02, (count, 3))
    return Mesh(xyz, np.clip(rgb, 0, 1), mesh.normal, mesh.thing, mesh.faces)


def _shortest_edges(mesh: Mesh) -> np.ndarray:
    """Length [P] of the shortest edge at each vertex."""
    shortest = np.full(len(mesh.xyz), np.inf)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        start, end = mesh.faces[:, a], mesh.faces[:, b]
        offset = mesh.xyz[start] - mesh.xyz[end]
        length = np.sqrt((offset * offset).sum(1))
        np.minimum.at(shortest, start, length)
        np.minimum.at(shortest, end, length)
    return shortest

"""From perfect surfaces to the mesh a hand-held scanner would give: seen surfaces, fused, decimated, with their faults.

P = vertices, R = passes of the camera through the room.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.camera import PASSES, Observation, camera_stops, observe
from pointseg.scannet.synthetic.layout import FloorPlan
from pointseg.scannet.synthetic.mesh import Mesh, cells_of, join, proper, smooth_noise, vertex_normals
from pointseg.scannet.synthetic.shapes import Thing

VOXEL = 0.045  # metres over which fusion in a volume averages surfaces; what is thinner or sharper is rounded off
COLLAPSED = 0.25  # share of the spacing under which vertices become one


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """What is wrong with the scans, each fault with a switch of its own."""

    noise: float = 1.0  # of depth; 1: a structured-light sensor after fusion, 0: none
    drift: float = 0.013  # metres; how far the pose is off; two passes that disagree leave double surfaces
    rounding: float = 0.85  # share of the way from a sharp edge to the average of a voxel
    holes: bool = True  # patches missing of glass, mirrors, dark surfaces and what was seen badly
    irregular: float = 1.4  # how far vertices slide over the surface, 0: even spacing; 2: as far as their neighbours


def scan(
    things: list[Thing], plan: FloorPlan, step: float, rng: Generator, scanner: Scanner | None = None
) -> tuple[Mesh, int]:
    """The scanned mesh of a room, vertices in blocks like a fused volume's, and the number of the camera's stops.

    step: distance of neighbouring vertices of the things' sheets, metres, and about that of the mesh's vertices.
    """
    scanner = scanner or Scanner()
    mesh, returned = join(things)
    stops = camera_stops(plan, rng)
    seen = observe(mesh, stops, step, rng)
    kept = _kept(mesh, seen.weight.sum(1), returned, rng) if scanner.holes else seen.weight.sum(1) > 0
    faces = mesh.faces[kept[mesh.faces].all(1)]
    vertices = np.unique(faces)
    mesh = mesh.reordered(vertices, faces)
    seen = Observation(seen.weight[vertices], seen.distance[vertices], seen.ray[vertices])

    xyz = _slide(mesh, 0.5 * scanner.irregular, rng)
    xyz, rgb = _fuse(xyz, mesh, scanner.rounding, rng)
    mesh = Mesh(xyz, _lit(rgb, mesh, seen, rng), mesh.normal, mesh.thing, mesh.faces)
    moved = _measure(mesh, seen, scanner, rng)
    return _decimate(moved, step, rng), len(stops)


def _kept(mesh: Mesh, weight: np.ndarray, returned: np.ndarray, rng: Generator) -> np.ndarray:
    """Which vertices [P] the scan has: badly seen ones, glass, mirrors and dark surfaces lose patches."""
    kept = weight > np.maximum(0.05 + 0.04 * smooth_noise(mesh.xyz, 0.12, 0.6, rng), 0.01)
    kept &= smooth_noise(mesh.xyz, 0.06, 0.3, rng) < 2.3
    returned = np.minimum(returned, 0.4 + 5 * mesh.rgb.max(1))  # black reflects little infrared light
    return kept & ((returned >= 1) | (smooth_noise(mesh.xyz, 0.15, 0.5, rng) < 3.0 * (returned - 0.5)))


def _slide(mesh: Mesh, reach: float, rng: Generator) -> np.ndarray:
    """Vertices [P, 3] moved over the surface, each into a random triangle of its own, up to `reach` times across."""
    corner = rng.permutation(mesh.faces.size)  # the last one that names a vertex wins
    face, place = np.divmod(corner, 3)
    own = np.empty(len(mesh.xyz), np.int64)
    own[mesh.faces[face, place]] = corner
    face, place = np.divmod(own, 3)
    share = rng.random((len(own), 2)) * reach
    beyond = share.sum(1) > reach
    share[beyond] = reach - share[beyond]
    xyz = mesh.xyz.copy()
    for number in (1, 2):
        other = mesh.xyz[mesh.faces[face, (place + number) % 3]]
        xyz += share[:, number - 1, None] * (other - mesh.xyz)
    return xyz


def _fuse(xyz: np.ndarray, mesh: Mesh, rounding: float, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positions and colours [P, 3] after averaging over voxels, as a volume of truncated distances does.

    Vertices move along their normals only: planes stay, edges become round, rods and plates thinner, joints filled.
    """
    grids = 3
    pull, blurred = np.zeros(len(xyz)), np.zeros_like(mesh.rgb)
    for _ in range(grids):
        _, cell = cells_of(xyz, VOXEL, shift=rng.uniform(0, VOXEL))
        members = np.bincount(cell)
        for axis in range(3):
            pull += (np.bincount(cell, xyz[:, axis]) / members)[cell] * mesh.normal[:, axis]
            blurred[:, axis] += (np.bincount(cell, mesh.rgb[:, axis]) / members)[cell]
    along = pull / grids - (xyz * mesh.normal).sum(1)
    return xyz + rounding * along[:, None] * mesh.normal, 0.4 * mesh.rgb + 0.6 / grids * blurred


def _lit(rgb: np.ndarray, mesh: Mesh, seen: Observation, rng: Generator) -> np.ndarray:
    """Colours [P, 3] in 0..1 under a lamp and daylight, with an exposure that differs by pass, stain and grain."""
    light = rng.normal(size=3) * (0.5, 0.5, 0.2) + (0, 0, 1)
    facing = (mesh.normal * (light / math.sqrt((light * light).sum()))).sum(1)
    shade = 0.76 + 0.17 * facing + 0.06 * smooth_noise(mesh.xyz, 0.4, 2.5, rng)
    first = seen.weight[:, 0] > seen.weight[:, 1] * rng.uniform(0.7, 1.4)
    shade *= np.where(first, 1.0, rng.uniform(0.85, 1.12))
    shade *= 1 + 0.03 * smooth_noise(mesh.xyz, 0.05, 0.2, rng)
    warmth = rng.normal(1, 0.05) ** np.array([1.0, 0.0, -1.0])
    return np.clip(rgb * shade[:, None] * warmth + rng.normal(0, 0.02, rgb.shape), 0, 1)


def _measure(mesh: Mesh, seen: Observation, scanner: Scanner, rng: Generator) -> Mesh:
    """The mesh as measured: depth noise along the rays, drift of the poses, surfaces doubled where passes disagree."""
    growth = 1 + (seen.distance / 2) ** 2
    depth = 0.0009 * rng.normal(size=len(mesh.xyz)) + 0.0014 * smooth_noise(mesh.xyz, 0.06, 0.35, rng)
    xyz = mesh.xyz + (scanner.noise * growth * depth)[:, None] * seen.ray
    if scanner.drift == 0:
        return Mesh(xyz, mesh.rgb, mesh.normal, mesh.thing, mesh.faces)
    # Heights drift least: every frame sees the floor, which holds them.
    size = scanner.drift * np.array([1.0, 1.0, 0.12])
    slow, fast = (
        [size * np.column_stack([smooth_noise(xyz, *waves, rng) for _ in range(3)]) for _ in range(PASSES)]
        for waves in ((1.2, 5.0), (0.25, 1.0))
    )
    drift = [a + 0.9 * b for a, b in zip(slow, fast, strict=True)]
    share = seen.weight / np.maximum(seen.weight.sum(1, keepdims=True), 1e-9)
    apart = np.abs(((drift[0] - drift[1]) * mesh.normal).sum(1))
    double = (apart > 0.01) & (share.min(1) > 0.15) & (smooth_noise(xyz, 0.3, 1.2, rng) > -0.4)
    second = xyz + np.where(double[:, None], drift[1], share[:, :1] * drift[0] + share[:, 1:] * drift[1])
    blended = xyz + np.where(double[:, None], drift[0], share[:, :1] * drift[0] + share[:, 1:] * drift[1])
    copied = np.flatnonzero(double)
    number = np.full(len(xyz), -1)
    number[copied] = len(xyz) + np.arange(len(copied))
    faces = number[mesh.faces[double[mesh.faces].all(1)]]
    return Mesh(
        np.concatenate([blended, second[copied]]),
        np.concatenate([mesh.rgb, mesh.rgb[copied]]),
        np.concatenate([mesh.normal, mesh.normal[copied]]),
        np.concatenate([mesh.thing, mesh.thing[copied]]),
        np.concatenate([mesh.faces, faces]),
    )


def _decimate(mesh: Mesh, step: float, rng: Generator) -> Mesh:
    """Collapses vertices closer than COLLAPSED `step`s whatever they belong to; the rest in the order of blocks."""
    shuffled = rng.permutation(len(mesh.xyz))
    first, cell = cells_of(mesh.xyz[shuffled], COLLAPSED * step)
    into = np.empty(len(mesh.xyz), np.int64)
    into[shuffled] = shuffled[first][cell]
    faces = proper(into[mesh.faces])
    order = _block_order(mesh.xyz, np.unique(faces), step, rng)
    result = mesh.reordered(order, faces)
    return Mesh(result.xyz, result.rgb, vertex_normals(result.xyz, result.faces), result.thing, result.faces)


def _block_order(xyz: np.ndarray, vertices: np.ndarray, step: float, rng: Generator) -> np.ndarray:
    """`vertices` in the order a hashed volume is meshed: blocks of space in random order, each cell by cell."""
    cell = np.floor(xyz[vertices] / step).astype(np.int64)
    cell -= cell.min(0)
    x, y, z = (cell // 10).T
    block = (x * (y.max() + 1) + y) * (z.max() + 1) + z
    _, number = np.unique(block, return_inverse=True)
    shuffled = rng.permutation(number.max() + 1)[number]
    return vertices[np.lexsort((cell[:, 0], cell[:, 1], cell[:, 2], shuffled))]

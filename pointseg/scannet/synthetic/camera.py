"""A hand-held depth camera on its way through a room: where it stops, and what it sees from there.

P = vertices of the room's surfaces, C = stops, R = passes through the room.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from pointseg.scannet.synthetic.layout import CELL, FloorPlan
from pointseg.scannet.synthetic.mesh import Mesh

PASSES = 2  # R; the second pass sees with another drift of the pose
NEAREST, FARTHEST = 0.35, 4.5  # metres that a structured-light sensor measures
GRAZING = 0.1  # cosine to the normal under which a surface returns nothing
FIELD = math.radians(23)  # half the vertical angle of view
PIXEL = math.radians(1.1)  # angle of a depth map's cell at its finest level
LEVELS = 4  # depth maps of cells PIXEL, 2 PIXEL, ...: near surfaces are splatted coarsely so that they have no gaps


@dataclass(frozen=True)
class Observation:
    """What all stops together know of each vertex."""

    weight: np.ndarray  # [P, R] float64: how well each pass sees it; 0: not at all
    distance: np.ndarray  # [P] float64, metres from the stop that sees it best
    ray: np.ndarray  # [P, 3] float64: unit vector from that stop to the vertex; 0 where unseen


def camera_stops(plan: FloorPlan, rng: Generator) -> np.ndarray:
    """Where the scanner is held while it turns around: [C, 3], spread over the walkable floor at 1.0-1.8 m."""
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
    wanted = int(np.clip(round(len(cells) * CELL * CELL * 0.8) + 5, 7, 18))
    chosen, nearest = [0], np.full(len(candidates), np.inf)
    while len(chosen) < min(wanted, len(candidates)):
        nearest = np.minimum(nearest, ((candidates - candidates[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(nearest.argmax()))
    return np.column_stack([candidates[chosen], rng.uniform(1.0, 1.8, len(chosen))])


def observe(mesh: Mesh, stops: np.ndarray, step: float, rng: Generator) -> Observation:
    """Looks around from every stop, c in pass c mod R; the weight is facing / distance^2, by which noise falls."""
    count = len(mesh.xyz)
    weight, best = np.zeros((count, PASSES)), np.zeros(count)
    distance, ray = np.zeros(count), np.zeros((count, 3))
    xyz, normal = mesh.xyz.astype(np.float32), mesh.normal.astype(np.float32)
    for number, stop in enumerate(stops):
        offset = xyz - stop.astype(np.float32)
        reach = np.sqrt((offset * offset).sum(1))
        near = np.flatnonzero(reach < FARTHEST)
        offset, reach = offset[near], reach[near]
        azimuth = np.arctan2(offset[:, 1], offset[:, 0])
        elevation = np.arcsin(np.clip(offset[:, 2] / reach, -1, 1))
        nearest = _depth_map(azimuth, elevation, reach, step)
        facing = -(offset * normal[near]).sum(1) / reach
        slope = np.minimum(np.sqrt(np.maximum(1 - facing * facing, 0)) / np.maximum(facing, 1e-3), 4)
        tolerance = 0.02 + 0.6 * slope * np.maximum(reach * PIXEL, 1.7 * step)
        seen = np.flatnonzero(
            (facing > GRAZING)
            & (reach > NEAREST)
            & (reach <= nearest + tolerance)
            & (np.abs(elevation - _pitch(azimuth, rng)) < FIELD)
        )
        quality = facing[seen] / np.maximum(reach[seen], 1.0) ** 2
        rows = near[seen]
        weight[rows, number % PASSES] += quality
        better = quality > best[rows]
        rows, seen = rows[better], seen[better]
        best[rows], distance[rows] = quality[better], reach[seen]
        ray[rows] = offset[seen] / reach[seen, None]
    return Observation(weight, distance, ray)


def _pitch(azimuth: np.ndarray, rng: Generator) -> np.ndarray:
    """Where the camera points, radians above the horizon, while it turns: mostly down, now and then up a wall."""
    first, second = rng.uniform(0, 2 * math.pi, 2)
    swing = 14 * np.sin(2 * azimuth + first) + 8 * np.sin(5 * azimuth + second)
    return np.radians(rng.uniform(-38, -10) + swing)


def _depth_map(azimuth: np.ndarray, elevation: np.ndarray, reach: np.ndarray, step: float) -> np.ndarray:
    """For each point [Q] around a stop, the distance [Q] of the nearest one in (about) its direction."""
    columns = ((azimuth + math.pi) / PIXEL).astype(np.int32)
    rows = ((elevation + math.pi / 2) / PIXEL).astype(np.int32)
    spread = np.log2(np.maximum(1.4 * step / (reach * PIXEL), 1.0))
    level = np.minimum(np.ceil(spread).astype(np.int8), LEVELS - 1)
    nearest = np.full(len(reach), np.inf, dtype=np.float32)
    for number in range(LEVELS):
        width = int(2 * math.pi / PIXEL) + 2 >> number
        cell = (rows >> number) * (width + 1) + (columns >> number)
        depth = np.full(int(cell.max(initial=0)) + 1, np.inf, dtype=np.float32)
        members = level == number
        np.minimum.at(depth, cell[members], reach[members])
        np.minimum(nearest, depth[cell], out=nearest)
    return nearest

"""What tells which of six directions is up in a scan of a room: floors, ceilings, what lies and stands, heights.

P points, N of them after thinning, in metres.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

_CELL = 0.06  # metres; one point is kept of each cube of this side, so that what is near a scanner does not count more
_MOST = 8_000  # points that are looked at
_NEIGHBOURS = 12  # points that a surface's direction is told from
_PLAN = 0.2  # metres; cells of the ground plan
_SLAB = 0.2  # metres; how thick the lowest and highest layers are
_LEVEL = 0.93  # cosine between a surface's direction and up from which on it lies

# Rows: the file's directions that become x, y, z. All are rotations, none mirrors.
TURNS: dict[str, np.ndarray] = {
    "z": np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "-z": np.array([[1, 0, 0], [0, -1, 0], [0, 0, -1]]),
    "y": np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "-y": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "x": np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
    "-x": np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]]),
}


class Evidence(NamedTuple):
    """For one direction taken for up. All are about 0 to 1, or -1 to 1."""

    floor: float  # share of the ground plan with a lying surface in the lowest layer
    ceiling: float  # the same of the highest layer
    low: float  # how many more points of the layers between are in the lower half than in the upper
    lying: float  # share of surfaces that lie
    strange: float  # squared logarithm of the height over 2.5 m
    flat: float  # height over the longer side of the plan, at most 1


def evidence(xyz: np.ndarray) -> np.ndarray:
    """[6, len(Evidence)] float64, of each direction of `TURNS`; xyz [P, 3] in metres, P >= 1."""
    points = _thinned(xyz)
    normals = _normals(points)
    return np.array([_evidence(points @ turn.T, normals @ turn.T) for turn in TURNS.values()])


def _thinned(xyz: np.ndarray) -> np.ndarray:
    """[N, 3]: one point a cube, evenly chosen if there are too many."""
    cells = np.floor((xyz - xyz.min(axis=0)) / _CELL).astype(np.int64)
    sizes = cells.max(axis=0) + 1
    keys = (cells[:, 0] * sizes[1] + cells[:, 1]) * sizes[2] + cells[:, 2]
    kept = np.sort(np.unique(keys, return_index=True)[1])
    return xyz[np.random.default_rng(0).permutation(kept)[:_MOST]]


def _normals(points: np.ndarray) -> np.ndarray:
    """[N, 3] unit vectors, either way round: across the plane through each point's neighbours."""
    if len(points) < 4:
        return np.zeros_like(points)
    _, index = cKDTree(points).query(points, k=min(_NEIGHBOURS, len(points)))
    offsets = points[index] - points[index].mean(axis=1, keepdims=True)
    return np.linalg.eigh(offsets.transpose(0, 2, 1) @ offsets)[1][:, :, 0]


def _evidence(xyz: np.ndarray, normals: np.ndarray) -> Evidence:
    """xyz and normals [N, 3] turned so that the direction is +z."""
    height, level = xyz[:, 2], np.abs(normals[:, 2])
    low, high = np.quantile(height, [0.01, 0.99])
    slab = min(_SLAB, 0.2 * (high - low))
    lying = level > _LEVEL
    cells = np.floor((xyz[:, :2] - xyz[:, :2].min(axis=0)) / _PLAN).astype(np.int64)
    keys = cells[:, 0] * (cells[:, 1].max() + 1) + cells[:, 1]
    plan = len(np.unique(keys))
    between = (height > low + slab) & (height < high - slab)
    sides = np.ptp(np.quantile(xyz, [0.01, 0.99], axis=0), axis=0)
    return Evidence(
        floor=len(np.unique(keys[lying & (height <= low + slab)])) / plan,
        ceiling=len(np.unique(keys[lying & (height >= high - slab)])) / plan,
        low=2 * float(np.mean(height[between] < (low + high) / 2)) - 1 if between.any() else 0.0,
        lying=float(lying.mean()),
        strange=min(4.0, float(np.log(max(sides[2], 1e-3) / 2.5) ** 2)) / 4,
        flat=min(1.0, sides[2] / max(sides[:2].max(), 1e-3)),
    )

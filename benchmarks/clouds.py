"""Synthetic clouds with the density and shape of indoor scans."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def room(points: int, size: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """[points, 3] float32 in random order on a floor, two walls and furniture-sized boxes of a room; 3 mm of noise.

    size: extent in metres along x, y and z.
    """
    width, depth, height = size
    faces = [((0, 0, 0), (width, depth, 0)), ((0, 0, 0), (width, 0, height)), ((0, 0, 0), (0, depth, height))]
    for _ in range(max(2, int(width * depth / 2))):
        low = rng.uniform(0, [0.7 * width, 0.7 * depth, 0])
        side = rng.uniform(0.3, [0.9, 0.9, 1.1])
        for axis in range(3):  # the three faces of a box that a camera sees
            corner, extent = low.copy(), side.copy()
            corner[axis] += side[axis]
            extent[axis] = 0
            faces.append((tuple(corner), tuple(extent)))
    corner, extent = np.array([f[0] for f in faces]), np.array([f[1] for f in faces])
    areas = np.sort(extent, axis=1)[:, 1:].prod(1)
    face = rng.choice(len(faces), size=points, p=areas / areas.sum())
    xyz = corner[face] + extent[face] * rng.uniform(size=(points, 3)) + rng.normal(0, 0.003, (points, 3))
    return xyz.astype(np.float32)


def chunks(batch: int, points: int, rng: np.random.Generator) -> Tensor:
    """[batch, points, 3]: columns of 1.5 m x 1.5 m, as networks are trained on."""
    return torch.from_numpy(np.stack([room(points, (1.5, 1.5, 2.4), rng) for _ in range(batch)]))

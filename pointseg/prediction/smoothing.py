"""Labels that agree with their surroundings: the class that most of a point's neighbours have.

P points.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from pointseg.scannet.labels import NUM_CLASSES

_NEIGHBOURS = 16  # at most, the nearest first
_SLAB = 1 << 20  # points that are looked at together


def smooth(
    xyz: np.ndarray, train_id: np.ndarray, probability: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Classes [P] uint8 by a vote of the 16 nearest points, itself included, within `radius` metres.

    Each votes for its class with its probability. The probability returned, [P] float32, is the sum of the winner's
    votes over the number of voters. Points without a class do not vote.

    Args:
        xyz: [P, 3] float32 metres. train_id: [P] uint8. probability: [P] float32.
    """
    by_x = np.argsort(xyz[:, 0], kind="stable")
    sorted_x = xyz[by_x, 0].astype(np.float64)
    new_id, new_probability = train_id.copy(), probability.copy()
    for start in range(0, len(xyz), _SLAB):
        own = by_x[start : start + _SLAB]
        low, high = sorted_x[start] - radius, sorted_x[min(start + _SLAB, len(xyz)) - 1] + radius
        around = by_x[np.searchsorted(sorted_x, low) : np.searchsorted(sorted_x, high, "right")]
        around = around[train_id[around] < NUM_CLASSES]
        if len(around) == 0:
            continue
        tree = cKDTree(xyz[around])
        for some in np.array_split(own, -(-len(own) // (1 << 16))):
            _, near = tree.query(xyz[some], k=_NEIGHBOURS, distance_upper_bound=radius, workers=-1)
            voter, there = around[np.minimum(near, len(around) - 1)], near < len(around)  # [n, 16]
            votes = np.zeros((len(some), NUM_CLASSES), np.float32)
            weight = np.where(there, probability[voter], 0).astype(np.float32)
            rows = np.broadcast_to(np.arange(len(some))[:, None], voter.shape)
            np.add.at(votes, (rows, train_id[voter]), weight)
            count = there.sum(axis=1)
            changed = (count > 0) & (train_id[some] < NUM_CLASSES)
            new_id[some[changed]] = votes.argmax(axis=1)[changed]
            new_probability[some[changed]] = (votes.max(axis=1) / np.maximum(count, 1))[changed]
    return new_id, new_probability

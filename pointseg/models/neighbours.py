"""Nearest neighbours by brute force, in PyTorch alone, for networks of a few thousand points."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def nearest_neighbours(queries: Tensor, points: Tensor, count: int) -> Tensor:
    """Indices [B, M, count] int64 of the nearest of `points` [B, N, 3] to each of `queries` [B, M, 3], nearest first.

    Distances are of differences, never of expanded squares, which lose their bits away from the origin. Points at equal
    distance come in any order.
    """
    if count > points.shape[1]:
        raise ValueError(f"count must be at most the {points.shape[1]} points, got {count}")
    # Cloud by cloud: the whole batch's distances would be hundreds of megabytes.
    return torch.stack(
        [
            torch.cdist(query, point, compute_mode="donot_use_mm_for_euclid_dist").topk(count, largest=False).indices
            for query, point in zip(queries, points, strict=True)
        ]
    )

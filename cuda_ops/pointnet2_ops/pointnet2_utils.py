"""The functions and grouping modules of the original package, under their original names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointnet2_ops.ops import (
    ball_query,
    ball_query_with_count,
    furthest_point_sample,
    gather_operation,
    grouping_operation,
    is_channels_last,
    three_interpolate,
    three_nn,
)

__all__ = [
    "GroupAll",
    "QueryAndGroup",
    "ball_query",
    "ball_query_with_count",
    "furthest_point_sample",
    "gather_operation",
    "grouping_operation",
    "three_interpolate",
    "three_nn",
]


class QueryAndGroup(nn.Module):
    """Groups the points within `radius` of each centre: their offsets from it (if `use_xyz`) and their features."""

    def __init__(self, radius: float, nsample: int, use_xyz: bool = True):
        super().__init__()
        self.radius, self.nsample, self.use_xyz = radius, nsample, use_xyz

    def forward(self, xyz: Tensor, new_xyz: Tensor, features: Tensor | None = None) -> Tensor:
        """xyz [B, N, 3], new_xyz [B, M, 3], features [B, C, N] -> [B, (3 +) C, M, nsample]."""
        if features is None and not self.use_xyz:
            raise ValueError("QueryAndGroup needs features or use_xyz=True, got features=None and use_xyz=False")
        idx = ball_query(self.radius, self.nsample, xyz, new_xyz)
        if not self.use_xyz:
            return grouping_operation(features, idx)
        # Both halves in the memory format of the features, so that the concatenation keeps it.
        columns = xyz.transpose(1, 2)
        if features is not None and not is_channels_last(features):
            columns = columns.contiguous()
        offsets = grouping_operation(columns, idx) - new_xyz.transpose(1, 2).unsqueeze(-1)
        if features is None:
            return offsets
        return torch.cat([offsets, grouping_operation(features, idx)], dim=1)


class GroupAll(nn.Module):
    """Groups all points into one: their coordinates (if `use_xyz`) and their features."""

    def __init__(self, use_xyz: bool = True):
        super().__init__()
        self.use_xyz = use_xyz

    def forward(self, xyz: Tensor, new_xyz: Tensor | None, features: Tensor | None = None) -> Tensor:
        """xyz [B, N, 3], new_xyz ignored, features [B, C, N] -> [B, (3 +) C, 1, N]."""
        columns = xyz.transpose(1, 2).unsqueeze(2)
        if features is None:
            return columns
        if not self.use_xyz:
            return features.unsqueeze(2)
        return torch.cat([columns, features.unsqueeze(2)], dim=1)

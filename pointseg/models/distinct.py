"""Equal rows computed once: a chunk's points are drawn with replacement, and a ball's empty slots repeat a neighbour.

Layers treat equal rows alike, so one of each does, with its number of copies as its weight in BatchNorm's moments and
in their gradients (`Layer.activate`); a maximum needs no weights. The same function and the same gradients on fewer
rows. B batch, N points, M centres, K neighbours, R rows, C channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from pointnet2_ops import rows
from pointnet2_ops.pointnet2_utils import gather_operation
from torch import Tensor


class Balls(NamedTuple):
    """The distinct neighbours in all balls of a level, ball after ball."""

    point: Tensor  # [R] int32, into the B * N points of the level below
    centre: Tensor  # [R] int32, into the B * M centres
    count: Tensor  # [R], how many of the ball's slots hold the point
    start: Tensor  # [B * M + 1] int32: ball i's rows are start[i] to start[i + 1] - 1
    shape: torch.Size  # B, M, K


class Points(NamedTuple):
    """The distinct points of a batch of clouds."""

    index: Tensor  # [R] int64: the first of each kind among the B * N points
    row: Tensor  # [B, N] int32: which of the R each point is equal to
    count: Tensor  # [R], how many points are

    def of(self, x: Tensor) -> Tensor:
        """[B, N, C] -> [1, R, C]."""
        return x.flatten(0, 1)[self.index].unsqueeze(0)

    def back(self, x: Tensor) -> Tensor:
        """[1, R, C] -> [B, N, C]."""
        return take_rows(x, self.row.flatten()).view(*self.row.shape, -1)


def first_equal_points(xyz: Tensor, features: Tensor | None) -> Tensor:
    """[B, N] int32: the first point of the cloud with the same coordinates and features."""
    return rows.first_equal_row(xyz if features is None else torch.cat([xyz, features.detach()], dim=2))


def distinct_points(first: Tensor, dtype: torch.dtype) -> Points:
    """`first` [B, N] from `first_equal_points`; counts are of `dtype`."""
    batch, points = first.shape
    is_first = (first == torch.arange(points)).flatten()
    number = is_first.cumsum(0) - 1  # [B * N], of the first ones among themselves
    row = number[(first + torch.arange(batch).unsqueeze(1) * points).flatten()]
    index = is_first.nonzero().squeeze(1)
    return Points(index, row.int().view(batch, points), torch.bincount(row, minlength=len(index)).to(dtype))


def distinct_balls(neighbours: Tensor, xyz: Tensor, first: Tensor | None) -> Balls:
    """Of `neighbours` [B, M, K] into `xyz` [B, N, 3]; equal points count as one if `first` says which are equal."""
    found = rows.distinct_neighbours(neighbours, xyz.shape[1], first)
    return Balls(found.point, found.centre, found.count.to(xyz.dtype), found.start, neighbours.shape)


def without_equal_points(neighbours: Tensor, first: Tensor) -> Tensor:
    """`neighbours` [B, M, K] of `ball_query`, each point that is equal to one before it replaced by the ball's first.

    A ball is in the order of the points: the first of several equal ones comes first in it.
    """
    mapped = first.gather(1, neighbours.flatten(1).long()).view_as(neighbours)
    return torch.where(mapped == neighbours, neighbours, neighbours[:, :, :1])


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows of `x` [B, N, C] at `index` [R] int32 into the B * N of them: [R, C]."""
    columns = x.flatten(0, 1).T.unsqueeze(0)  # [1, C, B * N], channels last
    return gather_operation(columns, index.unsqueeze(0)).squeeze(0).T

"""Rows that stand for several equal ones, in training on the CPU: found, normalised and pooled, each computed once.

Legend: B clouds, N points, M centres, K neighbours, R rows, S segments, C channels. Rows are float32, float64, bfloat16
or float16; their moments, counts and parameters are float64 for float64 rows, else float32. Nothing here has a gradient
of its own: `norm_relu_backward` is one, and the gradient of `segment_max` goes to where it found its values; that of
`dropout` is `dropout` of the gradient, with the same seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.library import register_fake

_library = torch.ops.pointnet2_ops


class Neighbours(NamedTuple):
    """The distinct neighbours of all balls, one ball after another in the order of the B * M centres."""

    point: Tensor  # [R] int32, into the B * N points of all clouds
    centre: Tensor  # [R] int32, into the B * M centres
    count: Tensor  # [R] int32, how many of the ball's K neighbours are this point
    start: Tensor  # [B * M + 1] int32: ball i's rows are start[i] to start[i + 1] - 1


def first_equal_row(rows: Tensor) -> Tensor:
    """rows: [B, N, C] float32 or float64. Returns int32 [B, N]: the first row of the cloud that has the same bits."""
    return _library.first_equal_row(rows)


def distinct_neighbours(idx: Tensor, points: int, first: Tensor | None = None) -> Neighbours:
    """The distinct ones among the K neighbours idx [B, M, K >= 1] of each centre, in the order they come in.

    points: N. first: [B, N] from `first_equal_row`; then equal points count as one, the first of them.
    """
    return Neighbours(*_library.distinct_neighbours(idx, first, points))


def segment_max(rows: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of each segment's rows: rows [R, C], start int32 [S + 1] ascending -> [S, C] and where, int32 [S, C].

    Segment i is rows start[i] to start[i + 1] - 1, at least one. The first of equal values counts, and NaN is largest.
    """
    return _library.segment_max(rows, start)


def row_moments(rows: Tensor, count: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and variance [C] of rows [R >= 1, C] of which row r stands for count[r]; the variance is divided by all."""
    return _library.row_moments(rows, count)


def move_statistics(
    means: Sequence[Tensor],
    variances: Sequence[Tensor],
    tracked: Sequence[Tensor],
    batch_means: Sequence[Tensor],
    batch_variances: Sequence[Tensor],
    momentum: float,
    count: int,
) -> None:
    """Moves the running means and variances [C] of several norms towards a batch's moments, as BatchNorm does.

    tracked: [] int64 each, one more afterwards. batch_variances are divided by the `count` >= 2 rows, running ones by
    count - 1.
    """
    _library.move_statistics(means, variances, tracked, batch_means, batch_variances, momentum, count)


def norm_relu(
    rows: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float, *, relu: bool = True
) -> Tensor:
    """BatchNorm of rows [R, C] with the given moments [C], and ReLU."""
    return _library.norm_relu(rows, mean, variance, weight, bias, eps, relu)


def norm_relu_backward(
    grad: Tensor,
    rows: Tensor,
    count: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    relu: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of rows, weight and bias, the moments being `row_moments(rows, count)`.

    grad: [R, C], for each row the sum over the rows that it stands for; so is the gradient of rows.
    """
    return _library.norm_relu_backward(grad, rows, count, mean, variance, weight, bias, eps, relu)


def norm_relu_linear(
    rows: Tensor,
    count: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    linear: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """`y = norm_relu(...) @ linear.T` and `row_moments(y, count)` without writing the activated rows out.

    rows: [R, C] float32 or float64. linear: [Co, C]. Returns y [R, Co], mean and variance [Co].
    """
    return _library.norm_relu_linear(rows, count, mean, variance, weight, bias, eps, linear)


def norm_relu_linear_backward(
    grad: Tensor,
    rows: Tensor,
    count: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    linear: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of rows, weight, bias and linear, from grad [R, Co]; see `norm_relu_backward`.

    Each thread sums its part of the gradient of linear: the last bits depend on how many there are.
    """
    return _library.norm_relu_linear_backward(grad, rows, count, mean, variance, weight, bias, eps, linear)


def dropout(x: Tensor, seed: Tensor, dropped: int) -> Tensor:
    """`x` of any shape, each element 0 with probability dropped / 65536, else times 65536 / (65536 - dropped).

    seed: [] int64. An element's fate follows from it and from the element's position alone, not from threads or
    instruction sets.
    """
    return _library.dropout(x, seed, dropped)


def _moments_dtype(rows: Tensor) -> torch.dtype:
    return torch.float64 if rows.dtype == torch.float64 else torch.float32


@register_fake("pointnet2_ops::first_equal_row")
def _(rows: Tensor) -> Tensor:
    return rows.new_empty(rows.shape[:2], dtype=torch.int32)


@register_fake("pointnet2_ops::distinct_neighbours")
def _(idx: Tensor, first: Tensor | None, points: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = torch.library.get_ctx().new_dynamic_size()
    point, centre, count = (idx.new_empty(rows, dtype=torch.int32) for _ in range(3))
    return point, centre, count, idx.new_empty(idx.shape[0] * idx.shape[1] + 1, dtype=torch.int32)


@register_fake("pointnet2_ops::segment_max")
def _(rows: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    shape = (start.shape[0] - 1, rows.shape[1])
    return rows.new_empty(shape), rows.new_empty(shape, dtype=torch.int32)


@register_fake("pointnet2_ops::row_moments")
def _(rows: Tensor, count: Tensor | None) -> tuple[Tensor, Tensor]:
    mean = rows.new_empty(rows.shape[1], dtype=_moments_dtype(rows))
    return mean, torch.empty_like(mean)


@register_fake("pointnet2_ops::move_statistics")
def _(means, variances, tracked, batch_means, batch_variances, momentum, count) -> None:
    return None


@register_fake("pointnet2_ops::norm_relu")
def _(rows, mean, variance, weight, bias, eps, relu) -> Tensor:
    return rows.new_empty(rows.shape)


@register_fake("pointnet2_ops::norm_relu_backward")
def _(grad, rows, count, mean, variance, weight, bias, eps, relu) -> tuple[Tensor, Tensor, Tensor]:
    return rows.new_empty(rows.shape), torch.empty_like(weight), torch.empty_like(bias)


@register_fake("pointnet2_ops::norm_relu_linear")
def _(rows, count, mean, variance, weight, bias, eps, linear) -> tuple[Tensor, Tensor, Tensor]:
    outputs = linear.shape[0]
    return rows.new_empty(rows.shape[0], outputs), mean.new_empty(outputs), mean.new_empty(outputs)


@register_fake("pointnet2_ops::norm_relu_linear_backward")
def _(grad, rows, count, mean, variance, weight, bias, eps, linear) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        rows.new_empty(rows.shape),
        weight.new_empty(weight.shape),
        bias.new_empty(bias.shape),
        linear.new_empty(linear.shape),
    )


@register_fake("pointnet2_ops::dropout")
def _(x: Tensor, seed: Tensor, dropped: int) -> Tensor:
    return x.new_empty(x.shape)

"""The operators: argument checks, the call into the compiled library, fake kernels and gradients.

Legend: B clouds, N points, M centres or known points, K neighbours, C channels. The tensors of a call share a device.
Coordinates are float32 or float64; bfloat16 and float16 coordinates are converted to float32, whatever autocast says.
They get no gradient from sampling and searching. Features are float32, float64, bfloat16 or float16; sums over half
types are taken in float32. Index results are int32, index arguments int32 or int64.

Feature operators keep the memory format: `[B, C, N]` whose memory is `[B, N, C]` (such as `x.transpose(1, 2)` of a
contiguous `x`) is processed row by row, and results and gradients have their channels last in memory too.

Wrong arguments raise ValueError or TypeError, an index out of range raises IndexError (on the CPU).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake

from pointnet2_ops import checks

_library = torch.ops.pointnet2_ops


# ---------------------------------------------------------------------------------------------------------------------
# Geometry


def furthest_point_sample(xyz: Tensor, npoint: int) -> Tensor:
    """Indices of `npoint` points, each the farthest from those before it.

    xyz: [B, N, 3], finite. Returns int32 [B, npoint]: point 0 first, then the point whose squared distance
    ((dx*dx + dy*dy) + dz*dz) to the chosen ones is greatest; ties go to the lowest index. Needs npoint <= N.
    """
    xyz = checks.coordinates(xyz, "xyz", "B N 3")
    npoint = checks.count(npoint, "npoint", 0, xyz.shape[1], "N")
    return _library.furthest_point_sample(xyz, npoint)


def nested_furthest_point_sample(xyz: Tensor, npoints: Sequence[int]) -> list[Tensor]:
    """Farthest point sampling of a hierarchy: level i is sampled from the points chosen by level i - 1.

    xyz: [B, N, 3]; npoints must not increase. Returns int32 [B, npoints[i]] per level, indices into the level before
    (into xyz for the first). One sampling does for all levels: its output is ordered, and sampling an ordered set that
    starts at its own first point returns a prefix of it. (Where only duplicates are left, sampling again would
    name the first of the equal points instead; the coordinates are the same.)
    """
    if not npoints:
        raise ValueError("npoints must name at least one level, got none")
    levels = [furthest_point_sample(xyz, npoints[0])]
    for i, (outer, npoint) in enumerate(pairwise(npoints)):
        npoint = checks.count(npoint, f"npoints[{i + 1}]", 0, outer, f"npoints[{i}]")
        levels.append(torch.arange(npoint, dtype=torch.int32, device=xyz.device).expand(xyz.shape[0], npoint))
    return levels


def ball_query_with_count(radius: float, nsample: int, xyz: Tensor, new_xyz: Tensor) -> tuple[Tensor, Tensor]:
    """The first `nsample` points within `radius` of each centre, and how many there are.

    xyz: [B, N, 3], new_xyz: [B, M, 3], finite, of one dtype T. Returns int32 idx [B, M, nsample]: points in index order
    whose squared distance is less than T(radius) * T(radius), padded with the first of them (0 for an empty ball),
    and int32 count [B, M] <= nsample, the slots before the padding.
    """
    xyz = checks.coordinates(xyz, "xyz", "B N 3")
    new_xyz = checks.coordinates(new_xyz, "new_xyz", "B M 3", B=xyz.shape[0])
    checks.same_device(new_xyz, "new_xyz", xyz, "xyz")
    checks.same_dtype(new_xyz, "new_xyz", xyz, "xyz")
    nsample = checks.count(nsample, "nsample", 1)
    radius = float(radius)
    if not (radius > 0 and math.isfinite(radius)):
        raise ValueError(f"radius must be positive and finite, got {radius}")
    if xyz.shape[1] == 0 and new_xyz.shape[1] > 0:
        raise ValueError(f"xyz must hold at least one point, got {list(xyz.shape)}")
    return _library.ball_query(xyz, new_xyz, radius, nsample)


def ball_query(radius: float, nsample: int, xyz: Tensor, new_xyz: Tensor) -> Tensor:
    """`ball_query_with_count` without the count: int32 [B, M, nsample]."""
    return ball_query_with_count(radius, nsample, xyz, new_xyz)[0]


def three_nn(unknown: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The three nearest known points of each unknown point.

    unknown: [B, N, 3], known: [B, M, 3], M >= 1, finite, of one dtype. Returns distance [B, N, 3] of that dtype, not
    squared, ascending, and int32 idx [B, N, 3]; equal distances are in index order. If M < 3, the missing neighbours
    have index 0 and distance infinity, hence inverse-distance weight 0.
    """
    unknown = checks.coordinates(unknown, "unknown", "B N 3")
    known = checks.coordinates(known, "known", "B M 3", B=unknown.shape[0])
    checks.same_device(known, "known", unknown, "unknown")
    checks.same_dtype(known, "known", unknown, "unknown")
    if known.shape[1] == 0:
        raise ValueError(f"known must hold at least one point, got {list(known.shape)}")
    return _library.three_nn(unknown, known)


def first_in_voxel(xyz: Tensor, size: float) -> Tensor:
    """Whether each point is the first one, in point order, of its voxel.

    xyz: [N, 3], finite, on the CPU. Voxels are cubes of side `size` on a grid that starts at the points' minimum; a
    point's cell is floor((x - minimum) / size), computed in float64. Returns bool [N].
    """
    if xyz.dim() != 2 or xyz.shape[1] != 3 or xyz.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"xyz must be [N, 3] float32 or float64, got {list(xyz.shape)} {xyz.dtype}")
    if not (math.isfinite(size) and size > 0):
        raise ValueError(f"size must be finite and > 0, got {size}")
    return _library.first_in_voxel(xyz, size)


@register_fake("pointnet2_ops::first_in_voxel")
def _(xyz: Tensor, size: float) -> Tensor:
    return xyz.new_empty(xyz.shape[0], dtype=torch.bool)


@register_fake("pointnet2_ops::furthest_point_sample")
def _(xyz: Tensor, npoint: int) -> Tensor:
    return xyz.new_empty((xyz.shape[0], npoint), dtype=torch.int32)


@register_fake("pointnet2_ops::ball_query")
def _(xyz: Tensor, new_xyz: Tensor, radius: float, nsample: int) -> tuple[Tensor, Tensor]:
    idx = xyz.new_empty((*new_xyz.shape[:2], nsample), dtype=torch.int32)
    return idx, xyz.new_empty(new_xyz.shape[:2], dtype=torch.int32)


@register_fake("pointnet2_ops::three_nn")
def _(unknown: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    return unknown.new_empty(unknown.shape), unknown.new_empty(unknown.shape, dtype=torch.int32)


# ---------------------------------------------------------------------------------------------------------------------
# Features


def gather_operation(features: Tensor, idx: Tensor) -> Tensor:
    """Columns of `features` [B, C, N] at `idx` [B, M]: [B, C, M]."""
    checks.features(features, "features", "B C N")
    checks.indices(idx, "idx", "B M", B=features.shape[0])
    checks.same_device(idx, "idx", features, "features")
    return _library.gather_operation(features, idx)


def grouping_operation(features: Tensor, idx: Tensor) -> Tensor:
    """Columns of `features` [B, C, N] at `idx` [B, M, K]: [B, C, M, K] (memory [B, M, K, C] if channels last)."""
    checks.features(features, "features", "B C N")
    checks.indices(idx, "idx", "B M K", B=features.shape[0])
    checks.same_device(idx, "idx", features, "features")
    return _library.gather_operation(features, idx.flatten(1)).unflatten(2, idx.shape[1:])


def three_interpolate(features: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of three columns of `features` [B, C, M] per point: idx, weight [B, N, 3] -> [B, C, N].

    The result has the dtype of `features`; `weight` is used in float64 for float64 features, else in float32.
    Both get gradients.
    """
    checks.features(features, "features", "B C M")
    checks.indices(idx, "idx", "B N 3", B=features.shape[0])
    checks.features(weight, "weight", "B N 3", B=features.shape[0], N=idx.shape[1])
    checks.same_device(idx, "idx", features, "features")
    checks.same_device(weight, "weight", features, "features")
    return _library.three_interpolate(features, idx, weight.to(_accumulate_dtype(features)))


def _accumulate_dtype(features: Tensor) -> torch.dtype:
    return torch.float64 if features.dtype == torch.float64 else torch.float32


def is_channels_last(features: Tensor) -> bool:
    """Whether `features` [B, C, N] is processed row by row, as in csrc/tensors.h."""
    return bool(features.stride(1) == 1 and features.stride(2) != 1)


def _empty_features(like: Tensor, channels: int, points: int, channels_last: bool) -> Tensor:
    shape = (like.shape[0], channels, points)
    strides = (channels * points, 1, channels) if channels_last else (channels * points, points, 1)
    return like.new_empty_strided(shape, strides)


@register_fake("pointnet2_ops::gather_operation")
def _(features: Tensor, idx: Tensor) -> Tensor:
    return _empty_features(features, features.shape[1], idx.shape[1], is_channels_last(features))


@register_fake("pointnet2_ops::gather_operation_backward")
def _(grad: Tensor, idx: Tensor, points: int, channels_last: bool, deterministic: bool = False) -> Tensor:
    return _empty_features(grad, grad.shape[1], points, channels_last)


@register_fake("pointnet2_ops::three_interpolate")
def _(features: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
    return _empty_features(features, features.shape[1], idx.shape[1], is_channels_last(features))


@register_fake("pointnet2_ops::three_interpolate_backward")
def _(
    grad: Tensor, idx: Tensor, weight: Tensor, points: int, channels_last: bool, deterministic: bool = False
) -> Tensor:
    return _empty_features(grad, grad.shape[1], points, channels_last)


@register_fake("pointnet2_ops::three_interpolate_weight_backward")
def _(grad: Tensor, features: Tensor, idx: Tensor) -> Tensor:
    return grad.new_empty(idx.shape, dtype=_accumulate_dtype(features))


# ---------------------------------------------------------------------------------------------------------------------
# Layers on rows that are never written out: for evaluation, float32 on the CPU, no gradient. With bfloat16, on a CPU
# that multiplies such numbers (AVX512-BF16), inputs, weights and outputs of all layers but the first of group_mlp_max
# are rounded to them; sums stay float32.


def group_mlp_max(
    xyz: Tensor,
    new_xyz: Tensor,
    features: Tensor | None,
    idx: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    *,
    bfloat16: bool = False,
) -> Tensor:
    """A chain of linear layers with ReLU on each neighbourhood, then the maximum over the neighbours.

    xyz: [B, N, 3], new_xyz: [B, M, 3], idx: [B, M, K >= 1] into xyz. weights[i]: [Ci, C(i-1)], biases[i]: [Ci], at
    least one. The first layer is relu(weights[0] (xyz_j - new_xyz) + biases[0] + features_j): weights[0] is [C0, 3],
    and features [B, N, C0] is what each point adds, or None. Returns [B, M, C of the last layer].
    """
    return _library.group_mlp_max(xyz, new_xyz, features, idx, list(weights), list(biases), bfloat16)


def interpolate_mlp(
    features: Tensor,
    idx: Tensor,
    weight: Tensor,
    skip: Tensor | None,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    *,
    bfloat16: bool = False,
) -> Tensor:
    """A chain of linear layers with ReLU between them on relu(three_interpolate(features, idx, weight) + skip).

    features: [B, M, C], channels last; idx and weight: [B, N, 3]; skip: [B, N, C] or None. weights[i]: [Ci, C(i-1)],
    biases[i]: [Ci], at least one; no ReLU follows the last. Returns [B, N, C of the last layer].
    """
    return _library.interpolate_mlp(features, idx, weight, skip, list(weights), list(biases), bfloat16)


@register_fake("pointnet2_ops::group_mlp_max")
def _(xyz, new_xyz, features, idx, weights, biases, bfloat16=False) -> Tensor:
    return xyz.new_empty((*new_xyz.shape[:2], weights[-1].shape[0]))


@register_fake("pointnet2_ops::interpolate_mlp")
def _(features, idx, weight, skip, weights, biases, bfloat16=False) -> Tensor:
    return features.new_empty((*idx.shape[:2], weights[-1].shape[0]))


# ---------------------------------------------------------------------------------------------------------------------
# Gradients. <grad, gather(features)> is linear in each argument and <grad, interpolate(features, weight)> too, so
# the derivative of every backward operator is one of the operators again.


def _gather_context(ctx, inputs, output) -> None:
    features, idx = inputs
    ctx.save_for_backward(idx)
    ctx.points, ctx.channels_last = features.shape[2], is_channels_last(features)


def _gather_gradient(ctx, grad: Tensor):
    (idx,) = ctx.saved_tensors
    deterministic = torch.are_deterministic_algorithms_enabled()
    return _library.gather_operation_backward(grad, idx, ctx.points, ctx.channels_last, deterministic), None


def _gather_backward_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(inputs[1])


def _gather_backward_gradient(ctx, grad: Tensor):
    return _library.gather_operation(grad, *ctx.saved_tensors), None, None, None, None


def _interpolate_context(ctx, inputs, output) -> None:
    features, idx, weight = inputs
    # The features are needed for the gradient of the weights only, and weights from three_nn have none.
    ctx.save_for_backward(idx, weight, features if weight.requires_grad else None)
    ctx.points, ctx.channels_last = features.shape[2], is_channels_last(features)


def _interpolate_gradient(ctx, grad: Tensor):
    idx, weight, features = ctx.saved_tensors
    grad_features = grad_weight = None
    if ctx.needs_input_grad[0]:
        deterministic = torch.are_deterministic_algorithms_enabled()
        grad_features = _library.three_interpolate_backward(
            grad, idx, weight, ctx.points, ctx.channels_last, deterministic
        )
    if ctx.needs_input_grad[2]:
        grad_weight = _library.three_interpolate_weight_backward(grad, features, idx)
    return grad_features, None, grad_weight


def _interpolate_backward_context(ctx, inputs, output) -> None:
    grad, idx, weight, *_ = inputs
    ctx.save_for_backward(grad, idx, weight)


def _interpolate_backward_gradient(ctx, grad_features: Tensor):
    grad, idx, weight = ctx.saved_tensors
    grad_grad = _library.three_interpolate(grad_features, idx, weight)
    grad_weight = _library.three_interpolate_weight_backward(grad, grad_features, idx)
    return grad_grad, None, grad_weight, None, None, None


def _interpolate_weight_backward_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _interpolate_weight_backward_gradient(ctx, grad_weight: Tensor):
    grad, features, idx = ctx.saved_tensors
    grad_grad = _library.three_interpolate(features, idx, grad_weight)
    points, channels_last = features.shape[2], is_channels_last(features)
    deterministic = torch.are_deterministic_algorithms_enabled()
    grad_features = _library.three_interpolate_backward(grad, idx, grad_weight, points, channels_last, deterministic)
    return grad_grad, grad_features, None


for _name, _backward, _context in (
    ("gather_operation", _gather_gradient, _gather_context),
    ("gather_operation_backward", _gather_backward_gradient, _gather_backward_context),
    ("three_interpolate", _interpolate_gradient, _interpolate_context),
    ("three_interpolate_backward", _interpolate_backward_gradient, _interpolate_backward_context),
    (
        "three_interpolate_weight_backward",
        _interpolate_weight_backward_gradient,
        _interpolate_weight_backward_context,
    ),
):
    register_autograd(f"pointnet2_ops::{_name}", _backward, setup_context=_context)

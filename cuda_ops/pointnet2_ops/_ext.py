"""The compiled module of the original package, name by name: several published networks call it directly.

Argument order, shapes and results are the original's: `three_nn` returns squared distances, and no function takes part
in autograd (the callers have autograd functions of their own); indices are int32. On CPU and CUDA alike.
Legend: B clouds, N points, M centres or known points, K neighbours, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointnet2_ops import checks, ops

__all__ = [
    "ball_query",
    "furthest_point_sampling",
    "gather_points",
    "gather_points_grad",
    "group_points",
    "group_points_grad",
    "three_interpolate",
    "three_interpolate_grad",
    "three_nn",
]

_library = torch.ops.pointnet2_ops


@torch.no_grad()
def furthest_point_sampling(points: Tensor, nsamples: int) -> Tensor:
    """`points` [B, N, 3] -> int32 [B, nsamples]."""
    return ops.furthest_point_sample(points, nsamples)


@torch.no_grad()
def gather_points(points: Tensor, idx: Tensor) -> Tensor:
    """`points` [B, C, N], `idx` [B, M] -> [B, C, M]."""
    return ops.gather_operation(points, idx)


@torch.no_grad()
def gather_points_grad(grad_out: Tensor, idx: Tensor, n: int) -> Tensor:
    """`grad_out` [B, C, M], `idx` [B, M] -> the gradient [B, C, n] of `gather_points` with respect to its points."""
    checks.features(grad_out, "grad_out", "B C M")
    checks.indices(idx, "idx", "B M", B=grad_out.shape[0], M=grad_out.shape[2])
    checks.same_device(idx, "idx", grad_out, "grad_out")
    n = checks.count(n, "n", 0)
    channels_last, deterministic = ops.is_channels_last(grad_out), torch.are_deterministic_algorithms_enabled()
    return _library.gather_operation_backward(grad_out, idx, n, channels_last, deterministic)


@torch.no_grad()
def ball_query(new_xyz: Tensor, xyz: Tensor, radius: float, nsample: int) -> Tensor:
    """`new_xyz` [B, M, 3], `xyz` [B, N, 3] -> int32 [B, M, nsample]. The centres come first here."""
    return ops.ball_query(radius, nsample, xyz, new_xyz)


@torch.no_grad()
def group_points(points: Tensor, idx: Tensor) -> Tensor:
    """`points` [B, C, N], `idx` [B, M, K] -> [B, C, M, K]."""
    return ops.grouping_operation(points, idx)


@torch.no_grad()
def group_points_grad(grad_out: Tensor, idx: Tensor, n: int) -> Tensor:
    """`grad_out` [B, C, M, K], `idx` [B, M, K] -> the gradient [B, C, n] of `group_points` w.r.t. its points."""
    checks.features(grad_out, "grad_out", "B C M K")
    checks.indices(idx, "idx", "B M K", B=grad_out.shape[0], M=grad_out.shape[2], K=grad_out.shape[3])
    return gather_points_grad(grad_out.flatten(2), idx.flatten(1), n)


@torch.no_grad()
def three_nn(unknowns: Tensor, knows: Tensor) -> tuple[Tensor, Tensor]:
    """`unknowns` [B, N, 3], `knows` [B, M, 3] -> squared distances and int32 indices [B, N, 3] of the nearest three."""
    distance, idx = ops.three_nn(unknowns, knows)
    return distance.square(), idx


@torch.no_grad()
def three_interpolate(points: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
    """`points` [B, C, M], `idx` and `weight` [B, N, 3] -> [B, C, N]."""
    return ops.three_interpolate(points, idx, weight)


@torch.no_grad()
def three_interpolate_grad(grad_out: Tensor, idx: Tensor, weight: Tensor, m: int) -> Tensor:
    """`grad_out` [B, C, N], `idx` and `weight` [B, N, 3] -> the gradient [B, C, m] w.r.t. the points."""
    checks.features(grad_out, "grad_out", "B C N")
    checks.indices(idx, "idx", "B N 3", B=grad_out.shape[0], N=grad_out.shape[2])
    checks.features(weight, "weight", "B N 3", B=grad_out.shape[0], N=grad_out.shape[2])
    for tensor, name in ((idx, "idx"), (weight, "weight")):
        checks.same_device(tensor, name, grad_out, "grad_out")
    m = checks.count(m, "m", 0)
    weight = weight.to(torch.float64 if grad_out.dtype == torch.float64 else torch.float32)
    channels_last, deterministic = ops.is_channels_last(grad_out), torch.are_deterministic_algorithms_enabled()
    return _library.three_interpolate_backward(grad_out, idx, weight, m, channels_last, deterministic)

"""A layer followed by the maximum over neighbours, without ever writing the normalised, activated tensor.

Scaling, shifting and ReLU keep order, or reverse it where BatchNorm's scale is negative. So the maximum can be taken of
the linear map's output with each channel's sign turned accordingly, and BatchNorm and ReLU follow on the pooled values:
the same function, on K times fewer values. B batch, M centres, K neighbours, R distinct rows, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from pointnet2_ops import rows
from torch import Tensor, nn

from pointseg.models.distinct import Balls
from pointseg.models.layers import Layer, batch_moments, chain, linear_after


def layer_max(layer: Layer, x: Tensor, balls: Balls | None = None, before: Sequence[Layer] = ()) -> Tensor:
    """`layer(x).amax(dim=2)`: `x` [B, M, K, Ci] -> [B, M, Co]; with `balls` it holds their distinct rows, [R, Ci].

    With layers `before` it is `layer(chain(before, x))`.
    """
    count = None if balls is None else balls.count
    weight, bias = layer.affine()
    if not layer.training:
        x = chain(before, x, count)
        y = F.linear(x, weight, bias)
        return (y.amax(dim=2) if balls is None else maximum(y, balls)).relu()
    norm = layer.norm
    if type(norm) is not nn.BatchNorm1d:  # SyncBatchNorm: its statistics are not of this process alone
        return layer(chain(before, x, count)).amax(dim=2)
    sign = torch.where(norm.weight >= 0, 1.0, -1.0).to(weight.dtype).detach()
    y, moments = linear_after(before, x, weight * sign.unsqueeze(1), count)  # the linear map's output times `sign`
    if balls is None:
        mean, variance = _update_statistics(norm, y, sign)
        return _NormMax.apply(y, norm.weight * sign, norm.bias, mean, variance, norm.eps).relu()
    mean, variance = batch_moments(norm, y, count, sign, moments)
    pooled = _BallsNormMax.apply(y, norm.weight * sign, norm.bias, mean, variance, norm.eps, balls)
    return pooled.relu().view(*balls.shape[:2], -1)


def maximum(y: Tensor, balls: Balls) -> Tensor:
    """The largest of each ball's rows `y` [R, C]: [B, M, C]."""
    index = rows.segment_max(y.detach(), balls.start)[1]
    return y.gather(0, index.long()).view(*balls.shape[:2], -1)


@torch.no_grad()
def _update_statistics(norm: nn.BatchNorm1d, y: Tensor, sign: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [C] of `y`; moves the running statistics, which are those of `sign` * y."""
    running_mean = norm.running_mean * sign
    mean, variance = torch.batch_norm_update_stats(y.flatten(0, 2), running_mean, norm.running_var, norm.momentum)
    norm.running_mean.copy_(running_mean * sign)
    norm.num_batches_tracked += 1
    return mean, variance


class _NormMax(torch.autograd.Function):
    """max over K of BatchNorm(y): `y` [B, M, K, C], scale >= 0, shift, mean, variance [C] -> [B, M, C].

    The mean and the variance are those of y over its rows, and the backward pass differentiates through them.
    """

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, eps: float
    ) -> Tensor:
        batch, centres, neighbours, channels = y.shape
        pooled, index = F.max_pool2d(y.permute(0, 3, 1, 2), (1, neighbours), return_indices=True)
        pooled, index = pooled.permute(0, 2, 3, 1).flatten(0, 2), index.permute(0, 2, 3, 1).flatten(1, 2)
        inverse = torch.rsqrt(variance + eps)
        ctx.save_for_backward(y, pooled, index, scale, mean, inverse)
        output = F.batch_norm(pooled, mean, variance, scale, shift, training=False, eps=eps)
        return output.view(batch, centres, channels)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """With n rows, x^ = (y - mean) * inverse, and g the gradient at each maximum's place and 0 elsewhere:
        dy = scale * inverse * (g - sum(g) / n - x^ * sum(g x^) / n)."""
        y, pooled, index, scale, mean, inverse = ctx.saved_tensors
        dense_grad = grad.flatten(0, 1).to(mean.dtype)
        rows = y.shape[0] * y.shape[1] * y.shape[2]
        normalised = (pooled.to(mean.dtype) - mean) * inverse
        grad_shift, grad_scale = dense_grad.sum(0), (dense_grad * normalised).sum(0)
        # The two terms that every row has are an affine map of y: one pass of the evaluation-mode kernel. The places of
        # the maxima, where y is `pooled` and the third term comes on top, are all different: nothing is accumulated.
        slope = -scale * inverse.square() * grad_scale / rows
        offset = -scale * inverse * grad_shift / rows
        ones = torch.ones_like(mean)
        # PyTorch's Python wrapper refuses an epsilon of 0 in some versions.
        grad_y = torch.batch_norm(y.flatten(0, 2), slope, offset, mean, ones, False, 0.0, 0.0, False)
        at_maxima = torch.batch_norm(pooled, slope, offset, mean, ones, False, 0.0, 0.0, False)
        at_maxima += (dense_grad * (scale * inverse)).to(y.dtype)
        grad_y.view(y.shape[0], -1, y.shape[3]).scatter_(1, index, at_maxima.view(index.shape))
        return grad_y.view(y.shape), grad_scale, grad_shift, None, None, None


class _BallsNormMax(torch.autograd.Function):
    """`_NormMax` over the distinct rows of each ball: `y` [R, C] -> [B * M, C]."""

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        scale: Tensor,
        shift: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        balls: Balls,
    ) -> Tensor:
        pooled, index = rows.segment_max(y, balls.start)
        inverse = torch.rsqrt(variance + eps)
        ctx.save_for_backward(y, pooled, index, scale, mean, inverse, balls.count)
        ctx.total = balls.shape.numel()
        return F.batch_norm(pooled, mean, variance, scale, shift, training=False, eps=eps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """As in `_NormMax`; the two terms that every row has are of all the equal rows that it stands for."""
        y, pooled, index, scale, mean, inverse, count = ctx.saved_tensors
        grad = grad.to(mean.dtype)
        grad_shift, grad_scale = grad.sum(0), (grad * ((pooled.to(mean.dtype) - mean) * inverse)).sum(0)
        slope = -scale * inverse.square() * grad_scale / ctx.total
        offset = -scale * inverse * grad_shift / ctx.total
        ones, index = torch.ones_like(mean), index.long()  # places that are all different: nothing is accumulated
        grad_y = torch.batch_norm(y, slope, offset, mean, ones, False, 0.0, 0.0, False)
        grad_y *= count.to(y.dtype).unsqueeze(1)
        at_maxima = torch.batch_norm(pooled, slope, offset, mean, ones, False, 0.0, 0.0, False)
        at_maxima = torch.addcmul(grad * (scale * inverse), at_maxima, count[index])
        grad_y.scatter_(0, index, at_maxima.to(y.dtype))
        return grad_y, grad_scale, grad_shift, None, None, None, None

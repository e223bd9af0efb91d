"""The one building block of every network here, linear + BatchNorm + ReLU, and how a trainer reaches its parts.

Features are channels-last, `[..., C]`: a layer is one large matrix product and point features are gathered as rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pointnet2_ops import rows
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Norm = Literal["batch", "frozen", "none"]
Moments = tuple[Tensor, Tensor]  # mean and biased variance [C]

_FUSED_FROM = 2**18  # numbers; of fewer, PyTorch's BatchNorm, with less around it, is faster


class FrozenNorm(nn.Module):
    """BatchNorm that never moves: an affine map of each channel given by four buffers, in training mode too.

    Its names are BatchNorm's, so it loads what a BatchNorm saved. As in maskrcnn-benchmark, whose fork the paper's
    detectors were trained with, there is no epsilon: a new one is exactly the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def affine(self) -> tuple[Tensor, Tensor]:
        """Factor and summand [C] of each channel."""
        scale = self.weight * torch.rsqrt(self.running_var)
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        """`x` [..., C]."""
        scale, shift = self.affine()
        return x * scale + shift


def make_norm(norm: Norm, channels: int) -> nn.Module:
    """The normalisation of `[rows, channels]`: batch statistics, frozen ones, or none at all."""
    if norm == "batch":
        return nn.BatchNorm1d(channels)
    if norm == "frozen":
        return FrozenNorm(channels)
    if norm == "none":
        return nn.Identity()
    raise ValueError(f"norm must be 'batch', 'frozen' or 'none', got {norm!r}")


class Layer(nn.Module):
    """Linear map without bias, BatchNorm (or `norm`) and, unless `relu` is False, ReLU: `[..., Ci] -> [..., Co]`.

    In evaluation mode BatchNorm is an affine map and is folded into the linear one. `affine` and `activate` are the two
    halves of `forward`, for callers that compute the linear map in pieces (before grouping, before interpolation).
    The weight starts as Xavier's uniform distribution, as in PointNet++. `Layer.fused = False` leaves the norms of all
    layers to PyTorch, to compare with: the same function.
    """

    fused = True

    def __init__(self, in_channels: int, out_channels: int, *, relu: bool = True, norm: Norm = "batch") -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels, bias=False)
        self.norm = make_norm(norm, out_channels)
        self.relu = relu
        nn.init.xavier_uniform_(self.linear.weight)

    def forward(self, x: Tensor, count: Tensor | None = None) -> Tensor:
        """`count`: see `activate`."""
        if count is not None or not self._widens(x):
            return self.activate(F.linear(x, *self.affine()), count)
        y = F.linear(x, *self._affine_of_batch(x))
        return y.relu_() if self.relu else y

    def _widens(self, x: Tensor) -> bool:
        """Whether `_affine_of_batch` is the cheaper way: few inputs for each output and many rows, in training.

        Not under autocast: the covariance needs the digits.
        """
        outputs, inputs = self.linear.weight.shape
        many = outputs >= 2 * inputs and x.numel() >= 4 * inputs * outputs
        return (
            many
            and self.training
            and type(self.norm) is nn.BatchNorm1d
            and not torch.is_autocast_enabled(x.device.type)
        )

    def add_scaled(self, x: Tensor, scale: Tensor, target: Tensor) -> Tensor:
        """`target + scale * layer(x)` [..., Co] of a layer without ReLU; `target` in any order of memory, which stays.

        Where the layer is one affine map of `x`, `scale` (a scalar) joins it: nothing as wide as the output is kept.
        On the CPU it joins the parameters of BatchNorm, whose gradients are sums anyway.
        """
        rows, norm = x.flatten(0, -2), self.norm
        widens = self._widens(x)
        if widens or not self.training or not isinstance(norm, _BatchNorm):
            weight, bias = self._affine_of_batch(x) if widens else self.affine()
            y = F.linear(rows, weight * scale, None if bias is None else bias * scale)
        elif type(norm) is nn.BatchNorm1d and x.device.type == "cpu" and len(rows) > 1:
            norm.num_batches_tracked += 1
            moments, weight, bias = (norm.running_mean, norm.running_var), norm.weight * scale, norm.bias * scale
            y = F.batch_norm(F.linear(rows, self.linear.weight), *moments, weight, bias, True, norm.momentum, norm.eps)
        else:
            return torch.addcmul(target, self(x), scale)
        if target.is_contiguous() and target.dtype == y.dtype:
            return y.add_(target.view_as(y)).view_as(target)
        return target + y.view(target.shape)

    def _affine_of_batch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Linear map and BatchNorm as one weight [Co, Ci] and bias [Co]; moves the running statistics.

        With C the covariance of the inputs, the linear map's outputs have the mean W mean(x) and the variance
        diag(W C W^T): BatchNorm never passes over the outputs, the wider side, and nothing of them is kept.
        """
        x, weight, norm = x.flatten(0, -2), self.linear.weight, self.norm
        mean = x.mean(dim=0)
        centred = x - mean
        variance = ((weight @ _Gram.apply(centred)) * weight).sum(dim=1) / len(x)
        mean = weight @ mean
        with torch.no_grad():
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance * (len(x) / (len(x) - 1)), norm.momentum)
            norm.num_batches_tracked += 1
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        return weight * scale[:, None], norm.bias - mean * scale

    def affine(self) -> tuple[Tensor, Tensor | None]:
        """Weight [Co, Ci] and bias [Co] to apply now; no bias in training, where `activate` normalises."""
        if isinstance(self.norm, FrozenNorm):
            scale, shift = self.norm.affine()
            return self.linear.weight * scale[:, None], shift
        if self.training or isinstance(self.norm, nn.Identity):
            return self.linear.weight, None
        scale = self.norm.weight * torch.rsqrt(self.norm.running_var + self.norm.eps)
        return self.linear.weight * scale[:, None], self.norm.bias - self.norm.running_mean * scale

    def activate(self, y: Tensor, count: Tensor | None = None, moments: Moments | None = None) -> Tensor:
        """What follows the linear map; `y` [..., Co] contiguous, overwritten in evaluation mode.

        One row has no variance: it is normalised by the running statistics in training too. `count` [R] says for how
        many equal rows each row of `y` [R, Co] stands; it needs a norm that `is_fused`. `moments` are those of `y`, if
        they are known.
        """
        shape, y = y.shape, y.view(-1, y.shape[-1])  # BatchNorm over rows: PyTorch's fast channels-last kernels
        if is_fused(self.norm, y) and (count is not None or y.numel() > _FUSED_FROM):
            norm = self.norm
            mean, variance = batch_moments(norm, y, count, moments=moments)
            return _NormRelu.apply(y, count, norm.weight, norm.bias, mean, variance, norm.eps, self.relu).view(shape)
        if self.training and not isinstance(self.norm, FrozenNorm):
            norm = self.norm
            if isinstance(norm, _BatchNorm) and len(y) == 1:
                y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
            else:
                y = norm(y)
        if self.relu:
            y = y.relu_()
        return y.view(shape)


class _Gram(torch.autograd.Function):
    """x^T x of rows `x` [R, C], whose gradient is one product instead of two."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.T @ x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return x @ (grad + grad.T)


def is_fused(norm: nn.Module, x: Tensor) -> bool:
    """Whether our operators take `norm` of rows `x`: in training, on the CPU, with statistics of this process alone."""
    on_cpu = x.device.type == "cpu" and not torch.compiler.is_compiling()
    return Layer.fused and on_cpu and type(norm) is nn.BatchNorm1d and norm.training


@torch.no_grad()
def batch_moments(
    norm: nn.BatchNorm1d,
    y: Tensor,
    count: Tensor | None,
    sign: Tensor | None = None,
    moments: Moments | None = None,
) -> Moments:
    """`moments` of `y` [R, C], computed if not given; moves the running statistics, which are those of `sign` * y."""
    mean, variance = moments or rows.row_moments(y, count)
    norm.running_mean.lerp_(mean if sign is None else mean * sign, norm.momentum)
    if count is None:
        norm.running_var.lerp_(variance, norm.momentum).add_(variance, alpha=norm.momentum / (len(y) - 1))
    else:
        total = count.sum()
        norm.running_var.lerp_(variance * (total / (total - 1)), norm.momentum)
    norm.num_batches_tracked += 1
    return mean, variance


class _NormRelu(torch.autograd.Function):
    """BatchNorm and ReLU of rows `y` [R, C], which stand for `count` [R] equal ones each, in one pass.

    The mean and the variance are those of y over its rows, and the backward pass differentiates through them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        count: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        relu: bool,
    ) -> Tensor:
        ctx.save_for_backward(y, count, mean, variance, weight, bias)
        ctx.eps, ctx.relu = eps, relu
        return rows.norm_relu(y, mean, variance, weight, bias, eps, relu=relu)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_y, grad_weight, grad_bias = rows.norm_relu_backward(grad, *ctx.saved_tensors, ctx.eps, relu=ctx.relu)
        return grad_y, None, grad_weight, grad_bias, None, None, None, None


def chain(layers: Sequence[Layer], y: Tensor, count: Tensor | None = None) -> Tensor:
    """What the chain `layers` makes of `y` [..., C], its first linear map's output: [..., Co]."""
    if len(layers) > 1 and is_joined(layers, y, count):
        y, moments = linear_after(layers[:-1], y, layers[-1].linear.weight, count)
        return layers[-1].activate(y, count, moments)
    for number, layer in enumerate(layers):
        y = layer(y, count) if number else layer.activate(y, count)
    return y


def linear_after(
    layers: Sequence[Layer], y: Tensor, weight: Tensor, count: Tensor | None = None
) -> tuple[Tensor, Moments | None]:
    """`F.linear(chain(layers, y, count), weight)`, and the moments of its rows if they are known."""
    if not layers or not is_joined(layers, y, count):
        return F.linear(chain(layers, y, count), weight), None
    shape, y, moments = y.shape, y.flatten(0, -2), None
    following = [layer.linear.weight for layer in layers[1:]] + [weight]
    for norm, linear in zip((layer.norm for layer in layers), following, strict=True):
        mean, variance = batch_moments(norm, y, count, moments=moments)
        y, *moments = _NormReluLinear.apply(y, count, norm.weight, norm.bias, mean, variance, norm.eps, linear)
    return y.view(*shape[:-1], -1), tuple(moments)


def is_joined(layers: Sequence[Layer], y: Tensor, count: Tensor | None) -> bool:
    """Whether our operators take each of the `layers`' norm, ReLU and the linear map after it as one: in training."""
    wide = y.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
    several = count is not None or y.shape[:-1].numel() > 1
    fused = all(layer.relu and is_fused(layer.norm, y) for layer in layers)
    return wide and several and fused and torch.is_grad_enabled()


class _NormReluLinear(torch.autograd.Function):
    """`_NormRelu` and the linear map `linear` [Co, C] after it: [R, Co], and its mean and variance, for the next one.

    The activated rows are not kept: the backward pass computes them again, block by block.
    """

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        count: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        linear: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(y, count, mean, variance, weight, bias, linear)
        ctx.eps = eps
        output, *moments = rows.norm_relu_linear(y, count, mean, variance, weight, bias, eps, linear)
        ctx.mark_non_differentiable(*moments)
        return output, *moments

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, *of_moments: Tensor) -> tuple[Tensor | None, ...]:
        *saved, linear = ctx.saved_tensors
        grad_y, *gradients, grad_linear = rows.norm_relu_linear_backward(grad, *saved, ctx.eps, linear)
        return grad_y, None, *gradients, None, None, None, grad_linear


def mlp(in_channels: int, widths: tuple[int, ...]) -> nn.Sequential:
    """A chain of `Layer`s with the given output channels."""
    sizes = (in_channels, *widths)
    return nn.Sequential(*(Layer(a, b) for a, b in itertools.pairwise(sizes)))


class Dropout(nn.Module):
    """`torch.nn.Dropout`, on the CPU with a mask that costs next to nothing: 16 random bits decide an element.

    The share dropped there is `p` rounded to a multiple of 2**-16, and the scale is that share's. The seed of the mask,
    which the backward pass draws again, is from PyTorch's global generator.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.p, self.training)
        seed = torch.randint(-(2**63), 2**63 - 1, ())
        return _Dropout.apply(x, seed, round(self.p * 2**16))

    def extra_repr(self) -> str:
        return f"p={self.p}"


class _Dropout(torch.autograd.Function):
    """`rows.dropout`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, seed: Tensor, dropped: int) -> Tensor:
        ctx.save_for_backward(seed)
        ctx.dropped = dropped
        return rows.dropout(x, seed, dropped)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Dropout.apply(grad, *ctx.saved_tensors, ctx.dropped), None, None


def set_bn_momentum(model: nn.Module, momentum: float) -> None:
    """Sets the momentum (PyTorch's convention: the weight of the new batch) of every BatchNorm in `model`."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = momentum

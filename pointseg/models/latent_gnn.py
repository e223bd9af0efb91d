"""LatentGNN: long-range context through a few latent nodes, at a cost linear in the number of points.

Source: Zhang, Yan, He, "LatentGNN: Learning Efficient Non-local Relations for Visual Recognition", ICML 2019; equation
numbers are the paper's. B batch, N points (or pixels), C channels, c reduced channels, K kernels, d latent nodes of a
kernel, D all latent nodes (the sum of the d).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointseg.models.latent_gnn_fused import FusedLatentGNN
from pointseg.models.latent_gnn_released import translate_state_dict
from pointseg.models.layers import Layer, Norm, is_fused, make_norm

# Inference works on so many points at a time that the tensors of a block, as wide as three times X~ and Psi together,
# are as large as the result, but not on fewer or more than these; the tensors of the most still fit the cache.
_LEAST_BLOCK, _MOST_BLOCK = 1024, 8192
_TINY_LENGTH = 1e-12  # a vector of zeros stays one instead of a division by 0


class LatentGNN(nn.Module):
    """Adds context from all points to each point's features: `[B, C, *spatial] -> [B, C, *spatial]`.

    With X [N, c] the features after a bottleneck (linear + BatchNorm, unit length per point):

        Z   = Psi(X)^T X W          (5), (8)   visible -> latent
        Z~  = F_X Z                 (6), (10)  latent -> latent
        X~  = h(Psi(X) Z~)          (7), (11)  latent -> visible, h = BatchNorm + ReLU
        out = input + scale * up(X~)     (15)  up = linear + BatchNorm back to C channels; the scale starts at 0,
                                               so that a new module is exactly the identity

    which is X~ = h(A X W) with the affinity A = Psi F_X Psi^T of rank d, (12), (13). A, [N, N], is never formed.

    What the paper leaves open follows the authors' released module for images:

    - Psi(X) = ReLU(BatchNorm(X Theta^T)), Theta [d, c]. `mode="asymmetric"`: the two directions have their own
      bottleneck and Theta; the columns of Psi in (8) get unit length over the points, the rows of Psi in (11) unit
      length over the latent nodes. `mode="symmetric"`: one bottleneck and one Psi, rows of unit length, for both.
    - F_X [d, d] = softmax over j of the cosine between rows k and j of Psi(X)^T X: data-dependent, and its parameters
      are those of Psi.
    - W and h are an option there that is off by default; here they are on, as the parameter counts of the paper's
      Table 3 are those with them. W multiplies the d latent nodes: cheaper, and the same. Without, X~ = A X.

    Several kernels are combined in one of two ways:

    - `mixture="features"` (section 4.1.1, the released module, Table 3's counts): every kernel has its own W, and `up`
      maps the K results h(A_m X W_m), side by side, to C channels; its K blocks are the learned mixture weights.
    - `mixture="affinity"` (equation (14) to the letter): A = sum_m w_m Psi_m F_m Psi_m^T with learned scalars
      w_m that start at 1 / K, one W and one h.

    Without gradients in evaluation mode many points are worked on in blocks: beside `x` and the result no tensor grows
    with the number of points, so that a cloud of 10 million of them fits. In training on the CPU one operator does what
    lies between the bottleneck and X~, and Psi is never written out (latent_gnn_fused.py).

    Args:
        in_channels: C.
        latent_dims: d for all kernels, or one d per kernel.
        channel_stride: c = C // channel_stride.
        kernels: K; if None, the length of `latent_dims`, or 1.
        mode: whether the two directions have their own Psi, see above.
        mixture: how kernels are combined, see above.
        graph_conv: with W and h.
        norm: "batch" is BatchNorm; "frozen" the same with statistics that stay, 0 and 1 in a new module (the identity),
            as in the paper's detectors, whose batches of 2 images are too small for statistics; "none" leaves it away.
        residual: False returns up(X~) alone.
    """

    def __init__(
        self,
        in_channels: int,
        latent_dims: int | Sequence[int],
        channel_stride: int = 4,
        kernels: int | None = None,
        mode: Literal["asymmetric", "symmetric"] = "asymmetric",
        mixture: Literal["features", "affinity"] = "features",
        *,
        graph_conv: bool = True,
        norm: Norm = "batch",
        residual: bool = True,
    ) -> None:
        super().__init__()
        dims = (latent_dims,) * (kernels or 1) if isinstance(latent_dims, int) else tuple(latent_dims)
        _check(in_channels, channel_stride, dims, kernels, mode, mixture)
        reduced, directions = in_channels // channel_stride, 2 if mode == "asymmetric" else 1
        self.in_channels, self.reduced, self.dims, self.mode, self.mixture = in_channels, reduced, dims, mode, mixture
        self.graph_conv, self.norm, self.residual = graph_conv, norm, residual

        # Both directions' bottlenecks are one matrix product; so are all kernels' Psi.
        self.reduce = Layer(in_channels, directions * reduced, relu=False, norm=norm)
        self.psi = nn.ModuleList(Layer(reduced, sum(dims), norm=norm) for _ in range(directions))
        own = len(dims) if mixture == "features" else 1
        if graph_conv:
            self.message = nn.Parameter(torch.empty(own, reduced, reduced))  # W of each kernel
            # h; without a norm its input is a product that the backward pass needs as it is.
            self.activation = nn.Sequential(make_norm(norm, own * reduced), nn.ReLU(inplace=norm != "none"))
            for matrix in self.message:
                nn.init.xavier_uniform_(matrix)
        else:
            self.register_parameter("message", None)
            self.activation = nn.Identity()
        self.expand = Layer(own * reduced, in_channels, relu=False, norm=norm)
        self.scale = nn.Parameter(torch.zeros(()))  # lambda of (15)
        if mixture == "affinity":
            self.mixture_weights = nn.Parameter(torch.full((len(dims),), 1 / len(dims)))  # w of (14)

    def forward(self, x: Tensor) -> Tensor:
        """`x` [B, C, *spatial]; not copied when its memory is channels-last, as `y.transpose(1, 2)` of [B, N, C]."""
        self._check_input(x)
        flat = x.flatten(2)
        if self._in_blocks(flat):
            return self._forward_in_blocks(flat).unflatten(2, x.shape[2:])
        if norms := self._fused_norms(flat):
            result = self._forward_fused(_rows(flat), norms).transpose(1, 2)
            return (result.contiguous() if flat.is_contiguous() else result).reshape(x.shape)
        visible = self._visible(_rows(flat))
        if self.residual:
            result = self.expand.add_scaled(visible, self.scale, flat.transpose(1, 2))
        else:
            result = self.expand(visible)
        return result.transpose(1, 2).unflatten(2, x.shape[2:])

    def _visible(self, x: Tensor) -> Tensor:
        """Equations (5)-(14): X~, the kernels' side by side, of `x` [B, N, C] contiguous."""
        features, collect, scatter = self._sides(x)
        if self.mode == "asymmetric":
            latent = _UnitRowsProduct.apply(collect.transpose(1, 2), features)  # Psi^T X: [B, D, c]
        else:
            latent = torch.bmm(collect.transpose(1, 2), features)
        return self._to_visible(scatter, self._messages(latent))

    def effective_affinity(self, x: Tensor, rows: Tensor | Sequence[int] | None = None) -> Tensor:
        """A(X) of (13) for each kernel, or of (14) for `mixture="affinity"`: who listens to whom, for inspection.

        In training mode it is that of the batch's statistics, and moves the running ones as a forward pass does.

        Args:
            x: [B, C, *spatial], N positions.
            rows: R positions in 0 .. N - 1 (of an image: row * width + column); None for all of them, N x N numbers.

        Returns:
            [B, K, R, N], with K = 1 for `mixture="affinity"`: the weight of position n in what position r hears.
        """
        self._check_input(x)
        features, collect, scatter = self._sides(_rows(x.flatten(2)))
        if self.mode == "asymmetric":
            collect = F.normalize(collect, dim=1)
            scatter = self._unit_rows(scatter)
        if rows is not None:
            scatter = scatter[:, torch.as_tensor(rows, device=x.device)]
        latent = self._kernels(collect.transpose(1, 2) @ features, dim=1)
        parts = zip(self._kernels(scatter, dim=2), latent, self._kernels(collect, dim=2), strict=True)
        affinity = torch.stack([s @ _latent_affinity(z) @ c.transpose(1, 2) for s, z, c in parts], dim=1)
        if self.mixture == "affinity":
            affinity = (affinity * self.mixture_weights[:, None, None]).sum(dim=1, keepdim=True)
        return affinity

    def latent_weights(self, x: Tensor) -> Tensor:
        """Psi of (8), what each position gives to each latent node, for inspection: [B, C, *spatial] -> [B, D, N].

        Of unit mean square over the positions. In training mode it moves running statistics as a forward pass does.
        """
        self._check_input(x)
        collect = self._sides(_rows(x.flatten(2)))[1]
        return (F.normalize(collect, dim=1) * collect.shape[1] ** 0.5).transpose(1, 2)

    def load_reference_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Loads the state dict of the authors' released module, `LatentGNNV1`, of the same settings.

        Raises ValueError naming the first entry that is missing, left over or of another shape.
        """
        if self.mixture != "features":
            raise ValueError(f"mixture must be 'features' as in the released module, got {self.mixture!r}")
        own = translate_state_dict(state, kernels=len(self.dims), symmetric=self.mode == "symmetric")
        expected = self.state_dict()
        for name in sorted(own.keys() ^ expected.keys()):
            problem = "is missing from" if name in expected else "has no place for"
            raise ValueError(f"{name} {problem} the state dict: is it of a module with these settings: {self}?")
        for name, tensor in expected.items():
            if own[name].shape != tensor.shape:
                raise ValueError(f"{name} must be {list(tensor.shape)}, got {list(own[name].shape)} in the state dict")
        self.load_state_dict(own)

    def _sides(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of `x` [B, N, C]: X [B, N, c], and Psi [B, N, D] for both directions (`_psi`)."""
        reduced = self.reduce(x.flatten(0, 1)).view(*x.shape[:2], -1, self.reduced)
        sides = _UnitRows.apply(reduced).unbind(2)
        psi = [self._psi(part, layer, layer.affine()) for part, layer in zip(sides, self.psi, strict=True)]
        return sides[0], psi[0], psi[-1]

    def _psi(self, features: Tensor, layer: Layer, affine: tuple[Tensor, Tensor | None]) -> Tensor:
        """ReLU(BatchNorm(X Theta^T)) [B, N, D], `affine` of `layer` given; symmetric: with rows of unit length."""
        psi = layer.activate(F.linear(features.flatten(0, 1), *affine)).view(*features.shape[:2], -1)
        return self._unit_rows(psi) if self.mode == "symmetric" else psi

    def _unit_rows(self, psi: Tensor) -> Tensor:
        """[B, N, D] with unit length over each kernel's latent nodes."""
        return _join([_UnitRows.apply(part) for part in self._kernels(psi, dim=2)])

    def _kernels(self, x: Tensor, dim: int) -> Sequence[Tensor]:
        """The parts of `x`, with D entries along `dim`, that belong to each kernel; one kernel's is `x` itself."""
        return x.split(self.dims, dim) if len(self.dims) > 1 else (x,)

    def _messages(self, latent: Tensor) -> list[Tensor]:
        """(6), (10) of [B, D, c], then each node's W: for each kernel [B, d, c]."""
        messages = [torch.bmm(_latent_affinity(part), part) for part in self._kernels(latent, dim=1)]
        if not self.graph_conv:
            return messages
        weights = self.message.expand(len(self.dims), -1, -1)
        return [message @ weight for message, weight in zip(messages, weights, strict=True)]

    def _to_visible(self, scatter: Tensor, messages: Sequence[Tensor]) -> Tensor:
        """(7), (11), (14): [B, N, D], K x [B, d, c] -> X~ [B, N, K c], or [B, N, c] of mixed affinities."""
        product = _UnitRowsProduct.apply if self.mode == "asymmetric" else torch.bmm
        parts = self._kernels(scatter, dim=2)
        visible = [product(psi, message) for psi, message in zip(parts, messages, strict=True)]  # A_m X W_m: [B, N, c]
        if self.mixture == "affinity":
            rows = (torch.stack(visible, dim=3) * self.mixture_weights).sum(dim=3)  # (14)
        else:
            rows = _join(visible)
        return self.activation(rows.flatten(0, 1)).view(*scatter.shape[:2], -1)

    def _fused_norms(self, x: Tensor) -> list[nn.BatchNorm1d] | None:
        """All norms in the order of application, if our operators can compute the module: in training on the CPU."""
        if not (self.training and torch.is_grad_enabled() and x.dtype in (torch.float32, torch.float64)):
            return None
        whole = self.mode == "asymmetric" and self.mixture == "features" and self.graph_conv and self.residual
        if not whole or x.shape[0] * x.shape[2] == 1 or torch.is_autocast_enabled("cpu"):
            return None
        norms = [self.reduce.norm, *(layer.norm for layer in self.psi), self.activation[0], self.expand.norm]
        fused = all(is_fused(norm, x) and norm.momentum == norms[0].momentum for norm in norms)
        return norms if fused else None

    def _forward_fused(self, x: Tensor, norms: Sequence[nn.BatchNorm1d]) -> Tensor:
        """`forward` of `x` [B, N, C] contiguous."""
        maps = [layer.linear.weight for layer in (self.reduce, *self.psi)]
        maps += [self.message, self.expand.linear.weight]
        parameters = [*maps, *(norm.weight for norm in norms), *(norm.bias for norm in norms)]
        return FusedLatentGNN.apply(x, self.dims, norms, self.scale, *parameters)

    def _in_blocks(self, x: Tensor) -> bool:
        """Evaluation of many points; a compiler, which plans memory itself, gets the plain computation."""
        if torch.compiler.is_compiling() or self.training or torch.is_grad_enabled():
            return False
        return x.shape[2] > _LEAST_BLOCK

    def _forward_in_blocks(self, x: Tensor) -> Tensor:
        """`forward` of [B, C, N] in two passes over blocks of points: to the latent nodes, and back from them."""
        points = x.shape[1] * x.shape[2] // (3 * (self.expand.linear.in_features + sum(self.dims)))
        blocks = x.split(min(max(points, _LEAST_BLOCK), _MOST_BLOCK), dim=2)
        weight, bias = self.reduce.affine()
        psi_maps, expand_map = [layer.affine() for layer in self.psi], self.expand.affine()
        summed = torch.promote_types(x.dtype, torch.float32)  # sums over millions of points need the digits

        def side(block: Tensor, direction: int) -> tuple[Tensor, Tensor]:
            """X [B, N, c] and Psi [B, N, D] of a direction."""
            part = slice(direction * self.reduced, (direction + 1) * self.reduced)
            features = F.linear(_rows(block), weight[part], None if bias is None else bias[part])
            features /= _lengths(features)
            return features, self._psi(features, self.psi[direction], psi_maps[direction])

        def collect(block: Tensor) -> tuple[Tensor, Tensor]:
            """What it adds to Psi^T X [B, D, c] and to the squared lengths of the columns of Psi [B, D]."""
            features, psi = side(block, 0)
            return torch.bmm(psi.transpose(1, 2), features).to(summed), psi.square().sum(dim=1, dtype=summed)

        latent, squares = 0.0, 0.0
        for block in blocks:
            nodes, lengths = collect(block)
            latent, squares = latent + nodes, squares + lengths
        if self.mode == "asymmetric":
            latent = latent / squares.sqrt().clamp_min(_TINY_LENGTH).unsqueeze(2)
        messages = self._messages(latent.to(x.dtype))
        last = len(self.psi) - 1

        def scatter(block: Tensor, target: Tensor) -> None:
            visible = self._to_visible(side(block, last)[1], messages)
            context = F.linear(visible, *expand_map).transpose(1, 2)
            if self.residual:
                torch.addcmul(block, context, self.scale, out=target)
            else:
                target.copy_(context)

        result = torch.empty_like(x)
        for block, target in zip(blocks, result.split(blocks[0].shape[2], dim=2), strict=True):
            scatter(block, target)
        return result

    def _check_input(self, x: Tensor) -> None:
        if x.dim() < 3 or x.shape[1] != self.in_channels:
            raise ValueError(f"x must be [B, {self.in_channels}, *spatial], got {list(x.shape)}")

    def extra_repr(self) -> str:
        return (
            f"latent_dims={self.dims}, mode={self.mode!r}, mixture={self.mixture!r}, graph_conv={self.graph_conv}, "
            f"norm={self.norm!r}"
        )


def _rows(x: Tensor) -> Tensor:
    """[B, C, N] -> [B, N, C] contiguous; no copy where the channels are last in memory."""
    return x.transpose(1, 2).contiguous()


def _join(parts: Sequence[Tensor]) -> Tensor:
    """Side by side along the last dimension; a single part is not copied."""
    return torch.cat(tuple(parts), dim=-1) if len(parts) > 1 else parts[0]


def _latent_affinity(latent: Tensor) -> Tensor:
    """F_X [B, d, d] of one kernel's latent nodes [B, d, c]."""
    unit = _UnitRows.apply(latent)
    return torch.bmm(unit, unit.transpose(1, 2)).softmax(dim=-1)


def _lengths(x: Tensor) -> Tensor:
    """Euclidean lengths of rows, [..., 1], safe to divide by; of the dtype of `x` also where autocast widens norms."""
    if x.device.type == "cpu" and x.stride(-1) != 1:  # an order of memory that makes PyTorch's norm eight times slower
        lengths = torch.linalg.vecdot(x, x).sqrt_().unsqueeze(-1)
    else:
        lengths = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return lengths.clamp_min_(_TINY_LENGTH).to(x.dtype)


class _UnitRows(torch.autograd.Function):
    """Rows [..., c] divided by their lengths: `F.normalize` with a gradient that takes a third of its passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        lengths = _lengths(x)
        unit = x / lengths
        ctx.save_for_backward(unit, lengths)
        return unit

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        unit, lengths = ctx.saved_tensors
        return torch.addcmul(grad, unit, (grad * unit).sum(dim=-1, keepdim=True), value=-1) / lengths


class _UnitRowsProduct(torch.autograd.Function):
    """`normalize(a, dim=-1) @ b`: `a` [B, R, S], `b` [B, S, T] -> [B, R, T]; the quotient is taken of the product.

    Here `a`, with a row or column a point, is the widest tensor, and T is small: `a` is only read, and its gradient is
    written once.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        lengths = _lengths(a)
        product = torch.bmm(a, b) / lengths
        ctx.save_for_backward(a, b, product, lengths)
        return product

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """With l a row's length: da = (g / l) b^T - a (g . product) / l^2, db = a^T (g / l)."""
        a, b, product, lengths = ctx.saved_tensors
        grad = grad / lengths
        along = (grad * product).sum(dim=-1, keepdim=True) / lengths
        # In the memory order of `a`, a transposed view or not.
        if a.stride(2) == 1:
            grad_a = torch.bmm(grad, b.transpose(1, 2))
        else:
            grad_a = torch.bmm(b, grad.transpose(1, 2)).transpose(1, 2)
        return grad_a.addcmul_(a, along, value=-1), torch.bmm(a.transpose(1, 2), grad)


def _check(
    in_channels: int, channel_stride: int, dims: tuple[int, ...], kernels: int | None, mode: str, mixture: str
) -> None:
    if channel_stride < 1 or in_channels < channel_stride:
        raise ValueError(f"in_channels must be at least channel_stride={channel_stride} >= 1, got {in_channels}")
    if not dims or min(dims) < 1:
        raise ValueError(f"latent_dims must be positive, got {dims}")
    if kernels is not None and kernels != len(dims):
        raise ValueError(f"latent_dims must give one d per kernel: kernels={kernels}, got {dims}")
    if mode not in ("asymmetric", "symmetric"):
        raise ValueError(f"mode must be 'asymmetric' or 'symmetric', got {mode!r}")
    if mixture not in ("features", "affinity"):
        raise ValueError(f"mixture must be 'features' or 'affinity', got {mixture!r}")

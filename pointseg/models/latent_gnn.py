"""LatentGNN: long-range context through a few latent nodes, at a cost linear in the number of points.

Source: Zhang, Yan, He, "LatentGNN: Learning Efficient Non-local Relations for Visual Recognition", ICML 2019; equation
numbers are the paper's. B batch, N points (or pixels), C channels, c reduced channels, K kernels, d latent nodes of a
kernel, D all latent nodes (the sum of the d).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointseg.models.layers import Layer


class LatentGNN(nn.Module):
    """Adds context from all points to each point's features: `[B, C, *spatial] -> [B, C, *spatial]`.

    With X [N, c] the features after a bottleneck (linear + BatchNorm, unit length per point; c = C / channel_stride):

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
    - W and h are always present (the released module has them as an option that is off by default; the parameter
      counts of the paper's Table 3 are those with them). W multiplies the d latent nodes: cheaper, and the same.

    Several kernels are combined in one of two ways:

    - `mixture="features"` (section 4.1.1, the released module, Table 3's counts): every kernel has its own W, and `up`
      maps the K results h(A_m X W_m), side by side, to C channels; its K blocks are the learned mixture weights.
    - `mixture="affinity"` (equation (14) to the letter): A = sum_m w_m Psi_m F_m Psi_m^T with learned scalars
      w_m that start at 1 / K, one W and one h.

    Args:
        in_channels: C, a multiple of `channel_stride`.
        latent_dims: d for all kernels, or one d per kernel.
        kernels: K; if None, the length of `latent_dims`, or 1.
    """

    def __init__(
        self,
        in_channels: int,
        latent_dims: int | Sequence[int],
        channel_stride: int = 4,
        kernels: int | None = None,
        mode: Literal["asymmetric", "symmetric"] = "asymmetric",
        mixture: Literal["features", "affinity"] = "features",
    ) -> None:
        super().__init__()
        dims = (latent_dims,) * (kernels or 1) if isinstance(latent_dims, int) else tuple(latent_dims)
        _check(in_channels, channel_stride, dims, kernels, mode, mixture)
        reduced, directions = in_channels // channel_stride, 2 if mode == "asymmetric" else 1
        self.in_channels, self.reduced, self.dims, self.mode, self.mixture = in_channels, reduced, dims, mode, mixture

        # Both directions' bottlenecks are one matrix product; so are all kernels' Psi.
        self.reduce = Layer(in_channels, directions * reduced, relu=False)
        self.psi = nn.ModuleList(Layer(reduced, sum(dims)) for _ in range(directions))
        own = len(dims) if mixture == "features" else 1
        self.message = nn.Parameter(torch.empty(own, reduced, reduced))  # W of each kernel
        self.activation = nn.Sequential(nn.BatchNorm1d(own * reduced), nn.ReLU(inplace=True))  # h
        self.expand = Layer(own * reduced, in_channels, relu=False)
        self.scale = nn.Parameter(torch.zeros(()))  # lambda of (15)
        if mixture == "affinity":
            self.mixture_weights = nn.Parameter(torch.full((len(dims),), 1 / len(dims)))  # w of (14)
        kernel = torch.repeat_interleave(torch.arange(len(dims)), torch.tensor(dims))  # [D]: whose node is it?
        columns = torch.arange(len(dims)).repeat_interleave(reduced)  # [K c]: whose result is it?
        self.register_buffer("kernel", kernel, persistent=False)
        self.register_buffer("foreign_nodes", kernel[:, None] != kernel, persistent=False)  # [D, D]
        self.register_buffer("foreign_columns", kernel[:, None] != columns, persistent=False)  # [D, K c]
        for matrix in self.message:
            nn.init.xavier_uniform_(matrix)

    def forward(self, x: Tensor) -> Tensor:
        """`x` [B, C, *spatial]; not copied when its memory is channels-last, as `y.transpose(1, 2)` of [B, N, C]."""
        if x.dim() < 3 or x.shape[1] != self.in_channels:
            raise ValueError(f"x must be [B, {self.in_channels}, *spatial], got {list(x.shape)}")
        context = self.context(x.flatten(2).transpose(1, 2).contiguous())
        return torch.addcmul(x, context.transpose(1, 2).unflatten(2, x.shape[2:]), self.scale)

    def context(self, x: Tensor) -> Tensor:
        """Equations (5)-(14): up(X~) [B, N, C] of `x` [B, N, C] contiguous."""
        reduced = [F.normalize(part, dim=-1) for part in self.reduce(x).split(self.reduced, dim=-1)]  # X: [B, N, c]
        psi = [layer(part) for layer, part in zip(self.psi, reduced, strict=True)]  # [B, N, D]
        collect, scatter = psi[0], psi[-1]
        rows = torch.stack([_lengths(part, dim=-1) for part in scatter.split(self.dims, dim=-1)], dim=-1)  # [B, N, K]
        if self.mode == "symmetric":
            collect = scatter = scatter / rows[..., self.kernel]

        # Asymmetric: dividing what Psi produces by its lengths is dividing Psi, and touches much smaller tensors.
        latent = collect.transpose(1, 2) @ reduced[0]  # Psi^T X: [B, D, c]
        if self.mode == "asymmetric":
            latent = latent / _lengths(collect, dim=1).unsqueeze(2)
        latent = self._latent_affinity(latent) @ latent  # (6), (10), before W
        visible = (scatter @ self._messages(latent)).unflatten(2, (len(self.dims), -1))  # A_m X W_m: [B, N, K, c]
        if self.mode == "asymmetric":
            visible = visible / rows.unsqueeze(3)
        if self.mixture == "affinity":
            visible = (visible * self.mixture_weights[:, None]).sum(dim=2, keepdim=True)  # (14)
        return self.expand(self.activation(visible.flatten(0, 1).flatten(1)).view(*x.shape[:2], -1))  # (7), (11), up

    def _latent_affinity(self, latent: Tensor) -> Tensor:
        """F_X of all kernels as the diagonal blocks of one matrix [B, D, D]; nodes of different kernels do not talk."""
        unit = F.normalize(latent, dim=-1)
        cosine = unit @ unit.transpose(1, 2)
        if len(self.dims) > 1:
            cosine = cosine.masked_fill(self.foreign_nodes, float("-inf"))
        return cosine.softmax(dim=-1)

    def _messages(self, latent: Tensor) -> Tensor:
        """[B, D, c] times each node's W -> [B, D, K c], kernel m's nodes in columns m c .. (m + 1) c, zeros elsewhere.

        So one product Psi @ messages [N, D] x [D, K c] propagates all kernels, each on its own.
        """
        weight = self.message.expand(len(self.dims), -1, -1)
        messages = latent @ weight.transpose(0, 1).flatten(1)
        return messages.masked_fill(self.foreign_columns, 0) if len(self.dims) > 1 else messages

    def extra_repr(self) -> str:
        return f"latent_dims={self.dims}, mode={self.mode!r}, mixture={self.mixture!r}"


def _lengths(x: Tensor, dim: int) -> Tensor:
    """Euclidean lengths along `dim`, safe to divide by: a vector of zeros stays one."""
    return torch.linalg.vector_norm(x, dim=dim).clamp_min(1e-12)


def _check(
    in_channels: int, channel_stride: int, dims: tuple[int, ...], kernels: int | None, mode: str, mixture: str
) -> None:
    if channel_stride < 1 or in_channels < 1 or in_channels % channel_stride:
        raise ValueError(f"in_channels must be a multiple of channel_stride={channel_stride}, got {in_channels}")
    if not dims or min(dims) < 1:
        raise ValueError(f"latent_dims must be positive, got {dims}")
    if kernels is not None and kernels != len(dims):
        raise ValueError(f"latent_dims must give one d per kernel: kernels={kernels}, got {dims}")
    if mode not in ("asymmetric", "symmetric"):
        raise ValueError(f"mode must be 'asymmetric' or 'symmetric', got {mode!r}")
    if mixture not in ("features", "affinity"):
        raise ValueError(f"mixture must be 'features' or 'affinity', got {mixture!r}")

"""The non-local block that LatentGNN is compared with.

Source: equations (1)-(4) of Zhang et al., "LatentGNN", ICML 2019, after Wang et al., "Non-local Neural Networks",
CVPR 2018. B batch, N points (or pixels), C channels, c reduced channels.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointseg.models.layers import Layer, Norm

_TINY_DEGREE = 1e-6  # a node without neighbours gets no message instead of a division by 0


class NonLocalBlock(nn.Module):
    """Adds context from all points to each point's features: `[B, C, *spatial] -> [B, C, *spatial]`.

        X~  = h(A X W)                     (1), (2), h = ReLU
        out = input + scale * up(X~)       up = linear + BatchNorm back to C channels; the scale starts at 0

    Affinities, with S and T [N, c] two learned linear embeddings of the input (c = C // channel_stride), as in Wang et
    al., and X W a third:

    - "similarity": A_ij = s_i . t_j, (3); the paper's experiments.
    - "laplacian": A = D^-1 M, (4), M_ij = s_i . t_j of embeddings through a ReLU, so that no degree D_ii is negative.
    - "softmax": A_ij = softmax_j(s_i . t_j), Wang et al.'s embedded Gaussian.

    The first two have no nonlinearity between the products, so S (T^T X W) is computed instead of (S T^T) X W whenever
    N > c: the same function, no [N, N] matrix. The third is computed blockwise by PyTorch's attention.

    `norm` is the normalisation in `up`: BatchNorm, frozen statistics, or none, as for LatentGNN.
    """

    def __init__(
        self,
        in_channels: int,
        channel_stride: int = 2,
        affinity: Literal["similarity", "laplacian", "softmax"] = "similarity",
        *,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        if channel_stride < 1 or in_channels < channel_stride:
            raise ValueError(f"in_channels must be at least channel_stride={channel_stride} >= 1, got {in_channels}")
        if affinity not in ("similarity", "laplacian", "softmax"):
            raise ValueError(f"affinity must be 'similarity', 'laplacian' or 'softmax', got {affinity!r}")
        reduced = in_channels // channel_stride
        self.in_channels, self.reduced, self.affinity = in_channels, reduced, affinity
        self.embed = nn.Linear(in_channels, 3 * reduced, bias=False)  # S, T and X W side by side
        self.expand = Layer(reduced, in_channels, relu=False, norm=norm)
        self.scale = nn.Parameter(torch.zeros(()))
        for part in self.embed.weight.split(reduced):
            nn.init.xavier_uniform_(part)

    def forward(self, x: Tensor) -> Tensor:
        """`x` [B, C, *spatial]; not copied when its memory is channels-last, as `y.transpose(1, 2)` of [B, N, C]."""
        if x.dim() < 3 or x.shape[1] != self.in_channels:
            raise ValueError(f"x must be [B, {self.in_channels}, *spatial], got {list(x.shape)}")
        context = self.context(x.flatten(2).transpose(1, 2).contiguous())
        return torch.addcmul(x, context.transpose(1, 2).unflatten(2, x.shape[2:]), self.scale)

    def context(self, x: Tensor) -> Tensor:
        """up(h(A X W)) [B, N, C] of `x` [B, N, C] contiguous."""
        s, t, message = self.embed(x).split(self.reduced, dim=-1)  # [B, N, c] each
        if self.affinity == "softmax":
            # PyTorch's blockwise kernels want a dimension of heads; without it the [N, N] matrix is written out.
            heads = (part.unsqueeze(1) for part in (s, t, message))
            gathered = F.scaled_dot_product_attention(*heads, scale=1.0).squeeze(1)
        elif self.affinity == "laplacian":
            s, t = s.relu(), t.relu()
            degree = s @ t.sum(dim=1).unsqueeze(2)  # D_ii = s_i . sum_j t_j: [B, N, 1]
            gathered = _product(s, t, message) / degree.clamp_min(_TINY_DEGREE)
        else:
            gathered = _product(s, t, message)
        return self.expand(gathered.relu())

    def extra_repr(self) -> str:
        return f"affinity={self.affinity!r}"


def _product(s: Tensor, t: Tensor, message: Tensor) -> Tensor:
    """S T^T X W [B, N, c] in the cheaper order."""
    _, points, channels = s.shape
    if points > channels:
        return s @ (t.transpose(1, 2) @ message)
    return (s @ t.transpose(1, 2)) @ message

"""LatentGNN in training on the CPU: from the points' bottlenecks to the latent nodes, among these, and back to points.

Legend: B clouds, N points, c features, D latent nodes, K kernels. Everything is float32 or float64. Nothing here has a
gradient of its own: `latent_gnn_backward` is one. BatchNorm's parameters come in threes: of the bottlenecks [2 * c], of
Psi for collecting [D] and of Psi for scattering [D].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.library import register_fake

_library = torch.ops.pointnet2_ops


def latent_gnn(
    rows: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    eps: Sequence[float],
    psi: Sequence[Tensor],
    message: Tensor,
    dims: Sequence[int],
    clouds: int,
) -> tuple[Tensor, ...]:
    """What the points hear through the latent nodes; Psi is never written out.

    With X, X' the two halves of BatchNorm(rows), their rows of unit length; Psi = ReLU(BatchNorm(X psi[0]^T)), its
    columns of unit length in each cloud; Psi' = ReLU(BatchNorm(X' psi[1]^T)), its rows of unit length in each kernel:
    Z = Psi^T X; F = softmax of the cosines between the rows of Z, in each kernel; result = Psi' F Z message.

    Args:
        rows: [B * N, 2 * c], bottlenecks for collecting and for scattering before BatchNorm.
        weights, biases, eps: BatchNorm's, of batch statistics.
        psi: two linear maps [D, c].
        message: [K, c, c].
        dims: each kernel's share of the D latent nodes.
        clouds: B.

    Returns:
        [B * N, K * c]; means and variances [2, 2 * c + 2 * D + K * c] of the three BatchNorms' inputs and of this
        result; and seven tensors more that `latent_gnn_backward` wants.
    """
    return _library.latent_gnn(rows, weights, biases, eps, psi, message, dims, clouds)


def latent_gnn_backward(
    grad: Tensor,
    rows: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    eps: Sequence[float],
    psi: Sequence[Tensor],
    message: Tensor,
    dims: Sequence[int],
    clouds: int,
    kept: Sequence[Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of rows, of all weights and all biases [2, 2 * c + 2 * D], of psi [2, D, c] and of message.

    grad: [B * N, K * c]. kept: all that `latent_gnn` returned.
    """
    return _library.latent_gnn_backward(grad, rows, weights, biases, eps, psi, message, dims, clouds, kept)


@register_fake("pointnet2_ops::latent_gnn")
def _(rows, weights, biases, eps, psi, message, dims, clouds) -> tuple[Tensor, ...]:
    count, (nodes, features), kernels = rows.shape[0], psi[0].shape, len(dims)
    shapes = [
        (count, kernels * features),
        (2, 2 * features + 2 * nodes + kernels * features),
        (count, 2 * features),
        (clouds, nodes, features),
        (clouds, nodes),
        (clouds, sum(d * d for d in dims)),
        (clouds, nodes, features),
        (count, kernels),
    ]
    results = [rows.new_empty(shape) for shape in shapes]
    return *results[:3], rows.new_empty(2, features, 1 + min(nodes, features), dtype=torch.float64), *results[3:]


@register_fake("pointnet2_ops::latent_gnn_backward")
def _(grad, rows, weights, biases, eps, psi, message, dims, clouds, kept) -> tuple[Tensor, ...]:
    channels = rows.shape[1] + 2 * psi[0].shape[0]
    shapes = [rows.shape, (2, channels), (2, *psi[0].shape), message.shape]
    return tuple(rows.new_empty(shape) for shape in shapes)

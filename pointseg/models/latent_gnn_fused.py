"""LatentGNN in training on the CPU, by operators that never write Psi out, and its gradient.

The moments of BatchNorm are those of the batch, and the backward pass differentiates through them. B clouds, N points,
C channels, c reduced channels, K kernels, D latent nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pointnet2_ops import latent, rows
from torch import Tensor, nn

_NORMS = 5


class FusedLatentGNN(torch.autograd.Function):
    """`apply(x [B, N, C], dims, norms, scale, *maps, *weights, *biases) -> x + scale * context(x)` [B, N, C].

    norms: BatchNorm of the bottlenecks, of Psi for collecting and for scattering, of h and of the expansion, whose
    running statistics move; weights and biases are theirs. maps: the linear maps of the bottlenecks [2 * c, C], of Psi
    [D, c] twice, W [K, c, c] and the expansion [C, K * c].
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        dims: Sequence[int],
        norms: Sequence[nn.BatchNorm1d],
        scale: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        reduce, *middle, expand = parameters[:_NORMS]
        weights, biases = parameters[_NORMS : 2 * _NORMS], parameters[2 * _NORMS :]
        eps = [norm.eps for norm in norms]
        points = x.view(-1, x.shape[2])
        reduced = points @ reduce.T
        kept = latent.latent_gnn(reduced, weights[:3], biases[:3], eps[:3], middle[:2], middle[2], dims, len(x))
        heard, moments = kept[:2]
        sizes = _sizes(middle)
        means, variances = (list(row.split_with_sizes((*sizes, heard.shape[1]))) for row in moments.unbind())
        moments_h = means[3], variances[3]
        y, mean_y, variance_y = rows.norm_relu_linear(heard, None, *moments_h, weights[3], biases[3], eps[3], expand)
        rows.move_statistics(
            [norm.running_mean for norm in norms],
            [norm.running_var for norm in norms],
            [norm.num_batches_tracked for norm in norms],
            [*means, mean_y],
            [*variances, variance_y],
            norms[0].momentum,
            len(points),
        )
        scaled = weights[4] * scale, biases[4] * scale
        ctx.save_for_backward(points, scale, *parameters, reduced, *kept, *moments_h, y, mean_y, variance_y, *scaled)
        ctx.settings = len(x), dims, eps
        return rows.norm_relu(y, mean_y, variance_y, *scaled, eps[4], relu=False).add_(points).view(x.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        clouds, dims, eps = ctx.settings
        points, scale, *saved = ctx.saved_tensors
        shape, grad = grad.shape, grad.reshape(points.shape)
        reduce, *middle, expand = saved[:_NORMS]
        weights, biases, saved = saved[_NORMS : 2 * _NORMS], saved[2 * _NORMS : 3 * _NORMS], saved[3 * _NORMS :]
        reduced, kept, moments_h, (y, *settings) = saved[0], saved[1:10], saved[10:12], saved[12:]
        grad_y, *of_scaled = rows.norm_relu_backward(grad, y, None, *settings, eps[4], relu=False)
        grad_scale = of_scaled[0] @ weights[4] + of_scaled[1] @ biases[4]
        grad_heard, *of_h, grad_expand = rows.norm_relu_linear_backward(
            grad_y, kept[0], None, *moments_h, weights[3], biases[3], eps[3], expand
        )
        del grad_y  # it and the next are wide
        grad_reduced, of_norms, grad_psi, grad_message = latent.latent_gnn_backward(
            grad_heard, reduced, weights[:3], biases[:3], eps[:3], middle[:2], middle[2], dims, clouds, kept
        )
        del grad_heard
        grad_weights, grad_biases = (
            (*row.split_with_sizes(_sizes(middle)), h, last * scale)
            for row, h, last in zip(of_norms.unbind(), of_h, of_scaled, strict=True)
        )
        grad_x = torch.addmm(grad, grad_reduced, reduce).view(shape)
        maps = grad_reduced.T @ points, *grad_psi.unbind(), grad_message, grad_expand
        return grad_x, None, None, grad_scale, *maps, *grad_weights, *grad_biases


def _sizes(psi: Sequence[Tensor]) -> tuple[int, int, int]:
    """Channels of the first three norms."""
    nodes, features = psi[0].shape
    return 2 * features, nodes, nodes

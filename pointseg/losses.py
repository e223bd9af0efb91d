"""Cross entropy over supervised points, as a sum and a count so that processes can add before they divide."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def class_weights(counts: Tensor) -> Tensor:
    """PointNet++'s weight of each class: 1 / log(1.2 + frequency). `counts` [C] points per class -> [C] float32."""
    total = counts.sum()
    if counts.dim() != 1 or total <= 0 or (counts < 0).any():
        raise ValueError(f"counts must be [C], not negative and not all 0, got {counts.tolist()}")
    return torch.log(1.2 + counts.double() / total).reciprocal().float()


def segmentation_loss(
    logits: Tensor,
    label: Tensor,
    supervised: Tensor,
    class_weight: Tensor | None = None,
    *,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Weighted cross entropy summed over supervised points, float32, and their number, int64.

    The loss to minimise is sum / max(count, 1): an average over supervised points, not over their weights, as in
    PointNet++. Without any supervised point the sum is 0 and so is its gradient.

    Args:
        logits: [..., C], any floating dtype; the loss is computed in float32 (float64 for float64).
        label: [...] int64 in 0 .. C - 1 where supervised; anything elsewhere.
        supervised: [...] bool.
        class_weight: [C] factor of each class.
        smoothing: share of the target that is spread evenly over all classes (Szegedy et al. 2016).
    """
    if label.shape != logits.shape[:-1] or supervised.shape != label.shape or supervised.dtype != torch.bool:
        raise ValueError(
            f"label and supervised (bool) must be {list(logits.shape[:-1])}, got {list(label.shape)} and "
            f"{list(supervised.shape)} {supervised.dtype}"
        )
    rows = logits.flatten(0, -2)
    rows = rows if rows.dtype == torch.float64 else rows.float()
    target = torch.where(supervised, label, -100).flatten()
    total = F.cross_entropy(rows, target, class_weight, ignore_index=-100, reduction="sum", label_smoothing=smoothing)
    return total, supervised.sum()

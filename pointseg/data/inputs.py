"""What a network is given of a chunk's points; the same for training, evaluation and prediction.

B chunks, N points a chunk, F feature channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointseg.config import DataConfig


def point_inputs(xyz: Tensor, rgb: Tensor | None, origin: Tensor, config: DataConfig) -> tuple[Tensor, Tensor | None]:
    """Coordinates [B, N, 3] and features [B, N, F] or None, both float32, on the device of `xyz`.

    Args:
        xyz: [B, N, 3] float32. rgb: [B, N, 3] uint8, needed where `config.color`.
        origin: [B, 3] float32, the centre of each chunk's block in x and y, and the scene's floor.
    """
    features = []
    if config.color:
        features.append(rgb.float() / 255)
    if config.height:
        features.append(xyz[..., 2:] - origin[:, None, 2:])
    if config.center:
        xyz = xyz - origin[:, None]
    return xyz, torch.cat(features, dim=2) if features else None


def feature_channels(config: DataConfig) -> int:
    """F: point features beside the coordinates."""
    return 3 * config.color + config.height

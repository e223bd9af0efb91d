"""From a configuration to a network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from pointseg.config import ModelConfig
from pointseg.errors import InputError
from pointseg.models.latent_gnn import LatentGNN
from pointseg.models.non_local import NonLocalBlock
from pointseg.models.pointcnn import PointCNN, encoder_channels
from pointseg.models.pointnet import PointNet
from pointseg.models.pointnet2 import PointNet2, level_channels
from pointseg.models.voxel_cnn import VoxelCNN


def build_model(config: ModelConfig, num_classes: int, in_features: int = 0) -> nn.Module:
    """The network of `config`: `forward(xyz [B, N, 3], features [B, N, in_features] | None) -> [B, N, num_classes]`.

    `in_features` is the number of per-point inputs besides xyz (3 with colour).
    Raises InputError where the parts of `config` do not fit together.
    """
    try:
        return _build(config, num_classes, in_features)
    except ValueError as error:
        raise InputError(f"model: {error}") from None


def _build(config: ModelConfig, num_classes: int, in_features: int) -> nn.Module:
    if config.network == "pointnet2":
        return PointNet2(
            num_classes,
            config.levels,
            config.fp_mlps,
            context=_context(config, level_channels(config.levels)),
            in_features=in_features,
            head=config.head,
            dropout=config.dropout,
        )
    if config.network == "pointcnn":
        pointcnn = config.pointcnn
        return PointCNN(
            num_classes,
            pointcnn.encoder,
            pointcnn.decoder,
            context=_context(config, encoder_channels(pointcnn.encoder)),
            in_features=in_features,
            head=pointcnn.head,
            dropout=pointcnn.dropout,
        )
    if config.network == "pointnet":
        pointnet = config.pointnet
        return PointNet(num_classes, in_features=in_features, transforms=pointnet.transforms, dropout=pointnet.dropout)
    return VoxelCNN(num_classes, hidden=config.voxel_cnn.hidden, dropout=config.voxel_cnn.dropout)


def _context(config: ModelConfig, channels: Sequence[int]) -> list[nn.Module]:
    """The modules after each encoder level of so many channels; the same places for both kinds, as in Table 3."""
    if config.context == "none":
        return []
    if config.context == "non_local":
        return [NonLocalBlock(width) for width in channels]
    latent = config.latent_gnn
    return [
        LatentGNN(
            width,
            d,
            latent.channel_stride,
            latent.kernels,
            latent.mode,
            latent.mixture,
            graph_conv=latent.graph_conv,
            norm=latent.norm,
        )
        for width, d in zip(channels, latent.latent_dims, strict=True)
    ]

"""From a configuration to a network."""

from __future__ import annotations

from torch import nn

from pointseg.config import ModelConfig
from pointseg.errors import InputError
from pointseg.models.latent_gnn import LatentGNN
from pointseg.models.non_local import NonLocalBlock
from pointseg.models.pointnet2 import PointNet2, level_channels


def build_model(config: ModelConfig, num_classes: int, in_features: int = 0) -> PointNet2:
    """The network of `config`; `in_features` is the number of per-point inputs besides xyz (3 with colour).

    Raises InputError where the parts of `config` do not fit together.
    """
    try:
        return PointNet2(
            num_classes,
            config.levels,
            config.fp_mlps,
            context=_context(config),
            in_features=in_features,
            head=config.head,
            dropout=config.dropout,
        )
    except ValueError as error:
        raise InputError(f"model: {error}") from None


def _context(config: ModelConfig) -> list[nn.Module]:
    """The modules after each encoder level; non-local blocks stand in the same places, as in the paper's Table 3."""
    channels = level_channels(config.levels)
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

"""The single-scale network as most code has it: the original package's modules, channels first, its own kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any
from unittest import mock

import torch
from pointnet2_ops import pointnet2_modules, pointnet2_utils
from torch import Tensor, nn

from pointseg.config import ModelConfig
from pointseg.models.pointnet2 import level_channels

_original = torch.ops.pointnet2_original


class _Group(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, idx: Tensor) -> Tensor:
        ctx.save_for_backward(idx)
        ctx.points = features.shape[2]
        return _original.group(features.float().contiguous(), idx)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _original.group_backward(grad.float().contiguous(), *ctx.saved_tensors, ctx.points), None


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(idx, weight)
        ctx.points = features.shape[2]
        return _original.interpolate(features.float().contiguous(), idx, weight.contiguous())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _original.interpolate_backward(grad.float().contiguous(), *ctx.saved_tensors, ctx.points), None, None


def _three_nn(unknown: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    squared, idx = _original.three_nn(unknown.contiguous(), known.contiguous())
    return squared.sqrt(), idx


FUNCTIONS = {
    "furthest_point_sample": lambda xyz, npoint: _original.furthest_point_sample(xyz.contiguous(), npoint),
    "ball_query": lambda radius, nsample, xyz, new_xyz: _original.ball_query(
        xyz.contiguous(), new_xyz.contiguous(), radius, nsample
    ),
    "three_nn": _three_nn,
    "grouping_operation": _Group.apply,
    "gather_operation": lambda features, idx: _Group.apply(features, idx[:, :, None].contiguous()).squeeze(3),
    "three_interpolate": _Interpolate.apply,
}


@contextmanager
def original_kernels() -> Iterator[None]:
    """`pointnet2_modules` work with the original's kernels inside."""
    with mock.patch.multiple(pointnet2_utils, **FUNCTIONS):
        yield


class Baseline(nn.Module):
    """xyz [B, N, 3] -> logits [B, N, num_classes]; the function of `PointNet2` without context, other parameters.

    To be called within `kernels()`.
    """

    kernels = staticmethod(original_kernels)

    def __init__(self, num_classes: int, config: ModelConfig) -> None:
        super().__init__()
        channels = (0, *level_channels(config.levels))
        self.encoder = nn.ModuleList()
        for (below, _), level in zip(pairwise(channels), config.levels, strict=True):
            (scale,) = level.scales
            self.encoder.append(
                pointnet2_modules.PointnetSAModule(
                    [below, *scale.mlp], level.points, scale.radius, scale.neighbours, use_xyz=True
                )
            )
        self.decoder = nn.ModuleList()
        coarse = channels[-1]
        for skip, widths in zip(reversed(channels[:-1]), config.fp_mlps, strict=True):
            self.decoder.append(pointnet2_modules.PointnetFPModule([coarse + skip, *widths]))
            coarse = widths[-1]
        self.head = nn.Sequential(
            nn.Conv1d(coarse, config.head, 1, bias=False),
            nn.BatchNorm1d(config.head),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
            nn.Conv1d(config.head, num_classes, 1),
        )

    def forward(self, xyz: Tensor) -> Tensor:
        points, features = [xyz], [None]
        for encode in self.encoder:
            centres, x = encode(points[-1], features[-1])
            points.append(centres)
            features.append(x)
        x = features.pop()
        for propagate in self.decoder:
            known = points.pop()
            x = propagate(points[-1], known, features.pop(), x)
        return self.head(x).transpose(1, 2)

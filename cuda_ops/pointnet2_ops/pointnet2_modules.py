"""Set abstraction and feature propagation modules of the original package: same arguments, shapes and parameter names.

Unlike there, the lists given as `mlp` and `mlps` are left as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointnet2_ops import pointnet2_utils


def build_shared_mlp(mlp_spec: Sequence[int], bn: bool = True) -> nn.Sequential:
    """1x1 convolutions (with BatchNorm if `bn`) and ReLUs from mlp_spec[0] to mlp_spec[-1] channels."""
    layers: list[nn.Module] = []
    for in_channels, out_channels in pairwise(mlp_spec):
        layers.append(nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=not bn))
        if bn:
            layers.append(nn.BatchNorm2d(out_channels))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class PointnetSAModuleMSG(nn.Module):
    """Set abstraction with several scales: sample centres, group around them, share an MLP, take the maximum.

    npoint: centres, or None to group all points into one. radii, nsamples, mlps: one entry a scale; mlps[i][0] counts
    the feature channels without the three of xyz that `use_xyz` adds.
    """

    def __init__(
        self,
        npoint: int | None,
        radii: Sequence[float | None],
        nsamples: Sequence[int | None],
        mlps: Sequence[Sequence[int]],
        bn: bool = True,
        use_xyz: bool = True,
    ):
        super().__init__()
        if not len(radii) == len(nsamples) == len(mlps):
            raise ValueError(
                f"radii, nsamples and mlps must be of one length, got {len(radii)}, {len(nsamples)} and {len(mlps)}"
            )
        self.npoint = npoint
        self.groupers = nn.ModuleList()
        self.mlps = nn.ModuleList()
        for radius, nsample, mlp in zip(radii, nsamples, mlps, strict=True):
            if npoint is None:
                self.groupers.append(pointnet2_utils.GroupAll(use_xyz))
            else:
                self.groupers.append(pointnet2_utils.QueryAndGroup(radius, nsample, use_xyz=use_xyz))
            self.mlps.append(build_shared_mlp([mlp[0] + (3 if use_xyz else 0), *mlp[1:]], bn))

    def forward(self, xyz: Tensor, features: Tensor | None = None) -> tuple[Tensor | None, Tensor]:
        """xyz [B, N, 3], features [B, C, N] -> new_xyz [B, npoint, 3], features [B, sum of mlps[i][-1], npoint].

        With npoint=None: None and [B, sum of mlps[i][-1], 1].
        """
        new_xyz = None
        if self.npoint is not None:
            idx = pointnet2_utils.furthest_point_sample(xyz, self.npoint)
            new_xyz = pointnet2_utils.gather_operation(xyz.transpose(1, 2), idx).transpose(1, 2).contiguous()
        scales = []
        for grouper, mlp in zip(self.groupers, self.mlps, strict=True):
            grouped = mlp(grouper(xyz, new_xyz, features))  # [B, C', npoint, nsample]
            scales.append(F.max_pool2d(grouped, kernel_size=[1, grouped.shape[3]]).squeeze(3))
        return new_xyz, torch.cat(scales, dim=1)


class PointnetSAModule(PointnetSAModuleMSG):
    """Set abstraction with one scale; arguments as in PointnetSAModuleMSG."""

    def __init__(
        self,
        mlp: Sequence[int],
        npoint: int | None = None,
        radius: float | None = None,
        nsample: int | None = None,
        bn: bool = True,
        use_xyz: bool = True,
    ):
        super().__init__(npoint, [radius], [nsample], [mlp], bn=bn, use_xyz=use_xyz)


class PointnetFPModule(nn.Module):
    """Feature propagation: interpolated known features (inverse distance) next to the unknown's own, a shared MLP."""

    def __init__(self, mlp: Sequence[int], bn: bool = True):
        super().__init__()
        self.mlp = build_shared_mlp(mlp, bn=bn)

    def forward(
        self, unknown: Tensor, known: Tensor | None, unknow_feats: Tensor | None, known_feats: Tensor
    ) -> Tensor:
        """unknown [B, N, 3], known [B, M, 3], unknow_feats [B, C1, N], known_feats [B, C2, M] -> [B, mlp[-1], N].

        Without `known`, the one column of `known_feats` [B, C2, 1] goes to every point.
        """
        if known is None:
            interpolated = known_feats.expand(-1, -1, unknown.shape[1])
        else:
            distance, idx = pointnet2_utils.three_nn(unknown, known)
            inverse = 1.0 / (distance + 1e-8)
            weight = inverse / inverse.sum(dim=2, keepdim=True)
            interpolated = pointnet2_utils.three_interpolate(known_feats, idx, weight)
        features = interpolated if unknow_feats is None else torch.cat([interpolated, unknow_feats], dim=1)
        return self.mlp(features.unsqueeze(-1)).squeeze(-1)

"""PointCNN for semantic segmentation of ScanNet, with context modules between its levels.

Source: Li, Bu, Sun, Wu, Di, Chen, "PointCNN", NeurIPS 2018, and its released ScanNet network ("x8, 2048 points, FPS").
There the second layer of the decoder is wired to the coordinates of another level than its features are of, and its
indices run past their end; here it is wired as the first, third and fourth are.

B batch, N points, M representative points, K neighbours, F input features, C channels. Features are channels-last.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pointnet2_ops.pointnet2_utils import furthest_point_sample, gather_operation
from torch import Tensor, nn

from pointseg.config import XConvConfig
from pointseg.models.layers import Dropout
from pointseg.models.neighbours import nearest_neighbours

BN_EPS = 1e-3  # TensorFlow's default, which the released network has


class PointCNN(nn.Module):
    """Logits for every point: `forward(xyz [B, N, 3], features [B, N, F] | None) -> [B, N, num_classes]`.

    Args:
        num_classes: outputs per point.
        encoder: X-Conv layers, fine to coarse; the first has all points, the others farthest-point samples.
        decoder: X-DeConv layers, coarse to fine: the first refines the coarsest level, each next goes one level finer.
            Their `points` are not used.
        context: modules on [B, C, M], one per encoder layer (C from `encoder_channels`), on its output; or none.
        in_features: F, per-point input besides xyz.
        head: channels of the two layers before the classifier.
        dropout: share of the last one's outputs that is dropped in training.
    """

    def __init__(
        self,
        num_classes: int,
        encoder: Sequence[XConvConfig],
        decoder: Sequence[XConvConfig],
        *,
        context: Sequence[nn.Module] = (),
        in_features: int = 0,
        head: int = 256,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        _check(encoder, decoder, context)
        self.points = tuple(layer.points for layer in encoder[1:])
        widths = encoder_channels(encoder)
        first = encoder[0].channels
        self.lift = Dense(in_features, first // 2) if in_features else None
        layers = [XConv(encoder[0], first // 2 if in_features else 0, first // (4 if in_features else 2), multiplier=4)]
        for below, layer in itertools.pairwise(encoder):
            multiplier = math.ceil(layer.channels / below.channels)
            layers.append(XConv(layer, below.channels, below.channels // 4, multiplier=multiplier))
        self.encoder = nn.ModuleList(layers)
        self.place = nn.Sequential(Dense(3, encoder[-1].channels // 4), Dense(encoder[-1].channels // 4))
        self.context = nn.ModuleList(context)
        # Where the decoder's layers take their features from (coarse) and bring them to (skip), fine levels counted up.
        coarse, source = widths[-1], encoder[-1].channels
        self.decoder, self.fuse = nn.ModuleList(), nn.ModuleList()
        for layer, skip in zip(decoder, reversed(widths), strict=True):
            self.decoder.append(XConv(layer, coarse, source // 4, multiplier=1))
            self.fuse.append(Dense(layer.channels + skip, layer.channels))
            coarse = source = layer.channels
        self.head = nn.Sequential(Dense(coarse, head), Dense(head), Dropout(dropout), nn.Linear(head, num_classes))
        nn.init.xavier_normal_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, xyz: Tensor, features: Tensor | None = None) -> Tensor:
        """`xyz` [B, N, 3] float32 metres, relative to the block's centre and the floor."""
        points = self._levels(xyz)
        x = self.lift(features) if self.lift is not None and features is not None else None
        stack, below = [], xyz
        for level, (layer, here) in enumerate(zip(self.encoder, points, strict=True)):
            x = layer(here, below, x)
            if level == len(points) - 1:
                x = torch.cat([self.place(here), x], dim=2)
            if self.context:
                x = self.context[level](x.transpose(1, 2)).transpose(1, 2)
            stack.append(x)
            below = here
        for layer, fuse, here, skip in zip(self.decoder, self.fuse, reversed(points), reversed(stack), strict=True):
            x = fuse(torch.cat([layer(here, below, x), skip], dim=2))
            below = here
        return self.head(x)

    def _levels(self, xyz: Tensor) -> list[Tensor]:
        """The points of every level: all of them, then farthest-point samples, each a beginning of the one before."""
        if xyz.dim() != 3 or xyz.shape[2] != 3 or xyz.shape[1] < self.points[0]:
            raise ValueError(f"xyz must be [B, N, 3] with N >= {self.points[0]}, got {list(xyz.shape)}")
        samples = furthest_point_sample(xyz, self.points[0])
        centres = gather_operation(xyz.transpose(1, 2), samples).transpose(1, 2)
        return [xyz, *(centres[:, :count] for count in self.points)]

    @torch.no_grad()
    def level_indices(self, xyz: Tensor) -> list[Tensor]:
        """Which points of `xyz` [B, N, 3] are the points of each level: [B, M_l] int64."""
        everything = torch.arange(xyz.shape[1], device=xyz.device).expand(len(xyz), -1)
        samples = furthest_point_sample(xyz, self.points[0]).long()
        return [everything, *(samples[:, :count] for count in self.points)]


class Dense(nn.Module):
    """Linear map without bias, ELU, BatchNorm, in this order: `[..., Ci] -> [..., Co]`; Co is Ci if not given."""

    def __init__(self, in_channels: int, out_channels: int | None = None) -> None:
        super().__init__()
        out_channels = out_channels or in_channels
        self.linear = nn.Linear(in_channels, out_channels, bias=False)
        self.norm = nn.BatchNorm1d(out_channels, eps=BN_EPS, momentum=0.01)
        nn.init.xavier_normal_(self.linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        return over_rows(self.norm, F.elu(self.linear(x)))


class XConv(nn.Module):
    """X-Conv: neighbours in local coordinates, lifted, joined to their features, transformed by X, convolved.

    The neighbours are every `dilation`-th of the K x `dilation` nearest. `forward(here [B, M, 3], below [B, N, 3],
    features [B, N, C] | None) -> [B, M, config.channels]`.
    """

    def __init__(self, config: XConvConfig, in_channels: int, lifted: int, *, multiplier: int) -> None:
        super().__init__()
        self.neighbours, self.dilation = config.neighbours, config.dilation
        self.lift = nn.Sequential(Dense(3, lifted), Dense(lifted))
        self.transform = XTransform(config.neighbours)
        width = lifted + in_channels
        self.depthwise = nn.Parameter(torch.empty(multiplier, config.neighbours, width))
        self.pointwise = Dense(width * multiplier, config.channels)
        nn.init.normal_(self.depthwise, std=math.sqrt(2 / (config.neighbours * (1 + multiplier))))

    def forward(self, here: Tensor, below: Tensor, features: Tensor | None) -> Tensor:
        nearest = nearest_neighbours(here, below, self.neighbours * self.dilation)
        index = nearest[:, :, :: self.dilation].contiguous()  # [B, M, K]
        local = take(below, index) - here.unsqueeze(2)
        x = self.lift(local)
        if features is not None:
            x = torch.cat([x, take(features, index)], dim=3)  # [B, M, K, C]
        x = self.transform(local).to(x.dtype) @ x
        # A depthwise convolution over all K neighbours: one weighted sum over them for each multiplier.
        return self.pointwise(torch.cat([(x * weight).sum(dim=2) for weight in self.depthwise], dim=2))


class XTransform(nn.Module):
    """The K x K matrix of X-Conv from local coordinates `[B, M, K, 3]`: a layer over all of them, two over columns."""

    def __init__(self, neighbours: int) -> None:
        super().__init__()
        squared = neighbours * neighbours
        self.first = Dense(3 * neighbours, squared)
        self.second, self.third = (nn.Parameter(torch.empty((neighbours,) * 3)) for _ in range(2))  # [column, row, new]
        self.second_norm, self.third_norm = (nn.BatchNorm1d(squared, eps=BN_EPS, momentum=0.01) for _ in range(2))
        for weight in (self.second, self.third):
            nn.init.normal_(weight, std=math.sqrt(2 / (neighbours * (1 + neighbours))))

    def forward(self, local: Tensor) -> Tensor:
        size = local.shape[2]
        x = self.first(local.flatten(2)).unflatten(2, (size, size))  # [B, M, row, column]
        x = over_rows(self.second_norm, F.elu(_columns(x, self.second)))
        x = over_rows(self.third_norm, _columns(x.unflatten(2, (size, size)), self.third))
        return x.unflatten(2, (size, size))


def _columns(x: Tensor, weight: Tensor) -> Tensor:
    """Each column's rows times a matrix of its own: [B, M, row, column], [column, row, new] -> [B, M, column * new]."""
    return torch.einsum("bmrc,crn->bmcn", x, weight.to(x.dtype)).flatten(2)


def over_rows(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """BatchNorm of `x` [..., C] over everything but the channels."""
    return norm(x.flatten(0, -2)).view(x.shape)


def take(features: Tensor, index: Tensor) -> Tensor:
    """`features` [B, N, C], `index` [B, M, K] -> [B, M, K, C]."""
    batch = torch.arange(len(features), device=features.device).view(-1, 1, 1)
    return features[batch, index]


def encoder_channels(encoder: Sequence[XConvConfig]) -> tuple[int, ...]:
    """Output channels of each encoder layer; the last one's have the global position in front."""
    last = encoder[-1].channels
    return (*(layer.channels for layer in encoder[:-1]), last + last // 4)


def _check(encoder: Sequence[XConvConfig], decoder: Sequence[XConvConfig], context: Sequence[nn.Module]) -> None:
    points = [layer.points for layer in encoder[1:]]
    if len(encoder) < 2 or encoder[0].points or not all(points) or points != sorted(points, reverse=True):
        raise ValueError(
            "encoder: the first layer must have points 0 (all), the others numbers that do not increase, "
            f"got {[layer.points for layer in encoder]}"
        )
    if len(decoder) != len(encoder):
        raise ValueError(f"decoder must have {len(encoder)} layers, one per encoder layer, got {len(decoder)}")
    if len(context) not in (0, len(encoder)):
        raise ValueError(f"context must have {len(encoder)} modules, one per layer, or none, got {len(context)}")
    for source, layer in zip((0, *points), encoder, strict=True):
        _check_reach(layer, source)
    for source, layer in zip(reversed([0, *points, points[-1]]), decoder, strict=False):
        _check_reach(layer, source)


def _check_reach(layer: XConvConfig, points: int) -> None:
    reach = layer.neighbours * layer.dilation
    if points and reach > points:
        raise ValueError(f"neighbours x dilation must be at most the {points} points of the level below, got {reach}")

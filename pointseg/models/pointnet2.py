"""PointNet++ for semantic segmentation, single- and multi-scale, with context modules between its levels.

Source: Qi, Yi, Su, Guibas, "PointNet++", NeurIPS 2017, and its released ScanNet network. The network here is the same
function computed with less work (the tests compare it with a plain implementation):

- the centres of level 2 and up are the first ones of level 1: level 1's centres are in farthest-point order, and
  farthest-point sampling of such a list that starts at its first point returns its prefix;
- the first linear layer of a level acts before grouping: W [x_j - c_i; f_j] = W_x (x_j - c_i) + W_f f_j, so W_f f is
  computed once a point and not once an edge. The offset is subtracted first: W_x x_j - W_x c_i would lose its bits;
- the first linear layer of the decoder acts before interpolation: W [interp(g); s] = interp(W_g g) + W_s s;
- on the CPU, equal points and the slots of a ball that repeat a neighbour are computed once (distinct.py).

B batch, N points, M centres, K neighbours, R distinct rows, F input features, C channels. Features are channels-last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pointnet2_ops.ops import group_mlp_max, interpolate_mlp
from pointnet2_ops.pointnet2_utils import (
    ball_query,
    furthest_point_sample,
    gather_operation,
    grouping_operation,
    three_interpolate,
    three_nn,
)
from torch import Tensor, nn

from pointseg.config import LevelConfig, ScaleConfig
from pointseg.models.distinct import (
    Balls,
    Points,
    distinct_balls,
    distinct_points,
    first_equal_points,
    take_rows,
    without_equal_points,
)
from pointseg.models.layers import Dropout, Layer, chain, is_fused, is_joined, linear_after, mlp
from pointseg.models.pooling import layer_max, maximum

_TINY_DISTANCE2 = 1e-10  # squared metres; a point that is its own centre gets all the weight


class Geometry(NamedTuple):
    """What a forward pass takes from xyz alone, so that it can be computed ahead. Level 0 is the input cloud."""

    samples: Tensor  # [B, M1] int32: level 1's centres in the input cloud; level l's are the first M_l of them
    neighbours: tuple[tuple[Tensor, ...], ...]  # [level - 1][scale]: [B, M_l, K] int32 into level l - 1
    nearest: tuple[Tensor, ...]  # [level - 1]: [B, M_(l-1), 3] int32, nearest centres of level l
    weights: tuple[Tensor, ...]  # [level - 1]: [B, M_(l-1), 3], inverse squared distances, sum 1


class PointNet2(nn.Module):
    """Logits for every point: `forward(xyz [B, N, 3], features [B, N, F] | None) -> [B, N, num_classes]`.

    Args:
        num_classes: outputs per point.
        levels: set-abstraction levels, fine to coarse; the numbers of centres must not increase.
        fp_mlps: feature-propagation MLPs, coarse to fine, one per level.
        context: modules on [B, C, M], one per level (C from `level_channels`), applied to the level's output; or none.
        in_features: F, per-point input besides xyz, such as 3 for colour.
        head: channels of the layer before the classifier.
        dropout: share of its outputs that is dropped in training.

    `distinct_neighbours` and `distinct_points` switch the last of the rewrites above, to measure it; the outputs and
    gradients do not depend on them.
    """

    distinct_neighbours = distinct_points = True

    def __init__(
        self,
        num_classes: int,
        levels: Sequence[LevelConfig],
        fp_mlps: Sequence[tuple[int, ...]],
        *,
        context: Sequence[nn.Module] = (),
        in_features: int = 0,
        head: int = 128,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        _check(levels, fp_mlps, context)
        self.in_features = in_features
        self.points = tuple(level.points for level in levels)
        channels = (in_features, *level_channels(levels))  # of levels 0, 1, ...
        self.encoder = nn.ModuleList(
            SetAbstraction(below, level.scales) for below, level in zip(channels[:-1], levels, strict=True)
        )
        self.context = nn.ModuleList(context)
        decoder, coarse = [], channels[-1]
        for skip, widths in zip(reversed(channels[:-1]), fp_mlps, strict=True):
            decoder.append(FeaturePropagation(coarse, skip, widths))
            coarse = widths[-1]
        self.decoder = nn.ModuleList(decoder)  # coarse to fine
        self.head = Head(Layer(coarse, head), Dropout(dropout), nn.Linear(head, num_classes))
        nn.init.xavier_uniform_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, xyz: Tensor, features: Tensor | None = None, geometry: Geometry | None = None) -> Tensor:
        """`xyz` [B, N, 3] float32 metres; `geometry` from `self.geometry(xyz)` if it was computed ahead."""
        self._check_input(xyz, features)
        geometry = geometry or self.geometry(xyz)
        centres = gather_operation(xyz.transpose(1, 2), geometry.samples).transpose(1, 2)  # [B, M1, 3]
        points = [xyz, *(centres[:, :count] for count in self.points)]
        stack = [features]  # of levels 0, 1, ...: [B, M_l, C_l]
        once = self._computes_equal_rows_once(xyz)
        first = first_equal_points(xyz, features) if once and self.distinct_points else None
        for level, encode in enumerate(self.encoder):
            neighbours = geometry.neighbours[level]
            if once:
                neighbours = self._distinct_neighbours(neighbours, points[level], first if level == 0 else None)
            x = encode(points[level], points[level + 1], stack[-1], neighbours)
            if self.context:
                x = self.context[level](x.transpose(1, 2)).transpose(1, 2)
            stack.append(x)
        x = stack.pop()
        for propagate, nearest, weights in zip(
            self.decoder, reversed(geometry.nearest), reversed(geometry.weights), strict=True
        ):
            finest = propagate is self.decoder[-1]
            distinct = distinct_points(first, xyz.dtype) if finest and first is not None else None
            x = propagate(x, stack.pop(), nearest, weights, self.head if finest else nn.Sequential(), distinct)
        return x

    @torch.no_grad()
    def level_indices(self, xyz: Tensor) -> list[Tensor]:
        """Which points of `xyz` [B, N, 3] are the centres of each level: [B, M_l] int64."""
        samples = furthest_point_sample(xyz, self.points[0]).long()
        return [samples[:, :count] for count in self.points]

    @torch.no_grad()
    def geometry(self, xyz: Tensor) -> Geometry:
        """Samples, balls and interpolation weights of `xyz` [B, N, 3] for all levels."""
        samples = furthest_point_sample(xyz, self.points[0])
        centres = gather_operation(xyz.transpose(1, 2), samples).transpose(1, 2).contiguous()
        points = [xyz, *(centres[:, :count].contiguous() for count in self.points)]
        neighbours, nearest, weights = [], [], []
        for below, above, encode in zip(points[:-1], points[1:], self.encoder, strict=True):
            neighbours.append(encode.neighbours(below, above))
            distance, index = three_nn(below, above)
            closeness = 1 / distance.square().clamp_min(_TINY_DISTANCE2)
            nearest.append(index)
            weights.append(closeness / closeness.sum(dim=2, keepdim=True))
        return Geometry(samples, tuple(neighbours), tuple(nearest), tuple(weights))

    def _computes_equal_rows_once(self, xyz: Tensor) -> bool:
        """In training where the norms of all layers can count equal rows, and in inference; on the CPU."""
        if torch.compiler.is_compiling() or xyz.device.type != "cpu" or xyz.dtype not in (torch.float32, torch.float64):
            return False
        if not self.training:
            return not torch.is_grad_enabled()
        parts = [*self.encoder.modules(), *self.decoder.modules(), *self.head.modules()]
        return torch.is_grad_enabled() and all(is_fused(part.norm, xyz) for part in parts if isinstance(part, Layer))

    def _distinct_neighbours(
        self, neighbours: tuple[Tensor, ...], xyz: Tensor, first: Tensor | None
    ) -> Sequence[Tensor] | Sequence[Balls]:
        """A level's `neighbours` in `xyz` as its fused operator, which skips padding, or its layers want them."""
        if _fuses(self, xyz):
            return neighbours if first is None else [without_equal_points(index, first) for index in neighbours]
        if not self.distinct_neighbours:
            return neighbours
        return [distinct_balls(index, xyz, first) for index in neighbours]

    def _check_input(self, xyz: Tensor, features: Tensor | None) -> None:
        if xyz.dim() != 3 or xyz.shape[2] != 3 or xyz.shape[1] < self.points[0]:
            raise ValueError(f"xyz must be [B, N, 3] with N >= {self.points[0]}, got {list(xyz.shape)}")
        expected = [*xyz.shape[:2], self.in_features] if self.in_features else None
        given = None if features is None else list(features.shape)
        if given != expected:
            raise ValueError(f"features must be {expected}, got {given}")


class SetAbstraction(nn.Module):
    """One encoder level: an MLP over each ball around each centre, then the maximum; scales side by side."""

    def __init__(self, in_channels: int, scales: Sequence[ScaleConfig]) -> None:
        super().__init__()
        self.balls = tuple((scale.radius, scale.neighbours) for scale in scales)
        self.mlps = nn.ModuleList(mlp(3 + in_channels, scale.mlp) for scale in scales)

    def neighbours(self, xyz: Tensor, centres: Tensor) -> tuple[Tensor, ...]:
        """For each scale [B, M, K] int32 into `xyz` [B, N, 3], of the balls around `centres` [B, M, 3]."""
        return tuple(ball_query(radius, count, xyz, centres) for radius, count in self.balls)

    def forward(
        self, xyz: Tensor, centres: Tensor, features: Tensor | None, neighbours: Sequence[Tensor] | Sequence[Balls]
    ) -> Tensor:
        """`features` [B, N, C] of the points `xyz` [B, N, 3] -> [B, M, sum of the scales' last widths]."""
        pooled = []
        for layers, index in zip(self.mlps, neighbours, strict=True):
            first, *rest = layers
            weight, bias = first.affine()  # columns: x, y, z, then features
            own = None if features is None else F.linear(features, weight[:, 3:])
            balls = index if isinstance(index, Balls) else None
            if balls is not None:
                offset = take_rows(xyz, balls.point) - take_rows(centres, balls.centre)  # [R, 3]
                own = None if own is None else take_rows(own, balls.point)
            elif _fuses(self, xyz):
                own = None if own is None else own.float()
                weights, biases = _affine_maps(rest)
                weights, biases = [weight[:, :3], *weights], [bias, *biases]
                pooled.append(group_mlp_max(xyz, centres, own, index, weights, biases, bfloat16=_in_bfloat16()))
                continue
            else:
                offset = group_rows(xyz, index) - centres.unsqueeze(2)  # [B, M, K, 3]
                own = None if own is None else group_rows(own, index)
            # Columns in memory: the gradient is offset.T @ grad, which is 15 times as fast as its transpose.
            y = F.linear(offset, weight[:, :3].T.contiguous().T, bias)
            y = y if own is None else y + own
            *before, last = layers
            if before:
                pooled.append(layer_max(last, y, balls, before))
            elif balls is None:
                pooled.append(last.activate(y).amax(dim=2))
            else:
                pooled.append(maximum(last.activate(y, balls.count), balls))
        return torch.cat(pooled, dim=2) if len(pooled) > 1 else pooled[0]


class FeaturePropagation(nn.Module):
    """One decoder level: interpolates coarse features to a finer level, joins that level's own, applies an MLP."""

    def __init__(self, coarse_channels: int, skip_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.coarse_channels = coarse_channels
        self.mlp = mlp(coarse_channels + skip_channels, widths)

    def forward(
        self,
        coarse: Tensor,
        skip: Tensor | None,
        nearest: Tensor,
        weights: Tensor,
        then: nn.Sequential,
        distinct: Points | None = None,
    ) -> Tensor:
        """`then(level)`: `coarse` [B, M, C], `skip` [B, N, S], `nearest` and `weights` [B, N, 3] -> [B, N, C'].

        `then` is the network's head after its last level, else empty. With `distinct`, equal ones of the points are
        computed once.
        """
        first, *rest = self.mlp
        weight, bias = first.affine()  # columns: coarse, then skip
        own, interpolated = weight[:, self.coarse_channels :], weight[:, : self.coarse_channels]
        if distinct is not None:  # as one cloud of all clouds' distinct points
            cloud = torch.arange(len(coarse), dtype=nearest.dtype).view(-1, 1, 1) * coarse.shape[1]
            coarse, nearest = coarse.flatten(0, 1).unsqueeze(0), distinct.of(nearest + cloud)
            skip, weights = None if skip is None else distinct.of(skip), distinct.of(weights)
        # The three weights sum to 1, so the bias may go through the interpolation.
        source = F.linear(coarse, interpolated, bias)
        own = None if skip is None else F.linear(skip, own)
        if _fuses(self, weights) and (rest or then):
            own = None if own is None else own.float()
            maps = _affine_maps([*rest, *then])
            y = interpolate_mlp(source.float(), nearest, weights, own, *maps, bfloat16=_in_bfloat16())
            y = y if then else y.relu_()
            return y if distinct is None else distinct.back(y)
        y = interpolate_rows(source, nearest, weights)
        count = None if distinct is None else distinct.count
        y = y if own is None else y + own
        if not then:
            return chain(self.mlp, y)
        *before, last = self.mlp
        if not is_joined([last], y, count):
            return then(chain(self.mlp, y, count), distinct)
        y = linear_after(before, y, last.linear.weight, count)[0] if before else y
        return then(y, distinct, [last])  # whose norm and ReLU the head takes together with its linear map


class Head(nn.Sequential):
    """A layer, dropout and the classifier."""

    def forward(self, x: Tensor, distinct: Points | None = None, before: Sequence[Layer] = ()) -> Tensor:
        """[B, N, C] -> logits [B, N, classes]; with `distinct`, x is [1, R, C] of the distinct points.

        With layers `before` it is what the head makes of `chain(before, x)`.
        """
        layer, dropout, classify = self
        count = None if distinct is None else distinct.count
        x = chain([*before, layer], x, count) if before else layer(x, count)
        if distinct is None:
            return classify(dropout(x))
        # Dropout treats equal points each on its own.
        return classify(dropout(distinct.back(x))) if self.training else distinct.back(classify(x))


def _fuses(module: nn.Module, x: Tensor) -> bool:
    """Whether the fused operators are used: inference on the CPU, of float32 points."""
    return not module.training and not torch.is_grad_enabled() and x.device.type == "cpu" and x.dtype == torch.float32


def _in_bfloat16() -> bool:
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


def _affine_maps(layers: Sequence[nn.Module]) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases of a chain of `Layer`s in evaluation mode, or of the head."""
    maps = [layer.affine() if isinstance(layer, Layer) else layer for layer in layers if not isinstance(layer, Dropout)]
    pairs = [(m.weight, m.bias) if isinstance(m, nn.Linear) else m for m in maps]
    return [weight for weight, _ in pairs], [bias for _, bias in pairs]


def group_rows(features: Tensor, index: Tensor) -> Tensor:
    """`features` [B, N, C], `index` [B, M, K] -> [B, M, K, C]."""
    return grouping_operation(features.transpose(1, 2), index).permute(0, 2, 3, 1)


def interpolate_rows(features: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """`features` [B, M, C], `index` and `weights` [B, N, 3] -> [B, N, C]."""
    return three_interpolate(features.transpose(1, 2), index, weights).transpose(1, 2)


def level_channels(levels: Sequence[LevelConfig]) -> tuple[int, ...]:
    """Output channels of each level."""
    return tuple(sum(scale.mlp[-1] for scale in level.scales) for level in levels)


def _check(levels: Sequence[LevelConfig], fp_mlps: Sequence[tuple[int, ...]], context: Sequence[nn.Module]) -> None:
    points = [level.points for level in levels]
    if not points or points != sorted(points, reverse=True):
        raise ValueError(f"levels: the numbers of centres must not increase, got {points}")
    if len(fp_mlps) != len(levels):
        raise ValueError(f"fp_mlps must have {len(levels)} entries, one per level, got {len(fp_mlps)}")
    if len(context) not in (0, len(levels)):
        raise ValueError(f"context must have {len(levels)} modules, one per level, or none, got {len(context)}")

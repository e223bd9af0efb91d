"""PointNet++ as it is usually written in PyTorch alone, to be timed beside ours: the same function, nothing rewritten.

Sampling is a loop over centres, a ball is found by sorting one row of the distance matrix, features have their channels
first, layers are 1 x 1 convolutions of the grouped points, and each level samples anew.
B batch, N points, M centres, K neighbours, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointseg.models import PointNet2


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """[B, M, 3], [B, N, 3] -> [B, M, N], expanded."""
    product = a @ b.transpose(1, 2)
    return a.square().sum(dim=2).unsqueeze(2) + b.square().sum(dim=2).unsqueeze(1) - 2 * product


def take(points: Tensor, index: Tensor) -> Tensor:
    """Rows of `points` [B, N, C] at `index` [B, ...] -> [B, ..., C]."""
    batch = torch.arange(len(points)).view(-1, *[1] * (index.dim() - 1)).expand_as(index)
    return points[batch, index]


def sample(xyz: Tensor, count: int) -> Tensor:
    """Farthest-point sampling of [B, N, 3] from point 0: [B, count]."""
    index = torch.zeros(len(xyz), count, dtype=torch.long)
    distance = torch.full(xyz.shape[:2], torch.inf, dtype=xyz.dtype)
    farthest = torch.zeros(len(xyz), dtype=torch.long)
    for number in range(count):
        index[:, number] = farthest
        centre = take(xyz, farthest).unsqueeze(1)
        distance = torch.minimum(distance, (xyz - centre).square().sum(dim=2))
        farthest = distance.max(dim=1).indices
    return index


def ball(radius: float, count: int, xyz: Tensor, centres: Tensor) -> Tensor:
    """The first `count` points within `radius` of each centre, padded with the first of them: [B, M, count]."""
    points = xyz.shape[1]
    index = torch.arange(points).repeat(*centres.shape[:2], 1)
    index[squared_distances(centres, xyz) >= radius**2] = points
    index = index.sort(dim=2).values[:, :, :count]
    first = index[:, :, :1].expand_as(index)
    return torch.where(index == points, first, index)


class Abstraction(nn.Module):
    def __init__(self, points: int, radius: float, neighbours: int, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.points, self.radius, self.neighbours = points, radius, neighbours
        sizes = (3 + in_channels, *widths)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 1, bias=False) for a, b in zip(sizes[:-1], widths, strict=True))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)

    def forward(self, xyz: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
        """[B, N, 3], [B, N, C] -> [B, M, 3], [B, M, C']."""
        with torch.no_grad():
            centres = take(xyz, sample(xyz, self.points))
            index = ball(self.radius, self.neighbours, xyz, centres)
        x = take(xyz, index) - centres.unsqueeze(2)
        if features is not None:
            x = torch.cat([x, take(features, index)], dim=3)
        x = x.permute(0, 3, 2, 1)  # [B, C, K, M]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norm(conv(x)))
        return centres, x.max(dim=2).values.transpose(1, 2)


class Propagation(nn.Module):
    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        sizes = (in_channels, *widths)
        self.convs = nn.ModuleList(nn.Conv1d(a, b, 1, bias=False) for a, b in zip(sizes[:-1], widths, strict=True))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in widths)

    def forward(self, fine: Tensor, coarse: Tensor, skip: Tensor | None, features: Tensor) -> Tensor:
        """[B, N, 3], [B, M, 3], [B, N, S], [B, M, C] -> [B, N, C']."""
        with torch.no_grad():
            distance, index = squared_distances(fine, coarse).sort(dim=2)
            closeness = 1 / distance[:, :, :3].clamp_min(1e-10)
            weight = closeness / closeness.sum(dim=2, keepdim=True)
        x = (take(features, index[:, :, :3]) * weight.unsqueeze(3)).sum(dim=2)
        if skip is not None:
            x = torch.cat([x, skip], dim=2)
        x = x.transpose(1, 2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norm(conv(x)))
        return x.transpose(1, 2)


class PlainPointNet2(nn.Module):
    """The network of `model`, which has one ball a level and no context modules, with copies of its weights."""

    def __init__(self, model: PointNet2) -> None:
        super().__init__()
        self.encoder, below = nn.ModuleList(), model.in_features
        for points, level in zip(model.points, model.encoder, strict=True):
            ((radius, neighbours),), (layers,) = level.balls, level.mlps
            widths = tuple(layer.linear.out_features for layer in layers)
            self.encoder.append(Abstraction(points, radius, neighbours, below, widths))
            below = widths[-1]
        self.decoder = nn.ModuleList(
            Propagation(level.mlp[0].linear.in_features, tuple(layer.linear.out_features for layer in level.mlp))
            for level in model.decoder
        )
        first, dropout, last = model.head
        width = first.linear.out_features
        self.head = nn.Sequential(
            nn.Conv1d(first.linear.in_features, width, 1, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(dropout.p),
            nn.Conv1d(width, last.out_features, 1),
        )
        # The same parameters and statistics in the same order; only the matrices of convolutions have more dimensions.
        state = zip(self.state_dict().items(), self._ordered(model), strict=True)
        self.load_state_dict({name: theirs.view(own.shape) for (name, own), theirs in state})

    @staticmethod
    def _ordered(model: PointNet2) -> list[Tensor]:
        """`model`'s state: of each level all matrices, then all norms; then the head's."""
        state: list[Tensor] = []
        for layers in [*(level.mlps[0] for level in model.encoder), *(level.mlp for level in model.decoder)]:
            state += [layer.linear.weight for layer in layers]
            state += [tensor for layer in layers for tensor in layer.norm.state_dict().values()]
        return state + list(model.head.state_dict().values())

    def forward(self, xyz: Tensor, features: Tensor | None = None) -> Tensor:
        """[B, N, 3], [B, N, F] -> logits [B, N, classes]."""
        points, stack = [xyz], [features]
        for level in self.encoder:
            centres, x = level(points[-1], stack[-1])
            points.append(centres)
            stack.append(x)
        x = stack.pop()
        for level, fine, coarse in zip(self.decoder, points[-2::-1], points[:0:-1], strict=True):
            x = level(fine, coarse, stack.pop(), x)
        return self.head(x.transpose(1, 2)).transpose(1, 2)

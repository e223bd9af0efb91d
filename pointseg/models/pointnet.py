"""PointNet for semantic segmentation.

Source: Qi, Su, Mo, Guibas, "PointNet", CVPR 2017, and its released networks: the one for scenes, which has no
transforms, and the one for object parts, which has them. Both see absolute coordinates, so the blocks must be centred
(`data.center`). Where PointNet++'s paper lists PointNet on ScanNet it does not say which one it is.

B batch, N points, F input features, C channels. Features are channels-last.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointseg.models.layers import Dropout, mlp

PENALTY = 0.001  # weight of the feature transform's distance from an orthogonal matrix


class PointNet(nn.Module):
    """Logits for every point: `forward(xyz [B, N, 3], features [B, N, F] | None) -> [B, N, num_classes]`.

    Without `transforms` the network for scenes: layers 64, 64, 64, 128, 1024, the maximum over the points through 256
    and 128, joined to every point's 1024 channels. With them the network for parts: learned 3 x 3 and 64 x 64
    transforms in front of and after the first two layers, the maximum joined to the 64 transformed channels; `penalty`
    then holds the last forward pass's regulariser, a scalar to add to the loss.

    Args:
        num_classes: outputs per point.
        in_features: F, per-point input besides xyz.
        transforms: see above.
        dropout: share of the last hidden layer that is dropped in training.
    """

    def __init__(
        self, num_classes: int, *, in_features: int = 0, transforms: bool = False, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.penalty: Tensor | None = None
        self.input_transform = Transform(3, 3) if transforms else None
        self.local = mlp(3 + in_features, (64, 64))
        self.feature_transform = Transform(64, 64) if transforms else None
        self.deep = mlp(64, (64, 128, 1024))
        self.of_cloud = mlp(1024, () if transforms else (256, 128))
        joined = (64, 1024) if transforms else (1024, 128)
        widths = (512, 256, 128, 128) if transforms else (512, 256)
        self.point_channels = joined[0]
        self.head = mlp(sum(joined), widths)
        self.classifier = nn.Sequential(Dropout(dropout), nn.Linear(widths[-1], num_classes))
        nn.init.xavier_uniform_(self.classifier[-1].weight)
        nn.init.zeros_(self.classifier[-1].bias)

    def forward(self, xyz: Tensor, features: Tensor | None = None) -> Tensor:
        """`xyz` [B, N, 3] float32 metres, relative to the block's centre and the floor."""
        if self.input_transform is not None:
            xyz = xyz @ self.input_transform(xyz)
        local = self.local(xyz if features is None else torch.cat([xyz, features], dim=2))
        if self.feature_transform is not None:
            transform = self.feature_transform(local)
            self.penalty = PENALTY * orthogonality(transform) if self.training else None
            local = local @ transform
        deep = self.deep(local)
        cloud = self.of_cloud(deep.amax(dim=1))  # [B, C]
        point = deep if self.feature_transform is None else local
        # The first layer of the head on [point; cloud], without repeating the cloud's channels for every point.
        first, *rest = self.head
        weight, bias = first.affine()
        of_point, of_cloud = weight[:, : self.point_channels], weight[:, self.point_channels :]
        y = first.activate(F.linear(point, of_point) + F.linear(cloud, of_cloud, bias).unsqueeze(1))
        for layer in rest:
            y = layer(y)
        return self.classifier(y)


class Transform(nn.Module):
    """A square matrix predicted from a cloud, "T-net": `[B, N, C] -> [B, size, size]`; starts as the identity."""

    def __init__(self, in_channels: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.points = mlp(in_channels, (64, 128, 1024))
        self.cloud = mlp(1024, (512, 256))
        self.matrix = nn.Linear(256, size * size)
        nn.init.zeros_(self.matrix.weight)
        with torch.no_grad():
            self.matrix.bias.copy_(torch.eye(size).flatten())

    def forward(self, x: Tensor) -> Tensor:
        cloud = self.cloud(self.points(x).amax(dim=1))
        return self.matrix(cloud).view(-1, self.size, self.size)


def orthogonality(matrix: Tensor) -> Tensor:
    """Half the squared Frobenius norm of A A^T - I, summed over the batch: `matrix` [B, C, C] -> scalar."""
    identity = torch.eye(matrix.shape[1], device=matrix.device, dtype=matrix.dtype)
    return 0.5 * (matrix @ matrix.transpose(1, 2) - identity).square().sum()

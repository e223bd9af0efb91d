"""A PointNet++ classifier written against the original package's API trains on the CPU, unchanged."""

from __future__ import annotations

import torch
from pointnet2_ops.pointnet2_modules import PointnetSAModule
from torch import Tensor, nn


class Classifier(nn.Module):
    def __init__(self, classes: int, input_channels: int = 3):
        super().__init__()
        self.SA_modules = nn.ModuleList()
        self.SA_modules.append(
            PointnetSAModule(npoint=64, radius=0.3, nsample=16, mlp=[input_channels, 16, 16, 32], use_xyz=True)
        )
        self.SA_modules.append(PointnetSAModule(npoint=16, radius=0.6, nsample=16, mlp=[32, 32, 64], use_xyz=True))
        self.SA_modules.append(PointnetSAModule(mlp=[64, 64, 128], use_xyz=True))
        self.fc_layer = nn.Sequential(
            nn.Linear(128, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(True), nn.Dropout(0.3), nn.Linear(64, classes)
        )

    def forward(self, pointcloud: Tensor) -> Tensor:  # [B, N, 3 + input_channels]
        xyz = pointcloud[..., 0:3].contiguous()
        features = pointcloud[..., 3:].transpose(1, 2).contiguous()
        for module in self.SA_modules:
            xyz, features = module(xyz, features)
        return self.fc_layer(features.squeeze(-1))


def shapes(B: int, N: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Spheres, cubes and discs of radius 1 with their normals' sign pattern as features: [B, N, 6], label [B]."""
    label = torch.arange(B) % 3
    points = torch.randn(B, N, 3, generator=generator)
    sphere = points / points.norm(dim=-1, keepdim=True)
    cube = points / points.abs().amax(-1, keepdim=True)
    disc = sphere * torch.tensor([1.0, 1.0, 0.0])
    xyz = torch.stack([sphere, cube, disc])[label, torch.arange(B)]
    xyz = xyz + 0.01 * torch.randn(B, N, 3, generator=generator)
    return torch.cat([xyz, xyz.sign()], -1), label


def test_it_learns_three_shapes():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    network = Classifier(classes=3)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(60):
        cloud, label = shapes(12, 256, generator)
        loss = nn.functional.cross_entropy(network(cloud), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    network.eval()
    cloud, label = shapes(30, 256, generator)
    assert (network(cloud).argmax(1) == label).float().mean() > 0.9

"""What holds for every network: permuted points, batches, batch size 1, chunks without annotation, one chunk learnt."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pointseg.config import (
    LatentGNNConfig,
    LevelConfig,
    ModelConfig,
    PointCNNConfig,
    PointNetConfig,
    ScaleConfig,
    VoxelCNNConfig,
    XConvConfig,
)
from pointseg.errors import InputError
from pointseg.losses import segmentation_loss
from pointseg.models import build_model

LEVELS = tuple(  # 48 neighbours: of a fuller ball the first ones would be taken, whose choice depends on the order
    LevelConfig(points=points, scales=(ScaleConfig(radius=radius, neighbours=48, mlp=(8, 16)),))
    for points, radius in ((48, 0.4), (16, 0.8))
)
TWO_SCALES = tuple(
    LevelConfig(points=level.points, scales=(ScaleConfig(radius=0.2, neighbours=48, mlp=(8,)), *level.scales))
    for level in LEVELS
)
POINTCNN = PointCNNConfig(
    encoder=(
        XConvConfig(neighbours=4, channels=16),
        XConvConfig(neighbours=6, dilation=2, points=32, channels=24),
        XConvConfig(neighbours=6, dilation=2, points=16, channels=32),
    ),
    decoder=(
        XConvConfig(neighbours=6, dilation=2, channels=32),
        XConvConfig(neighbours=6, channels=24),
        XConvConfig(neighbours=4, channels=16),
    ),
    head=16,
    dropout=0.0,
)
LATENT = LatentGNNConfig(latent_dims=(8, 4))
NETWORKS = {
    "pointnet2": ModelConfig(context="none", levels=LEVELS, fp_mlps=((16,), (16,)), dropout=0.0),
    "pointnet2 msg": ModelConfig(context="none", levels=TWO_SCALES, fp_mlps=((16,), (16,)), dropout=0.0),
    "pointnet2 + latent_gnn": ModelConfig(levels=LEVELS, latent_gnn=LATENT, fp_mlps=((16,), (16,)), dropout=0.0),
    "pointnet2 + latent_gnn, 3 kernels": ModelConfig(
        levels=LEVELS, latent_gnn=LatentGNNConfig(latent_dims=(8, 4), kernels=3), fp_mlps=((16,), (16,)), dropout=0.0
    ),
    "pointnet2 + non_local": ModelConfig(context="non_local", levels=LEVELS, fp_mlps=((16,), (16,)), dropout=0.0),
    "pointnet": ModelConfig(network="pointnet", context="none", pointnet=PointNetConfig(dropout=0.0)),
    "pointnet with transforms": ModelConfig(
        network="pointnet", context="none", pointnet=PointNetConfig(transforms=True, dropout=0.0)
    ),
    "pointcnn": ModelConfig(network="pointcnn", context="none", pointcnn=POINTCNN),
    "pointcnn + latent_gnn": ModelConfig(
        network="pointcnn", pointcnn=POINTCNN, latent_gnn=LatentGNNConfig(latent_dims=(8, 4, 4))
    ),
    "voxel_cnn": ModelConfig(network="voxel_cnn", context="none", voxel_cnn=VoxelCNNConfig(hidden=64, dropout=0.0)),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def network(name: str, classes: int = 5) -> nn.Module:
    """With random weights; the scale of context modules, which starts at 0, is 1."""
    torch.manual_seed(0)
    model = build_model(NETWORKS[name], classes)
    for key, parameter in model.named_parameters():
        if key.endswith("scale"):
            nn.init.ones_(parameter)
    return model


def clouds(batch: int, points: int = 128, seed: int = 0) -> Tensor:
    """[B, N, 3]: within the 1.5 m of a block's middle, on the floor."""
    uniform = torch.rand(batch, points, 3, generator=torch.Generator().manual_seed(seed))
    return uniform * torch.tensor([1.4, 1.4, 2.0]) - torch.tensor([0.7, 0.7, 0.0])


@every_network
def test_permuted_points_permute_the_output(name):
    model, xyz = network(name).eval(), clouds(2)
    order = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(xyz.shape[1] - 1)])  # sampling starts at 0
    with torch.no_grad():
        expected = model(xyz)
        assert expected.std() > 1e-3
        torch.testing.assert_close(model(xyz[:, order].contiguous()), expected[:, order], atol=1e-5, rtol=1e-4)


@every_network
def test_evaluation_does_not_depend_on_the_rest_of_the_batch(name):
    model, xyz = network(name).eval(), clouds(3)
    with torch.no_grad():
        together = model(xyz)
        alone = torch.cat([model(cloud[None]) for cloud in xyz])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@every_network
@pytest.mark.parametrize("annotated", [True, False])
def test_one_chunk_is_a_batch(name, annotated):
    model, xyz = network(name).train(), clouds(1)
    label = torch.randint(0, 5, xyz.shape[:2])
    total, count = segmentation_loss(model(xyz), label, torch.full_like(label, annotated, dtype=torch.bool))
    (total / count.clamp_min(1)).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients) == annotated
    assert all(buffer.isfinite().all() for buffer in model.buffers())


@every_network
def test_one_chunk_is_learnt(name):
    """Labels that depend on absolute and on relative position: a quarter of the room, and high or low."""
    model, xyz = network(name, classes=8).train(), clouds(1, points=256)
    label = ((xyz > torch.tensor([0.0, 0.0, 1.0])).long() * torch.tensor([1, 2, 4])).sum(2)
    if name == "voxel_cnn":  # points of one cell share a label
        label = ((xyz / (1.5 / 31) + torch.tensor([0.5, 0.5, 0.0])).floor() >= torch.tensor([0, 0, 20])).long()
        label = (label * torch.tensor([1, 2, 4])).sum(2)
    if name.startswith("pointnet2"):  # sees relative positions alone
        label = (xyz[..., 2] > 1.0).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    supervised = torch.ones_like(label, dtype=torch.bool)
    for _ in range(150):
        optimizer.zero_grad()
        logits = model(xyz)
        accuracy = (logits.argmax(2) == label).float().mean()
        if accuracy > 0.98:
            break
        (segmentation_loss(logits, label, supervised)[0] / label.numel()).backward()
        optimizer.step()
    assert accuracy > 0.98


@pytest.mark.parametrize("network", ["pointnet", "voxel_cnn"])
def test_networks_without_levels_have_no_context(network):
    with pytest.raises(InputError, match=f"context must be none with network {network}"):
        ModelConfig(network=network)

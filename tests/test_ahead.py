"""Batches come in order, with the geometry the forward pass would have computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pointseg.config import LevelConfig, ScaleConfig
from pointseg.data.dataset import Batch
from pointseg.models.pointnet2 import PointNet2
from pointseg.training.ahead import ahead

POINTS, BATCHES = 256, 4
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def network() -> PointNet2:
    torch.manual_seed(0)
    scales = (ScaleConfig(radius=0.2, neighbours=8, mlp=(8, 16)), ScaleConfig(radius=0.4, neighbours=16, mlp=(8, 16)))
    levels = (LevelConfig(points=64, scales=scales), LevelConfig(points=16, scales=scales))
    return PointNet2(5, levels, ((16,), (16, 16)), dropout=0.0)


def batch(number: int) -> Batch:
    random = torch.Generator().manual_seed(number)
    xyz = torch.rand((2, POINTS, 3), generator=random)
    label = torch.randint(5, (2, POINTS), generator=random)
    return Batch(xyz=xyz, features=None, label=label, inside=label > 0, scene=torch.tensor([number, 7]))


def gradients(model: nn.Module, *inputs: Tensor | tuple | None) -> list[Tensor]:
    loss = model(*inputs).square().sum()
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


def test_a_forward_pass_with_its_geometry_is_the_same() -> None:
    model, xyz = network(), batch(0)["xyz"]
    geometry = model.geometry(xyz)
    for one, other in zip(gradients(model, xyz, None, geometry), gradients(model, xyz, None), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
def test_batches_come_in_order_each_with_its_own_geometry(device: str) -> None:
    model = network().to(device)
    count = 0
    for number, (given, geometry) in enumerate(ahead(map(batch, range(BATCHES)), model, torch.device(device))):
        expected = batch(number)
        for key, value in given.items():
            assert value is expected[key] is None or torch.equal(value.cpu(), expected[key])
        assert (geometry is None) == (device == "cpu")
        if geometry is not None:
            fresh = model.geometry(given["xyz"])
            assert torch.equal(geometry.samples, fresh.samples)
            for ours, theirs in zip(geometry[1:], fresh[1:], strict=True):
                torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        count += 1
    assert count == BATCHES


@CUDA
def test_networks_without_geometry_get_none() -> None:
    pairs = list(ahead(map(batch, range(BATCHES)), nn.Linear(3, 5).cuda(), torch.device("cuda")))
    assert [geometry for _, geometry in pairs] == [None] * BATCHES
    assert all(given["label"].is_cuda for given, _ in pairs)

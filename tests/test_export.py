"""torch.compile and torch.export of every network in evaluation mode; an exported program in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pointseg.config import ModelConfig, PointCNNConfig, PointNetConfig, XConvConfig
from pointseg.models import build_model
from tests.test_pointnet2 import randomize_norms, small_config


def _pointcnn(context: str) -> ModelConfig:
    def layers(*rows: tuple[int, int, int]) -> tuple[XConvConfig, ...]:
        return tuple(XConvConfig(neighbours=k, points=p, channels=c) for k, p, c in rows)

    small = PointCNNConfig(encoder=layers((4, 0, 16), (4, 24, 16)), decoder=layers((4, 0, 16), (4, 0, 16)), head=8)
    latent = small_config().latent_gnn
    latent = type(latent)(latent_dims=(4, 3), kernels=2)
    return ModelConfig(network="pointcnn", context=context, pointcnn=small, latent_gnn=latent)


NETWORKS = {
    "pointnet2": small_config("none"),
    "pointnet2 msg": small_config("none", scales=2),
    "pointnet2 latent_gnn": small_config("latent_gnn"),
    "pointnet2 non_local": small_config("non_local"),
    "pointnet": ModelConfig(network="pointnet", context="none"),
    "pointnet transforms": ModelConfig(network="pointnet", context="none", pointnet=PointNetConfig(transforms=True)),
    "pointcnn": _pointcnn("none"),
    "pointcnn latent_gnn": _pointcnn("latent_gnn"),
    "voxel_cnn": ModelConfig(network="voxel_cnn", context="none"),
}


def make(name: str) -> tuple[nn.Module, Tensor]:
    """A small network whose normalisations and context modules do something, and chunks with their floor at 0."""
    torch.manual_seed(0)
    model = build_model(NETWORKS[name], num_classes=5).eval()
    randomize_norms(model)
    return model, torch.rand(2, 150, 3) - torch.tensor([0.5, 0.5, 0.0])


def check_equal(output: Tensor, expected: Tensor) -> None:
    size = expected.abs().max().item()
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5 * size)


@pytest.mark.parametrize("name", NETWORKS)
def test_exported_program_is_the_network(name: str):
    model, xyz = make(name)
    with torch.no_grad():
        expected = model(xyz)
        program = torch.export.export(model, (xyz,))
        other = xyz.flip(1).contiguous()
        check_equal(program.module()(xyz), expected)
        check_equal(program.module()(other), model(other))


@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_network_is_the_network(name: str):
    """All but the last step, the generation of code, which the next test has."""
    model, xyz = make(name)
    torch._dynamo.reset()
    with torch.no_grad():
        check_equal(torch.compile(model, backend="aot_eager", fullgraph=True)(xyz), model(xyz))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_generated_code_is_the_network(name: str):
    model, xyz = make(name)
    torch._dynamo.reset()
    with torch.no_grad():
        check_equal(torch.compile(model)(xyz), model(xyz))


def test_an_exported_program_needs_the_operators_only(tmp_path: Path):
    model, xyz = make("pointnet2 latent_gnn")
    with torch.no_grad():
        torch.export.save(torch.export.export(model, (xyz,)), tmp_path / "network.pt2")
        torch.save((xyz, model(xyz)), tmp_path / "example.pt")
    code = """
import sys, torch, pointnet2_ops
xyz, expected = torch.load("example.pt")
output = torch.export.load("network.pt2").module()(xyz)
torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
assert not any(name.split(".")[0] == "pointseg" for name in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr

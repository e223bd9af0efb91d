"""`pointseg costs`: our counts pinned, the paper's reconciled, and each measure on networks small enough to count."""

from __future__ import annotations

import time
from pathlib import Path

import pointnet2_ops.pointnet2_utils as ops
import pytest
import torch
from torch import nn

from pointseg.cli.commands import main
from pointseg.config import Config, LatentGNNConfig, ModelConfig
from pointseg.config_file import parse_config
from pointseg.images.costs import ROWS, context_modules, flops, parameters
from pointseg.models import LatentGNN, NonLocalBlock, build_model
from pointseg.models.cost_tables import published
from pointseg.models.costs import ELSEWHERE, _count_kept_bytes, _time_steps, count_flops, network_cost
from tests.test_train import SMALL

K3 = LatentGNNConfig(kernels=3)


@pytest.mark.parametrize(
    ("model", "total", "added", "mebi_macs"),
    [
        (ModelConfig(context="none"), 965_044, 0, 0),
        (ModelConfig(context="non_local"), 1_663_288, 698_244, 32.0),
        (ModelConfig(context="latent_gnn"), 1_262_128, 297_084, 15.3125),
        (ModelConfig(context="latent_gnn", latent_gnn=K3), 1_502_368, 537_324, 29.96875),
    ],
    ids=["none", "non_local", "latent_gnn", "latent_gnn_k3"],
)
def test_counts_of_table_3_and_what_reconciles_them(model, total, added, mebi_macs):
    cost = network_cost(Config(model=model), batch=1, rounds=0)
    assert cost.total.parameters == total
    assert cost.added.parameters == added
    assert cost.convolution_macs / 2**20 == pytest.approx(mebi_macs, abs=0.02)
    assert cost.total.milliseconds is None
    paper = published(model)
    assert (paper is None) == (model.context == "none")
    if paper:
        assert abs(added - paper.parameters) < 0.015e6
        assert abs(mebi_macs - paper.macs / 1e6) <= 1
        assert cost.added.flops > 2 * cost.convolution_macs  # the products of activations come on top


def test_no_other_network_has_published_figures():
    assert published(ModelConfig(network="pointcnn", context="latent_gnn")) is None
    assert published(ModelConfig(latent_gnn=LatentGNNConfig(channel_stride=8))) is None


def test_counts_of_tables_1_and_2_are_the_papers():
    """With or without W, whichever is nearer: the paper's rows are of both."""
    for row in ROWS:
        counts = [parameters(context_modules(row, 16, graph_conv)) / 1e6 for graph_conv in (True, False)]
        assert min(abs(count - row.paper) for count in counts) < 0.01, row
    pinned = {row.name: parameters(context_modules(row, 16)) for row in ROWS}
    assert pinned["LatentGNN, stages 3 4 5"] == 1_088_899
    assert pinned["LatentGNN, stages 3 4 5, 3 kernels"] == 1_890_435
    assert pinned["non-local, stage 4"] == 4 * 1024 * 512 + 1


def test_image_flops_grow_with_the_pixels():
    modules = context_modules(ROWS[4], 16)
    assert set(modules) == {3, 4, 5}
    small, large = flops(modules, 256, 256), flops(modules, 512, 512)
    assert 3.8 < large / small < 4


def test_operations_are_counted_by_their_definition():
    xyz, centres = torch.rand(2, 50, 3), torch.rand(2, 7, 3)
    assert count_flops(Calls(lambda: ops.furthest_point_sample(xyz, 9))) == 8 * 2 * 50 * 9
    assert count_flops(Calls(lambda: ops.ball_query(0.1, 4, xyz, centres))) == 8 * 2 * 50 * 7
    assert count_flops(Calls(lambda: ops.three_nn(xyz, centres))) == 8 * 2 * 50 * 7
    distance, index = ops.three_nn(xyz, centres)
    assert count_flops(Calls(lambda: ops.three_interpolate(torch.rand(2, 5, 7), index, distance))) == 6 * 2 * 5 * 50


class Calls(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.forward = function


def test_fused_layers_count_as_the_plain_ones():
    model, xyz = build_model(ModelConfig(context="none"), 20).eval(), torch.rand(1, 1100, 3)
    with torch.no_grad():
        fused = count_flops(model, xyz)
    assert fused == count_flops(model, xyz)


def test_flops_of_the_context_modules_by_hand():
    n, c, r, d = 40, 16, 4, 3
    per_point = c * 2 * r + 2 * r * d + r * c  # reduce, Psi twice, up
    products = 2 * n * d * r  # Psi^T X, Psi Z
    latent = 2 * d * d * r + d * r * r  # cosines, F Z, Z W
    module = LatentGNN(c, d, c // r)
    assert count_flops(module, torch.rand(1, c, n)) == 2 * (n * per_point + products + latent)
    assert count_flops(NonLocalBlock(c), torch.rand(1, c, n)) == 2 * (n * 4 * c * c // 2 + 2 * n * (c // 2) ** 2)


def test_kept_activations_are_counted_once_and_by_part():
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4), nn.Identity())
    kept = _count_kept_bytes(model, [torch.rand(1, 100, 3)])
    assert (kept["0"], kept["1"], kept["2"], kept["3"]) == (0, 100 * 8 * 4, 0, 0)  # ReLU's result is Linear's input
    assert kept[ELSEWHERE] >= 100 * 4 * 4  # the loss keeps the logarithms of the probabilities


class Sleep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        time.sleep(0.02)
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        time.sleep(0.03)
        return grad


class Sleeps(nn.Module):
    def forward(self, x):
        return Sleep.apply(x)


def test_time_goes_to_the_part_that_spends_it_forward_and_backward():
    model = nn.Sequential(nn.Linear(3, 4), Sleeps(), nn.Linear(4, 2))
    steps = _time_steps(model, [torch.rand(1, 10, 3)], rounds=2)
    assert len(steps) == 2
    for step in steps:
        assert step["1"] >= 0.05
        assert step["0"] + step["2"] < 0.03


def test_the_parts_add_up():
    torch.manual_seed(0)
    cost = network_cost(parse_config(SMALL), batch=2, rounds=1)
    assert cost.parts[ELSEWHERE].parameters == 0
    assert cost.total.flops == sum(part.flops for part in cost.parts.values()) > 0
    assert cost.total.milliseconds == pytest.approx(sum(part.milliseconds for part in cost.parts.values()))
    assert {"encoder.0", "decoder.0", "head", ELSEWHERE} < set(cost.parts)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "small.yaml").write_text(SMALL)
    assert main(["costs", str(tmp_path / "small.yaml"), "--batch", "1", "--rounds", "1"]) == 0
    text = capsys.readouterr().out
    assert "PointNet++ SSG + LatentGNN" in text
    assert "encoder.0" in text
    assert " ms" in text
    assert main(["costs", "--images"]) == 0
    assert "LatentGNN, stages 3 4 5, 3 kernels  1.89" in " ".join(capsys.readouterr().out.split("  ")).replace(
        "   ", "  "
    )
    assert main(["costs", "--batch", "0"]) == 2
    assert "--batch must be positive" in capsys.readouterr().err

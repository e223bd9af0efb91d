"""PointNet++'s training with equal rows computed once: the textbook network in every combination of switches."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from test_pointnet2 import cloud, randomize_norms, small_config, textbook
from torch import Tensor, nn

from pointseg.models import PointNet2, build_model
from pointseg.models import pointnet2 as module
from pointseg.models.distinct import distinct_points, first_equal_points
from pointseg.models.layers import Layer, is_fused

SWITCHES = [(False, True, True), (True, False, False), (True, True, False), (True, False, True), (True, True, True)]


def few_points(kinds: int) -> Tensor:
    """[2, 150, 3] of `kinds` different points in each cloud."""
    points = torch.rand(2, kinds, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return points[:, torch.arange(150) ** 2 % kinds]


def sparse_and_dense() -> Tensor:
    """[2, 150, 3]: most points in one spot, each of the others alone in its ball."""
    xyz = torch.rand(2, 150, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    xyz[:, :20] *= 50
    xyz[:, 20:] *= 0.05
    return xyz


CHUNKS = {
    "as drawn": cloud(2, 150),
    "nothing twice": torch.rand(2, 150, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64),
    "one cloud": cloud(1, 150),
    "one point": few_points(1),
    "two kinds of points": few_points(2),
    "five kinds of points": few_points(5),
    "sparse and dense": sparse_and_dense(),
}
# BatchNorm of equal values divides their rounding by sqrt(eps), layer after layer, until nothing else is left.
WITH_LARGE_EPS = ("one point", "two kinds of points")


@pytest.fixture(params=SWITCHES, ids=lambda switches: "".join("ny"[on] for on in switches))
def switches(request, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, bool, bool]:
    fused, neighbours, points = request.param
    monkeypatch.setattr(Layer, "fused", fused)
    monkeypatch.setattr(PointNet2, "distinct_neighbours", neighbours)
    monkeypatch.setattr(PointNet2, "distinct_points", points)
    return request.param


def close(ours: Tensor, theirs: Tensor, name: str) -> None:
    """To 1e-10, of the largest element where that is larger than 1."""
    size = theirs.abs().max().clamp_min(1).item()
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10 * size, msg=lambda text: f"{name}: {text}")


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize(("scales", "in_features"), [(1, 0), (2, 3)])
def test_is_the_textbook_network(scales: int, in_features: int, chunk: str, switches):
    """Outputs, all gradients and BatchNorm's statistics; features are equal where points are, or are not."""
    torch.manual_seed(1)
    model = build_model(small_config("none", scales), num_classes=5, in_features=in_features).double()
    randomize_norms(model)
    for norm in model.modules():
        if chunk in WITH_LARGE_EPS and isinstance(norm, nn.BatchNorm1d):
            norm.eps = 1.0
    plain, xyz = copy.deepcopy(model), CHUNKS[chunk]
    features = (7 * xyz[:, :, :in_features]).sin().requires_grad_() if in_features else None
    copied = features.detach().clone().requires_grad_() if in_features else None

    output, expected = model(xyz, features), textbook(plain, xyz, copied)
    close(output, expected, "logits")
    weight = torch.randn(output.shape, dtype=torch.float64)
    (output * weight).sum().backward()
    (expected * weight).sum().backward()
    for (name, ours), (_, theirs) in zip(model.named_parameters(), plain.named_parameters(), strict=True):
        close(ours.grad, theirs.grad, name)
    for (name, ours), (_, theirs) in zip(model.named_buffers(), plain.named_buffers(), strict=True):
        close(ours, theirs, name)


@pytest.mark.parametrize("context", ["none", "latent_gnn", "non_local"])
def test_dropout_and_context_modules_are_the_same(context: str, switches, monkeypatch: pytest.MonkeyPatch):
    """Each of several equal points drops its own outputs, with the same random numbers."""
    model = build_model(replace(small_config(context), dropout=0.5), num_classes=5).double()
    randomize_norms(model)
    plain, results = copy.deepcopy(model), []
    for network, fused in ((model, switches[0]), (plain, False)):
        monkeypatch.setattr(Layer, "fused", fused)
        torch.manual_seed(3)
        output = network(cloud(2, 150))
        output.square().sum().backward()
        results.append((output, [p.grad for p in network.parameters()]))
    close(results[0][0], results[1][0], "logits")
    for (name, _), ours, theirs in zip(model.named_parameters(), results[0][1], results[1][1], strict=True):
        close(ours, theirs, name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # fused, and layer by layer
@pytest.mark.parametrize("chunk", CHUNKS)
def test_inference_is_the_same(chunk: str, dtype: torch.dtype, switches):
    model = build_model(small_config("none", 2), num_classes=5).to(dtype).eval()
    randomize_norms(model)
    xyz = CHUNKS[chunk].to(dtype)
    with torch.no_grad():
        output = model(xyz)
        expected = textbook(model.double(), xyz.double(), None)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    size = expected.abs().max().item()
    torch.testing.assert_close(output.double(), expected, rtol=tolerance, atol=tolerance * size)


def test_training_and_inference_compute_equal_rows_once_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch):
    called = []

    def noted(*arguments):
        called.append(arguments)
        return first_equal_points(*arguments)

    monkeypatch.setattr(module, "first_equal_points", noted)
    model, xyz = build_model(small_config(), 5), cloud(2, 150, torch.float32)
    model(xyz)
    assert len(called) == 1
    model.eval()(xyz)  # with gradients
    with torch.no_grad():
        model.train()(xyz)
    model.encoder[0].mlps[0][0].norm = nn.SyncBatchNorm(8)
    assert not model._computes_equal_rows_once(xyz)
    assert not model._computes_equal_rows_once(xyz.to("meta"))
    assert len(called) == 1
    with torch.no_grad():
        model.eval()(xyz)
    assert len(called) == 2
    assert not is_fused(nn.BatchNorm1d(8).eval(), xyz)
    assert not is_fused(nn.BatchNorm1d(8), xyz.to("meta"))


def test_distinct_points_and_their_rows():
    xyz = few_points(4)
    points = distinct_points(first_equal_points(xyz, None), torch.float64)
    assert len(points.index) == sum(len(cloud.unique(dim=0)) for cloud in xyz) == len(points.count)
    assert points.count.sum() == 300
    assert torch.equal(xyz.flatten(0, 1)[points.index][points.row], xyz)
    different = torch.arange(150.0).expand(2, 150).unsqueeze(2)
    assert torch.equal(first_equal_points(xyz, different), torch.arange(150, dtype=torch.int32).expand(2, 150))


def test_bfloat16_is_close():
    torch.manual_seed(0)
    model = build_model(small_config("latent_gnn"), 5)
    xyz = cloud(2, 150, torch.float32)
    expected = model(xyz)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(xyz)
    assert output.dtype == torch.bfloat16
    assert (output - expected).abs().max() < 0.1 * expected.abs().max()
    output.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())

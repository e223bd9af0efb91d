"""PointNet++: the same function as a plain implementation of it, weight counts, precision, overfitting."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pointnet2_ops import pointnet2_utils
from torch import Tensor, nn

from pointseg.config import LatentGNNConfig, LevelConfig, ModelConfig, ScaleConfig
from pointseg.config_file import load_config
from pointseg.errors import InputError
from pointseg.losses import segmentation_loss
from pointseg.models import PointNet2, build_model
from pointseg.models.layers import Layer, set_bn_momentum

CONFIGS = Path(__file__).parents[1] / "configs"


def small_config(context: str = "none", scales: int = 1, coarsest: int = 6) -> ModelConfig:
    def level(points, radius, width):
        balls = (ScaleConfig(radius=radius, neighbours=8, mlp=(width, width, 2 * width)),)
        balls += (ScaleConfig(radius=2 * radius, neighbours=12, mlp=(width, width + 4)),) if scales == 2 else ()
        return LevelConfig(points=points, scales=balls)

    return ModelConfig(
        context=context,
        latent_gnn=LatentGNNConfig(latent_dims=(6, 4, 3), kernels=2),
        levels=(level(48, 0.25, 8), level(16, 0.5, 8), level(coarsest, 1.0, 12)),
        fp_mlps=((16, 16), (16,), (16, 12, 12)),
        head=12,
        dropout=0.0,
    )


def cloud(batch: int, points: int, dtype=torch.float64, seed: int = 0) -> Tensor:
    """[B, N, 3] with duplicates, as chunks drawn with replacement have."""
    xyz = torch.rand(batch, points, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
    xyz[:, points - points // 4 :] = xyz[:, : points // 4]
    return xyz.to(dtype)


def textbook(model: PointNet2, xyz: Tensor, features: Tensor | None) -> Tensor:
    """The network as it is usually written, with `model`'s parameters: group, concatenate, layers, maximum;
    interpolate, concatenate, layers; farthest-point sampling at every level; BatchNorm never folded."""

    def layer(module: Layer, x: Tensor) -> Tensor:
        y = F.linear(x, module.linear.weight)
        return F.relu(module.norm(y.flatten(0, -2)).view(y.shape))

    def rows(x: Tensor, index: Tensor) -> Tensor:
        return torch.stack([x[b, index[b].long()] for b in range(len(x))])

    points, stack = [xyz], [features]
    for number, encode in enumerate(model.encoder):
        samples = pointnet2_utils.furthest_point_sample(points[-1].contiguous(), model.points[number])
        centres, pooled = rows(points[-1], samples), []
        for (radius, count), layers in zip(encode.balls, encode.mlps, strict=True):
            index = pointnet2_utils.ball_query(radius, count, points[-1].contiguous(), centres.contiguous())
            x = rows(points[-1], index) - centres.unsqueeze(2)
            if stack[-1] is not None:
                x = torch.cat([x, rows(stack[-1], index)], dim=-1)
            for module in layers:
                x = layer(module, x)
            pooled.append(x.max(dim=2).values)
        x = torch.cat(pooled, dim=-1)
        if len(model.context):
            x = model.context[number](x.transpose(1, 2).contiguous()).transpose(1, 2)
        points.append(centres)
        stack.append(x)
    x = stack.pop()
    for propagate, fine, coarse in zip(model.decoder, points[-2::-1], points[:0:-1], strict=True):
        distance, index = pointnet2_utils.three_nn(fine.contiguous(), coarse.contiguous())
        closeness = 1 / (distance**2).clamp_min(1e-10)
        weight = closeness / closeness.sum(dim=-1, keepdim=True)
        x, skip = (rows(x, index) * weight.unsqueeze(-1)).sum(dim=2), stack.pop()
        if skip is not None:
            x = torch.cat([x, skip], dim=-1)
        for module in propagate.mlp:
            x = layer(module, x)
    return model.head[2](layer(model.head[0], x))


def randomize_norms(model: nn.Module) -> None:
    """Scales of both signs, shifts and running statistics that matter; context modules that are not the identity."""
    generator = torch.Generator().manual_seed(5)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if "norm." in name and tensor.is_floating_point():
            values = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
            tensor.data.copy_(values.abs() + 0.5 if "running_var" in name else values)
        if name.endswith(".scale"):
            tensor.data.fill_(0.5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("in_features", [0, 3])
@pytest.mark.parametrize(
    ("context", "scales", "coarsest"),
    [("none", 1, 2), ("none", 2, 6), ("latent_gnn", 1, 6), ("non_local", 1, 6)],  # 2: fewer centres than three_nn wants
)
def test_is_the_textbook_network(context, scales, coarsest, in_features, training, monkeypatch):
    """With PyTorch's BatchNorm; tests/test_distinct.py has our own."""
    monkeypatch.setattr(Layer, "fused", False)
    torch.manual_seed(1)
    model = build_model(small_config(context, scales, coarsest), num_classes=5, in_features=in_features).double()
    randomize_norms(model)
    plain = copy.deepcopy(model)
    xyz = cloud(2, 150)
    features = torch.rand(2, 150, 3, dtype=torch.float64, requires_grad=True) if in_features else None
    copied = features.detach().clone().requires_grad_() if in_features else None

    output, expected = model.train(training)(xyz, features), textbook(plain.train(training), xyz, copied)
    torch.testing.assert_close(output, expected, rtol=1e-11, atol=1e-11)
    weight = torch.randn(output.shape, dtype=torch.float64)
    (output * weight).sum().backward()
    (expected * weight).sum().backward()
    for (name, ours), (_, theirs) in zip(model.named_parameters(), plain.named_parameters(), strict=True):
        tolerance = 1e-10 * theirs.grad.abs().max().clamp_min(1).item()
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=tolerance, msg=lambda t, n=name: n + t)
    if in_features:
        torch.testing.assert_close(features.grad, copied.grad, rtol=1e-10, atol=1e-10)
    for (name, ours), (_, theirs) in zip(model.named_buffers(), plain.named_buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11, msg=lambda t, n=name: n + t)


@pytest.mark.parametrize("in_features", [0, 3])
@pytest.mark.parametrize(("context", "scales"), [("none", 1), ("none", 2), ("latent_gnn", 1)])
def test_inference_without_gradients_is_the_same_function(context, scales, in_features):
    """Its layers are fused, in float32 on the CPU."""
    torch.manual_seed(1)
    model = build_model(small_config(context, scales), num_classes=5, in_features=in_features).eval()
    randomize_norms(model)
    xyz = cloud(2, 150, torch.float32)
    features = torch.rand(2, 150, 3) if in_features else None
    with torch.no_grad():
        fused = model(xyz, features)
        with torch.autocast("cpu", torch.bfloat16):
            half = model(xyz, features)
        expected = textbook(model.double(), xyz.double(), features.double() if in_features else None)
    size = expected.abs().max()
    torch.testing.assert_close(fused.double(), expected, rtol=1e-4, atol=1e-5 * size.item())
    assert (half - expected).abs().max() < 0.05 * size


def test_geometry_may_be_computed_ahead():
    model = build_model(small_config(), 5).eval()
    xyz = cloud(2, 150, torch.float32)
    geometry = model.geometry(xyz)
    assert geometry.samples.shape == (2, 48)
    assert [tuple(index.shape) for (index,) in geometry.neighbours] == [(2, 48, 8), (2, 16, 8), (2, 6, 8)]
    assert [tuple(index.shape) for index in geometry.nearest] == [(2, 150, 3), (2, 48, 3), (2, 16, 3)]
    for weights in geometry.weights:
        torch.testing.assert_close(weights.sum(dim=2), torch.ones(weights.shape[:2]))
    assert torch.equal(model(xyz, None, geometry), model(xyz))


def test_only_relative_positions_matter():
    model = build_model(small_config("latent_gnn"), 5).double().eval()
    xyz = cloud(1, 150)
    torch.testing.assert_close(model(xyz + 16), model(xyz), rtol=1e-9, atol=1e-9)


def count(model: nn.Module, *, weights_only: bool = False) -> int:
    return sum(p.numel() for p in model.parameters() if p.dim() > 1 or not weights_only)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("pointnet2_ssg", 0.957),  # PointNet++'s ScanNet network, matrices only
        ("pointnet2_ssg_nonlocal", 0.957 + 0.70),  # + Table 3 of the LatentGNN paper
        ("pointnet2_ssg_latentgnn", 0.957 + 0.30),  # the paper says 0.31
        ("pointnet2_ssg_latentgnn_k3", 0.957 + 0.54),
        ("pointnet2_msg", None),
    ],
)
def test_shipped_networks_run_and_have_the_published_sizes(name, millions):
    model = build_model(load_config(CONFIGS / f"{name}.yaml").model, num_classes=20)
    if millions:
        added = count(model) - count(build_model(ModelConfig(context="none"), 20))
        assert (957_344 + added) / 1e6 == pytest.approx(millions, abs=0.006)
    if name == "pointnet2_ssg":
        assert count(model, weights_only=True) == 957_344
    with torch.no_grad():
        assert model.eval()(cloud(1, 1024, torch.float32)).shape == (1, 1024, 20)


def test_bfloat16_autocast_is_finite_and_close():
    torch.manual_seed(0)
    model = build_model(small_config("latent_gnn"), 5)
    xyz = cloud(2, 200, torch.float32)
    reference = model(xyz)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(xyz)
    output.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert F.cosine_similarity(output.float().flatten(), reference.flatten(), dim=0) > 0.99


def test_compiles_without_graph_breaks():
    small = small_config()
    latent = LatentGNNConfig(latent_dims=(6,), kernels=2)
    config = replace(small, context="latent_gnn", latent_gnn=latent, levels=small.levels[:1], fp_mlps=((12,),))
    model = build_model(config, 5)
    xyz = cloud(2, 150, torch.float32)
    output = torch.compile(model, backend="aot_eager", fullgraph=True)(xyz)
    output.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    torch.testing.assert_close(output, model(xyz))


def test_bn_momentum_reaches_every_norm():
    model = build_model(small_config("latent_gnn"), 5)
    set_bn_momentum(model, 0.25)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    assert {norm.momentum for norm in norms} == {0.25}
    before = [norm.running_mean.clone() for norm in norms]
    model(cloud(2, 150, torch.float32))
    assert all((norm.running_mean != mean).any() for norm, mean in zip(norms, before, strict=True))


@pytest.mark.parametrize(
    ("xyz", "features", "part"),
    [
        (torch.zeros(2, 47, 3), None, r"N >= 48, got \[2, 47, 3\]"),
        (torch.zeros(2, 100, 4), None, r"got \[2, 100, 4\]"),
        (torch.zeros(2, 100, 3), torch.zeros(2, 100, 3), r"features must be None, got \[2, 100, 3\]"),
    ],
)
def test_wrong_input_is_named(xyz, features, part):
    with pytest.raises(ValueError, match=part):
        build_model(small_config(), 5)(xyz, features)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"levels": small_config().levels[::-1]}, r"model: levels: .* must not increase, got \[6, 16, 48\]"),
        (
            {"context": "latent_gnn", "latent_gnn": LatentGNNConfig(latent_dims=(4, 4, 4), channel_stride=17)},
            "=17 >= 1, got 16",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_together_is_an_input_error(change, part):
    with pytest.raises(InputError, match=part):
        build_model(replace(small_config(), **change), 5)


def test_overfits_one_chunk():
    """A small network learns the labels of one cloud: four surfaces of a room and boxes on its floor."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    xyz, label = labelled_room(1024, generator)
    model = build_model(overfit_config(), num_classes=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    geometry, supervised = model.geometry(xyz), torch.ones_like(label, dtype=torch.bool)
    start = time.perf_counter()
    for _ in range(300):
        logits = model(xyz, None, geometry)
        total, valid = segmentation_loss(logits, label, supervised)
        optimizer.zero_grad()
        (total / valid).backward()
        optimizer.step()
        schedule.step()
    accuracy = (model(xyz, None, geometry).argmax(dim=2) == label).float().mean().item()
    assert accuracy > 0.98
    assert time.perf_counter() - start < 60


def overfit_config() -> ModelConfig:
    levels = ((128, 0.2, 16), (32, 0.5, 32), (8, 1.0, 64))
    return ModelConfig(
        context="latent_gnn",
        latent_gnn=LatentGNNConfig(latent_dims=(16, 8, 4)),
        levels=tuple(
            LevelConfig(points=points, scales=(ScaleConfig(radius=radius, neighbours=16, mlp=(width, 2 * width)),))
            for points, radius, width in levels
        ),
        fp_mlps=((64,), (64,), (32, 32)),
        head=32,
        dropout=0.0,
    )


def labelled_room(points: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """xyz [1, N, 3] and label [1, N]: floor 0, a wall 1, the sides of a box 2, its top 3."""
    u, v = torch.rand(2, points, generator=generator)
    label = torch.randint(4, (points,), generator=generator)
    side = torch.where(u < 0.5, torch.stack([u, 0.2 + 0 * u]), torch.stack([0.5 + 0 * u, u - 0.3])).T
    shapes = torch.stack(
        [
            torch.stack([1.5 * u, 1.5 * v, 0 * u], dim=1),
            torch.stack([1.5 * u, 1.5 + 0 * u, 2 * v], dim=1),
            torch.cat([side, 0.5 * v.unsqueeze(1)], dim=1),
            torch.stack([0.5 * u, 0.2 + 0.5 * v, 0.5 + 0 * u], dim=1),
        ]
    )
    return shapes[label, torch.arange(points)].unsqueeze(0), label.unsqueeze(0)

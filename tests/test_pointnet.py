"""PointNet: the textbook's statement of both networks, the transforms' start and their regulariser, counts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pointseg.config import TrainConfig
from pointseg.distributed import Distributed
from pointseg.models import PointNet
from pointseg.models.layers import Layer
from pointseg.models.pointnet import orthogonality
from pointseg.training.step import TrainingStep

SINGLE = Distributed(rank=0, world_size=1, device=torch.device("cpu"))


def textbook(model: PointNet, xyz: Tensor) -> Tensor:
    """The network as the papers draw it, in evaluation mode: global features are repeated for every point."""

    def layer(module: Layer, x: Tensor) -> Tensor:
        norm, y = module.norm, F.linear(x, module.linear.weight)
        y = (y - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias
        return y.relu()

    def chain(modules, x: Tensor) -> Tensor:
        for module in modules:
            x = layer(module, x)
        return x

    def transform(module, x: Tensor) -> Tensor:
        cloud = chain(module.cloud, chain(module.points, x).max(1).values)
        return (cloud @ module.matrix.weight.T + module.matrix.bias).reshape(-1, module.size, module.size)

    if model.input_transform is not None:
        xyz = torch.einsum("bni,bij->bnj", xyz, transform(model.input_transform, xyz))
    local = chain(model.local, xyz)
    if model.feature_transform is not None:
        local = torch.einsum("bni,bij->bnj", local, transform(model.feature_transform, local))
    deep = chain(model.deep, local)
    cloud = chain(model.of_cloud, deep.max(1).values)
    point = local if model.feature_transform is not None else deep
    joined = torch.cat([point, cloud[:, None].expand(-1, point.shape[1], -1)], dim=2)
    classifier = model.classifier[-1]
    return F.linear(chain(model.head, joined), classifier.weight, classifier.bias)


@pytest.mark.parametrize("transforms", [False, True])
def test_equals_the_textbook(transforms):
    torch.manual_seed(0)
    model = PointNet(7, transforms=transforms).double()
    xyz = torch.randn(2, 60, 3, dtype=torch.float64)
    for _ in range(3):
        model(xyz)  # moves the running statistics
    if transforms:
        for module in (model.input_transform, model.feature_transform):
            torch.nn.init.normal_(module.matrix.weight, std=0.05)
    model.eval()
    torch.testing.assert_close(model(xyz), textbook(model, xyz), atol=1e-10, rtol=1e-10)


def test_transforms_start_as_the_identity_and_are_kept_near_orthogonal():
    torch.manual_seed(0)
    model, xyz = PointNet(3, transforms=True).train(), torch.randn(2, 50, 3)
    model(xyz)
    assert model.penalty.item() == 0
    torch.nn.init.normal_(model.feature_transform.matrix.weight, std=0.1)
    model(xyz)
    model.penalty.backward()
    assert model.penalty > 0
    assert model.feature_transform.matrix.weight.grad.abs().max() > 0
    model.eval()(xyz)
    assert model.penalty is None


def test_regulariser_by_hand():
    matrix = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [0.0, 1.0]]])
    # A A^T - I: [[3, 0], [0, 0]] and [[1, 1], [1, 0]]
    assert orthogonality(matrix).item() == (9 + 3) / 2


@pytest.mark.parametrize(("transforms", "millions"), [(False, 1.17), (True, 3.53)])
def test_published_number_of_weights(transforms, millions):
    model = PointNet(20, transforms=transforms)
    weights = sum(parameter.numel() for parameter in model.parameters() if parameter.dim() > 1)
    assert weights / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize("parts", [1, 2])
def test_training_adds_the_regulariser(parts, monkeypatch):
    """The gradient of a step is that of the mean loss plus the penalty of all chunks, however the batch is cut up."""
    torch.manual_seed(0)
    model = PointNet(20, transforms=True, dropout=0.0)
    torch.nn.init.normal_(model.feature_transform.matrix.weight, std=0.05)
    monkeypatch.setattr(Layer, "fused", False)  # which would not ask the norms
    for module in model.modules():  # running statistics, so that the parts of a batch do not see one another
        if isinstance(module, torch.nn.BatchNorm1d):
            monkeypatch.setattr(module, "forward", lambda y, m=module: F.batch_norm(y, m.running_mean, m.running_var))
    xyz, label = torch.randn(4, 30, 3), torch.randint(0, 20, (4, 30))
    batch = {"xyz": xyz, "features": None, "label": label, "inside": torch.ones_like(label, dtype=torch.bool)}
    (F.cross_entropy(model.train()(xyz).flatten(0, 1), label.flatten()) + model.penalty).backward()
    expected = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    step = TrainingStep(model, TrainConfig(accumulate=parts, batch_size=4), None, SINGLE)
    monkeypatch.setattr(step.optimizer, "step", lambda: None)  # the gradients stay to be looked at
    step(batch, None, 1e-3, 0.1)
    got = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-4)

"""NonLocalBlock against equations (1)-(4), computed with loops over pairs of points in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from benchmarks.context_modules import peak_bytes
from pointseg.models import NonLocalBlock

AFFINITIES = ("similarity", "laplacian", "softmax")


def block(affinity: str, channels: int = 6, stride: int = 2) -> NonLocalBlock:
    """A block in float64 with random values everywhere."""
    module = NonLocalBlock(channels, stride, affinity).double()
    generator = torch.Generator().manual_seed(0)
    for tensor in (*module.parameters(), module.expand.norm.running_mean):
        tensor.data.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
    module.expand.norm.running_var.copy_(torch.rand(channels, generator=generator, dtype=torch.float64) + 0.5)
    return module


def paper_non_local(module: NonLocalBlock, x: Tensor) -> Tensor:
    """`x` [B, C, N]: x~_i = relu(1 / Z_i sum_j g(x_i, x_j) W^T x_j), (1), then up and the scaled sum."""
    c, points = module.reduced, x.shape[2]
    embed_s, embed_t, weight = module.embed.weight.split(c)
    rows = []
    for cloud in x:
        s = [embed_s @ cloud[:, i] for i in range(points)]
        t = [embed_t @ cloud[:, i] for i in range(points)]
        if module.affinity == "laplacian":
            s, t = [v.clamp_min(0) for v in s], [v.clamp_min(0) for v in t]
        for i in range(points):
            g = [float(s[i] @ t[j]) for j in range(points)]
            if module.affinity == "softmax":
                g = [math.exp(value) for value in g]
            z = 1.0 if module.affinity == "similarity" else sum(g)  # (3) / (4)
            message = sum(g[j] * (weight @ cloud[:, j]) for j in range(points))
            rows.append(message.clamp_min(0) / max(z, 1e-6))
    up = torch.stack([module.expand.linear.weight @ row for row in rows])
    norm = module.expand.norm
    mean, variance = (up.mean(0), up.var(0, correction=0)) if norm.training else (norm.running_mean, norm.running_var)
    up = (up - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias
    return x + module.scale * up.view(x.shape[0], points, -1).transpose(1, 2)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("spatial", [(2,), (9,), (3, 4)])  # fewer and more points than channels: both product orders
@pytest.mark.parametrize("affinity", AFFINITIES)
def test_agrees_with_the_papers_equations(affinity, spatial, training):
    module = block(affinity).train(training)
    x = torch.randn(2, 6, *spatial, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = paper_non_local(module, x.flatten(2)).view_as(x)
        torch.testing.assert_close(module(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("affinity", AFFINITIES)
def test_is_the_identity_at_initialisation(affinity):
    x = torch.randn(2, 8, 50)
    assert torch.equal(NonLocalBlock(8, affinity=affinity)(x).view(torch.int32), x.view(torch.int32))


@pytest.mark.parametrize("scale", [0.0, 0.7])
@pytest.mark.parametrize("affinity", AFFINITIES)
def test_gradients(affinity, scale):
    module = block(affinity, channels=4)
    module.scale.data.fill_(scale)
    names = [name for name, _ in module.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in module.parameters()]

    def function(x, *parameters):
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), (x,))

    x = torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(function, (x, *values))


@pytest.mark.parametrize("affinity", AFFINITIES)
def test_points_may_come_in_any_order_and_memory_is_kept(affinity):
    module = block(affinity).eval()
    x, order = torch.randn(2, 6, 40, dtype=torch.float64), torch.randperm(40)
    torch.testing.assert_close(module(x[:, :, order]), module(x)[:, :, order], rtol=1e-9, atol=1e-9)
    assert module(x.transpose(1, 2).contiguous().transpose(1, 2)).transpose(1, 2).is_contiguous()


def test_similarity_is_linear_in_the_points():
    x = torch.randn(1, 8, 100_000)  # the affinity matrix would be 40 GB
    assert NonLocalBlock(8, affinity="similarity")(x).shape == x.shape
    assert NonLocalBlock(8, affinity="laplacian")(x).shape == x.shape


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="at least channel_stride=2 >= 1, got 1"):
        NonLocalBlock(1)
    with pytest.raises(ValueError, match="affinity must be"):
        NonLocalBlock(8, affinity="dot")
    with pytest.raises(ValueError, match=r"x must be \[B, 8, \*spatial\]"):
        NonLocalBlock(8)(torch.zeros(2, 4, 10))


def test_softmax_does_not_hold_the_affinity():
    """It would be 64 MB."""
    module, x = NonLocalBlock(16, affinity="softmax").eval(), torch.randn(1, 16, 4000)
    with torch.no_grad():
        assert peak_bytes(lambda: module(x), x.device) < 8e6

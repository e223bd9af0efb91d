"""LatentGNN in training by one operator: the same function and gradients as by layers, and when it is taken."""

from __future__ import annotations

import pytest
import torch
from test_latent_gnn import randomize
from torch import Tensor, nn

from pointseg.models import LatentGNN
from pointseg.models.layers import Layer


def names_of_graph(output: Tensor) -> str:
    """Of the autograd functions that made it."""
    names, nodes = [], [output.grad_fn]
    while nodes:
        node = nodes.pop()
        names.append(node.name())
        nodes += [parent for parent, _ in node.next_functions if parent is not None]
    return " ".join(names)


@pytest.mark.parametrize("dims", [(20,), (3, 9, 2)])
@pytest.mark.parametrize("shape", [(3, 16, 300), (2, 16, 5, 6), (1, 16, 2), (8, 64, 16)])
def test_training_by_one_operator_is_the_same_function(shape, dims, monkeypatch):
    """Outputs, all gradients and the running statistics; one more epsilon and momentum than everybody's."""
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    results = []
    for fused in (True, False):
        monkeypatch.setattr(Layer, "fused", fused)
        module = randomize(LatentGNN(shape[1], dims).double())
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm1d):
                norm.eps, norm.momentum = 1e-3, 0.3
        inputs = x.clone().requires_grad_()
        output = module(inputs)
        assert ("FusedLatentGNN" in names_of_graph(output)) == fused
        (output * torch.arange(x.numel(), dtype=torch.float64).view(shape).cos()).sum().backward()
        results.append([output, inputs.grad, *(p.grad for p in module.parameters()), *module.buffers()])
    for ours, theirs in zip(*results, strict=True):
        size = theirs.abs().max().clamp_min(1).item()
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10 * size)


def test_what_the_operator_does_not_take_is_computed_by_layers():
    """SyncBatchNorm, a norm in evaluation mode or of its own momentum, half precision, no gradient."""
    x = torch.randn(2, 8, 10)

    def takes(module: nn.Module, x: Tensor = x) -> bool:
        return module._fused_norms(x) is not None

    assert takes(LatentGNN(8, 3))
    assert not takes(nn.SyncBatchNorm.convert_sync_batchnorm(LatentGNN(8, 3)))
    for change in ({"training": False}, {"momentum": 0.5}):
        module = LatentGNN(8, 3)
        vars(module.expand.norm).update(change)
        assert not takes(module)
    assert not takes(LatentGNN(8, 3), x.bfloat16())
    assert not takes(LatentGNN(8, 3), x[:1, :, :1])
    for options in ({"graph_conv": False}, {"mode": "symmetric"}, {"mixture": "affinity"}, {"residual": False}):
        assert not takes(LatentGNN(8, (3, 2), **options))
    with torch.no_grad():
        assert not takes(LatentGNN(8, 3))
    with torch.autocast("cpu", torch.bfloat16):
        assert not takes(LatentGNN(8, 3))

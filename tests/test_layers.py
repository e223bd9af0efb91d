"""The building blocks: folded BatchNorm, the maximum taken before BatchNorm, dropout."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointseg.models.layers import Dropout, Layer, chain, is_joined, linear_after
from pointseg.models.pooling import layer_max


def random_layer(inputs: int, outputs: int, dtype=torch.float64) -> Layer:
    """A layer whose BatchNorm has scales of both signs and one of 0, and running statistics that matter."""
    generator = torch.Generator().manual_seed(0)
    layer = Layer(inputs, outputs).to(dtype)
    for tensor in (*layer.parameters(), layer.norm.running_mean):
        tensor.data.copy_(torch.randn(tensor.shape, generator=generator, dtype=dtype))
    layer.norm.running_var.copy_(torch.rand(outputs, generator=generator, dtype=dtype) + 0.5)
    layer.norm.weight.data[0], layer.norm.bias.data[0] = (
        0,
        -1,
    )  # above ReLU's zero, a scale of 0 is a kink of the maximum
    assert (layer.norm.weight < 0).any()
    assert (layer.norm.weight > 0).any()
    return layer


def plain(layer: Layer, x: Tensor) -> Tensor:
    """Linear, BatchNorm, ReLU by PyTorch's modules one after the other."""
    y = F.linear(x, layer.linear.weight)
    return F.relu(layer.norm(y.flatten(0, -2)).view(y.shape))


def neighbourhoods(dtype=torch.float64) -> Tensor:
    """[2, 5, 4, 6] with repeated neighbours, as padded balls have."""
    x = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(1), dtype=dtype)
    x[:, 1:, 2:] = x[:, 1:, :1]
    return x


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("inputs", "norm"), [(4, "batch"), (12, "batch"), (4, "frozen"), (4, "none")], ids=str)
def test_a_scaled_layer_is_added(inputs, norm, training, channels_last):
    """Where BatchNorm's statistics come from the covariance (4 inputs for 16 outputs) and where they do not."""
    layer = Layer(inputs, 16, relu=False, norm=norm).double().train(training)
    reference, ours, theirs = copy.deepcopy(layer), [], []
    for used, module in ((ours, layer), (theirs, reference)):
        generator = torch.Generator().manual_seed(0)
        shapes = ((2, 100, inputs), (), (2, 100, 16) if channels_last else (2, 16, 100))
        used.extend(torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes)
        x, scale, target = used
        target = target if channels_last else target.transpose(1, 2)
        output = module.add_scaled(x, scale, target) if module is layer else target + scale * module(x)
        assert output.stride() == target.stride()
        (output * torch.randn(2, 100, 16, generator=generator, dtype=torch.float64)).sum().backward()
        used += [output, *(tensor.grad for tensor in used), *(p.grad for p in module.parameters()), *module.buffers()]
    for actual, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("fused_from", [0, 2**18])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pooled", [True, False])
def test_layer_is_linear_batchnorm_relu(pooled, training, fused_from, monkeypatch):
    monkeypatch.setattr("pointseg.models.layers._FUSED_FROM", fused_from)
    layer = random_layer(6, 8).train(training)
    reference = copy.deepcopy(layer)
    x, copied = neighbourhoods().requires_grad_(), neighbourhoods().requires_grad_()
    output = layer_max(layer, x) if pooled else layer(x)
    expected = plain(reference, copied)
    expected = expected.max(dim=2).values if pooled else expected
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn(output.shape, dtype=torch.float64)
    (output * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(x.grad.sum(2), copied.grad.sum(2), rtol=1e-11, atol=1e-11)  # ties may share it otherwise
    for ours, theirs in zip(layer.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-11, atol=1e-11)
    for ours, theirs in zip(layer.buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)


def test_pooling_before_batchnorm_loses_no_accuracy():
    layer = random_layer(16, 32, torch.float32)
    x = torch.randn(4, 50, 16, 16)
    torch.testing.assert_close(layer_max(layer, x), plain(copy.deepcopy(layer), x).amax(dim=2), rtol=2e-6, atol=2e-6)
    layer.eval()
    assert torch.equal(layer_max(layer, x), layer(x).amax(dim=2))


def test_gradients_of_the_pooled_layer():
    layer = random_layer(6, 5)
    names = [name for name, _ in layer.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    values[names.index("norm.weight")].data[0] = 0.5  # at 0 the maximum has a kink

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return layer_max(self.layer, x)

    def function(x, *parameters):
        named = {f"layer.{name}": value for name, value in zip(names, parameters, strict=True)}
        return torch.func.functional_call(Pooled(), named, (x,))

    x = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (x, *values))


def test_pooled_layer_in_bfloat16():
    layer = random_layer(16, 32, torch.float32)
    x = torch.randn(4, 50, 16, 16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = layer_max(layer, x)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), layer_max(layer, x), rtol=0.05, atol=0.05)
    low.float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in (x, *layer.parameters()))


def test_synchronised_batchnorm_is_left_to_itself():
    layer = random_layer(6, 8)
    plain_norm = layer.norm
    layer.norm = nn.SyncBatchNorm(8).double()
    layer.norm.load_state_dict(plain_norm.state_dict())
    layer.norm.forward = plain_norm.forward  # without a process group, what a group of one would do
    expected = plain(layer, neighbourhoods()).amax(dim=2)
    torch.testing.assert_close(layer_max(layer, neighbourhoods()), expected)


@pytest.mark.parametrize("counted", [False, True])
def test_a_chain_is_its_layers_one_after_the_other(counted: bool):
    """Outputs, gradients and statistics of 300 rows, or of rows that stand for 1, 2 or 3 equal ones."""
    layers = nn.ModuleList([random_layer(6, 8), random_layer(8, 40), random_layer(40, 5)])
    separate, results = copy.deepcopy(layers), []
    draw = torch.Generator().manual_seed(0)
    count = (torch.arange(300) % 3 + 1).double() if counted else None
    weight = torch.randn(7, 5, generator=draw, dtype=torch.float64, requires_grad=True)
    y = torch.randn(300, 8, generator=draw, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(300, 7, generator=draw, dtype=torch.float64)
    assert is_joined(layers, y, count)
    output, moments = linear_after(layers, y, weight, count)
    x = separate[0].activate(y, count)
    for layer in separate[1:]:
        x = layer(x, count)
    for network, result in ((layers, output), (separate, F.linear(x, weight))):
        leaves = [y, weight, *network[0].norm.parameters(), *network[1:].parameters()]
        results.append([result, *torch.autograd.grad(result, leaves, upstream), *network.buffers()])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    written = output if count is None else output.repeat_interleave(count.long(), dim=0)
    torch.testing.assert_close(moments, (written.mean(dim=0), written.var(dim=0, unbiased=False)))
    torch.testing.assert_close(F.linear(chain(layers, y, count), weight), output)


def test_layers_are_joined_in_training_with_digits_only():
    layers, y = [random_layer(6, 8, torch.float32)], torch.randn(9, 8)
    assert is_joined(layers, y, None)
    assert not is_joined(layers, y[:1], None)
    assert not is_joined(layers, y.bfloat16(), None)
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_joined(layers, y, None)
    with torch.no_grad():
        assert not is_joined(layers, y, None)
    for other in (Layer(6, 8, relu=False), Layer(6, 8, norm="frozen"), Layer(6, 8).eval()):
        assert not is_joined([*layers, other], y, None)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_dropout(p):
    x = torch.ones(101, 999)
    y = Dropout(p)(x)
    kept = (y != 0).float().mean().item()
    assert kept == pytest.approx(1 - p, abs=0.01)
    if p < 1:
        torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - p)), rtol=1e-4, atol=0)
    assert torch.equal(Dropout(p).eval()(x), x)


def test_dropout_draws_from_the_global_generator_and_masks_gradients():
    x = torch.ones(33, 7, requires_grad=True)
    torch.manual_seed(3)
    y = Dropout(0.5)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    torch.manual_seed(3)
    assert torch.equal(Dropout(0.5)(x), y)
    assert not torch.equal(Dropout(0.5)(x), y)


def test_layer_max_backward_needs_no_epsilon_of_zero(monkeypatch: pytest.MonkeyPatch):
    """PyTorch 2.11's `F.batch_norm` refuses one."""

    def strict(*args, eps: float = 1e-5, **options):
        assert eps > 0
        return batch_norm(*args, eps=eps, **options)

    batch_norm = F.batch_norm
    monkeypatch.setattr(F, "batch_norm", strict)
    layer, x = Layer(4, 6), torch.randn(2, 5, 7, 4, requires_grad=True)
    layer_max(layer, x).sum().backward()
    assert x.grad.isfinite().all()

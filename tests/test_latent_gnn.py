"""LatentGNN against equations (5)-(15), computed with loops over points, latent nodes and kernels in float64.

B batch, N points, C channels, c reduced channels, K kernels, d latent nodes of a kernel.
"""

from __future__ import annotations

import math
import time

import pytest
import torch
from torch import Tensor, nn

from benchmarks.context_modules import peak_bytes
from pointseg.models import LatentGNN

DIMS = {1: (3,), 3: (3, 2, 4)}


def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random values in every parameter and running statistic, so that nothing is 0, 1 or equal by accident."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point():
            values = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
            tensor.data.copy_(values.abs() + 0.5 if "running_var" in name else values)
    return module


def batch_norm(rows: list[Tensor], norm: nn.BatchNorm1d) -> list[Tensor]:
    """BatchNorm of a list of vectors, with the list's statistics in training and the running ones otherwise."""
    stacked = torch.stack(rows)
    mean, variance = (
        (stacked.mean(0), ((stacked - stacked.mean(0)) ** 2).mean(0))
        if norm.training
        else (norm.running_mean, norm.running_var)
    )
    return [(row - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias for row in rows]


def per_cloud(function, clouds: list[list[Tensor]], norm: nn.BatchNorm1d) -> list[list[Tensor]]:
    """BatchNorm sees the points of all clouds of the batch: [B][N] vectors -> [B][N] vectors."""
    rows = batch_norm([function(x) for cloud in clouds for x in cloud], norm)
    count = len(clouds[0])
    return [rows[b * count : (b + 1) * count] for b in range(len(clouds))]


def unit(x: Tensor) -> Tensor:
    return x / math.sqrt(sum(float(v) ** 2 for v in x)) if any(x != 0) else x


def paper_affinity(features: list[Tensor], collect: list[Tensor], scatter: list[Tensor]) -> Tensor:
    """A(X) [N, N] of one kernel, (13): A_ij = sum_kl psi(x_i)_k f_kl psi(x_j)_l; psi as lists of N vectors [d]."""
    points, nodes = len(features), len(collect[0])
    z = [sum(collect[j][k] * features[j] for j in range(points)) for k in range(nodes)]  # (5) without W
    f = torch.zeros(nodes, nodes, dtype=torch.float64)
    for k in range(nodes):
        cosines = [float(unit(z[k]) @ unit(z[j])) for j in range(nodes)]
        total = sum(math.exp(value) for value in cosines)
        for j in range(nodes):
            f[k, j] = math.exp(cosines[j]) / total
    affinity = torch.zeros(points, points, dtype=torch.float64)
    for i in range(points):
        for j in range(points):
            for k in range(nodes):
                for l in range(nodes):
                    affinity[i, j] += scatter[i][k] * f[k, l] * collect[j][l]
    return affinity


def paper_psi(module: LatentGNN, direction: int, clouds: list[list[Tensor]]) -> list[list[Tensor]]:
    """ReLU(BatchNorm(Theta x)), [B][N] vectors of all kernels' nodes, before it is given unit length."""
    layer = module.psi[direction]
    rows = per_cloud(lambda x: layer.linear.weight @ x, clouds, layer.norm)
    return [[row.clamp_min(0) for row in cloud] for cloud in rows]


def paper_latent_gnn(module: LatentGNN, x: Tensor) -> Tensor:
    """Equations (2) and (5)-(15) with loops; `x` [B, C, N] float64. Every [N, N] affinity is written out."""
    clouds = [[x[b, :, i] for i in range(x.shape[2])] for b in range(len(x))]
    c, kernels = module.reduced, len(module.dims)
    bottleneck = per_cloud(lambda v: module.reduce.linear.weight @ v, clouds, module.reduce.norm)
    for_collect = [[unit(row[:c]) for row in cloud] for cloud in bottleneck]
    for_scatter = [[unit(row[-c:]) for row in cloud] for cloud in bottleneck]
    collect_psi = paper_psi(module, 0, for_collect)
    scatter_psi = paper_psi(module, -1, for_scatter)

    mixed = []  # [B][N] vectors that h takes
    for features, collect_rows, scatter_rows in zip(for_collect, collect_psi, scatter_psi, strict=True):
        results, total, start = [], 0, 0
        for m, d in enumerate(module.dims):
            scatter = [unit(row[start : start + d]) for row in scatter_rows]
            collect = [row[start : start + d] for row in collect_rows]
            if module.mode == "asymmetric":  # unit length over the points, for each latent node
                lengths = [math.sqrt(sum(float(row[k]) ** 2 for row in collect)) or 1.0 for k in range(d)]
                collect = [row / torch.tensor(lengths, dtype=torch.float64) for row in collect]
            else:
                collect = scatter
            affinity = paper_affinity(features, collect, scatter)
            start += d
            if module.mixture == "affinity":
                total = total + module.mixture_weights[m] * affinity  # (14)
            else:
                results.append(propagate(affinity, features, module.message[m]))
        if module.mixture == "affinity":
            results.append(propagate(total, features, module.message[0]))
        mixed.append([torch.cat([result[i] for result in results]) for i in range(len(features))])

    assert len(mixed[0][0]) == (c * kernels if module.mixture == "features" else c)
    activated = [[row.clamp_min(0) for row in cloud] for cloud in per_cloud(lambda v: v, mixed, module.activation[0])]
    context = per_cloud(lambda v: module.expand.linear.weight @ v, activated, module.expand.norm)
    augmented = torch.empty_like(x)
    for b, cloud in enumerate(context):
        for i, row in enumerate(cloud):
            augmented[b, :, i] = module.scale * row + x[b, :, i]  # (15)
    return augmented


def propagate(affinity: Tensor, features: list[Tensor], weight: Tensor) -> list[Tensor]:
    """Rows of A X W, (2) before h."""
    points = range(len(features))
    return [sum(affinity[i, j] * (weight.T @ features[j]) for j in points) for i in points]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("spatial", [(7,), (2, 4)])
@pytest.mark.parametrize("mixture", ["features", "affinity"])
@pytest.mark.parametrize("mode", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("kernels", [1, 3])
def test_agrees_with_the_papers_equations(kernels, mode, mixture, spatial, training):
    module = randomize(LatentGNN(8, DIMS[kernels], 2, mode=mode, mixture=mixture).double()).train(training)
    x = torch.randn(2, 8, *spatial, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = paper_latent_gnn(module, x.flatten(2)).view_as(x)
        torch.testing.assert_close(module(x), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("mode", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("shape", [(2, 16, 50), (2, 16, 5, 6)])
def test_is_the_identity_at_initialisation(mode, shape):
    x = torch.randn(shape)
    for module in (LatentGNN(16, 5, mode=mode), LatentGNN(16, 5, kernels=3, mode=mode, mixture="affinity")):
        assert module.scale.item() == 0
        assert torch.equal(module(x).view(torch.int32), x.view(torch.int32))
        assert torch.equal(module.eval()(x).view(torch.int32), x.view(torch.int32))


@pytest.mark.parametrize("mixture", ["features", "affinity"])
def test_only_the_scale_learns_at_first_and_then_everything(mixture):
    module = LatentGNN(8, (3, 2), mixture=mixture)
    x = torch.randn(2, 8, 40)
    (module(x) * torch.randn(2, 8, 40)).sum().backward()
    assert module.scale.grad.abs() > 0
    assert all(p.grad.abs().max() == 0 for name, p in module.named_parameters() if name != "scale")
    module.scale.data.fill_(0.5)
    module.zero_grad()
    (module(x) * torch.randn(2, 8, 40)).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("scale", [0.0, 0.7])
@pytest.mark.parametrize("mode", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("mixture", ["features", "affinity"])
def test_gradients(mixture, mode, scale):
    module = randomize(LatentGNN(4, (2, 3), 2, mode=mode, mixture=mixture).double())
    module.scale.data.fill_(scale)
    names = [name for name, _ in module.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in module.parameters()]

    def function(x, *parameters):
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), (x,))

    x = torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(3))
    assert torch.autograd.gradcheck(function, (x, *values))


@pytest.mark.parametrize("norm", ["frozen", "none"])
@pytest.mark.parametrize("graph_conv", [True, False])
def test_gradients_without_batch_statistics(graph_conv, norm):
    """In evaluation and training mode alike; a frozen normalisation has no parameters and does not move."""
    module = randomize(LatentGNN(4, (2, 3), 2, graph_conv=graph_conv, norm=norm).double())
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    x = torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(3))
    assert torch.autograd.gradcheck(module, x)
    assert torch.equal(module(x), module.eval()(x))
    module(x).sum().backward()
    assert all(p.grad.abs().max() > 0 for p in module.parameters())
    assert all(torch.equal(buffers[name], buffer) for name, buffer in module.named_buffers())
    assert not any("norm" in name for name, _ in module.named_parameters())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("graph_conv", [True, False])
@pytest.mark.parametrize("mixture", ["features", "affinity"])
@pytest.mark.parametrize("mode", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("kernels", [1, 3])
def test_message_passing_is_multiplication_by_the_effective_affinity(kernels, mode, mixture, graph_conv, training):
    module = randomize(LatentGNN(8, DIMS[kernels], 2, mode=mode, mixture=mixture, graph_conv=graph_conv).double())
    module.train(training)
    x = torch.randn(2, 8, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    affinity = module.effective_affinity(x)
    assert affinity.shape == (2, kernels if mixture == "features" else 1, 15, 15)
    rows = x.flatten(2).transpose(1, 2)
    features = torch.nn.functional.normalize(module.reduce(rows)[..., : module.reduced], dim=-1)  # X: [B, N, c]
    heard = affinity @ features.unsqueeze(1)  # A_m X: [B, K, N, c]
    heard = heard @ module.message if graph_conv else heard
    visible = module.activation(heard.permute(0, 2, 1, 3).flatten(2).flatten(0, 1)).view(2, 15, -1)
    context = module.expand(visible).transpose(1, 2).view_as(x)
    torch.testing.assert_close(module(x), x + module.scale * context, rtol=1e-11, atol=1e-11)
    some = torch.tensor([14, 2, 2])
    torch.testing.assert_close(module.effective_affinity(x, some), affinity[:, :, some], rtol=1e-12, atol=1e-12)
    assert torch.linalg.matrix_rank(affinity).max() <= sum(module.dims)


def test_rows_of_the_affinity_of_many_points():
    """All of it would be 40 GB of float32 here."""
    affinity = LatentGNN(8, 3).eval().effective_affinity(torch.randn(1, 8, 100_000), rows=[5, 99_999])
    assert affinity.shape == (1, 1, 2, 100_000)


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("mode", ["asymmetric", "symmetric"])
def test_inference_in_blocks_is_the_same_function(mode, residual, norm, monkeypatch):
    for mixture in ("features", "affinity"):
        module = LatentGNN(8, (3, 2), 2, mode=mode, mixture=mixture, residual=residual, norm=norm)
        randomize(module.double()).eval()
        for x in (torch.randn(2, 8, 10, 5), torch.randn(2, 50, 8).transpose(1, 2)):
            x = x.double()
            plain = module(x).detach()
            with monkeypatch.context() as patch, torch.no_grad():
                patch.setattr("pointseg.models.latent_gnn._LEAST_BLOCK", 16)
                blocks = module(x)
            torch.testing.assert_close(blocks, plain, rtol=1e-11, atol=1e-11)
            assert blocks.stride() == x.stride()


def test_inference_keeps_nothing_that_grows_with_the_points():
    """Beside the input and the result the largest tensor is that of a block."""
    module = LatentGNN(16, 20, kernels=2).eval()
    x = torch.randn(1, 16, 100_000)
    with torch.no_grad(), LargestTensor(views=False) as largest:
        result = module(x)
    assert result.shape == x.shape
    assert sorted(largest.sizes)[-1] == x.numel()
    assert largest.sizes.count(x.numel()) == 1
    assert sorted(set(largest.sizes))[-2] <= 8192 * 40


@pytest.mark.parametrize("points", [4096, 80_000])
@pytest.mark.parametrize("rows", [True, False])
def test_inference_holds_at_most_two_tensors_of_the_inputs_size(rows, points):
    """By the allocator's account, the result included, whatever the memory order of the input."""
    module, x = LatentGNN(128, 50, kernels=2).eval(), torch.randn(1, 128, points)
    if rows:
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    with torch.no_grad():
        assert x.nbytes < peak_bytes(lambda: module(x), x.device) < 2 * x.nbytes


def test_many_points_in_half_precision_are_summed_in_single():
    """A sum of 100,000 terms in bfloat16 would stop growing at a few hundred."""
    torch.manual_seed(0)
    module = randomize(LatentGNN(16, 5)).eval()
    x = torch.randn(1, 16, 1000).repeat(1, 1, 100)
    with torch.no_grad():
        expected, half = module(x), module.bfloat16()(x.bfloat16())
    assert (half.float() - expected).norm() < 0.03 * expected.norm()


def test_points_may_come_in_any_order():
    module = randomize(LatentGNN(16, (6, 4), mode="asymmetric").double()).eval()
    x, order = torch.randn(2, 16, 60, dtype=torch.float64), torch.randperm(60)
    torch.testing.assert_close(module(x[:, :, order]), module(x)[:, :, order], rtol=1e-11, atol=1e-11)


def test_cost_is_linear_in_the_points():
    """An affinity of 60,000 x 60,000 float32 would be 14 GB; no tensor here is wider than the input, not even Psi."""
    module = LatentGNN(16, 20, kernels=2)
    x = torch.randn(1, 16, 60_000, requires_grad=True)
    start = time.perf_counter()
    with LargestTensor() as largest:
        module(x).sum().backward()
    assert largest.elements <= 60_000 * 16
    assert time.perf_counter() - start < 10


class LargestTensor(torch.utils._python_dispatch.TorchDispatchMode):
    """Remembers the numbers of elements of the tensors that operations returned; `views` counts views as well."""

    def __init__(self, views: bool = True) -> None:
        super().__init__()
        self.views, self.sizes = views, []

    @property
    def elements(self) -> int:
        return max(self.sizes)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, Tensor) and (self.views or not (func.is_view or tensor is args[0])):
                self.sizes.append(tensor.numel())
        return result


def test_channels_last_memory_is_kept():
    module = LatentGNN(8, 3)
    rows = torch.randn(2, 30, 8)
    assert module(rows.transpose(1, 2)).transpose(1, 2).is_contiguous()
    image = torch.randn(2, 8, 5, 6)
    assert module(image).is_contiguous()
    assert module(image.to(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)


def test_bfloat16_autocast_stays_finite_and_close():
    module = LatentGNN(64, 80, kernels=3)
    module.scale.data.fill_(1.0)
    x = torch.randn(2, 64, 500)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = module(x)
    low.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())
    assert (low.float() - module(x)).square().mean().sqrt() < 0.1


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"in_channels": 3, "latent_dims": 4}, "at least channel_stride=4 >= 1, got 3"),
        ({"in_channels": 8, "latent_dims": (4, 4), "kernels": 3}, "kernels=3, got"),
        ({"in_channels": 8, "latent_dims": ()}, "latent_dims must be positive"),
        ({"in_channels": 8, "latent_dims": 4, "mode": "both"}, "mode must be"),
        ({"in_channels": 8, "latent_dims": 4, "mixture": "sum"}, "mixture must be"),
        ({"in_channels": 8, "latent_dims": 4, "norm": "group"}, "norm must be 'batch', 'frozen' or 'none'"),
    ],
)
def test_wrong_arguments_are_named(arguments, part):
    with pytest.raises(ValueError, match=part):
        LatentGNN(**arguments)


def test_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"x must be \[B, 8, \*spatial\], got \[2, 4, 10\]"):
        LatentGNN(8, 3)(torch.zeros(2, 4, 10))


def test_autocast_that_widens_norms(monkeypatch: pytest.MonkeyPatch):
    """On CUDA autocast computes norms in float32, on the CPU it does not: the gradients must come out either way."""
    norm = torch.linalg.vector_norm
    monkeypatch.setattr(torch.linalg, "vector_norm", lambda *args, **options: norm(*args, **options).float())
    torch.manual_seed(0)
    module = LatentGNN(16, 6, kernels=2)
    nn.init.ones_(module.scale)
    x = torch.randn(2, 16, 50, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(x)
    y.square().mean().backward()
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_latent_weights_have_unit_mean_square():
    torch.manual_seed(0)
    module, x = LatentGNN(16, (6, 3)).eval(), torch.randn(2, 16, 5, 10)
    weights = module.latent_weights(x)
    assert weights.shape == (2, 9, 50)
    torch.testing.assert_close(weights.square().mean(2), torch.ones(2, 9))

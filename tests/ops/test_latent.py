"""LatentGNN's operator in training beside its definition: values and gradients with every instruction set, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from instruction_sets import every_instruction_set
from pointnet2_ops import latent, reference
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

# B clouds, N points, c features, d of each kernel: blocks of rows whole and not, several parts of several blocks, a
# point a cloud, fewer latent nodes than features and more.
SIZES = [
    (1, 2, 1, (1,)),
    (3, 7, 5, (4,)),
    (2, 300, 16, (80,)),
    (5, 1, 8, (3, 2)),
    (2, 513, 4, (9, 1, 33)),
    (1, 4700, 6, (5,)),
    (8, 16, 40, (10,)),
]


def arguments(B: int, N: int, c: int, dims: tuple[int, ...], dtype: torch.dtype) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    D, K = sum(dims), len(dims)
    sizes = (2 * c, D, D)
    weights, biases = [normal(size) for size in sizes], [normal(size) for size in sizes]
    return (
        normal(B * N, 2 * c) + 3,
        weights,
        biases,
        [0.1, 0.2, 0.3],
        [normal(D, c), normal(D, c)],
        normal(K, c, c),
        dims,
        B,
    )


def backward(grad: Tensor, inputs: tuple[Any, ...], kept: tuple[Tensor, ...]) -> list[Tensor]:
    """Gradients of rows, weights, biases, psi, message."""
    rows, norms, psi, message = latent.latent_gnn_backward(grad, *inputs, kept)
    sizes = [len(weight) for weight in inputs[1]]
    return [rows, *norms[0].split(sizes), *norms[1].split(sizes), *psi, message]


def definition(grad: Tensor, inputs: tuple[Any, ...]) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Results and gradients of the reference, in float64, through the moments too."""
    rows, weights, biases, eps, psi, message, *rest = inputs
    leaves = [x.double().requires_grad_() for x in (rows, *weights, *biases, *psi, message)]
    out = reference.latent_gnn(leaves[0], leaves[1:4], leaves[4:7], eps, leaves[7:9], leaves[9], *rest)
    return out, list(torch.autograd.grad(out[0], leaves, grad.double()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("B", "N", "c", "dims"), SIZES)
def test_equals_the_definition(B: int, N: int, c: int, dims: tuple[int, ...], dtype: torch.dtype):
    inputs = arguments(B, N, c, dims, dtype)
    grad = torch.randn(B * N, len(dims) * c, generator=torch.Generator().manual_seed(1)).to(dtype)
    results, gradients = definition(grad, inputs)
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-4}[dtype]
    for _ in every_instruction_set():
        kept = latent.latent_gnn(*inputs)
        for ours, theirs in zip([*kept[:2], *backward(grad, inputs, kept)], [*results, *gradients], strict=True):
            assert ours.dtype == dtype
            size = theirs.abs().max().clamp_min(0.1).item()
            torch.testing.assert_close(ours.double(), theirs, rtol=tolerance, atol=tolerance * size)


def test_threads_change_nothing(set_threads: Callable[[int], None]):
    inputs = arguments(2, 5000, 8, (20,), torch.float32)
    grad = torch.ones(10_000, 8)
    results = []
    for threads in (1, 2, 3):
        set_threads(threads)
        kept = latent.latent_gnn(*inputs)
        results.append([*kept, *backward(grad, inputs, kept)])
    assert all(torch.equal(a, b) for result in results[1:] for a, b in zip(result, results[0], strict=True))


def test_equal_points_have_no_variance_and_finite_gradients():
    rows, *rest = arguments(2, 100, 6, (4, 3), torch.float64)
    inputs = (rows[:1].expand(200, -1), *rest)
    grad = torch.ones(200, 12, dtype=torch.float64)
    kept = latent.latent_gnn(*inputs)
    results, gradients = definition(grad, inputs)
    torch.testing.assert_close(list(kept[:2]), list(results), rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(backward(grad, inputs, kept), gradients, strict=True):
        assert ours.isfinite().all()
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-7 * theirs.abs().max().clamp_min(1).item())


def test_nan_stays_one():
    rows, *rest = arguments(2, 40, 4, (5,), torch.float32)
    rows[7, 3] = torch.nan
    kept = latent.latent_gnn(rows, *rest)
    assert kept[0].isnan().all()
    assert backward(torch.ones(80, 4), (rows, *rest), kept)[0][:, 3].isnan().all()


def test_memory_that_is_not_contiguous_is_taken():
    rows, weights, biases, eps, psi, message, *rest = arguments(2, 30, 4, (5,), torch.float64)
    expected = latent.latent_gnn(rows, weights, biases, eps, psi, message, *rest)
    turned = [x.T.contiguous().T for x in psi]
    got = latent.latent_gnn(rows.T.contiguous().T, weights, biases, eps, turned, message.mT.contiguous().mT, *rest)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_fake_kernels_tell_the_shapes():
    inputs = arguments(2, 30, 4, (5, 2), torch.float64)
    kept = latent.latent_gnn(*inputs)
    grad = torch.ones_like(kept[0])
    real = [*kept, *latent.latent_gnn_backward(grad, *inputs, kept)]
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fakes = torch.utils._pytree.tree_map_only(Tensor, mode.from_tensor, (grad, inputs, kept))
        fake = [*latent.latent_gnn(*fakes[1]), *latent.latent_gnn_backward(fakes[0], *fakes[1], fakes[2])]
    assert [(x.shape, x.stride(), x.dtype) for x in fake] == [(x.shape, x.stride(), x.dtype) for x in real]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, torch.zeros(81, 8), r"rows must be \[2 \* N, 2 \* c\], got \[81, 8\]"),
        (0, torch.zeros(80, 8, dtype=torch.float16), "rows must be float32 or float64, got Half"),
        (1, [torch.zeros(8)], "3 weights, biases and epsilons, and 2 psi, got 1, 3, 3 and 2"),
        (2, [torch.zeros(8), torch.zeros(5), torch.zeros(4)], r"biases must be \[5\] Float, got \[4\] Float"),
        (4, [torch.zeros(5, 4), torch.zeros(4, 5)], r"psi must be \[5, 4\] Float, got \[4, 5\] Float"),
        (5, torch.zeros(1, 4, 4, dtype=torch.float64), r"message must be \[1, 4, 4\] Float, got \[1, 4, 4\] Double"),
        (6, (5, 0), "dims must be at least one, all of them positive"),
    ],
)
def test_mistakes_are_named(place: int, value: Any, message: str):
    inputs = list(arguments(2, 40, 4, (5,), torch.float32))
    inputs[place] = value
    with pytest.raises(ValueError, match=message):
        latent.latent_gnn(*inputs)


def test_what_is_kept_is_checked():
    inputs = arguments(2, 40, 4, (5,), torch.float32)
    kept = list(latent.latent_gnn(*inputs))
    with pytest.raises(ValueError, match="9 results of latent_gnn, got 8"):
        latent.latent_gnn_backward(torch.ones(80, 4), *inputs, kept[1:])
    kept[2] = kept[2][:-1]
    with pytest.raises(ValueError, match=r"unit must be \[80, 8\] Float, got \[79, 8\] Float"):
        latent.latent_gnn_backward(torch.ones(80, 4), *inputs, kept)
    with pytest.raises(ValueError, match=r"grad must be \[80, 4\] Float, got \[80, 5\] Float"):
        latent.latent_gnn_backward(torch.ones(80, 5), *inputs, kept)

"""The feature kernels' own CUDA sources, run on the CPU by the emulator, against the reference."""

from __future__ import annotations

import ctypes

import pytest
import torch
from clouds import features, indices
from cuda_emulator import SCHEDULES, Emulator, find_compiler, i64
from pointnet2_ops import reference
from torch import Tensor

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler to build the emulator with")

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gather_operation(emulators: dict[int, Emulator], dtype: torch.dtype, channels_last: bool) -> None:
    emulators[900].schedule(1, 20)
    for C in (1, 3, 6, 8, 40, 68):  # rows of 2 bytes to several warps' worth of packs
        x, idx = features(2, C, 50, channels_last, dtype), indices((2, 77), 50)
        actual = emulators[900].gather_operation(x, idx)
        assert torch.equal(actual, reference.gather_operation(x, idx))
        assert actual.stride() == (C * 77, 1, C) if channels_last and C > 1 else actual.is_contiguous()


def test_gather_operation_of_views(emulators: dict[int, Emulator]) -> None:
    """Rows that do not start on 16 bytes, rows with gaps, one cloud for the whole batch."""
    idx = indices((3, 20), 30)
    wide = features(3, 24, 30, channels_last=True)
    for x in (wide[:, 1:9], wide[:, 4:20], wide[:1, :16].expand(3, -1, -1), features(3, 9, 40)[:, :, 5:35]):
        assert torch.equal(emulators[900].gather_operation(x, idx), reference.gather_operation(x, idx))


def test_int64_indices_do_not_wrap(emulators: dict[int, Emulator]) -> None:
    """2**32 + 1 would be 1 as its low 32 bits; -1 reads nothing."""
    wild = torch.tensor([[0, 7, 2**31 - 1], [2**31, 2**32 + 1, 2**63 - 1], [-1, -(2**31), -(2**32) + 1]])
    expected = torch.tensor([[0, 7, 2**31 - 1], [-1, -1, -1], [-1, -(2**31), -1]], dtype=torch.int32)
    assert torch.equal(emulators[900].narrow_indices(wild), expected)
    many = torch.arange(3000)  # more than one block
    assert torch.equal(emulators[900].narrow_indices(many), many.int())


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_indices_out_of_range_become_nan(
    emulators: dict[int, Emulator], dtype: torch.dtype, channels_last: bool
) -> None:
    emulator = emulators[900]
    x, idx = features(1, 8, 20, channels_last, dtype), indices((1, 12), 20)
    idx[0, 3], idx[0, 7] = -1, 20
    out = emulator.gather_operation(x, idx)
    assert torch.equal(out.isnan().all(1)[0].nonzero().flatten(), torch.tensor([3, 7]))
    assert torch.equal(emulator.scatter_add(out.nan_to_num(), idx, 20).isnan().any(), torch.tensor(False))
    weight = torch.ones(1, 4, 3, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    mixed = emulator.three_interpolate(x, idx.view(1, 4, 3), weight)
    assert torch.equal(mixed.isnan().all(1)[0], torch.tensor([False, True, True, False]))


def exact_scatter(grad: Tensor, idx: Tensor, points: int) -> Tensor:
    """In float64, with a bound on the sum of magnitudes as the scale of rounding errors."""
    B, C, _ = grad.shape
    place = idx.long()[:, None].expand(-1, C, -1)
    return torch.zeros(B, C, points, dtype=torch.float64).scatter_add(2, place, grad.double())


TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13, torch.float16: 2e-3, torch.bfloat16: 2e-2}


# 16-bit types are always summed in order.
@pytest.mark.parametrize(
    ("dtype", "deterministic"), [(dtype, True) for dtype in DTYPES] + [(torch.float32, False), (torch.float64, False)]
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_gather_operation_backward(
    emulators: dict[int, Emulator], dtype: torch.dtype, channels_last: bool, deterministic: bool
) -> None:
    emulator = emulators[900]
    emulator.schedule(2, 20)
    for C, Q, N in ((1, 9, 4), (5, 60, 33), (12, 300, 50), (36, 70, 9)):
        grad, idx = features(2, C, Q, channels_last, dtype), indices((2, Q), N)
        actual = emulator.scatter_add(grad, idx, N, deterministic=deterministic)
        torch.testing.assert_close(
            actual.double(), exact_scatter(grad, idx, N), rtol=TOLERANCE[dtype], atol=10 * TOLERANCE[dtype]
        )


@pytest.mark.parametrize("deterministic", [True, False])
def test_gather_operation_backward_of_views(emulators: dict[int, Emulator], deterministic: bool) -> None:
    """Gradients whose rows do not start on 8 bytes, have gaps, or are one cloud's for the whole batch."""
    idx = indices((3, 40), 15)
    wide = features(3, 24, 40, channels_last=True)
    for grad in (wide[:, 1:9], wide[:, 4:20], wide[:1, :16].expand(3, -1, -1), features(3, 9, 60)[:, :, 5:45]):
        actual = emulators[900].scatter_add(grad, idx, 15, deterministic=deterministic)
        torch.testing.assert_close(actual.double(), exact_scatter(grad, idx, 15), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels_last", [False, True])
def test_sorted_sums_do_not_depend_on_the_order_of_threads(emulators: dict[int, Emulator], channels_last: bool) -> None:
    grad = features(2, 4, 4500, channels_last)  # three slices of edges
    for idx in (indices((2, 4500), 40), torch.zeros(2, 4500, dtype=torch.int32)):
        results = []
        for seed, period in SCHEDULES:
            emulators[900].schedule(seed, period)
            results.append(emulators[900].scatter_add(grad, idx, 40))
        assert torch.equal(results[0], results[1])
        assert torch.equal(results[0], results[2])
        in_order = torch.zeros(2, 4, 40)
        for edge in range(4500):  # ascending, like the CPU kernels
            place = idx[:, edge].long()[:, None, None].expand(-1, 4, 1)
            in_order.scatter_add_(2, place, grad[:, :, edge : edge + 1])
        assert torch.equal(results[0], in_order)


def interpolation(B: int, C: int, M: int, N: int, channels_last: bool, dtype: torch.dtype) -> tuple[Tensor, ...]:
    weight = torch.rand(B, N, 3, generator=torch.Generator().manual_seed(N))
    weight = weight.to(torch.float64 if dtype == torch.float64 else torch.float32)
    return features(B, C, M, channels_last, dtype), indices((B, N, 3), M), weight


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_three_interpolate(emulators: dict[int, Emulator], dtype: torch.dtype, channels_last: bool) -> None:
    emulators[900].schedule(1, 20)
    for C in (1, 5, 8, 36):
        x, idx, weight = interpolation(2, C, 20, 70, channels_last, dtype)
        actual = emulators[900].three_interpolate(x, idx, weight)
        assert torch.equal(actual, reference.three_interpolate(x, idx, weight))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_three_interpolate_backward(emulators: dict[int, Emulator], dtype: torch.dtype, channels_last: bool) -> None:
    emulator = emulators[900]
    emulator.schedule(2, 20)
    for C in (3, 8, 36):
        x, idx, weight = interpolation(2, C, 20, 70, channels_last, dtype)
        grad = features(2, C, 70, channels_last, dtype)
        exact = [x.double().requires_grad_(), weight.double().requires_grad_()]
        reference.three_interpolate(exact[0], idx, exact[1]).backward(grad.double())
        tolerance = {"rtol": TOLERANCE[dtype], "atol": 10 * TOLERANCE[dtype]}
        for deterministic in (True,) if dtype.itemsize == 2 else (True, False):
            actual = emulator.scatter_add(grad, idx, 20, weight, deterministic)
            torch.testing.assert_close(actual.double(), exact[0].grad, **tolerance)
        actual = emulator.interpolation_weight_gradient(grad, x, idx)
        torch.testing.assert_close(actual.double(), exact[1].grad, **tolerance)


def test_baseline_features(emulator: Emulator) -> None:
    B, C, N, M, K = 2, 6, 50, 20, 4
    x, idx = features(B, C, N), indices((B, M, K), N)
    out, back = emulator.output(B * C * M * K * 4), emulator.output(B * C * N * 4)
    emulator.call("original_group", emulator.input(x), emulator.input(idx), B, C, N, M, K, out)
    grouped = reference.grouping_operation(x, idx)
    emulator.call("original_fill", back, i64(B * C * N), ctypes.c_float(0))
    emulator.call("original_group_backward", emulator.input(grouped), emulator.input(idx), B, C, N, M, K, back)
    actual = emulator.finish((out, (B, C, M, K), torch.float32), (back, (B, C, N), torch.float32))
    assert torch.equal(actual[0], grouped)
    torch.testing.assert_close(actual[1].double(), exact_scatter(grouped.flatten(2), idx.flatten(1), N))

    x, near, weight = interpolation(B, C, N, 70, False, torch.float32)
    grad = features(B, C, 70)
    out, back = emulator.output(B * C * 70 * 4), emulator.output(B * C * N * 4)
    common = emulator.input(near), emulator.input(weight)
    emulator.call("original_interpolate", emulator.input(x), *common, B, C, N, 70, out)
    emulator.call("original_fill", back, i64(B * C * N), ctypes.c_float(0))
    emulator.call("original_interpolate_backward", emulator.input(grad), *common, B, C, N, 70, back)
    actual = emulator.finish((out, (B, C, 70), torch.float32), (back, (B, C, N), torch.float32))
    torch.testing.assert_close(actual[0], reference.three_interpolate(x, near, weight))
    leaf = x.clone().requires_grad_()
    reference.three_interpolate(leaf, near, weight).backward(grad)
    torch.testing.assert_close(actual[1], leaf.grad)

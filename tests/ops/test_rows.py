"""Rows that stand for several equal ones: the reference's values with every instruction set, gradients, and errors."""

from __future__ import annotations

import pytest
import torch
from clouds import room
from instruction_sets import every_instruction_set
from pointnet2_ops import ops, reference, rows
from torch import Tensor

CHANNELS = [1, 5, 16, 70]  # whole packs of channels and parts of them
TYPES = [torch.float32, torch.float64, torch.bfloat16]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def counted(R: int, C: int, dtype: torch.dtype, offset: float = 3.0) -> tuple[Tensor, Tensor]:
    """Rows [R, C] away from the origin, and how many rows each stands for: some 1, some many."""
    draw = generator()
    x = torch.randn(R, C, generator=draw, dtype=torch.float64) + offset
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return x.to(dtype), torch.randint(1, 9, (R,), generator=draw).to(wide)


def parameters(C: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    draw = generator()
    return torch.randn(C, generator=draw).to(wide), torch.randn(C, generator=draw).to(wide)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("C", CHANNELS)
@pytest.mark.parametrize("R", [1, 7, 1000])
def test_moments_equal_reference(R: int, C: int, dtype: torch.dtype):
    x, count = counted(R, C, dtype)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for _ in every_instruction_set():
        for counts in (None, count):
            expected = reference.row_moments(x.double(), counts)
            for got, value in zip(rows.row_moments(x, counts), expected, strict=True):
                assert got.dtype == count.dtype
                torch.testing.assert_close(got.double(), value, rtol=tolerance, atol=tolerance)


def test_moments_keep_their_digits_far_from_the_origin():
    x, count = counted(5000, 4, torch.float32, offset=1000.0)
    mean, variance = rows.row_moments(x, count)
    expected = reference.row_moments(x.double(), count)
    torch.testing.assert_close(mean.double(), expected[0], rtol=1e-7, atol=0)
    torch.testing.assert_close(variance.double(), expected[1], rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_statistics_move_as_batch_norms_do(dtype: torch.dtype):
    norms = [torch.nn.BatchNorm1d(C, momentum=0.3).to(dtype) for C in (1, 16, 70)]
    inputs = [counted(9, C, dtype)[0] for C in (1, 16, 70)]
    lists = zip(
        *((n.running_mean.clone(), n.running_var.clone(), n.num_batches_tracked.clone()) for n in norms), strict=True
    )
    means, variances, tracked = map(list, lists)
    for _ in range(3):
        for norm, x in zip(norms, inputs, strict=True):
            norm(x)
        moments = [rows.row_moments(x) for x in inputs]
        rows.move_statistics(means, variances, tracked, *map(list, zip(*moments, strict=True)), 0.3, 9)
    for norm, mean, variance, count in zip(norms, means, variances, tracked, strict=True):
        assert count == norm.num_batches_tracked == 3
        torch.testing.assert_close(mean, norm.running_mean, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(variance, norm.running_var, rtol=1e-6, atol=1e-6)


def test_statistics_of_the_wrong_shape_or_of_one_row_are_refused():
    def move(mean: Tensor, count: int = 5, tracked: float = 0) -> None:
        counters = [torch.tensor(tracked)]
        rows.move_statistics([torch.zeros(4)], [torch.ones(4)], counters, [mean], [torch.ones(4)], 0.1, count)

    with pytest.raises(ValueError, match=r"batch_means must be \[4\] of its type, got \[3\]"):
        move(torch.ones(3))
    with pytest.raises(ValueError, match="count must be at least 2, got 1"):
        move(torch.ones(4), count=1)
    with pytest.raises(ValueError, match="tracked must be one int64 each"):
        move(torch.ones(4), tracked=0.5)
    with pytest.raises(ValueError, match="as many of everything as means, 1"):
        rows.move_statistics([torch.zeros(4)], [], [torch.tensor(0)], [torch.ones(4)], [torch.ones(4)], 0.1, 5)


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("C", CHANNELS)
def test_norm_and_its_gradient_equal_reference(C: int, dtype: torch.dtype, relu: bool):
    """The reference's gradient is autograd's, on the rows written out."""
    x, count = counted(600, C, dtype)
    weight, bias = parameters(C, dtype)
    grad = torch.randn(600, C, generator=generator()).to(dtype)
    tolerance = {torch.float64: 1e-11, torch.float32: 1e-4, torch.bfloat16: 2e-2}[dtype]
    for counts in (None, count):
        leaves = [leaf.double().requires_grad_() for leaf in (x, weight, bias)]
        times = torch.ones(600) if counts is None else counts
        output = reference.norm_relu(
            leaves[0], *reference.row_moments(leaves[0], times.double()), *leaves[1:], 1e-5, relu=relu
        )
        expected = [output, *torch.autograd.grad(output, leaves, grad.double())]
        for _ in every_instruction_set():
            settings = (*rows.row_moments(x, counts), weight, bias, 1e-5)
            got = [
                rows.norm_relu(x, *settings, relu=relu),
                *rows.norm_relu_backward(grad, x, counts, *settings, relu=relu),
            ]
            for ours, theirs in zip(got, expected, strict=True):
                size = theirs.abs().max().item()
                torch.testing.assert_close(ours.double(), theirs, rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("R", "C", "outputs"), [(1, 1, 1), (7, 5, 70), (300, 16, 3), (600, 70, 33), (700, 32, 64)])
def test_norm_relu_and_linear_equal_reference(R: int, C: int, outputs: int, dtype: torch.dtype):
    """The reference's gradients are autograd's, through the moments too."""
    x, count = counted(R, C, dtype)
    weight, bias = parameters(C, dtype)
    linear = torch.randn(outputs, C, generator=generator()).to(dtype)
    grad = torch.randn(R, outputs, generator=generator()).to(dtype)
    tolerance = {torch.float64: 1e-11, torch.float32: 1e-4}[dtype]
    for counts in (None, count):
        leaves = [leaf.double().requires_grad_() for leaf in (x, weight, bias, linear)]
        times = torch.ones(R) if counts is None else counts
        moments = reference.row_moments(leaves[0], times.double())
        expected = reference.norm_relu_linear(leaves[0], counts, *moments, *leaves[1:3], 1.0, leaves[3])
        expected += torch.autograd.grad(expected[0], leaves, grad.double())
        for _ in every_instruction_set():
            settings = (*rows.row_moments(x, counts), weight, bias, 1.0, linear)
            got = rows.norm_relu_linear(x, counts, *settings)
            got += rows.norm_relu_linear_backward(grad, x, counts, *settings)
            for ours, theirs in zip(got, expected, strict=True):
                size = theirs.abs().max().item()
                torch.testing.assert_close(ours.double(), theirs, rtol=tolerance, atol=tolerance * size)


def test_threads_and_instruction_sets_change_nothing_in_float64_sums():
    x, count = counted(3000, 33, torch.float64)
    results = []
    threads = torch.get_num_threads()
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        results += [rows.row_moments(x, count) for _ in every_instruction_set()]
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for result in results for a, b in zip(result, results[0], strict=True))


def test_nan_stays_one():
    x, count = counted(40, 16, torch.float32)
    weight, bias = parameters(16, torch.float32)
    x[7, 3] = torch.nan
    settings = (*rows.row_moments(x, count), weight, bias, 1e-5)
    assert rows.norm_relu(x, *settings)[:, 3].isnan().all()
    assert rows.norm_relu_backward(torch.ones_like(x), x, count, *settings)[0][:, 3].isnan().all()
    linear = torch.ones(5, 16)
    assert rows.norm_relu_linear(x, count, *settings, linear)[0].isnan().all()
    assert rows.norm_relu_linear_backward(torch.ones(40, 5), x, count, *settings, linear)[0][:, 3].isnan().all()
    assert rows.segment_max(x, torch.tensor([0, 5, 40], dtype=torch.int32))[0][1, 3].isnan()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("C", CHANNELS)
def test_segment_max_equals_reference(C: int, dtype: torch.dtype):
    x = torch.randint(-9, 9, (200, C), generator=generator()).to(dtype)  # with ties: the first one counts
    start = torch.tensor([0, 1, 2, 34, 60, 199], dtype=torch.int32)
    expected = reference.segment_max(x, start)
    for _ in every_instruction_set():
        got = rows.segment_max(x, start)
        assert got[0].dtype == dtype
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_rows_equal_reference(dtype: torch.dtype):
    x = torch.randint(0, 4, (3, 150, 3), generator=generator()).to(dtype)
    assert torch.equal(rows.first_equal_row(x), reference.first_equal_row(x))
    different = room(2, 90).to(dtype)
    assert torch.equal(rows.first_equal_row(different), torch.arange(90, dtype=torch.int32).expand(2, 90))
    assert rows.first_equal_row(torch.zeros(2, 50, 5, dtype=dtype)).eq(0).all()
    assert rows.first_equal_row(torch.zeros(2, 0, 3)).shape == (2, 0)


@pytest.mark.parametrize("with_first", [False, True])
def test_distinct_neighbours_equal_reference(with_first: bool):
    xyz = room(2, 200)
    xyz[:, 150:] = xyz[:, :50]
    idx = ops.ball_query(0.4, 12, xyz, xyz[:, 5:40])
    first = rows.first_equal_row(xyz) if with_first else None
    expected = reference.distinct_neighbours(idx, 200, first)
    got = rows.distinct_neighbours(idx, 200, first)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert got.count.sum() == idx.numel()
    assert len(got.point) < idx.numel()


def test_neighbours_in_any_order_and_wide_indices():
    idx = torch.randint(0, 6, (2, 9, 7), generator=generator())
    expected = reference.distinct_neighbours(idx, 6)
    assert all(torch.equal(a, b) for a, b in zip(rows.distinct_neighbours(idx, 6), expected, strict=True))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("dropped", [0, 1, 30_000, 2**16])
def test_dropout_equals_reference(dropped: int, dtype: torch.dtype):
    x = torch.randn(3, 7, 97, generator=generator()).to(dtype)
    for seed in map(torch.tensor, (0, 5, -(2**63))):
        expected = reference.dropout(x.double(), seed, dropped).to(dtype)
        for _ in every_instruction_set():
            torch.testing.assert_close(rows.dropout(x, seed, dropped), expected)
    assert rows.dropout(x[:0], seed, dropped).shape == (0, 7, 97)


def test_dropout_keeps_the_wanted_share_of_every_channel_and_row():
    """Within five standard deviations, and neighbours are kept independently of one another."""
    kept = (rows.dropout(torch.ones(1024, 1024), torch.tensor(1), 2**14) != 0).double()
    deviation = (0.75 * 0.25 / 1024) ** 0.5
    assert (kept.mean(dim=0) - 0.75).abs().max() < 5 * deviation
    assert (kept.mean(dim=1) - 0.75).abs().max() < 5 * deviation
    for a, b in ((kept[1:], kept[:-1]), (kept[:, 1:], kept[:, :-1]), (kept[:, 4:], kept[:, :-4])):
        assert abs((a * b).mean() - 0.75**2) < 0.002


def test_wrong_input():
    x, count = counted(10, 4, torch.float32)
    idx = torch.zeros(2, 3, 4, dtype=torch.int32)
    with pytest.raises(ValueError, match=r"count must be \[10\] Float, got \[10\] Double"):
        rows.row_moments(x, count.double())
    with pytest.raises(ValueError, match=r"rows must be \[R, C\] with R >= 1, got \[0, 4\]"):
        rows.row_moments(x[:0])
    with pytest.raises(ValueError, match=r"mean must be \[4\] Float, got \[3\]"):
        rows.norm_relu(x, *[torch.zeros(3)] * 4, 1e-5)
    with pytest.raises(ValueError, match=r"grad must be of the shape and type of rows, \[10, 4\], got \[9, 4\]"):
        rows.norm_relu_backward(x[1:], x, None, *[torch.zeros(4)] * 4, 1e-5)
    with pytest.raises(ValueError, match=r"linear must be \[outputs, 4\] Float, got \[4, 5\] Float"):
        rows.norm_relu_linear(x, None, *[torch.zeros(4)] * 4, 1e-5, torch.zeros(4, 5))
    with pytest.raises(ValueError, match=r"grad must be \[10, 5\] of the type of rows, got \[10, 4\]"):
        rows.norm_relu_linear_backward(x, x, None, *[torch.zeros(4)] * 4, 1e-5, torch.zeros(5, 4))
    with pytest.raises(ValueError, match="rows must be float32 or float64, got BFloat16"):
        rows.norm_relu_linear(x.bfloat16(), None, *[torch.zeros(4)] * 4, 1e-5, torch.zeros(5, 4).bfloat16())
    with pytest.raises(ValueError, match="start must ascend from 0 or more to at most R=10"):
        rows.segment_max(x, torch.tensor([0, 5, 5, 10], dtype=torch.int32))
    with pytest.raises(ValueError, match="start must ascend from 0 or more to at most R=10"):
        rows.segment_max(x, torch.tensor([0, 11], dtype=torch.int32))
    with pytest.raises(IndexError, match=r"idx must be in \[0, 5\), got 5"):
        rows.distinct_neighbours(idx + 5, 5)
    with pytest.raises(ValueError, match=r"first must be \[2, 5\], got \[2, 4\]"):
        rows.distinct_neighbours(idx, 5, torch.zeros(2, 4, dtype=torch.int32))
    with pytest.raises(ValueError, match=r"dropped must be in \[0, 65536\], got 65537"):
        rows.dropout(x, torch.tensor(0), 2**16 + 1)
    with pytest.raises(ValueError, match=r"seed must be one int64, got \[2\] Long"):
        rows.dropout(x, torch.tensor([1, 2]), 1)
    with pytest.raises(ValueError, match="rows must be float32 or float64, got Long"):
        rows.first_equal_row(torch.zeros(1, 2, 3, dtype=torch.int64))


def test_opcheck():
    library = torch.ops.pointnet2_ops
    x, count = counted(10, 4, torch.float32)
    settings = (*rows.row_moments(x, count), *parameters(4, torch.float32), 1e-5, True)
    idx = torch.zeros(2, 3, 4, dtype=torch.int32)
    start = torch.tensor([0, 4, 10], dtype=torch.int32)
    for operator, arguments in (
        (library.row_moments, (x, count)),
        (library.norm_relu, (x, *settings)),
        (library.norm_relu_backward, (x, x, count, *settings)),
        (library.norm_relu_linear, (x, count, *settings[:-1], torch.ones(5, 4))),
        (library.norm_relu_linear_backward, (torch.ones(10, 5), x, count, *settings[:-1], torch.ones(5, 4))),
        (library.segment_max, (x, start)),
        (library.first_equal_row, (x[None],)),
        (library.distinct_neighbours, (idx, None, 5)),
        (library.dropout, (x, torch.tensor(7), 2**15)),
    ):
        torch.library.opcheck(operator, arguments)

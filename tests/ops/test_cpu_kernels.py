"""Every instruction set of the CPU geometry kernels against the reference, on clouds that strain their box trees."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from clouds import lattice, room
from instruction_sets import every_instruction_set
from pointnet2_ops import ops, reference
from torch import Tensor

SIZES = [1, 2, 15, 16, 17, 31, 33, 255, 257, 513, 1025]  # around a pack, a leaf, a node and the smallest tree
RADII = [1e-3, 1 / 64, 0.1, 0.5, 1e3]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clusters(B: int, N: int) -> Tensor:
    """[B, N, 3]: five clusters, each a hundred times smaller than the one before, and far from each other."""
    place = torch.randint(5, (B, N, 1), generator=generator(0))
    return place * 50 + torch.randn(B, N, 3, generator=generator(1)) * 10.0 ** (-2 * place)


def magnitudes(B: int, N: int) -> Tensor:
    """[B, N, 3]: from 1e-30 to 1e30, so that squared distances underflow and overflow."""
    exponent = torch.randint(-30, 31, (B, N, 1), generator=generator(2)).float()
    return torch.randn(B, N, 3, generator=generator(3)) * 10.0**exponent


def extremes(B: int, N: int) -> Tensor:
    """[B, N, 3]: coordinates whose differences overflow, the smallest number, and zero."""
    values = torch.tensor([-3.4e38, 3.4e38, 0.0, -0.0, 1e-45])
    return values[torch.randint(5, (B, N, 3), generator=generator(4))]


def line(B: int, N: int) -> Tensor:
    return torch.rand(B, N, 1, generator=generator(5)) * torch.tensor([1.0, 2.0, 3.0])


def drawn_with_replacement(B: int, N: int) -> Tensor:
    return room(B, max(1, N // 3), seed=6)[:, torch.randint(max(1, N // 3), (N,), generator=generator(7))]


def in_rows(B: int, N: int) -> Tensor:
    """[B, N, 3] sorted by x: the first hits of a ball are far from the first points."""
    xyz = torch.rand(B, N, 3, generator=generator(8))
    return xyz.gather(1, xyz[..., :1].argsort(1).expand(-1, -1, 3))


SHAPES: dict[str, Callable[[int, int], Tensor]] = {
    "lattice": lambda B, N: lattice(B, N, span=4),
    "plane lattice": lambda B, N: lattice(B, N, span=12) * torch.tensor([1.0, 1.0, 0.0]),
    "far": lambda B, N: lattice(B, N, span=9, offset=10_000.0),
    "random": lambda B, N: torch.randn(B, N, 3, generator=generator(9)),
    "room": room,
    "all equal": lambda B, N: torch.full((B, N, 3), 0.3),
    "clusters": clusters,
    "magnitudes": magnitudes,
    "extremes": extremes,
    "line": line,
    "drawn with replacement": drawn_with_replacement,
    "in rows": in_rows,
}


def same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> bool:
    """Equal indices and counts; distances to one rounding, as torch.sqrt is not always correctly rounded."""
    if found[0].is_floating_point():
        eps = torch.finfo(found[0].dtype).eps
        return torch.equal(found[1], expected[1]) and torch.allclose(found[0], expected[0], rtol=eps, atol=0)
    return torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> Callable[[int, int], Tensor]:
    return SHAPES[request.param]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_furthest_points(shape: Callable[[int, int], Tensor], dtype: torch.dtype):
    for N in SIZES:
        xyz = shape(2, N).to(dtype)
        expected = reference.furthest_point_sample(xyz, min(N, 300))
        for isa in every_instruction_set():
            assert torch.equal(ops.furthest_point_sample(xyz, min(N, 300)), expected), (isa, N)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_balls(shape: Callable[[int, int], Tensor], dtype: torch.dtype):
    for N in SIZES:
        xyz = shape(2, N).to(dtype)
        centres = torch.cat([xyz[:, ::23], xyz[:, :3] + 0.05], 1)
        for radius in RADII:
            rows, counts = reference.ball_query_with_count(radius, N, xyz, centres)
            for nsample in {1, min(N, 32), N}:  # the first hits are a prefix of all of them
                keep = counts.clamp(max=nsample)
                expected = torch.where(torch.arange(nsample) < keep[..., None], rows[..., :nsample], rows[..., :1])
                for isa in every_instruction_set():
                    found = ops.ball_query_with_count(radius, nsample, xyz, centres)
                    assert same(found, (expected, keep)), (isa, N, radius, nsample)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neighbours(shape: Callable[[int, int], Tensor], dtype: torch.dtype):
    for M in SIZES:
        known = shape(2, M).to(dtype)
        # Some queries lie on known points, some between them.
        unknown = torch.cat([known[:, ::7], known[:, :40] + 1 / 128, shape(2, 19).to(dtype)], 1)
        expected = reference.three_nn(unknown, known)
        for isa in every_instruction_set():
            assert same(ops.three_nn(unknown, known), expected), (isa, M)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("N", [20_000, 70_000])
def test_large_clouds_on_threads(N: int, threads: int, set_threads: Callable[[int], None]):
    """More points than one node's tree holds; one cloud for several threads, large enough to be ordered by all."""
    xyz = drawn_with_replacement(1, N)
    centres = xyz[:, :: N // 50]
    samples = reference.furthest_point_sample(xyz, 40)
    balls = reference.ball_query_with_count(0.04, 64, xyz, centres)
    wide = reference.ball_query_with_count(0.4, 32, xyz, centres)
    neighbours = reference.three_nn(centres, xyz)
    back = reference.three_nn(xyz[:, :5000], centres)
    set_threads(threads)
    for isa in every_instruction_set():
        assert torch.equal(ops.furthest_point_sample(xyz, 40), samples), isa
        assert same(ops.ball_query_with_count(0.04, 64, xyz, centres), balls), isa
        assert same(ops.ball_query_with_count(0.4, 32, xyz, centres), wide), isa
        assert same(ops.three_nn(centres, xyz), neighbours), isa
        assert same(ops.three_nn(xyz[:, :5000], centres), back), isa


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("B", [1, 2, 5])
def test_batches_on_threads(B: int, threads: int, set_threads: Callable[[int], None]):
    """Fewer clouds than threads, as many, and more."""
    xyz = drawn_with_replacement(B, 2500)
    centres = xyz[:, :90]
    samples = reference.furthest_point_sample(xyz, 200)
    balls = reference.ball_query_with_count(0.1, 24, xyz, centres)
    neighbours = reference.three_nn(xyz, centres)
    set_threads(threads)
    assert torch.equal(ops.furthest_point_sample(xyz, 200), samples)
    assert same(ops.ball_query_with_count(0.1, 24, xyz, centres), balls)
    assert same(ops.three_nn(xyz, centres), neighbours)

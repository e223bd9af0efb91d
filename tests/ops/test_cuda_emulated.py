"""The CUDA kernels' own sources, run on the CPU by the emulator, against the reference.

The emulator also checks what no result shows: barriers, warp masks, bounds, alignment, races, unwritten memory. That it
finds each of them is shown first, on kernels that are broken on purpose.
"""

from __future__ import annotations

import ctypes

import pytest
import torch
from clouds import CLOUDS, clouds, features, indices, lattice, room
from cuda_emulator import EmulatedError, Emulator, build, find_compiler, i64
from hypothesis import given, settings
from hypothesis import strategies as st
from pointnet2_ops import reference
from torch import Tensor

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler to build the emulator with")

# (seed, yield period): ascending order; random order; random order with some warps far ahead.
SCHEDULES = [(0, 0), (1, 13), (2, 40)]


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Emulator]:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base  # all xdist workers of a run build once
    return {arch: Emulator(library) for arch, library in build(shared / "cuda_emulator").items()}


@pytest.fixture(params=SCHEDULES, ids=["ascending", "random", "priorities"])
def emulator(request: pytest.FixtureRequest, emulators: dict[int, Emulator]) -> Emulator:
    emulators[900].schedule(*request.param)
    return emulators[900]


def same_neighbours(actual: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> bool:
    """Equal indices; distances to the last bit or the one before (torch.sqrt is not always correctly rounded)."""
    eps = torch.finfo(expected[0].dtype).eps
    return torch.equal(actual[1], expected[1]) and torch.allclose(actual[0], expected[0], rtol=2 * eps, atol=0)


def same(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# The emulator itself

# In the order of kCases in harness_selftest.cpp: the kernel, and what must be found (None: nothing).
SELFTEST = [
    ("tree_sum", None),
    ("tree_sum_without_barrier", "race"),
    ("barrier_after_exit", "barrier divergence: .*has exited"),
    ("different_barriers", "barrier divergence: .*waits at the barrier"),
    ("rounds, two slots", None),
    ("rounds, one slot", "race"),
    ("pass_to_next_lane", None),
    ("pass_to_next_lane without __syncwarp", "race: reads what|nothing has written"),
    ("lane_missing", "without all lanes of its mask: .*thread 7 has exited"),
    ("lane_elsewhere", "without all lanes of its mask"),
    ("different_masks", "without all lanes of its mask"),
    ("half_warps", None),
    ("caller_not_in_mask", "the caller is not in its mask"),
    ("shuffle_from_outside_mask", "not in the mask"),
    ("shared, last element", None),
    ("shared, one past the end", r"out of bounds: read of 4 bytes at byte 256 of shared array 0 \(256 bytes\)"),
    ("shared, one before the start", "out of bounds: read of 4 bytes at byte -4 of shared array 0"),
    ("shared_never_written", "reads memory that nothing has written"),
    ("takes_too_much", "takes 512 bytes of shared memory, the launch gave 256"),
    ("global, last element", None),
    ("global read past the end", r"out of bounds: read of 4 bytes at byte 256 of input 0 \(256 bytes\)"),
    ("global read before the start", "out of bounds: read of 4 bytes at byte -4 of input 0"),
    ("global write past the end", r"out of bounds: write of 4 bytes at byte 4 of output 1 \(4 bytes\)"),
    ("global write before the start", "out of bounds: write of 4 bytes at byte -4 of output 1"),
    ("reads_output", "reads memory that nothing has written"),
    ("writes_input", "writes an input"),
    ("misaligned", "misaligned"),
    ("count_blocks, atomics", None),
    ("count_blocks, plain additions", "race"),
    ("read_only_load_of_own_write", "__ldg of memory that this launch has written"),
]


@pytest.mark.parametrize("number", range(len(SELFTEST)), ids=[name for name, _ in SELFTEST])
def test_emulator_finds_what_is_broken(emulator: Emulator, number: int) -> None:
    finding = SELFTEST[number][1]
    arguments = (number, emulator.input(torch.arange(64, dtype=torch.int32)), emulator.output(4))
    if finding is None:
        emulator.call("selftest", *arguments)
        emulator.finish((arguments[2], (1,), torch.int32))
    else:
        with pytest.raises(EmulatedError, match=finding):
            emulator.call("selftest", *arguments)


def test_emulated_results(emulator: Emulator) -> None:
    out = emulator.output(4)
    emulator.call("selftest", 0, emulator.input(torch.arange(64, dtype=torch.int32)), out)
    assert emulator.finish((out, (1,), torch.int32))[0].item() == 64 * 63 // 2


@pytest.mark.parametrize(
    ("grid", "threads", "shared", "opt_in", "finding"),
    [
        ((0, 1), 64, 256, 1, "grid is empty"),
        ((1, 70_000), 64, 256, 1, "too large"),
        ((1, 1), 2048, 8192, 1, "more than 1024 threads"),
        ((1, 1), 64, 64 * 1024, 0, "more shared memory"),
        ((1, 1), 64, 512, 1, "gave 512 bytes of shared memory, the kernel took 256"),
    ],
)
def test_emulator_refuses_launches(
    emulators: dict[int, Emulator], grid: tuple[int, int], threads: int, shared: int, opt_in: int, finding: str
) -> None:
    emulator = emulators[900]
    data = emulator.input(torch.arange(64, dtype=torch.int32)), emulator.output(4)
    with pytest.raises(EmulatedError, match=finding):
        emulator.call("selftest_launch", *grid, threads, ctypes.c_int64(shared), opt_in, *data)


# ---------------------------------------------------------------------------------------------------------------------
# Geometry

EMULATED_CLOUDS = [name for name, xyz in CLOUDS.items() if xyz.shape[0] > 0 and name != "large room"]


# Kernel and points a thread keeps in registers.
FPS_VARIANTS = [("buckets", 0), ("bucket steps", 0), ("steps", 8), *[("rounds", points) for points in (2, 4, 8)]]


@pytest.mark.parametrize("name", EMULATED_CLOUDS)
def test_furthest_point_sample(emulators: dict[int, Emulator], name: str) -> None:
    xyz = CLOUDS[name]
    npoint = min(xyz.shape[1], 40)
    expected = reference.furthest_point_sample(xyz, npoint)
    emulator = emulators[900]
    for i, (kernel, points) in enumerate(FPS_VARIANTS if xyz.dtype == torch.float32 else FPS_VARIANTS[:2]):
        emulator.schedule(*SCHEDULES[(len(name) + i) % 3])
        assert torch.equal(emulator.furthest_point_sample(xyz, npoint, kernel, points), expected), (kernel, points)


def test_furthest_point_sample_to_the_last_point(emulator: Emulator) -> None:
    xyz = lattice(1, 150, span=3)  # more points than places: the last picks have distance 0
    expected = reference.furthest_point_sample(xyz, 150)
    for kernel, points in FPS_VARIANTS:
        assert torch.equal(emulator.furthest_point_sample(xyz, 150, kernel, points), expected)


def test_furthest_point_sample_with_all_warps(emulators: dict[int, Emulator]) -> None:
    for xyz in (room(1, 2048), lattice(1, 2000, span=9)):  # 32 candidates, with and without ties
        emulators[900].schedule(2, 200)
        for kernel in ("rounds", "buckets"):
            actual = emulators[900].furthest_point_sample(xyz, 150, kernel)
            assert torch.equal(actual, reference.furthest_point_sample(xyz, 150))


@pytest.mark.parametrize(("N", "dtype"), [(5000, torch.float32), (8193, torch.float32), (33_000, torch.float32)])
def test_furthest_point_sample_chooses_a_kernel(emulators: dict[int, Emulator], N: int, dtype: torch.dtype) -> None:
    xyz = room(1, N, seed=N).to(dtype)
    emulators[900].schedule(1)
    actual = emulators[900].furthest_point_sample(xyz, 12)
    assert torch.equal(actual, reference.furthest_point_sample(xyz, 12))


def test_clouds_too_large_for_registers(emulators: dict[int, Emulator]) -> None:
    emulators[900].schedule(0)
    for kernel in ("steps", "rounds"):
        with pytest.raises(EmulatedError):
            emulators[900].furthest_point_sample(room(1, 8193), 5, kernel)


def search_kernels(xyz: Tensor) -> tuple[str, ...]:
    return ("brute force", "ordered") if xyz.dtype == torch.float32 else ("brute force",)


@pytest.mark.parametrize("name", EMULATED_CLOUDS)
def test_ball_query(emulators: dict[int, Emulator], name: str) -> None:
    xyz = CLOUDS[name]
    emulator = emulators[900]
    emulator.schedule(*SCHEDULES[len(name) % 3])
    centres = torch.cat([xyz[:, :30], xyz[:, :2] + 100], 1)  # the last two balls are empty
    for radius, nsample in ((3 / 64, 5), (0.5, 33)):
        expected = reference.ball_query_with_count(radius, nsample, xyz, centres)
        for kernel in search_kernels(xyz):
            assert same(emulator.ball_query(radius, nsample, xyz, centres, kernel), expected), kernel


def test_ball_query_of_several_tiles(emulator: Emulator) -> None:
    xyz, centres = lattice(2, 2100, span=8), lattice(2, 13, span=8, seed=1)
    expected = reference.ball_query_with_count(3 / 64, 16, xyz, centres)
    for kernel in search_kernels(xyz):
        assert same(emulator.ball_query(3 / 64, 16, xyz, centres, kernel), expected)


def test_ball_query_of_many_centres(emulators: dict[int, Emulator]) -> None:
    xyz, centres = lattice(3, 70, span=5), lattice(3, 2750, span=6, seed=1)  # B * M > 8192: four centres a warp
    emulators[900].schedule(1)
    actual = emulators[900].ball_query(2 / 64, 4, xyz, centres)
    assert same(actual, reference.ball_query_with_count(2 / 64, 4, xyz, centres))


@pytest.mark.parametrize("name", EMULATED_CLOUDS)
def test_three_nn(emulators: dict[int, Emulator], name: str) -> None:
    xyz = CLOUDS[name]
    emulator = emulators[900]
    emulator.schedule(*SCHEDULES[len(name) % 3])
    for known in (xyz[:, :2], xyz[:, :1], xyz[:, ::3].contiguous()):
        expected = reference.three_nn(xyz[:, :60], known)
        for kernel in search_kernels(xyz):
            assert same_neighbours(emulator.three_nn(xyz[:, :60], known, kernel), expected), kernel


def test_three_nn_of_several_tiles(emulator: Emulator) -> None:
    unknown, known = lattice(2, 9, span=8), lattice(2, 1100, span=8, seed=1)
    for kernel in search_kernels(known):
        assert same_neighbours(emulator.three_nn(unknown, known, kernel), reference.three_nn(unknown, known))


def test_three_nn_of_many_points(emulators: dict[int, Emulator]) -> None:
    unknown, known = lattice(2, 32_800, span=20), lattice(2, 7, span=20, seed=1)  # B * N > 65536: a thread a point
    emulators[900].schedule(0)
    assert same_neighbours(emulators[900].three_nn(unknown, known), reference.three_nn(unknown, known))


def test_search_in_order(emulators: dict[int, Emulator]) -> None:
    """More groups of points than lanes, so that most boxes are passed by."""
    emulators[900].schedule(2, 100)
    xyz, centres = room(2, 2500), room(2, 70, seed=1)
    actual = emulators[900].ball_query(0.2, 20, xyz, centres, "ordered")
    assert same(actual, reference.ball_query_with_count(0.2, 20, xyz, centres))
    for unknown in (centres, centres[:1, :20]):  # an even and an odd number of groups lie before the known points
        known = xyz[: len(unknown)]
        actual = emulators[900].three_nn(unknown, known, "ordered")
        assert same_neighbours(actual, reference.three_nn(unknown, known))


def test_clouds_too_large_to_order(emulators: dict[int, Emulator]) -> None:
    xyz = lattice(1, 17_000, span=9)
    emulators[900].schedule(0)
    with pytest.raises(EmulatedError):
        emulators[900].ball_query(0.1, 4, xyz, xyz[:, :3], "ordered")
    with pytest.raises(EmulatedError):
        emulators[900].three_nn(xyz[:, :3], xyz, "ordered")
    actual = emulators[900].ball_query(0.1, 4, xyz, xyz[:, :3])
    assert same(actual, reference.ball_query_with_count(0.1, 4, xyz, xyz[:, :3]))


def test_geometry_without_redux(emulators: dict[int, Emulator]) -> None:
    """Before sm_80 warps reduce by shuffles."""
    emulator = emulators[750]
    emulator.schedule(1)
    xyz = lattice(2, 300, span=4)
    expected = reference.furthest_point_sample(xyz, 30)
    for kernel, points in FPS_VARIANTS:
        assert torch.equal(emulator.furthest_point_sample(xyz, 30, kernel, points), expected)
    for kernel in search_kernels(xyz):
        actual = emulator.ball_query(0.05, 8, xyz, xyz[:, :20], kernel)
        assert same(actual, reference.ball_query_with_count(0.05, 8, xyz, xyz[:, :20]))
        assert same_neighbours(emulator.three_nn(xyz[:, :40], xyz, kernel), reference.three_nn(xyz[:, :40], xyz))


def test_non_finite_points_are_harmless(emulator: Emulator) -> None:
    xyz = lattice(1, 100)
    xyz[0, 7], xyz[0, 50, 1], xyz[0, 64:] = torch.nan, torch.inf, torch.nan  # a bucket without a finite point
    for kernel in ("buckets", "bucket steps", "steps", "rounds"):
        idx = emulator.furthest_point_sample(xyz, 60, kernel)
        assert idx.min() >= 0
        assert idx.max() < 100
    for kernel in search_kernels(xyz):
        emulator.ball_query(0.1, 4, xyz, xyz, kernel)
        assert emulator.three_nn(xyz, xyz, kernel)[1].max() < 100


@settings(max_examples=12, deadline=None)
@given(xyz=clouds(), data=st.data(), seed=st.integers(0, 2**32))
def test_any_cloud(emulators: dict[int, Emulator], xyz: Tensor, data: st.DataObject, seed: int) -> None:
    if xyz.shape[0] == 0:
        return
    emulator = emulators[900]
    emulator.schedule(seed, 30)
    npoint = data.draw(st.integers(1, min(40, xyz.shape[1])))
    kernel, points = data.draw(st.sampled_from(FPS_VARIANTS if xyz.dtype == torch.float32 else FPS_VARIANTS[:2]))
    idx = emulator.furthest_point_sample(xyz, npoint, kernel, points)
    assert torch.equal(idx, reference.furthest_point_sample(xyz, npoint))
    radius = data.draw(st.sampled_from([1 / 64, 0.1, 50.0]))
    centres = xyz[:, :npoint].contiguous()
    search = data.draw(st.sampled_from(search_kernels(xyz)))
    actual = emulator.ball_query(radius, 7, xyz, centres, search)
    assert same(actual, reference.ball_query_with_count(radius, 7, xyz, centres))
    assert same_neighbours(emulator.three_nn(centres, xyz, search), reference.three_nn(centres, xyz))


# ---------------------------------------------------------------------------------------------------------------------
# Features

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


# ---------------------------------------------------------------------------------------------------------------------
# The benchmarks' baseline


def test_baseline_geometry(emulator: Emulator) -> None:
    xyz = room(2, 300) + 1.0  # the original never picks points near the origin
    new_xyz = xyz[:, :40].contiguous()
    nearest, picks = emulator.output(2 * 300 * 4), emulator.output(2 * 30 * 4)
    emulator.call("original_fill", nearest, i64(600), ctypes.c_float(1e10))
    emulator.call("original_furthest_point_sample", emulator.input(xyz), 2, 300, 30, nearest, picks)
    idx = emulator.output(2 * 40 * 8 * 4)
    emulator.call("original_fill", idx, i64(2 * 40 * 8), ctypes.c_float(0))
    squared_radius = ctypes.c_float(0.5**2)
    points = emulator.input(xyz), emulator.input(new_xyz)
    emulator.call("original_ball_query", *points, 2, 300, 40, squared_radius, 8, idx)
    distance, nearest_three = emulator.output(2 * 300 * 3 * 4), emulator.output(2 * 300 * 3 * 4)
    emulator.call("original_three_nn", *points, 2, 300, 40, distance, nearest_three)
    actual = emulator.finish(
        (idx, (2, 40, 8), torch.int32), (nearest_three, (2, 300, 3), torch.int32), (picks, (2, 30), torch.int32)
    )
    assert torch.equal(actual[0], reference.ball_query(0.5, 8, xyz, new_xyz))
    assert torch.equal(actual[1], reference.three_nn(xyz, new_xyz)[1])
    assert torch.equal(actual[2], reference.furthest_point_sample(xyz, 30))  # there are no ties


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

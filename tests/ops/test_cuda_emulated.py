"""The geometry kernels' own CUDA sources, run on the CPU by the emulator, against the reference.

The emulator also checks what no result shows: barriers, warp masks, bounds, alignment, races, unwritten memory.
"""

from __future__ import annotations

import ctypes

import pytest
import torch
from clouds import CLOUDS, clouds, lattice, room
from cuda_emulator import SCHEDULES, EmulatedError, Emulator, find_compiler, i64
from hypothesis import given, settings
from hypothesis import strategies as st
from pointnet2_ops import reference
from torch import Tensor

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler to build the emulator with")


def same_neighbours(actual: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> bool:
    """Equal indices; distances to the last bit or the one before (torch.sqrt is not always correctly rounded)."""
    eps = torch.finfo(expected[0].dtype).eps
    return torch.equal(actual[1], expected[1]) and torch.allclose(actual[0], expected[0], rtol=2 * eps, atol=0)


def same(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


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

from __future__ import annotations

import pytest
import torch
from clouds import CLOUDS, clouds, lattice, room
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_sets import every_instruction_set
from pointnet2_ops import ops, reference


@pytest.mark.parametrize("name", CLOUDS)
def test_equals_reference(name: str, kernels: str):
    xyz = CLOUDS[name].to(kernels)
    for npoint in {0, 1, xyz.shape[1] // 3, min(xyz.shape[1], 400)}:
        idx = ops.furthest_point_sample(xyz, npoint)
        assert idx.dtype == torch.int32
        assert torch.equal(idx, reference.furthest_point_sample(xyz, npoint))


@given(xyz=clouds(), share=st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_equals_reference_on_generated_clouds(xyz: torch.Tensor, share: float):
    npoint = int(share * xyz.shape[1])
    expected = reference.furthest_point_sample(xyz, npoint)
    for name in every_instruction_set():
        assert torch.equal(ops.furthest_point_sample(xyz, npoint), expected), name


@pytest.mark.parametrize("shape", [(1, 9000), (4, 3000)])
def test_equals_reference_on_chunks(shape: tuple[int, int], kernels: str):
    xyz = room(*shape, seed=5).to(kernels)
    assert torch.equal(ops.furthest_point_sample(xyz, 700), reference.furthest_point_sample(xyz, 700))


def test_all_points_are_sampled_once_where_they_differ(kernels: str):
    xyz = room(2, 300).to(kernels)
    idx = ops.furthest_point_sample(xyz, 300)
    assert torch.equal(idx.sort(1).values.cpu(), torch.arange(300, dtype=torch.int32).expand(2, 300))


def test_points_near_the_origin_count_like_any_other(kernels: str):
    xyz = torch.tensor([[[0.01, 0, 0], [0.02, 0, 0], [0, 0, 0], [0, 0.005, 0]]], device=kernels)
    assert ops.furthest_point_sample(xyz, 4).tolist() == [[0, 3, 1, 2]]


def test_ties_and_duplicates_go_to_the_lowest_index(kernels: str):
    square = torch.tensor([[[0.0, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]], device=kernels)
    assert ops.furthest_point_sample(square, 5).tolist() == [[0, 1, 2, 3, 0]]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_matter(threads: int, set_threads):
    xyz = lattice(5, 2500, span=100)
    set_threads(1)
    expected = [ops.furthest_point_sample(x, 500) for x in (xyz, xyz[:1])]
    set_threads(threads)
    for x, idx in zip((xyz, xyz[:1]), expected, strict=True):
        assert torch.equal(ops.furthest_point_sample(x, 500), idx)


def test_strided_clouds(kernels: str):
    wide = room(2, 400).to(kernels).repeat(1, 1, 2)
    for xyz in (wide[..., :3], wide[:, ::2, :3], wide[..., :3].transpose(1, 2).contiguous().transpose(1, 2)):
        assert torch.equal(ops.furthest_point_sample(xyz, 50), ops.furthest_point_sample(xyz.contiguous(), 50))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_coordinates_are_computed_in_float32(dtype: torch.dtype, device: str):
    xyz = room(2, 300).to(device, dtype)
    expected = ops.furthest_point_sample(xyz.float(), 64)
    assert torch.equal(ops.furthest_point_sample(xyz, 64), expected)
    with torch.autocast(device, torch.bfloat16):
        assert torch.equal(ops.furthest_point_sample(xyz.float(), 64), expected)


@pytest.mark.parametrize("name", ["lattice", "sparse lattice", "collinear", "10 km away", "room"])
def test_nested_sampling_is_a_prefix(name: str):
    xyz = CLOUDS[name]
    N = xyz.shape[1]
    levels = ops.nested_furthest_point_sample(xyz, [N // 2, N // 4, N // 8])
    for idx in levels:
        again = ops.furthest_point_sample(xyz, idx.shape[1])
        rows = torch.arange(len(xyz))[:, None]
        # The same points; the index may name another of several equal ones once only duplicates are left.
        assert torch.equal(xyz[rows, idx.long()], xyz[rows, again.long()])
        xyz = xyz[rows, idx.long()]


def test_no_gradient():
    idx = ops.furthest_point_sample(room(1, 50).requires_grad_(), 5)
    assert not idx.requires_grad


def test_errors():
    xyz = lattice(2, 100)
    with pytest.raises(ValueError, match=r"npoint must be at most N=100, got 101"):
        ops.furthest_point_sample(xyz, 101)
    with pytest.raises(ValueError, match=r"npoint must be at most N=0, got 1"):
        ops.furthest_point_sample(xyz[:, :0], 1)
    with pytest.raises(ValueError, match=r"npoint must be at least 0, got -1"):
        ops.furthest_point_sample(xyz, -1)
    with pytest.raises(TypeError, match=r"npoint must be an integer, got float"):
        ops.furthest_point_sample(xyz, 10.0)
    with pytest.raises(ValueError, match=r"xyz must be \[B, N, 3\], got \[2, 3, 100\]"):
        ops.furthest_point_sample(xyz.transpose(1, 2), 10)
    with pytest.raises(TypeError, match=r"xyz must be float32, float64, bfloat16 or float16, got int64"):
        ops.furthest_point_sample(xyz.long(), 10)
    with pytest.raises(TypeError, match=r"xyz must be a tensor, got ndarray"):
        ops.furthest_point_sample(xyz.numpy(), 10)
    with pytest.raises(ValueError, match=r"npoints\[1\] must be at most npoints\[0\]=10, got 20"):
        ops.nested_furthest_point_sample(xyz, [10, 20])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_coordinates_must_be_finite(value: float):
    xyz = lattice(3, 1000)
    xyz[2, 777, 1] = value
    with pytest.raises(ValueError, match=rf"xyz must be finite, got {value} at cloud 2, point 777, axis 1"):
        ops.furthest_point_sample(xyz, 10)


def test_a_direct_call_is_checked_too():
    with pytest.raises(ValueError, match=r"npoint must be in \[0, N\], got npoint=9 with N=8"):
        torch.ops.pointnet2_ops.furthest_point_sample(lattice(1, 8), 9)
    with pytest.raises(ValueError, match="xyz must be"):
        torch.ops.pointnet2_ops.furthest_point_sample(torch.zeros(1, 8, 2), 3)

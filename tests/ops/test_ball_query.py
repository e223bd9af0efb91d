from __future__ import annotations

import pytest
import torch
from clouds import CLOUDS, clouds, lattice, room
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_sets import every_instruction_set
from pointnet2_ops import ops, reference


def assert_equals_reference(radius: float, nsample: int, xyz: torch.Tensor, new_xyz: torch.Tensor) -> None:
    idx, count = ops.ball_query_with_count(radius, nsample, xyz, new_xyz)
    expected_idx, expected_count = reference.ball_query_with_count(radius, nsample, xyz, new_xyz)
    assert idx.dtype == count.dtype == torch.int32
    assert torch.equal(idx, expected_idx)
    assert torch.equal(count, expected_count)


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("radius", [1 / 64, 0.1, 0.25, 50.0])
def test_equals_reference(name: str, radius: float, kernels: str):
    xyz = CLOUDS[name].to(kernels)
    new_xyz = xyz[:, :: max(1, xyz.shape[1] // 100)]
    assert_equals_reference(radius, 16, xyz, new_xyz)
    assert_equals_reference(radius, 1, xyz, new_xyz)


@given(xyz=clouds(), radius=st.sampled_from([1 / 128, 1 / 64, 0.05, 0.2, 1.0]), data=st.data())
@settings(deadline=None, max_examples=60)
def test_equals_reference_on_generated_clouds(xyz: torch.Tensor, radius: float, data: st.DataObject):
    seed, M = data.draw(st.integers(0, 1000)), data.draw(st.integers(0, 20))
    centres = lattice(xyz.shape[0], M, seed=seed).to(xyz.dtype) + xyz[:, :1]
    nsample = data.draw(st.sampled_from([1, 3, 32, 200]))
    for _ in every_instruction_set():
        assert_equals_reference(radius, nsample, xyz, centres)


def test_equals_reference_on_chunks(kernels: str):
    xyz = room(3, 6000, seed=7).to(kernels)
    assert_equals_reference(0.1, 32, xyz, xyz[:, ::20])
    assert_equals_reference(0.4, 64, xyz[:1], xyz[:1, ::60])


def test_first_in_index_order_strict_and_padded(kernels: str):
    line = torch.arange(6, device=kernels).float()[None, :, None] * torch.tensor([1.0, 0, 0], device=kernels)
    idx, count = ops.ball_query_with_count(2.0, 4, line, line[:, [5, 2, 0]])
    # At 5: 4 and 5, not 3, whose distance is exactly the radius. At 0: 0 and 1.
    assert idx.tolist() == [[[4, 5, 4, 4], [1, 2, 3, 1], [0, 1, 0, 0]]]
    assert count.tolist() == [[2, 3, 2]]
    assert ops.ball_query(2.0, 2, line, line[:, [2]]).tolist() == [[[1, 2]]]


def test_empty_balls_give_index_0_and_count_0(kernels: str):
    xyz = room(2, 200).to(kernels)
    idx, count = ops.ball_query_with_count(0.2, 8, xyz, xyz[:, :5] + 100)
    assert not idx.any()
    assert not count.any()
    assert idx.shape == (2, 5, 8)
    assert ops.ball_query(0.2, 8, xyz, xyz[:, :0]).shape == (2, 0, 8)


def test_far_centres_among_near_ones(kernels: str):
    xyz = room(1, 500).to(kernels)
    centres = torch.cat([xyz[:, :50], xyz[:, :50] + 1e6, xyz[:, :50] * 1e30, xyz[:, 50:60]], 1)
    assert_equals_reference(0.3, 8, xyz, centres)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_matter(threads: int, set_threads):
    xyz = room(5, 3000)
    set_threads(1)
    expected = [ops.ball_query(0.15, 24, x, x[:, ::7]) for x in (xyz, xyz[:1])]
    set_threads(threads)
    for x, idx in zip((xyz, xyz[:1]), expected, strict=True):
        assert torch.equal(ops.ball_query(0.15, 24, x, x[:, ::7]), idx)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_coordinates_are_computed_in_float32(dtype: torch.dtype, device: str):
    xyz = room(2, 300).to(device, dtype)
    expected = ops.ball_query(0.2, 16, xyz.float(), xyz[:, :40].float())
    assert torch.equal(ops.ball_query(0.2, 16, xyz, xyz[:, :40]), expected)
    with torch.autocast(device, torch.bfloat16):
        assert torch.equal(ops.ball_query(0.2, 16, xyz.float(), xyz[:, :40].float()), expected)


def test_errors():
    xyz = lattice(2, 100)
    with pytest.raises(ValueError, match=r"new_xyz must be \[B, M, 3\] with B=2, got \[3, 5, 3\]"):
        ops.ball_query(0.1, 8, xyz, lattice(3, 5))
    with pytest.raises(ValueError, match=r"nsample must be at least 1, got 0"):
        ops.ball_query(0.1, 0, xyz, xyz)
    for radius in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=rf"radius must be positive and finite, got {radius}"):
            ops.ball_query(radius, 8, xyz, xyz)
    with pytest.raises(ValueError, match=r"xyz must hold at least one point, got \[2, 0, 3\]"):
        ops.ball_query(0.1, 8, xyz[:, :0], xyz)
    with pytest.raises(TypeError, match=r"new_xyz must be float32 like xyz, got float64"):
        ops.ball_query(0.1, 8, xyz, xyz.double())
    with pytest.raises(ValueError, match=r"new_xyz must be on cpu like xyz, got meta"):
        ops.ball_query(0.1, 8, xyz, xyz.to("meta"))
    bad = xyz.clone()
    bad[1, 3, 2] = float("nan")
    with pytest.raises(ValueError, match=r"new_xyz must be finite, got nan at cloud 1, point 3, axis 2"):
        ops.ball_query(0.1, 8, xyz, bad)
    with pytest.raises(ValueError, match=r"^xyz must be finite, got nan at cloud 1, point 3, axis 2"):
        ops.ball_query(0.1, 8, bad, xyz)

from __future__ import annotations

import pytest
import torch
from clouds import CLOUDS, clouds, lattice, room
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_sets import every_instruction_set
from pointnet2_ops import ops, reference


def assert_equals_reference(unknown: torch.Tensor, known: torch.Tensor) -> None:
    distance, idx = ops.three_nn(unknown, known)
    expected_distance, expected_idx = reference.three_nn(unknown, known)
    assert idx.dtype == torch.int32
    assert torch.equal(idx, expected_idx)
    # The square root of PyTorch is not always the correctly rounded one.
    torch.testing.assert_close(distance, expected_distance, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", CLOUDS)
def test_equals_reference(name: str, kernels: str):
    xyz = CLOUDS[name].to(kernels)
    known = xyz[:, :: max(1, xyz.shape[1] // 200)]
    assert_equals_reference(xyz[:, :500], known)
    assert_equals_reference(xyz[:, :100] + 3.0, known)


@given(known=clouds(), data=st.data())
@settings(deadline=None, max_examples=60)
def test_equals_reference_on_generated_clouds(known: torch.Tensor, data: st.DataObject):
    seed, N = data.draw(st.integers(0, 1000)), data.draw(st.integers(0, 30))
    span = data.draw(st.sampled_from([1, 30, 3000]))
    unknown = lattice(known.shape[0], N, span, seed=seed).to(known.dtype) + known[:, :1]
    for _ in every_instruction_set():
        assert_equals_reference(unknown, known)


def test_equals_reference_on_chunks(kernels: str):
    xyz = room(2, 2000, seed=9).to(kernels)
    assert_equals_reference(xyz, xyz[:, ::3])
    assert_equals_reference(xyz[:1], xyz[:1, :17])


def test_far_queries_among_near_ones(kernels: str):
    xyz = room(1, 500).to(kernels)
    assert_equals_reference(torch.cat([xyz[:, :50], xyz[:, :50] + 1e6, xyz[:, :50] * 1e30, xyz[:, 50:60]], 1), xyz)


@pytest.mark.parametrize("known", [1, 2])
def test_missing_neighbours_have_index_0_and_distance_infinity(known: int, kernels: str):
    distance, idx = ops.three_nn(lattice(2, 10).to(kernels), lattice(2, known, seed=4).to(kernels))
    assert not idx[..., known:].any()
    assert distance[..., known:].isinf().all()
    assert distance[..., :known].isfinite().all()


def test_equal_distances_are_in_index_order(kernels: str):
    known = torch.tensor([[[2.0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, 0, 1], [0, 0, 0]]], device=kernels)
    distance, idx = ops.three_nn(torch.zeros(1, 1, 3, device=kernels), known)
    assert idx.tolist() == [[[5, 1, 2]]]
    assert distance.tolist() == [[[0.0, 1.0, 1.0]]]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_matter(threads: int, set_threads):
    xyz = room(5, 2000)
    set_threads(1)
    expected = [ops.three_nn(x, x[:, ::5]) for x in (xyz, xyz[:1])]
    set_threads(threads)
    for x, (distance, idx) in zip((xyz, xyz[:1]), expected, strict=True):
        again = ops.three_nn(x, x[:, ::5])
        assert torch.equal(again[0], distance)
        assert torch.equal(again[1], idx)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_coordinates_are_computed_in_float32(dtype: torch.dtype, device: str):
    xyz = room(2, 300).to(device, dtype)
    distance, idx = ops.three_nn(xyz, xyz[:, :40])
    expected = ops.three_nn(xyz.float(), xyz[:, :40].float())
    assert distance.dtype == torch.float32
    assert torch.equal(distance, expected[0])
    assert torch.equal(idx, expected[1])


def test_no_gradient():
    xyz = room(1, 50).requires_grad_()
    distance, idx = ops.three_nn(xyz, xyz)
    assert not distance.requires_grad
    assert not idx.requires_grad


def test_errors():
    xyz = lattice(2, 100)
    with pytest.raises(ValueError, match=r"known must be \[B, M, 3\] with B=2, got \[1, 100, 3\]"):
        ops.three_nn(xyz, xyz[:1])
    with pytest.raises(ValueError, match=r"known must hold at least one point, got \[2, 0, 3\]"):
        ops.three_nn(xyz, xyz[:, :0])
    with pytest.raises(TypeError, match=r"known must be float32 like unknown, got float64"):
        ops.three_nn(xyz, xyz.double())
    bad = xyz.clone()
    bad[0, 99, 0] = float("inf")
    with pytest.raises(ValueError, match=r"known must be finite, got inf at cloud 0, point 99, axis 0"):
        ops.three_nn(xyz, bad)

"""The first point of every voxel: the reference's answer on borders, far away, in huge and in empty clouds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pointnet2_ops import ops, reference


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.02, 1.5 / 31, 0.25, 3.0])
@pytest.mark.parametrize("offset", [0.0, -7.3, 10_000.0])
def test_equals_reference(dtype: torch.dtype, size: float, offset: float):
    generator = torch.Generator().manual_seed(0)
    xyz = (torch.rand(2000, 3, generator=generator, dtype=torch.float64) * 2 + offset).to(dtype)
    xyz[1000:1500] = (xyz[:500] / size).round() * size  # on borders, up to rounding
    got = ops.first_in_voxel(xyz, size)
    assert torch.equal(got, reference.first_in_voxel(xyz, size))
    assert 0 < got.sum() < 2000 or size < 0.03


def test_points_on_borders_belong_to_the_upper_voxel():
    xyz = torch.tensor([[0.0, 0, 0], [0.25, 0, 0], [0.2499, 0, 0], [0.5, 0, 0], [0.25, 0, 0.24]], dtype=torch.float64)
    assert ops.first_in_voxel(xyz, 0.25).tolist() == [True, True, False, True, False]


def test_a_cloud_with_more_voxels_than_a_bitmap_holds():
    xyz = torch.rand(3000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    xyz[1500:] = xyz[:1500]
    far = xyz * torch.tensor([1.0, 1.0, 0.1])
    far[7] = torch.tensor([5e4, -3e4, 2e3])
    got = ops.first_in_voxel(far, 0.02)
    assert torch.equal(got, reference.first_in_voxel(far, 0.02))
    assert not got[1500:1507].any()


def test_views_and_empty_clouds():
    wide = torch.rand(100, 6, generator=torch.Generator().manual_seed(0))
    view = wide[::2, 1:4]
    assert torch.equal(ops.first_in_voxel(view, 0.3), reference.first_in_voxel(view.contiguous(), 0.3))
    assert ops.first_in_voxel(torch.zeros(0, 3), 0.1).shape == (0,)
    assert ops.first_in_voxel(torch.zeros(1, 3), 0.1).tolist() == [True]


def test_wrong_input():
    with pytest.raises(ValueError, match=r"xyz must be \[N, 3\] float32 or float64, got \[2, 5, 3\]"):
        ops.first_in_voxel(torch.zeros(2, 5, 3), 0.1)
    with pytest.raises(ValueError, match="size must be finite and > 0, got 0"):
        ops.first_in_voxel(torch.zeros(5, 3), 0.0)
    with pytest.raises(ValueError, match="xyz must be finite, got nan at point 3"):
        ops.first_in_voxel(torch.tensor([[0.0, 0, 0]] * 3 + [[np.nan, 0, 0]]), 0.1)
    with pytest.raises(ValueError, match=r"fewer than 2\^62 voxels"):
        ops.first_in_voxel(torch.tensor([[0.0, 0, 0], [1e30, 1e30, 1e30]], dtype=torch.float64), 0.02)


def test_opcheck():
    xyz = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    torch.library.opcheck(torch.ops.pointnet2_ops.first_in_voxel, (xyz, 0.3))

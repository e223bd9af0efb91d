"""Every CUDA kernel that an operator may choose gives the same indices, at sizes that only a GPU can take in tests."""

from __future__ import annotations

from collections.abc import Callable

import pointnet2_ops
import pytest
import torch
from clouds import lattice, room
from pointnet2_ops import reference
from torch import Tensor

LIBRARY = torch.ops.pointnet2_ops

pytestmark = pytest.mark.skipif(
    not (pointnet2_ops.CUDA_LIBRARY and torch.cuda.is_available()), reason="needs a GPU and the CUDA kernels"
)

# (clouds, picks, kernels) of sampling; the numbers are those of FpsKernel in csrc/cuda/furthest_point_sample.cuh.
SAMPLING = [
    (lambda: room(4, 8192), 1024, (-1, 0, 1, 2, 3)),
    (lambda: lattice(3, 8000, span=9), 1500, (-1, 0, 1, 2, 3)),
    (lambda: lattice(2, 3000, span=20).repeat(1, 2, 1), 3500, (-1, 0, 1, 2, 3)),  # the last picks are duplicates
    (lambda: room(2, 1000), 1000, (-1, 0, 1, 2, 3)),
    (lambda: room(2, 12_000), 700, (-1, 0, 3)),
    (lambda: room(1, 60_000), 2000, (-1, 0, 3)),
    (lambda: room(2, 5000).double(), 600, (-1, 0, 3)),
]


@pytest.mark.parametrize("case", range(len(SAMPLING)))
def test_cuda_sampling(case: int) -> None:
    make, npoint, kernels = SAMPLING[case]
    xyz = make().cuda()
    expected = reference.furthest_point_sample(xyz, npoint)
    for kernel in kernels:
        actual = LIBRARY.furthest_point_sample_by(xyz, npoint, kernel)
        assert torch.equal(actual, expected), f"kernel {kernel}"


@pytest.mark.parametrize("make", [room, lattice])
@pytest.mark.parametrize(("B", "N", "M"), [(3, 8192, 1024), (1, 16_384, 33), (5, 77, 9)])
def test_cuda_search(make: Callable[[int, int], Tensor], B: int, N: int, M: int) -> None:
    xyz = make(B, N).cuda()
    centres = xyz[:, :M].contiguous()
    balls = reference.ball_query_with_count(0.1, 32, xyz, centres)
    nearest = reference.three_nn(xyz, centres)
    for kernel in (-1, 0, 1):
        assert all(map(torch.equal, LIBRARY.ball_query_by(xyz, centres, 0.1, 32, kernel), balls)), f"kernel {kernel}"
        assert torch.equal(LIBRARY.three_nn_by(xyz, centres, kernel)[1], nearest[1]), f"kernel {kernel}"


def test_cuda_kernels_refuse_what_they_cannot_take() -> None:
    large = room(1, 17_000).cuda()
    for call in (
        lambda: LIBRARY.furthest_point_sample_by(large, 5, 2),
        lambda: LIBRARY.furthest_point_sample_by(large[:, :900].double(), 5, 1),
        lambda: LIBRARY.ball_query_by(large, large[:, :5].contiguous(), 0.1, 4, 1),
        lambda: LIBRARY.three_nn_by(large, large[:, :5].contiguous(), 1),
    ):
        with pytest.raises(RuntimeError, match="invalid argument"):
            call()

"""Every CUDA kernel once, on small inputs, checked against the reference: for runs under compute-sanitizer.

python -m benchmarks.gpu_smoke
"""

from __future__ import annotations

import torch
from pointnet2_ops import ops, reference
from torch import Tensor

FEATURE_TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def lattice(B: int, N: int) -> Tensor:
    """[B, N, 3] float32 on k/64: full of ties, squared distances exact."""
    return (torch.randint(-8, 9, (B, N, 3), generator=torch.Generator().manual_seed(N)) / 64).cuda()


def check(name: str, condition: bool) -> None:
    if not condition:
        raise SystemExit(f"gpu_smoke: {name} differs from the reference")


def geometry() -> None:
    for N in (33, 700, 5000, 9000, 17_000):  # 4, 8 and 16 points a thread, then buckets
        xyz = lattice(2, N)
        check(f"FPS of {N}", torch.equal(ops.furthest_point_sample(xyz, 20), reference.furthest_point_sample(xyz, 20)))
    for dtype in (torch.float32, torch.float64):
        xyz, centres = lattice(2, 1500).to(dtype), lattice(2, 90).to(dtype)
        check("FPS", torch.equal(ops.furthest_point_sample(xyz, 20), reference.furthest_point_sample(xyz, 20)))
        for few in (centres, centres.repeat(1, 50, 1)):  # one and four centres a warp
            actual = ops.ball_query_with_count(0.05, 9, xyz, few)
            expected = reference.ball_query_with_count(0.05, 9, xyz, few)
            check("ball query", all(map(torch.equal, actual, expected)))
        for many in (xyz, xyz.repeat(1, 22, 1)):  # eight lanes and one lane a point
            check("3-NN", torch.equal(ops.three_nn(many, centres)[1], reference.three_nn(many, centres)[1]))


def features() -> None:
    for dtype in FEATURE_TYPES:
        for rows in (False, True):
            for C in (3, 8, 40):
                x = torch.randn(2, 50, C, device="cuda").to(dtype).transpose(1, 2)
                x = (x if rows else x.contiguous()).detach().requires_grad_()
                idx = torch.randint(50, (2, 400), device="cuda", dtype=torch.int32)
                check("gather", torch.equal(ops.gather_operation(x, idx), reference.gather_operation(x, idx)))
                near = torch.randint(50, (2, 130, 3), device="cuda")
                weight = torch.rand(2, 130, 3, device="cuda", requires_grad=True)
                for deterministic in (False, True):
                    torch.use_deterministic_algorithms(deterministic)
                    ops.gather_operation(x, idx).sum().backward()
                    ops.three_interpolate(x, near, weight).sum().backward()
                torch.use_deterministic_algorithms(False)
                mine, plain = ops.three_interpolate(x, near, weight), reference.three_interpolate(x, near, weight)
                check("interpolation", torch.allclose(mine.double(), plain.double(), atol=1e-2))


if __name__ == "__main__":
    geometry()
    features()
    torch.cuda.synchronize()
    print("gpu_smoke: all kernels agree with the reference")

"""Every CUDA kernel once, on small inputs, checked against the reference on the CPU: for runs under compute-sanitizer.

python -m benchmarks.gpu_smoke [--device cpu]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from pointnet2_ops import ops, reference
from torch import Tensor

FEATURE_TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def lattice(B: int, N: int) -> Tensor:
    """[B, N, 3] float32 on k/64: full of ties, squared distances exact."""
    return torch.randint(-8, 9, (B, N, 3), generator=torch.Generator().manual_seed(N)) / 64


def agree(
    device: torch.device,
    name: str,
    *arguments: object,
    kernel: int | None = None,
    result: int | None = None,
    atol: float = 0,
) -> None:
    """Operator `name` on the device against its reference on the CPU; of several results only number `result`.

    kernel: one of the operator's CUDA kernels, by number, instead of the one that it would choose.
    """

    def select(output: object) -> list[Tensor]:
        outputs = output if isinstance(output, tuple) else (output,)
        return [outputs[result]] if result is not None else list(outputs)

    there = [x.to(device) if isinstance(x, Tensor) else x for x in arguments]
    call: Callable = getattr(ops, name)
    if kernel is not None:
        by = getattr(torch.ops.pointnet2_ops, f"{name.removesuffix('_with_count')}_by")
        call = lambda *given: by(*_schema_order(name, given), kernel)  # noqa: E731
    for actual, expected in zip(select(call(*there)), select(getattr(reference, name)(*arguments)), strict=True):
        actual = actual.detach().cpu()
        same = torch.allclose(actual.double(), expected.double(), atol=atol) if atol else torch.equal(actual, expected)
        if not same:
            raise AssertionError(f"{name} of {[list(x.shape) for x in arguments if isinstance(x, Tensor)]} is wrong")


def _schema_order(name: str, arguments: tuple) -> tuple:
    """ops.ball_query takes radius and nsample first, the operator behind it last."""
    return (*arguments[2:], *arguments[:2]) if name.startswith("ball_query") else arguments


def every_kernel(device: torch.device) -> None:
    """Each by its number: also those that the sizes below would not choose."""
    for N in (33, 700, 5000, 8192, 16_384):
        for kernel in (0, 1, 2, 3) if N <= 8192 else (0, 3):
            agree(device, "furthest_point_sample", lattice(2, N), min(40, N), kernel=kernel)
        centres = lattice(2, 70)
        for kernel in (0, 1):
            agree(device, "ball_query_with_count", 0.05, 9, lattice(2, N), centres, kernel=kernel)
            agree(device, "three_nn", centres, lattice(2, N), kernel=kernel, result=1)
            agree(device, "three_nn", lattice(2, N), centres, kernel=kernel, result=1)


def geometry(device: torch.device) -> None:
    for N in (33, 2500, 5000, 17_000):  # 2, 4 and 8 points a thread, then buckets
        agree(device, "furthest_point_sample", lattice(2, N), 20)
    for dtype in (torch.float32, torch.float64):
        xyz, centres = lattice(2, 1500).to(dtype), lattice(2, 90).to(dtype)
        agree(device, "furthest_point_sample", xyz, 20)
        for few in (centres, centres.repeat(1, 50, 1)):  # one and four centres a warp
            agree(device, "ball_query_with_count", 0.05, 9, xyz, few)
        for many in (xyz, xyz.repeat(1, 22, 1)):  # eight lanes and one lane a point
            agree(device, "three_nn", many, centres, result=1)


def features(device: torch.device) -> None:
    for dtype in FEATURE_TYPES:
        for rows in (False, True):
            for C in (3, 8, 40):
                x = torch.randn(2, 50, C).to(dtype).transpose(1, 2)
                x = x if rows else x.contiguous()
                idx = torch.randint(50, (2, 400), dtype=torch.int32)
                near, weight = torch.randint(50, (2, 130, 3)), torch.rand(2, 130, 3)
                agree(device, "gather_operation", x, idx)
                agree(device, "three_interpolate", x, near, weight, atol=1e-2)
                leaf, factor = (y.to(device).detach().requires_grad_() for y in (x, weight))
                for deterministic in (False, True):
                    torch.use_deterministic_algorithms(deterministic)
                    ops.gather_operation(leaf, idx.to(device)).sum().backward()
                    ops.three_interpolate(leaf, near.to(device), factor).sum().backward()
                torch.use_deterministic_algorithms(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    device = parser.parse_args().device
    geometry(device)
    features(device)
    if device.type == "cuda":
        every_kernel(device)
        torch.cuda.synchronize()
    print("gpu_smoke: all kernels agree with the reference")


if __name__ == "__main__":
    main()

"""Every CUDA operator at the sizes of a PointNet++ on chunks of 8192 points, ours and the contenders'.

A contender is a call without arguments; its name says who: "ours" and its variants, "original" (the old package's
algorithm, benchmarks/original), "PyTorch" (plain PyTorch, eager), "torch-fps" if installed. A case also says whether
ours computes what the reference does, and what the project wants of an H100.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from pointnet2_ops import ops, reference
from torch import Tensor

from benchmarks.clouds import chunks, room
from benchmarks.gpu_timing import captured

Run = Callable[[], object]
LEVELS = [(1024, 0.1), (256, 0.2), (64, 0.4), (16, 0.8)]  # centres and radius of SA1..SA4


@dataclass
class Case:
    name: str
    contenders: dict[str, Run]
    correct: Callable[[], bool]
    goals_ms: tuple[float, float] | None = None  # must, goal: on an H100


def hierarchy(xyz: Tensor) -> list[Tensor]:
    """xyz [B, N, 3] and the centres of each level [B, M, 3]."""
    levels = [xyz]
    for idx in ops.nested_furthest_point_sample(xyz, [M for M, _ in LEVELS]):
        levels.append(levels[-1].gather(1, idx.long()[..., None].expand(-1, -1, 3)))
    return levels


def sampling(xyz: Tensor, npoint: int, goals_ms: tuple[float, float] | None = None) -> Case:
    B, N, _ = xyz.shape
    contenders: dict[str, Run] = {
        "ours": captured(lambda: ops.furthest_point_sample(xyz, npoint)),
        "original": captured(lambda: torch.ops.pointnet2_original.furthest_point_sample(xyz, npoint)),
        "PyTorch": lambda: reference.furthest_point_sample(xyz, npoint),
    }
    if importlib.util.find_spec("torch_fps"):
        import torch_fps

        every = torch.ones(B, N, dtype=torch.bool, device=xyz.device)
        contenders["torch-fps"] = lambda: torch_fps.farthest_point_sampling(xyz, every, npoint, random_start=False)

    def correct() -> bool:
        return torch.equal(ops.furthest_point_sample(xyz, npoint), reference.furthest_point_sample(xyz, npoint))

    return Case(f"FPS {B} x {N} -> {npoint}", contenders, correct, goals_ms)


def ball_query(levels: list[Tensor]) -> Case:
    """All levels, 32 neighbours."""
    calls = [(radius, 32, levels[i], levels[i + 1]) for i, (_, radius) in enumerate(LEVELS)]

    def original() -> None:
        for radius, nsample, xyz, new_xyz in calls:
            torch.ops.pointnet2_original.ball_query(xyz, new_xyz, radius, nsample)

    contenders = {
        "ours": captured(lambda: [ops.ball_query(*call) for call in calls]),
        "original": captured(original),
        "PyTorch": lambda: [reference.ball_query(*call) for call in calls],
    }
    correct = lambda: all(torch.equal(ops.ball_query(*call), reference.ball_query(*call)) for call in calls)  # noqa: E731
    return Case(f"ball query, all levels, B = {len(levels[0])}", contenders, correct, (0.150, 0.060))


def three_nn(levels: list[Tensor]) -> Case:
    calls = list(pairwise(levels))

    def original() -> None:
        for unknown, known in calls:
            torch.ops.pointnet2_original.three_nn(unknown, known)

    contenders = {
        "ours": captured(lambda: [ops.three_nn(*call) for call in calls]),
        "original": captured(original),
        "PyTorch": lambda: [reference.three_nn(*call) for call in calls],
    }
    correct = lambda: all(torch.equal(ops.three_nn(*call)[1], reference.three_nn(*call)[1]) for call in calls)  # noqa: E731
    return Case(f"3-NN, all levels, B = {len(levels[0])}", contenders, correct, (0.150, 0.060))


def features_for(B: int, C: int, N: int, rng: np.random.Generator) -> Tensor:
    """[B, C, N] float32, channels first."""
    return torch.from_numpy(rng.standard_normal((B, C, N), dtype=np.float32)).cuda()


def channels_last(x: Tensor) -> Tensor:
    """[B, C, N] with memory [B, N, C]."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def grouping(features: Tensor, idx: Tensor) -> list[Case]:
    """features [B, C, N], idx [B, M, K]: forward, and backward with atomics and deterministic."""
    B, C, N = features.shape
    _, M, K = idx.shape
    flat, place = idx.flatten(1), idx.flatten(1).long()[:, None].expand(-1, C, -1)
    rows, half_rows = channels_last(features), channels_last(features.bfloat16())
    grad = ops.gather_operation(features, flat)  # [B, C, M * K]
    grad_rows, half_grad = channels_last(grad), channels_last(grad.bfloat16())
    backward = torch.ops.pointnet2_ops.gather_operation_backward
    zeros = torch.zeros_like(features)
    expected = zeros.scatter_add(2, place, grad)
    name = f"group ({B}, {C}, {N}) -> ({M}, {K})"
    forward = {
        "ours": captured(lambda: ops.gather_operation(rows, flat)),
        "ours, channels first": captured(lambda: ops.gather_operation(features, flat)),
        "ours, bfloat16": captured(lambda: ops.gather_operation(half_rows, flat)),
        "original": captured(lambda: torch.ops.pointnet2_original.group(features, idx)),
        "PyTorch": captured(lambda: features.gather(2, place)),
    }
    gradients = {
        "ours": captured(partial(backward, grad_rows, flat, N, True, False)),
        "ours, deterministic": captured(partial(backward, grad_rows, flat, N, True, True)),
        "ours, channels first": captured(partial(backward, grad, flat, N, False, False)),
        "ours, bfloat16": captured(partial(backward, half_grad, flat, N, True, False)),
        "original": captured(lambda: torch.ops.pointnet2_original.group_backward(grad.unflatten(2, (M, K)), idx, N)),
        "PyTorch": captured(lambda: zeros.scatter_add(2, place, grad)),
    }
    return [
        Case(
            f"{name}, forward",
            forward,
            lambda: torch.equal(ops.gather_operation(rows, flat), features.gather(2, place)),
        ),
        Case(
            f"{name}, backward",
            gradients,
            lambda: all(
                torch.allclose(backward(grad_rows, flat, N, True, mode), expected, atol=1e-3) for mode in (False, True)
            ),
        ),
    ]


def interpolation(features: Tensor, unknown: Tensor, known: Tensor) -> list[Case]:
    """features [B, C, M] at known [B, M, 3], interpolated at unknown [B, N, 3]."""
    B, C, M = features.shape
    distance, idx = ops.three_nn(unknown, known)
    weight = 1 / (distance + 1e-8)
    weight = weight / weight.sum(2, keepdim=True)
    rows, half_rows = channels_last(features), channels_last(features.bfloat16())
    grad = ops.three_interpolate(features, idx, weight)  # [B, C, N]
    grad_rows, half_grad = channels_last(grad), channels_last(grad.bfloat16())
    backward = torch.ops.pointnet2_ops.three_interpolate_backward
    leaf = features.clone().requires_grad_()
    (expected,) = torch.autograd.grad(reference.three_interpolate(leaf, idx, weight), leaf, grad)
    name = f"interpolate ({B}, {C}, {M}) -> {idx.shape[1]}"

    def plain_backward() -> None:
        torch.autograd.grad(reference.three_interpolate(leaf, idx, weight), leaf, grad)

    forward = {
        "ours": captured(lambda: ops.three_interpolate(rows, idx, weight)),
        "ours, channels first": captured(lambda: ops.three_interpolate(features, idx, weight)),
        "ours, bfloat16": captured(lambda: ops.three_interpolate(half_rows, idx, weight)),
        "original": captured(lambda: torch.ops.pointnet2_original.interpolate(features, idx, weight)),
        "PyTorch": captured(lambda: reference.three_interpolate(features, idx, weight)),
    }
    gradients = {
        "ours": captured(partial(backward, grad_rows, idx, weight, M, True, False)),
        "ours, deterministic": captured(partial(backward, grad_rows, idx, weight, M, True, True)),
        "ours, channels first": captured(partial(backward, grad, idx, weight, M, False, False)),
        "ours, bfloat16": captured(partial(backward, half_grad, idx, weight, M, True, False)),
        "original": captured(lambda: torch.ops.pointnet2_original.interpolate_backward(grad, idx, weight, M)),
        "PyTorch": plain_backward,  # with the forward pass: eager autograd has no other way to start
    }
    return [
        Case(
            f"{name}, forward",
            forward,
            lambda: torch.allclose(
                ops.three_interpolate(rows, idx, weight), reference.three_interpolate(features, idx, weight), atol=1e-5
            ),
        ),
        Case(
            f"{name}, backward",
            gradients,
            lambda: all(
                torch.allclose(backward(grad_rows, idx, weight, M, True, mode), expected, atol=1e-3)
                for mode in (False, True)
            ),
        ),
    ]


def cases() -> Iterator[Case]:
    """One after another, so that only one case holds its memory and earlier results survive a later failure."""
    rng = np.random.default_rng([8192])
    many = chunks(132, 8192, rng).cuda()
    levels = hierarchy(many[:16].contiguous())
    for B in (1, 16, 132):
        yield sampling(many[:B].contiguous(), 1024, (1.0, 0.45))
    yield sampling(levels[1], 256)
    for N, npoint in ((40_684, 4096), (200_000, 16_384)):
        yield sampling(torch.from_numpy(room(N, (8.0, 6.0, 2.6), rng))[None].cuda(), npoint)
    yield ball_query(levels)
    yield three_nn(levels)
    yield from grouping(features_for(16, 64, 1024, rng), ops.ball_query(0.2, 32, levels[1], levels[2]))
    yield from interpolation(features_for(16, 128, 1024, rng), levels[0], levels[1])

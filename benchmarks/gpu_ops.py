"""Every CUDA operator at the sizes of a PointNet++ on chunks of 8192 points, ours and the contenders'.

A contender is a call without arguments; its name says who: "ours" and its variants, "original" (the old package's
algorithm, benchmarks/original), "PyTorch" (plain PyTorch, eager), "torch-fps" if installed. A case also says whether
ours computes what the reference does, and what the project wants of an H100.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
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
LEVELS = [(1024, 0.1), (256, 0.2), (64, 0.4), (16, 0.8)]  # centres and radius of SA1..SA4, for clouds of 8192 points


@dataclass
class Case:
    name: str
    contenders: dict[str, Run]
    correct: Callable[[], bool]
    goals_ms: tuple[float, float] | None = None  # must, goal: on an H100


def hierarchy(xyz: Tensor) -> list[Tensor]:
    """xyz [B, N, 3] and the centres of each level [B, M, 3]."""
    levels = [xyz]
    for idx in ops.nested_furthest_point_sample(xyz, [M * xyz.shape[1] // 8192 for M, _ in LEVELS]):
        levels.append(levels[-1].gather(1, idx.long()[..., None].expand(-1, -1, 3)))
    return levels


def sampling(xyz: Tensor, npoint: int, goals_ms: tuple[float, float] | None = None) -> Case:
    B, N, _ = xyz.shape
    contenders: dict[str, Run] = {
        "ours": captured(lambda: ops.furthest_point_sample(xyz, npoint)),
        "original": captured(lambda: torch.ops.pointnet2_original.furthest_point_sample(xyz, npoint)),
        "PyTorch": lambda: reference.furthest_point_sample(xyz, npoint),
    }
    if xyz.is_cuda:
        by = torch.ops.pointnet2_ops.furthest_point_sample_by
        if N <= 8192:
            contenders["ours, buckets"] = captured(lambda: by(xyz, npoint, 0))
        contenders["ours, one pick a step"] = captured(lambda: by(xyz, npoint, 1 if N <= 8192 else 3))
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
    if levels[0].is_cuda:
        by = torch.ops.pointnet2_ops.ball_query_by
        contenders["ours, brute force"] = captured(
            lambda: [by(xyz, new_xyz, radius, nsample, 0) for radius, nsample, xyz, new_xyz in calls]
        )
    correct = lambda: all(torch.equal(ops.ball_query(*call), reference.ball_query(*call)) for call in calls)  # noqa: E731
    return Case(
        f"ball query, all levels, B = {len(levels[0])}",
        contenders,
        correct,
        (0.150, 0.060) if len(levels[0]) <= 16 else None,
    )


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
    if levels[0].is_cuda:
        by = torch.ops.pointnet2_ops.three_nn_by
        contenders["ours, brute force"] = captured(lambda: [by(*call, 0) for call in calls])
    correct = lambda: all(torch.equal(ops.three_nn(*call)[1], reference.three_nn(*call)[1]) for call in calls)  # noqa: E731
    return Case(
        f"3-NN, all levels, B = {len(levels[0])}", contenders, correct, (0.150, 0.060) if len(levels[0]) <= 16 else None
    )


def features_for(B: int, C: int, N: int, device: torch.device) -> Tensor:
    """[B, C, N] float32, channels first."""
    return torch.randn(B, C, N, generator=torch.Generator(device).manual_seed(C * N), device=device)


def channels_last(x: Tensor) -> Tensor:
    """[B, C, N] with memory [B, N, C]."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def grouping(features: Tensor, idx: Tensor) -> Case:
    """features [B, C, N], idx [B, M, K]."""
    B, C, N = features.shape
    _, M, K = idx.shape
    flat, place = idx.flatten(1), idx.flatten(1).long()[:, None].expand(-1, C, -1)
    rows, half_rows = channels_last(features), channels_last(features.bfloat16())
    contenders = {
        "ours": captured(lambda: ops.gather_operation(rows, flat)),
        "ours, channels first": captured(lambda: ops.gather_operation(features, flat)),
        "ours, bfloat16": captured(lambda: ops.gather_operation(half_rows, flat)),
        "original": captured(lambda: torch.ops.pointnet2_original.group(features, idx)),
        "PyTorch": captured(lambda: features.gather(2, place)),
    }
    correct = lambda: torch.equal(ops.gather_operation(rows, flat), features.gather(2, place))  # noqa: E731
    return Case(f"group ({B}, {C}, {N}) -> ({M}, {K}), forward", contenders, correct)


def grouping_backward(features: Tensor, idx: Tensor) -> Case:
    """features [B, C, N], idx [B, M, K]: with atomics, and deterministic."""
    B, C, N = features.shape
    _, M, K = idx.shape
    flat, place = idx.flatten(1), idx.flatten(1).long()[:, None].expand(-1, C, -1)
    grad = ops.gather_operation(features, flat)  # [B, C, M * K]
    grad_rows, half_grad = channels_last(grad), channels_last(grad.bfloat16())
    backward = torch.ops.pointnet2_ops.gather_operation_backward
    zeros = torch.zeros_like(features)
    contenders = {
        "ours": captured(partial(backward, grad_rows, flat, N, True, False)),
        "ours, deterministic": captured(partial(backward, grad_rows, flat, N, True, True)),
        "ours, channels first": captured(partial(backward, grad, flat, N, False, False)),
        "ours, bfloat16": captured(partial(backward, half_grad, flat, N, True, False)),
        "original": captured(lambda: torch.ops.pointnet2_original.group_backward(grad.unflatten(2, (M, K)), idx, N)),
        "PyTorch": captured(lambda: zeros.scatter_add(2, place, grad)),
    }

    def correct() -> bool:
        expected = zeros.double().scatter_add(2, place, grad.double())
        return all(close(backward(grad_rows, flat, N, True, mode), expected) for mode in (False, True))

    return Case(f"group ({B}, {C}, {N}) -> ({M}, {K}), backward", contenders, correct)


def close(actual: Tensor, expected: Tensor) -> bool:
    """To float32's rounding, measured as a whole."""
    difference = (actual.double() - expected.double()).norm() / expected.double().norm()
    return bool(difference < 1e-5)


def weights_of(unknown: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    distance, idx = ops.three_nn(unknown, known)
    weight = 1 / (distance + 1e-8)
    return idx, weight / weight.sum(2, keepdim=True)


def interpolation(features: Tensor, unknown: Tensor, known: Tensor) -> Case:
    """features [B, C, M] at known [B, M, 3], interpolated at unknown [B, N, 3]."""
    B, C, M = features.shape
    idx, weight = weights_of(unknown, known)
    rows, half_rows = channels_last(features), channels_last(features.bfloat16())
    contenders = {
        "ours": captured(lambda: ops.three_interpolate(rows, idx, weight)),
        "ours, channels first": captured(lambda: ops.three_interpolate(features, idx, weight)),
        "ours, bfloat16": captured(lambda: ops.three_interpolate(half_rows, idx, weight)),
        "original": captured(lambda: torch.ops.pointnet2_original.interpolate(features, idx, weight)),
        "PyTorch": captured(lambda: reference.three_interpolate(features, idx, weight)),
    }

    def correct() -> bool:
        expected = reference.three_interpolate(features.double(), idx, weight)
        return close(ops.three_interpolate(rows, idx, weight), expected)

    return Case(f"interpolate ({B}, {C}, {M}) -> {idx.shape[1]}, forward", contenders, correct)


def interpolation_backward(features: Tensor, unknown: Tensor, known: Tensor) -> Case:
    """Shapes as in `interpolation`; with atomics, and deterministic."""
    B, C, M = features.shape
    idx, weight = weights_of(unknown, known)
    grad = ops.three_interpolate(features, idx, weight)  # [B, C, N]
    grad_rows, half_grad = channels_last(grad), channels_last(grad.bfloat16())
    backward = torch.ops.pointnet2_ops.three_interpolate_backward
    place = idx.flatten(1).long()[:, None].expand(-1, C, -1)

    def scattered(grad: Tensor, weight: Tensor) -> Tensor:
        """The gradient in plain PyTorch, as its autograd computes it."""
        terms = (grad[..., None] * weight[:, None]).flatten(2)  # [B, C, 3 N]
        return torch.zeros(B, C, M, dtype=grad.dtype, device=grad.device).scatter_add(2, place, terms)

    contenders = {
        "ours": captured(partial(backward, grad_rows, idx, weight, M, True, False)),
        "ours, deterministic": captured(partial(backward, grad_rows, idx, weight, M, True, True)),
        "ours, channels first": captured(partial(backward, grad, idx, weight, M, False, False)),
        "ours, bfloat16": captured(partial(backward, half_grad, idx, weight, M, True, False)),
        "original": captured(lambda: torch.ops.pointnet2_original.interpolate_backward(grad, idx, weight, M)),
        "PyTorch": captured(lambda: scattered(grad, weight)),
    }

    def correct() -> bool:
        expected = scattered(grad.double(), weight.double())
        return all(close(backward(grad_rows, idx, weight, M, True, mode), expected) for mode in (False, True))

    return Case(f"interpolate ({B}, {C}, {M}) -> {idx.shape[1]}, backward", contenders, correct)


def cases(device: torch.device, tiny: bool = False) -> list[tuple[str, Callable[[], Case]]]:
    """Name and maker of each, the most wanted first; a maker only takes memory when called."""
    rng = np.random.default_rng([8192])
    many = chunks(2 if tiny else 132, 512 if tiny else 8192, rng).to(device)

    def levels(B: int) -> list[Tensor]:
        return hierarchy(many[:B].contiguous())

    def group(make: Callable[[Tensor, Tensor], Case], B: int) -> Case:
        _, below, above, *_ = levels(B)
        return make(features_for(len(below), 64, below.shape[1], device), ops.ball_query(0.2, 32, below, above))

    def interpolate(make: Callable[[Tensor, Tensor, Tensor], Case], B: int) -> Case:
        below, above, *_ = levels(B)
        return make(features_for(len(below), 128, above.shape[1], device), below, above)

    def scan(N: int, npoint: int) -> Case:
        N, npoint = (300, 20) if tiny else (N, npoint)
        return sampling(torch.from_numpy(room(N, (8.0, 6.0, 2.6), rng))[None].to(device), npoint)

    makers: list[tuple[str, Callable[[], Case]]] = []
    for B in (16, 64):
        makers += [
            (f"FPS, B = {B}", lambda B=B: sampling(many[:B].contiguous(), 20 if tiny else 1024, (1.0, 0.45))),
            (f"ball query, B = {B}", lambda B=B: ball_query(levels(B))),
            (f"3-NN, B = {B}", lambda B=B: three_nn(levels(B))),
            (f"group, B = {B}", partial(group, grouping, B)),
            (f"group backward, B = {B}", partial(group, grouping_backward, B)),
            (f"interpolate, B = {B}", partial(interpolate, interpolation, B)),
            (f"interpolate backward, B = {B}", partial(interpolate, interpolation_backward, B)),
        ]
    for B in (1, 132):
        makers.append((f"FPS, B = {B}", lambda B=B: sampling(many[:B].contiguous(), 20 if tiny else 1024, (1.0, 0.45))))
    makers.append(("FPS of SA2", lambda: sampling(levels(16)[1], 20 if tiny else 256)))
    makers.append(("FPS of a scan of 40,684 points", lambda: scan(40_684, 4096)))
    makers.append(("FPS of a scan of 200,000 points", lambda: scan(200_000, 16_384)))
    return makers

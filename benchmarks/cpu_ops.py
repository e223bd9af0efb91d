"""The operators of pointnet2_ops and of the packages that offer the like, one dictionary of contenders a case.

Each contender is a call without arguments that does all of the work, trees included, for the whole batch on
torch.get_num_threads() threads. "*" after a name: its result is not the same function (the note says how it differs).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from pointnet2_ops import ops, reference
from torch import Tensor

from benchmarks.clouds import chunks, room

Contenders = dict[str, Callable[[], object]]


@dataclass
class Case:
    name: str
    contenders: Contenders
    note: str = ""


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def per_cloud(function: Callable[[np.ndarray], object], clouds: Tensor) -> Callable[[], object]:
    """`function` on every cloud, clouds spread over the threads: for packages that take one cloud at a time."""
    arrays = list(clouds.numpy())
    pool = ThreadPoolExecutor(torch.get_num_threads())
    return lambda: list(pool.map(function, arrays))


def sampling(name: str, xyz: Tensor, npoint: int, heights: tuple[int, ...], slow: bool = True) -> Case:
    """heights: tree heights for fpsample's bucket variants; slow: also those that look at every point."""
    contenders: Contenders = {"pointnet2_ops": lambda: ops.furthest_point_sample(xyz, npoint)}
    if installed("fpsample"):
        import fpsample

        for h in heights:
            contenders[f"fpsample kdline h={h}"] = per_cloud(
                lambda cloud, h=h: fpsample.bucket_fps_kdline_sampling(cloud, npoint, h=h, start_idx=0), xyz
            )
        kdtree = lambda cloud: fpsample.bucket_fps_kdtree_sampling(cloud, npoint, start_idx=0)  # noqa: E731
        contenders["fpsample kdtree"] = per_cloud(kdtree, xyz)
    if installed("torch_fps") and slow:
        import torch_fps

        every = torch.ones(xyz.shape[:2], dtype=torch.bool)
        contenders["torch-fps"] = lambda: torch_fps.farthest_point_sampling(xyz, every, npoint, random_start=False)
    if installed("torch_cluster") and slow:
        import torch_cluster

        flat, batch = xyz.flatten(0, 1), torch.arange(len(xyz)).repeat_interleave(xyz.shape[1])
        share = npoint / xyz.shape[1]
        contenders["torch_cluster"] = lambda: torch_cluster.fps(flat, batch, ratio=share, random_start=False)
    if slow:
        contenders["PyTorch"] = lambda: reference.furthest_point_sample(xyz, npoint)
    return Case(name, contenders)


def ball_query(name: str, xyz: Tensor, new_xyz: Tensor, radius: float, nsample: int, slow: bool = True) -> Case:
    contenders: Contenders = {"pointnet2_ops": lambda: ops.ball_query(radius, nsample, xyz, new_xyz)}
    threads = torch.get_num_threads()
    pairs = list(zip(xyz.numpy(), new_xyz.numpy(), strict=True))

    def scipy() -> None:
        from scipy.spatial import cKDTree

        for points, centres in pairs:
            rows = cKDTree(points).query_ball_point(centres, radius, workers=threads, return_sorted=True)
            for row in rows:
                row[nsample:] = []

    contenders["scipy"] = scipy
    if installed("pykdtree"):
        from pykdtree.kdtree import KDTree

        contenders["pykdtree*"] = lambda: [
            KDTree(points).query(centres, k=nsample, distance_upper_bound=radius) for points, centres in pairs
        ]
    if installed("torch_cluster"):
        import torch_cluster

        def flat(x: Tensor) -> tuple[Tensor, Tensor]:
            return x.flatten(0, 1), torch.arange(len(x)).repeat_interleave(x.shape[1])

        (a, batch_a), (b, batch_b) = flat(xyz), flat(new_xyz)
        contenders["torch_cluster*"] = lambda: torch_cluster.radius(
            a, b, radius, batch_a, batch_b, max_num_neighbors=nsample, num_workers=threads
        )
    if slow:
        contenders["PyTorch"] = lambda: reference.ball_query(radius, nsample, xyz, new_xyz)
    return Case(name, contenders, "pykdtree: the nearest nsample; torch_cluster: any nsample")


def three_nn(name: str, unknown: Tensor, known: Tensor, slow: bool = True) -> Case:
    from scipy.spatial import cKDTree

    contenders: Contenders = {"pointnet2_ops": lambda: ops.three_nn(unknown, known)}
    pairs = list(zip(unknown.numpy(), known.numpy(), strict=True))
    threads = torch.get_num_threads()
    contenders["scipy"] = lambda: [cKDTree(known).query(unknown, k=3, workers=threads) for unknown, known in pairs]
    if installed("pykdtree"):
        from pykdtree.kdtree import KDTree

        contenders["pykdtree"] = lambda: [KDTree(known).query(unknown, k=3) for unknown, known in pairs]
    if slow:
        contenders["PyTorch"] = lambda: reference.three_nn(unknown, known)
    return Case(name, contenders, "ties in any order in scipy and pykdtree")


def backward(function: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    """The backward pass alone, with a gradient of the output's own memory format."""
    x = x.detach().requires_grad_()
    output = function(x)
    grad = torch.ones_like(output)
    return lambda: torch.autograd.grad(output, x, grad, retain_graph=True)


def feature_cases(name: str, functions: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]]) -> list[Case]:
    """Forward and backward of functions of one tensor; inputs differ in memory format."""
    forward = {label: (lambda f=f, x=x: f(x)) for label, (f, x) in functions.items()}
    gradients = {label: backward(f, x) for label, (f, x) in functions.items()}
    return [Case(f"{name}, forward", forward), Case(f"{name}, backward", gradients)]


def grouping(name: str, rows: Tensor, idx: Tensor) -> list[Case]:
    """rows [B, N, C], idx [B, M, K]"""
    B, N, C = rows.shape
    columns = rows.transpose(1, 2).contiguous()
    flat = (idx.long() + N * torch.arange(B)[:, None, None]).flatten()
    spread = idx.long().flatten(1)[:, None].expand(B, C, -1)
    group = lambda x: ops.grouping_operation(x, idx)  # noqa: E731
    return feature_cases(
        name,
        {
            "pointnet2_ops": (group, rows.transpose(1, 2)),
            "pointnet2_ops channels first": (group, columns),
            "index_select": (lambda x: x.flatten(0, 1).index_select(0, flat), rows),
            "torch.gather channels first": (lambda x: x.gather(2, spread), columns),
        },
    )


def interpolation(name: str, rows: Tensor, idx: Tensor, weight: Tensor) -> list[Case]:
    """rows [B, M, C], idx and weight [B, N, 3]"""
    B, M, _ = rows.shape
    flat = (idx.long() + M * torch.arange(B)[:, None, None]).flatten(0, 1)
    weights = weight.flatten(0, 1)
    interpolate = lambda x: ops.three_interpolate(x, idx, weight)  # noqa: E731
    bag = torch.nn.functional.embedding_bag
    return feature_cases(
        name,
        {
            "pointnet2_ops": (interpolate, rows.transpose(1, 2)),
            "pointnet2_ops channels first": (interpolate, rows.transpose(1, 2).contiguous()),
            "embedding_bag": (lambda x: bag(flat, x.flatten(0, 1), per_sample_weights=weights, mode="sum"), rows),
            "PyTorch": (lambda x: reference.three_interpolate(x, idx, weight), rows.transpose(1, 2).contiguous()),
        },
    )


def cases(batch: int = 8, points: int = 8192, large: int = 200_000) -> list[Case]:
    """A PointNet++ level on chunks of `points` points, and one cloud of `large` points."""
    rng = np.random.default_rng([batch, points])
    xyz = chunks(batch, points, rng)
    levels = ops.nested_furthest_point_sample(xyz, [points // 8, points // 32])
    rows = torch.arange(batch)[:, None]
    centres = xyz[rows, levels[0].long()].contiguous()
    coarse = centres[rows, levels[1].long()].contiguous()
    cloud = torch.from_numpy(room(large, (8.0, 6.0, 2.6), rng))[None]
    M, m, few, many = centres.shape[1], coarse.shape[1], large // 64, large * 16384 // 200_000
    spread = cloud[:, :: max(1, large // few)][:, :few].contiguous()
    distance, idx = ops.three_nn(xyz, centres)
    weight = 1 / (distance + 1e-8)
    weight = weight / weight.sum(2, keepdim=True)
    features = torch.from_numpy(rng.normal(size=(batch, M, 128)).astype(np.float32))
    groups = ops.ball_query(0.2, 32, centres, coarse)
    return [
        sampling(f"FPS {batch} x {points} -> {M}", xyz, M, (3, 5, 7)),
        sampling(f"FPS {batch} x {M} -> {m}", centres, m, (3, 5)),
        sampling(f"FPS 1 x {large} -> {many}", cloud, many, (7, 9), slow=False),
        ball_query(f"ball query {batch} x {points}, {M} centres, r 0.1, k 32", xyz, centres, 0.1, 32),
        ball_query(f"ball query 1 x {large}, {few} centres, r 0.1, k 32", cloud, spread, 0.1, 32, slow=False),
        three_nn(f"3-NN {batch} x {points} in {M}", xyz, centres),
        three_nn(f"3-NN 1 x {large} in {few}", cloud, spread, slow=False),
        *grouping(f"group ({batch}, 64, {M}) -> ({batch}, 64, {m}, 32)", features[..., :64].contiguous(), groups),
        *interpolation(f"interpolate ({batch}, 128, {M}) -> ({batch}, 128, {points})", features, idx, weight),
    ]

"""The geometry kernels broken on purpose: each mistake must be found by the emulator or by comparing results.

What is left out here is what the kernels' exactness and order of memory accesses rest on.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from clouds import lattice, room
from cuda_emulator import EmulatedError, Emulator, build_broken, build_runtime, find_compiler
from pointnet2_ops import reference

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler to build the emulator with")

# What is forgotten: header, text, replacement.
MUTANTS = {
    "nothing": ("fps_round.cuh", "index < other.index", "index < other.index"),
    "runner-ups": ("fps_round.cuh", "other.runner_up >= own.distance ||", ""),
    "picks that lie nearer": (
        "fps_round.cuh",
        "|| squared_distance(own.point, other.point) < own.distance",
        "",
    ),
    "the lowest index": ("fps_round.cuh", "index < other.index", "index > other.index"),
    "a candidate that shrinks": ("fps_register.cuh", "if (shrinks || picked == 1)", "if (picked == 1)"),
    "the barrier before ranking": ("fps_register.cuh", "__syncthreads();\n    round.rank();", "round.rank();"),
    "the barrier after updating": (
        "fps_bucket.cuh",
        "__syncthreads();\n    // 3.",
        "// 3.",
    ),
    "other points of a bucket": ("fps_register.cuh", "second = fmaxf(second, fminf(first, distance_[p]));", ""),
    "other buckets of a warp": (
        "fps_bucket.cuh",
        "state.index == own.index ? state.runner_up : state.distance",
        "state.runner_up",
    ),
    "ties at the bound": ("three_nn.cuh", "lane != next && bound <= worst", "lane != next && bound < worst"),
    "__syncwarp before reading the bitmask": (
        "ball_query.cuh",
        "__syncwarp();\n    int hits = 0",
        "int hits = 0",
    ),
}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build_runtime(tmp_path_factory.mktemp("runtime"))


def kernels_are_right(emulator: Emulator) -> bool:
    """By their results; an EmulatedError where the emulator finds the mistake."""
    emulator.schedule(1, 30)
    for xyz, npoint in ((lattice(1, 300, span=5), 30), (room(1, 300), 40), (room(16, 128, seed=5), 40)):
        expected = reference.furthest_point_sample(xyz, npoint)
        for kernel in ("rounds", "buckets"):
            if not torch.equal(emulator.furthest_point_sample(xyz, npoint, kernel), expected):
                return False
    xyz, centres = lattice(1, 200, span=3), lattice(1, 20, span=3, seed=1)
    ball = emulator.ball_query(3 / 64, 6, xyz, centres, "ordered")
    if not torch.equal(ball[0], reference.ball_query(3 / 64, 6, xyz, centres)):
        return False
    many = lattice(3, 260, span=2, seed=2)
    return all(
        torch.equal(emulator.three_nn(unknown, known, "ordered")[1], reference.three_nn(unknown, known)[1])
        for unknown, known in ((many, many[:, ::2].contiguous()), (centres, xyz))
    )


@pytest.mark.parametrize("forgotten", MUTANTS)
def test_mistakes_are_found(tmp_path: Path, runtime: list[Path], forgotten: str) -> None:
    emulator = build_broken(tmp_path, *MUTANTS[forgotten], runtime)
    try:
        right = kernels_are_right(emulator)
    except EmulatedError:
        right = False
    assert right == (forgotten == "nothing")

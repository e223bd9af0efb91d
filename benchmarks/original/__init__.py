"""The original package's algorithms as CUDA operators `torch.ops.pointnet2_original.*`, to measure against."""

from __future__ import annotations

import ctypes
import re
import shutil
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "benchmarks" / "original" / "original.cu"
LIBRARY = "pointnet2_original.so"
_stand_ins: list[torch.library.Library] = []


def compile_command(
    library: Path, architecture: str, nvcc: str | None = None, torch_cuda: str | None = torch.version.cuda
) -> list[str]:
    """The nvcc call that makes `library`; architecture as in sm_90. FMA contraction stays on, as it was there."""
    nvcc = nvcc or shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    home = Path(torch.__file__).parent
    return [
        nvcc,
        *("-std=c++20", "-O3", f"-arch={architecture}", "-shared", "--cudart", "static"),
        *("-Xcompiler=-fPIC,-fvisibility=hidden", "-DUSE_CUDA", "-DTORCH_TARGET_VERSION=0x020a000000000000"),
        *(f"-I{ROOT / 'cuda_ops' / 'csrc'}", "-isystem", str(home / "include")),
        *(str(SOURCE), "-o", str(library)),
        *(f"-L{home / 'lib'}", "-ltorch_cpu", *(["-ltorch_cuda"] if torch_cuda else [])),
    ]


def load(library: Path) -> None:
    """Registers the operators of a library made by `compile_command`."""
    # Made where PyTorch has no CUDA, it does not name libtorch_cuda.
    ctypes.CDLL(str(Path(torch.__file__).with_name("lib") / "libtorch_cuda.so"), mode=ctypes.RTLD_GLOBAL)
    torch.ops.load_library(library)
    register_fakes()


def register_fakes() -> None:
    """What torch.compile has to know of the operators: the shapes of their results."""
    ints = {"dtype": torch.int32}
    for name, fake in {
        "furthest_point_sample": lambda xyz, npoint: xyz.new_empty(len(xyz), npoint, **ints),
        "ball_query": lambda xyz, new_xyz, radius, nsample: xyz.new_empty(*new_xyz.shape[:2], nsample, **ints),
        "three_nn": lambda unknown, known: (torch.empty_like(unknown), unknown.new_empty(unknown.shape, **ints)),
        "group": lambda features, idx: features.new_empty(*features.shape[:2], *idx.shape[1:]),
        "group_backward": lambda grad, idx, points: grad.new_empty(*grad.shape[:2], points),
        "interpolate": lambda features, idx, weight: features.new_empty(*features.shape[:2], idx.shape[1]),
        "interpolate_backward": lambda grad, idx, weight, points: grad.new_empty(*grad.shape[:2], points),
    }.items():
        torch.library.register_fake(f"pointnet2_original::{name}", fake)


def load_stand_ins() -> None:
    """Registers operators of the same names and arguments for the CPU, by our reference: to rehearse a benchmark."""
    from pointnet2_ops import reference

    library = torch.library.Library("pointnet2_original", "DEF")
    for schema in re.findall(r'm\.def\("([^"]+)"\);', SOURCE.read_text()):
        library.define(schema)

    def backward(forward, shape, grad):
        features = torch.zeros(shape, requires_grad=True)
        with torch.enable_grad():
            return torch.autograd.grad(forward(features), features, grad)[0]

    def three_nn(unknown, known):
        distance, idx = reference.three_nn(unknown, known)
        return distance.square(), idx

    def group_backward(grad, idx, points):
        shape = (*grad.shape[:2], points)
        return backward(lambda x: reference.grouping_operation(x, idx), shape, grad)

    def interpolate_backward(grad, idx, weight, points):
        shape = (*grad.shape[:2], points)
        return backward(lambda x: reference.three_interpolate(x, idx, weight), shape, grad)

    for name, function in {
        "furthest_point_sample": reference.furthest_point_sample,
        "ball_query": lambda xyz, new_xyz, radius, nsample: reference.ball_query(radius, nsample, xyz, new_xyz),
        "three_nn": three_nn,
        "group": reference.grouping_operation,
        "group_backward": group_backward,
        "interpolate": reference.three_interpolate,
        "interpolate_backward": interpolate_backward,
    }.items():
        library.impl(name, function, "CPU")
    _stand_ins.append(library)  # they live as long as this object
    register_fakes()

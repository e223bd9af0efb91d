"""The original package's algorithms as CUDA operators `torch.ops.pointnet2_original.*`, to measure against."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]


def compile_command(library: Path, architecture: str) -> list[str]:
    """The nvcc call that makes `library`; architecture as in sm_90. FMA contraction stays on, as it was there."""
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    home = Path(torch.__file__).parent
    return [
        nvcc,
        *("-std=c++20", "-O3", f"-arch={architecture}", "-shared", "--cudart", "static"),
        *("-Xcompiler=-fPIC,-fvisibility=hidden", "-DUSE_CUDA", "-DTORCH_TARGET_VERSION=0x020a000000000000"),
        *(f"-I{ROOT / 'cuda_ops' / 'csrc'}", "-isystem", str(home / "include")),
        str(ROOT / "benchmarks" / "original" / "original.cu"),
        *("-o", str(library), f"-L{home / 'lib'}", "-ltorch_cpu"),
    ]


def load(folder: Path) -> None:
    """Compiles the operators for the current device into `folder` and registers them."""
    major, minor = torch.cuda.get_device_capability()
    library = folder / "pointnet2_original.so"
    subprocess.run(compile_command(library, f"sm_{major}{minor}"), check=True)
    torch.ops.load_library(library)

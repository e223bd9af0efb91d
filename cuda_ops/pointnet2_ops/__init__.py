"""Point cloud operators for PyTorch on CPU and CUDA, with the API of the original pointnet2_ops.

`pointnet2_utils` and `pointnet2_modules` hold the original names, `ops` the operators, `reference` their definition in
plain PyTorch, `rows` and `latent` what training on the CPU needs. `CUDA_LIBRARY` says whether CUDA's are loaded.
"""

from __future__ import annotations

import ctypes
import re
import warnings
from pathlib import Path

import torch

if tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2]) < (2, 10):
    raise ImportError(f"pointnet2_ops needs torch >= 2.10, found {torch.__version__}: pip install -U 'torch>=2.10'")


def _load(name: str) -> bool:
    """Loads the compiled library `name` that lies next to this file; False if there is none."""
    path = Path(__file__).with_name(f"{name}.abi3.so")
    if not path.exists():
        return False
    torch.ops.load_library(path)
    return True


def _load_cuda() -> bool:
    """Loads the CUDA kernels where torch has CUDA; if that fails, the CPU's stay usable and a warning says why."""
    if torch.version.cuda is None:
        return False
    try:
        # Built where torch has no CUDA, the library does not name libtorch_cuda: its symbols must be there already.
        ctypes.CDLL(str(Path(torch.__file__).with_name("lib") / "libtorch_cuda.so"), mode=ctypes.RTLD_GLOBAL)
        return _load("_cuda")
    except OSError as error:
        warnings.warn(f"pointnet2_ops works on the CPU only: its CUDA library cannot be loaded: {error}", stacklevel=3)
        return False


if not _load("_cpu"):
    raise ImportError(
        f"pointnet2_ops is not built: {Path(__file__).with_name('_cpu.abi3.so')} is missing; "
        "run `pip install --no-build-isolation .` (or `-e .`) in the repository"
    )
CUDA_LIBRARY: bool = _load_cuda()

from pointnet2_ops import latent, ops, pointnet2_modules, pointnet2_utils, reference, rows  # noqa: E402

__all__ = ["CUDA_LIBRARY", "latent", "ops", "pointnet2_modules", "pointnet2_utils", "reference", "rows"]

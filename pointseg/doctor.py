"""`pointseg doctor`: what is installed, what it can do here, what to mend."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess

import torch


def examine() -> str:
    """One line per fact; lines that need attention begin with "!"."""
    return "\n".join(
        [*_versions(), *_operators(), *_cuda(), f"threads           {torch.get_num_threads()} of {os.cpu_count()}"]
    )


def _versions() -> list[str]:
    lines = [f"python            {platform.python_version()} on {platform.platform(terse=True)}"]
    for package in ("pointseg", "torch", "numpy", "scipy", "h5py", "tensorboard", "tyro", "msgspec", "plyfile"):
        try:
            lines.append(f"{package:<17} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"! {package:<15} missing: install the locked requirements with `make env`")
    return lines


def _operators() -> list[str]:
    """Loads the compiled operators and runs one."""
    try:
        import pointnet2_ops

        picked = pointnet2_ops.ops.furthest_point_sample(torch.tensor([[[0.0, 0, 0], [1, 0, 0], [3, 0, 0]]]), 2)
    except (ImportError, OSError, RuntimeError) as error:
        return [f"! pointnet2_ops   cannot be used: {error}; build it with `make env`"]
    if picked.tolist() != [[0, 2]]:
        return [f"! pointnet2_ops   wrong answer: expected [[0, 2]], got {picked.tolist()}"]
    lines = ["pointnet2_ops     CPU operators work"]
    if pointnet2_ops.CUDA_LIBRARY:
        lines.append("pointnet2_ops     CUDA operators are loaded")
    elif torch.cuda.is_available():
        lines.append(
            "! pointnet2_ops   has no CUDA operators: POINTNET2_OPS_CUDA=1 pip install --no-build-isolation -e ."
        )
    return lines


def _cuda() -> list[str]:
    compiler = shutil.which("nvcc")
    lines = [f"nvcc              {_nvcc_version(compiler) if compiler else 'not found'}"]
    if torch.version.cuda is None:
        return [*lines, "CUDA              this PyTorch is a CPU build"]
    if not torch.cuda.is_available():
        return [*lines, f"! CUDA            PyTorch is built for CUDA {torch.version.cuda} but finds no GPU or driver"]
    for number in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(number)
        lines.append(f"GPU {number}             {torch.cuda.get_device_name(number)}, sm_{major}{minor}")
    return lines


def _nvcc_version(compiler: str) -> str:
    answer = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    release = [line for line in answer.splitlines() if "release" in line]
    return f"{compiler}: {release[0].strip() if release else 'does not answer'}"

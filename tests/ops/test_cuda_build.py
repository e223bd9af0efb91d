"""Every CUDA source compiles and links, by setup.py itself and the real nvcc, against the installed torch (CPU or not).

One architecture for speed; what a release is built for is tested in test_build.py. Nothing is run: that takes a GPU.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "cuda_ops" / "csrc" / "cuda").glob("*.cu"))
OPS = sorted(source.stem for source in SOURCES)
NVCC = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")

pytestmark = pytest.mark.skipif(NVCC is None, reason="nvcc is not installed: the CUDA sources are not compiled")

# Stands for g++ in the build of the CPU library, which is not the subject here: writes the files that are expected.
NO_COMPILER = """#!/bin/sh
while [ $# -gt 0 ]; do
  case "$1" in -o|-MF) : > "$2"; shift;; esac
  shift
done
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The linked _cuda library, built for sm_90."""
    folder = tmp_path_factory.mktemp("cuda_build")
    compiler = folder / "g++"
    compiler.write_text(NO_COMPILER)
    compiler.chmod(0o755)
    environment = {
        **os.environ,
        "CXX": str(compiler),
        "CUDA_HOME": str(Path(NVCC).resolve().parents[1]),
        "POINTNET2_OPS_CUDA": "1",
        "TORCH_CUDA_ARCH_LIST": "9.0",
    }
    command = ["egg_info", "--egg-base", str(folder), "build", "--build-base", str(folder / "build")]
    result = subprocess.run(
        [sys.executable, "setup.py", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    assert not re.search(r"\.(cuh?|h)\b.*warning", result.stdout), result.stdout[-4000:]
    (built,) = (folder / "build").rglob("pointnet2_ops/_cuda.abi3.so")
    return built


def undefined_symbols(library: Path) -> list[str]:
    command = ["nm", "-D", "--undefined-only", str(library)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split()[-1] for line in output.splitlines()]


def test_every_source_is_in_the_library(library: Path) -> None:
    strings = library.read_bytes()
    for op in OPS:
        assert op.encode() + b"\0" in strings, f"{op} is not registered"


def test_only_the_stable_abi_is_used(library: Path) -> None:
    """C functions of the stable ABI, libc and libstdc++; the CUDA runtime is linked statically."""
    symbols = [name for name in undefined_symbols(library) if "@" not in name]
    foreign = [name for name in symbols if not name.startswith(("_ITM_", "__gmon_start__"))]
    assert "aoti_torch_get_current_cuda_stream" in foreign
    assert [name for name in foreign if not re.fullmatch(r"(aoti_)?torch_[a-z0-9_]+", name)] == []


def test_needs_no_cuda_libraries(library: Path) -> None:
    header = subprocess.run(["readelf", "-d", str(library)], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"NEEDED.*\[(\w+)", header))
    assert not {name for name in needed if "cuda" in name} - {"libtorch_cuda"}


def test_kernels_do_not_know_torch() -> None:
    for header in sorted((ROOT / "cuda_ops" / "csrc" / "cuda").glob("*.cuh")):
        assert not re.search(r"#include.*(torch|tensors\.h|glue\.h)|torch::", header.read_text()), header.name


def test_baseline_of_the_benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.original import compile_command

    library = tmp_path / "original.so"
    result = subprocess.run(compile_command(library, "sm_90"), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert b"pointnet2_original" in library.read_bytes()

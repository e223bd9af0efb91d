"""setup.py: what it decides, what it says, what it makes; and what the built library asks of PyTorch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pointnet2_ops
import pytest

ROOT = Path(__file__).resolve().parents[2]
CUDA_SOURCES = sorted((ROOT / "cuda_ops" / "csrc" / "cuda").glob("*.cu"))

# Stands for g++ and nvcc: notes its arguments and writes empty files where output is expected.
COMPILER = """#!/bin/sh
echo "$0 $@" >> "$LOG"
if [ "$1" = --list-gpu-arch ]; then printf 'compute_75\\ncompute_80\\ncompute_90\\ncompute_100\\n'; exit 0; fi
while [ $# -gt 0 ]; do
  case "$1" in -o|-MF) : > "$2"; shift;; esac
  shift
done
"""


class Builder:
    """Runs setup.py with stand-ins for torch and the compilers, all output under `folder`."""

    def __init__(self, folder: Path):
        self.folder, self.log = folder, folder / "log"
        self.log.touch()
        for name in ("g++", "nvcc"):
            program = folder / "toolkit" / "bin" / name
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text(COMPILER)
            program.chmod(0o755)
        self.torch("2.10.0+cpu")

    def torch(self, version: str, cuda: str | None = None) -> None:
        package = self.folder / "site" / "torch"
        package.mkdir(parents=True, exist_ok=True)
        text = f"__version__ = {version!r}\nclass version: cuda = {cuda!r}\n"
        (package / "__init__.py").write_text(text if version else "raise ImportError('no torch here')\n")

    def run(self, *command: str, nvcc: bool = True, **environment: str) -> subprocess.CompletedProcess:
        bare = {k: v for k, v in os.environ.items() if k not in ("TORCH_CUDA_ARCH_LIST", "POINTNET2_OPS_CUDA")}
        defaults = {
            "PYTHONPATH": str(self.folder / "site"),
            "CXX": str(self.folder / "toolkit" / "bin" / "g++"),
            "CUDA_HOME": str(self.folder / "toolkit") if nvcc else "/nonexistent",
            "LOG": str(self.log),
        }
        build = ["build", "--build-base", str(self.folder / "build")]
        return subprocess.run(
            [sys.executable, "setup.py", "egg_info", "--egg-base", str(self.folder), *build, *command],
            cwd=ROOT,
            env={**bare, **defaults, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self, program: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.split()[0].endswith(f"/{program}")]


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path)


def last_line(result: subprocess.CompletedProcess) -> str:
    return result.stderr.strip().splitlines()[-1]


def test_flags_of_the_cpu_library(builder: Builder):
    result = builder.run()
    assert result.returncode == 0, result.stderr
    assert "CPU only, because torch 2.10.0+cpu was built without CUDA" in result.stderr
    assert not builder.calls("nvcc")
    compiled = [line for line in builder.calls("g++") if " -c " in line]
    sources = {*(ROOT / "cuda_ops/csrc").glob("*.cpp"), *(ROOT / "cuda_ops/csrc/cpu").rglob("*.cpp")}
    assert len(compiled) == len(sources)
    for line in compiled:
        assert "-DTORCH_TARGET_VERSION=0x020a000000000000" in line
        assert "-ffp-contract=off" in line
        assert not re.search(r"-march|-ffast-math|-Ofast|Python\.h|/include/python", line)


def test_wheel_serves_all_pythons(builder: Builder):
    result = builder.run("bdist_wheel", "--dist-dir", str(builder.folder), "--bdist-dir", str(builder.folder / "wheel"))
    assert result.returncode == 0, result.stderr
    (wheel,) = builder.folder.glob("*.whl")
    assert re.fullmatch(r"pointseg-[\d.]+-cp310-abi3-linux_\w+\.whl", wheel.name)
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"pointnet2_ops/_cpu.abi3.so", "pointnet2_ops/ops.py", "pointnet2_ops/py.typed"} <= names
    assert {"pointseg/cli/commands.py", "pointseg/configs/demo.yaml"} <= names
    data = {*(ROOT / "pointseg").rglob("*.json"), *(ROOT / "pointseg").rglob("*.jinja")}
    assert {str(path.relative_to(ROOT)) for path in data} <= names
    assert not {name for name in names if name.startswith(("tests/", "cuda_ops/", "scripts/"))}


@pytest.mark.skipif(not CUDA_SOURCES, reason="there are no CUDA sources")
class TestCuda:
    def test_auto_builds_for_the_architectures_of_the_toolkit(self, builder: Builder):
        builder.torch("2.12.0", cuda="13.0")
        result = builder.run()
        assert result.returncode == 0, result.stderr
        assert re.search(r"CPU and CUDA, because nvcc is \S+/nvcc and torch has CUDA 13\.0", result.stderr)
        compiled = [line for line in builder.calls("nvcc") if " -c " in line]
        assert len(compiled) == len(CUDA_SOURCES)
        wanted = [f"-gencode=arch=compute_{n},code=sm_{n}" for n in (75, 80, 90, 100)]
        assert re.findall(r"-gencode=\S+", compiled[0]) == [*wanted, "-gencode=arch=compute_100,code=compute_100"]
        assert list((builder.folder / "build").rglob("_cuda.abi3.so"))

    def test_architecture_list_is_respected(self, builder: Builder):
        builder.torch("2.12.0", cuda="13.0")
        builder.run(TORCH_CUDA_ARCH_LIST="8.6;9.0a+PTX")
        flags = re.findall(r"-gencode=\S+", next(line for line in builder.calls("nvcc") if " -c " in line))
        assert flags == [
            "-gencode=arch=compute_86,code=sm_86",
            "-gencode=arch=compute_90a,code=sm_90a",
            "-gencode=arch=compute_90a,code=compute_90a",
        ]
        assert "-DPOINTNET2_ARCHITECTURES=sm_86:sm_90a:compute_90a" in builder.calls("nvcc")[0].split()
        result = builder.run(TORCH_CUDA_ARCH_LIST="Hopper")
        assert result.returncode != 0
        assert "expected entries like 9.0 or 9.0+PTX, got 'Hopper'" in last_line(result)

    def test_auto_without_toolkit_builds_for_the_cpu(self, builder: Builder):
        builder.torch("2.12.0", cuda="13.0")
        result = builder.run(nvcc=False)
        assert result.returncode == 0, result.stderr
        assert "CPU only, because nvcc was not found" in result.stderr

    def test_1_without_toolkit_fails(self, builder: Builder):
        result = builder.run(nvcc=False, POINTNET2_OPS_CUDA="1")
        assert result.returncode != 0
        assert "POINTNET2_OPS_CUDA=1, but nvcc was not found" in last_line(result)
        assert not builder.calls("g++")

    def test_1_builds_without_torch_cuda(self, builder: Builder):
        result = builder.run(POINTNET2_OPS_CUDA="1")
        assert result.returncode == 0, result.stderr
        assert builder.calls("nvcc")

    def test_a_cuda_library_of_an_earlier_build_is_removed(self, builder: Builder):
        assert builder.run(POINTNET2_OPS_CUDA="1").returncode == 0
        assert list((builder.folder / "build").rglob("_cuda.abi3.so"))
        assert builder.run(POINTNET2_OPS_CUDA="0").returncode == 0
        assert not list((builder.folder / "build").glob("lib*/**/_cuda.abi3.so"))

    def test_0_builds_for_the_cpu(self, builder: Builder):
        builder.torch("2.12.0", cuda="13.0")
        result = builder.run(POINTNET2_OPS_CUDA="0")
        assert result.returncode == 0, result.stderr
        assert "CPU only, because POINTNET2_OPS_CUDA=0" in result.stderr
        assert not builder.calls("nvcc")


def test_mistakes_give_one_line(builder: Builder):
    assert "POINTNET2_OPS_CUDA must be auto, 0 or 1, got 'yes'" in last_line(builder.run(POINTNET2_OPS_CUDA="yes"))
    missing = builder.run(CXX="/nonexistent/g++")
    assert missing.returncode != 0
    assert "no C++ compiler found (CXX=/nonexistent/g++): install one (`apt install g++`" in last_line(missing)
    builder.torch("2.9.1")
    assert "building needs PyTorch >= 2.10, found 2.9.1: `pip install" in last_line(builder.run())
    builder.torch("")
    result = builder.run()
    assert result.returncode != 0
    assert "building needs PyTorch >= 2.10, but `import torch` failed (no torch here)" in last_line(result)
    assert "Traceback" not in result.stderr


def test_import_with_an_old_torch(builder: Builder):
    builder.torch("2.9.1")
    path = os.pathsep.join([str(builder.folder / "site"), str(ROOT / "cuda_ops")])
    result = subprocess.run(
        [sys.executable, "-c", "import pointnet2_ops"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ImportError: pointnet2_ops needs torch >= 2.10, found 2.9.1" in last_line(result)


LIBRARIES = sorted(Path(pointnet2_ops.__file__).parent.glob("*.abi3.so"))


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm (binutils) is not installed")
@pytest.mark.parametrize("library", LIBRARIES, ids=[path.name for path in LIBRARIES])
def test_only_the_stable_abi_is_used(library: Path):
    """Other versions of torch and Python can load the library: it needs C functions of the stable ABI and no more."""
    output = subprocess.run(
        ["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True
    ).stdout
    symbols = [line.split()[-1] for line in output.splitlines()]
    # Versioned symbols come from libc, libstdc++, libm, libgcc; weak ones of the linker have no owner.
    foreign = [name for name in symbols if "@" not in name and not name.startswith(("_ITM_", "__gmon_start__"))]
    assert foreign
    assert [name for name in foreign if not re.fullmatch(r"(aoti_)?torch_[a-z0-9_]+", name)] == []
    assert [name for name in symbols if re.match(r"_?Py|_Z\w*(c10|3at\d|torch)", name)] == []
    headers = Path(pytest.importorskip("torch").__file__).parent / "include" / "torch" / "csrc"
    stable = "".join(
        path.read_text()
        for folder in ("stable/c", "inductor/aoti_torch/c", "inductor/aoti_torch/generated")
        for path in sorted((headers / folder).glob("*.h"))
    )
    assert [name for name in foreign if not re.search(rf"\b{name}\b", stable)] == []

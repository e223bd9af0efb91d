"""Every CUDA source compiles and links, by setup.py itself and the real nvcc, against the installed torch (CPU or not).

Two architectures for speed; what a release is built for is tested in test_build.py. Nothing is run: that takes a GPU.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from benchmarks import cuda_resources
from benchmarks.original import LIBRARY, compile_command

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "cuda_ops" / "csrc" / "cuda").glob("*.cu"))
OPS = sorted(source.stem for source in SOURCES)
NVCC = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")

pytestmark = pytest.mark.skipif(NVCC is None, reason="nvcc is not installed: the CUDA sources are not compiled")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The linked _cuda library, built for sm_80 and sm_90, and the compilers' output."""
    library, log = cuda_resources.build(tmp_path_factory.mktemp("cuda_build"), NVCC)
    assert not re.search(r"\.(cuh?|h)\b.*warning", log), log[-4000:]
    return library, log


@pytest.fixture(scope="module")
def library(built: tuple[Path, str]) -> Path:
    return built[0]


def undefined_symbols(library: Path) -> list[str]:
    command = ["nm", "-D", "--undefined-only", str(library)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split()[-1] for line in output.splitlines()]


def test_every_source_is_in_the_library(library: Path) -> None:
    strings = library.read_bytes()
    for op in OPS:
        assert op.encode() + b"\0" in strings, f"{op} is not registered"


def test_the_library_says_what_it_was_compiled_for(library: Path) -> None:
    assert b"\0sm_80:sm_90\0" in library.read_bytes()


def test_only_the_stable_abi_is_used(library: Path) -> None:
    """C functions of the stable ABI, libc and libstdc++; the CUDA runtime is linked statically."""
    symbols = [name for name in undefined_symbols(library) if "@" not in name]
    foreign = [name for name in symbols if not name.startswith(("_ITM_", "__gmon_start__"))]
    assert "aoti_torch_get_current_cuda_stream" in foreign
    assert [name for name in foreign if not re.fullmatch(r"(aoti_)?torch_[a-z0-9_]+", name)] == []


# Of libtorch_cuda; everything else must be in libtorch_cpu.
CUDA_SYMBOLS = {"aoti_torch_get_current_cuda_stream"}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of the benchmarks' baseline."""
    path = tmp_path_factory.mktemp("original") / LIBRARY
    result = subprocess.run(compile_command(path, "sm_90"), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return path


@pytest.mark.parametrize("name", ["library", "original"])
def test_every_symbol_is_in_pytorch(name: str, request: pytest.FixtureRequest) -> None:
    """A library links with symbols left open, and then does not load."""
    torch_cpu = Path(torch.__file__).with_name("lib") / "libtorch_cpu.so"
    command = ["nm", "-D", "--defined-only", str(torch_cpu)]
    exported = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    offered = {line.split()[-1].partition("@")[0] for line in exported.splitlines()}
    path = request.getfixturevalue(name)
    wanted = {symbol for symbol in undefined_symbols(path) if re.match(r"(aoti_)?torch_", symbol)}
    assert len(wanted) > 10
    assert wanted - offered == CUDA_SYMBOLS


def test_baseline_names_libtorch_cuda_where_there_is_one() -> None:
    """Its soname is already loaded when the library is, so that the open symbols are found."""
    assert "-ltorch_cuda" in compile_command(Path("x.so"), "sm_90", torch_cuda="13.0")
    assert "-ltorch_cuda" not in compile_command(Path("x.so"), "sm_90", torch_cuda=None)


def test_needs_no_cuda_libraries(library: Path) -> None:
    header = subprocess.run(["readelf", "-d", str(library)], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"NEEDED.*\[(\w+)", header))
    assert not {name for name in needed if "cuda" in name} - {"libtorch_cuda"}


def test_no_kernel_spills(built: tuple[Path, str]) -> None:
    usages = cuda_resources.parse(built[1])
    assert {usage.architecture for usage in usages} == {"sm_80", "sm_90"}
    assert {op.partition("_")[0] for op in OPS} & {usage.kernel.partition("_")[0] for usage in usages}
    assert [usage for usage in usages if usage.stack or usage.spilled] == []


def test_table_of_registers_in_the_readme(built: tuple[Path, str]) -> None:
    if cuda_resources.toolkit(NVCC) != "13.0":
        pytest.skip("the table is of CUDA 13.0: other compilers allocate other registers")
    assert cuda_resources.table(cuda_resources.parse(built[1])) in cuda_resources.README.read_text(), (
        "run python -m benchmarks.cuda_resources --readme"
    )


def test_no_kernel_is_static() -> None:
    """Inline launchers name kernels; a static one would be another in each translation unit that includes it."""
    for header in sorted((ROOT / "cuda_ops" / "csrc").rglob("*.cuh")):
        assert not re.search(r"static\s+__global__", header.read_text()), header.name


def test_kernels_do_not_know_torch() -> None:
    for header in sorted((ROOT / "cuda_ops" / "csrc" / "cuda").glob("*.cuh")):
        assert not re.search(r"#include.*(torch|tensors\.h|glue\.h)|torch::", header.read_text()), header.name


def test_baseline_of_the_benchmarks(original: Path) -> None:
    assert b"pointnet2_original" in original.read_bytes()

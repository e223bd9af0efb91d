"""What each CUDA kernel takes of a multiprocessor, as the compiler reports it: registers, stack, spills.

    python -m benchmarks.cuda_resources [--readme]     print the table, or put it into cuda_ops/README.md

Compiles for sm_80 and sm_90; needs nvcc and c++filt, no GPU. tests/ops/test_cuda_build.py holds the table in the
README, and that nothing spills.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "cuda_ops" / "README.md"
ARCHITECTURES = ("8.0", "9.0")
HEADER = "| kernel | instances | registers sm_80 | registers sm_90 |\n|---|---|---|---|\n"

# Stands for g++ in the build of the CPU library, which is not the subject here: writes the files that are expected.
NO_COMPILER = """#!/bin/sh
while [ $# -gt 0 ]; do
  case "$1" in -o|-MF) : > "$2"; shift;; esac
  shift
done
"""


def build(folder: Path, nvcc: str) -> tuple[Path, str]:
    """The linked CUDA library, built by setup.py, and what the compilers said."""
    compiler = folder / "g++"
    compiler.write_text(NO_COMPILER)
    compiler.chmod(0o755)
    environment = {
        **os.environ,
        "CXX": str(compiler),
        "CUDA_HOME": str(Path(nvcc).resolve().parents[1]),
        "POINTNET2_OPS_CUDA": "1",
        "TORCH_CUDA_ARCH_LIST": " ".join(ARCHITECTURES),
        "NVCC_APPEND_FLAGS": "-Xptxas -v",
    }
    command = ["egg_info", "--egg-base", str(folder), "build", "--build-base", str(folder / "build")]
    result = subprocess.run(
        [sys.executable, "setup.py", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise RuntimeError(result.stdout[-4000:] + result.stderr[-4000:])
    (library,) = (folder / "build").rglob("pointnet2_ops/_cuda.abi3.so")
    return library, result.stdout


@dataclass(frozen=True)
class Usage:
    kernel: str  # with template arguments
    architecture: str
    registers: int
    stack: int
    spilled: int  # bytes of spill stores and loads


def parse(log: str) -> list[Usage]:
    """From the output of nvcc -Xptxas -v."""
    pattern = re.compile(
        r"Compiling entry function '(\S+)' for '(sm_\d+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads.*?Used (\d+) registers",
        re.DOTALL,
    )
    found = pattern.findall(log)
    symbols = "\n".join(match[0] for match in found)
    names = subprocess.run(["c++filt"], input=symbols, capture_output=True, text=True, check=True).stdout.splitlines()
    return [
        Usage(
            re.search(r"cuda::(\w+_kernel(<.*?>(?=\())?)", name)[1],
            architecture,
            int(registers),
            int(stack),
            int(stores) + int(loads),
        )
        for name, (_, architecture, stack, stores, loads, registers) in zip(names, found, strict=True)
    ]


def table(usages: list[Usage]) -> str:
    """Markdown: a line a kernel, the range of registers over its instances."""
    lines = []
    for kernel in sorted({usage.kernel.partition("<")[0] for usage in usages}):
        own = [usage for usage in usages if usage.kernel.partition("<")[0] == kernel]
        cells = [f"`{kernel}`", str(len({usage.kernel for usage in own}))]
        for architecture in ARCHITECTURES:
            name = f"sm_{architecture.replace('.', '')}"
            registers = [usage.registers for usage in own if usage.architecture == name]
            low, high = min(registers), max(registers)
            cells.append(str(low) if low == high else f"{low}-{high}")
        lines.append(f"| {' | '.join(cells)} |\n")
    return HEADER + "".join(lines)


def toolkit(nvcc: str) -> str:
    """Such as 13.0: other compilers allocate other registers."""
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"release (\d+\.\d+)", version)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readme", action="store_true", help="replace the table in cuda_ops/README.md")
    arguments = parser.parse_args()
    nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if nvcc is None:
        raise SystemExit("cuda_resources: nvcc was not found (PATH, /usr/local/cuda)")
    with tempfile.TemporaryDirectory() as folder:
        lines = table(parse(build(Path(folder), nvcc)[1]))
    if not arguments.readme:
        print(lines, end="")
        return
    text = README.read_text()
    begin = text.index(HEADER)
    end = text.index("\n\n", begin) + 1
    README.write_text(text[:begin] + lines + text[end:])


if __name__ == "__main__":
    main()

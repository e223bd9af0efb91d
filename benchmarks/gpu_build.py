"""Builds pointnet2_ops and the original package's kernels for the card at hand, into WORK/lib.

python -m benchmarks.gpu_build

Sources, PyTorch and card unchanged: the build is used again. If the compilers here fail, the libraries of the kit, made
by another machine's, are taken instead, and the case is still counted as failed.
"""

from __future__ import annotations

import glob
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks import original
from benchmarks.gpu_record import Stage

ROOT = Path(__file__).resolve().parents[1]


def fingerprint(architecture: str) -> str:
    """Of everything a build depends on; the times of files do not count, they change when a tree is copied."""
    digest = hashlib.sha256(f"{torch.__version__} {torch.version.cuda} {architecture} {sys.version}".encode())
    folders = ("cuda_ops/csrc", "cuda_ops/pointnet2_ops", "pointseg", "benchmarks/original")
    paths = [ROOT / "setup.py", *(path for name in folders for path in sorted((ROOT / name).rglob("*.*")))]
    for path in paths:
        if path.suffix not in (".pyc", ".so") and path.is_file():
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def environment(stage: Stage, architecture: str) -> dict[str, str]:
    """Names the architecture of this card whatever TORCH_CUDA_ARCH_LIST was, and finds nvcc outside of PATH."""
    env = dict(os.environ)
    env["POINTNET2_OPS_CUDA"] = "0" if stage.rehearse else "1"
    env["TORCH_CUDA_ARCH_LIST"] = architecture
    if stage.rehearse:
        env["POINTNET2_OPS_CXXFLAGS"] = "-O0"
    if not shutil.which("nvcc"):
        site = Path(torch.__file__).parents[1]
        for folder in [*sorted(glob.glob("/usr/local/cuda*/bin")), *sorted(map(str, site.glob("nvidia/*/bin")))]:
            if (Path(folder) / "nvcc").exists():
                env["CUDA_HOME"] = str(Path(folder).parent)
                env["PATH"] += os.pathsep + folder
                break
    build_site = stage.work / "build_site"
    if int(importlib.metadata.version("setuptools").split(".")[0]) < 77 and build_site.exists():
        env["PYTHONPATH"] = os.pathsep.join([str(build_site), env.get("PYTHONPATH", "")])
    return env


def compile_operators(stage: Stage, env: dict[str, str]) -> None:
    temporary = stage.work / "egg_info"
    temporary.mkdir(parents=True, exist_ok=True)
    folders = ["--build-base", str(stage.work / "objects"), "--build-lib", str(stage.work / "lib")]
    command = [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", str(temporary), "build", *folders]
    subprocess.run(command, cwd=ROOT, env=env, check=True)


def start_original(stage: Stage, env: dict[str, str], architecture: str) -> subprocess.Popen:
    """The compiler at work on the original's kernels, a single process while the operators use the other cores."""
    library = stage.work / "lib" / original.LIBRARY
    library.parent.mkdir(parents=True, exist_ok=True)
    nvcc = shutil.which("nvcc", path=env["PATH"]) or "nvcc"
    return subprocess.Popen(original.compile_command(library, f"sm_{architecture.replace('.', '')}", nvcc), env=env)


def take_the_kits(stage: Stage) -> None:
    for package in ("pointseg", "pointnet2_ops"):
        source = ROOT / ("cuda_ops/pointnet2_ops" if package == "pointnet2_ops" else package)
        shutil.copytree(source, stage.work / "lib" / package, dirs_exist_ok=True)
    for library in (stage.kit / "lib").glob("*.so"):
        folder = stage.work / "lib" / ("" if "original" in library.name else "pointnet2_ops")
        shutil.copy2(library, folder / library.name)


def load(stage: Stage) -> dict:
    """A process of its own loads what was built and reports it."""
    script = "import pointnet2_ops as p; print(p.CUDA_LIBRARY, p.__file__)"
    result = subprocess.run([sys.executable, "-W", "always", "-c", script], capture_output=True, text=True, check=False)
    found = result.stdout.split()
    if result.returncode != 0 or found != [str(not stage.rehearse), str(stage.work / "lib/pointnet2_ops/__init__.py")]:
        raise RuntimeError(f"pointnet2_ops built in {stage.work} does not load: {result.stdout} {result.stderr}")
    return {"loaded": found[1]}


def main() -> None:
    stage = Stage(__doc__, "build.json")
    capability = (0, 0) if stage.rehearse else torch.cuda.get_device_capability()
    architecture = f"{capability[0]}.{capability[1]}"
    env = environment(stage, architecture)
    key_file, key = stage.work / "key", fingerprint(architecture)
    known = key_file.exists() and key_file.read_text() == key

    beside: list[subprocess.Popen] = []

    def build() -> dict:
        if not stage.rehearse:
            subprocess.run(["nvcc", "--version"], env=env, check=True)
            beside.extend([] if known else [start_original(stage, env, architecture)])
        if not known:
            compile_operators(stage, env)
        return {"architecture": architecture, "used_again": known}

    def build_original() -> dict:
        if not known and (not beside or beside[0].wait() != 0):
            raise RuntimeError("nvcc failed, its messages are above")
        return {"used_again": known}

    built = stage.case("build", build)
    if not stage.rehearse:
        built = stage.case("build the original's kernels", build_original) and built
    if not built and stage.kit and (stage.kit / "lib").exists():
        stage.case("libraries of the kit", lambda: take_the_kits(stage))
    loaded = stage.case("load", lambda: load(stage))
    if built and loaded:
        key_file.write_text(key)
    stage.finish()


if __name__ == "__main__":
    main()

"""Builds one distribution with two packages: `pointseg` and `pointnet2_ops` (sources in cuda_ops/).

The compiled operators are plain shared libraries on PyTorch's stable ABI: they use no CPython API, so one build serves
Python >= 3.10 and torch >= 2.10. `_cpu` is always built. `_cuda` is separate and loaded only where torch has CUDA.

Environment: POINTNET2_OPS_CUDA=auto|0|1 (auto: build `_cuda` if nvcc is found and torch was built with CUDA),
TORCH_CUDA_ARCH_LIST such as "8.0;9.0+PTX", CXX, POINTNET2_OPS_CXXFLAGS (appended to the flags of `_cpu`).
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036 - `python setup.py` does not look at requires-python
    raise SystemExit(f"pointseg needs Python >= 3.10, this is {sys.version.split()[0]}: use a newer one")

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
CSRC = ROOT / "cuda_ops" / "csrc"
MINIMUM_TORCH = (2, 10)
STABLE_ABI = "-DTORCH_TARGET_VERSION=0x020a000000000000"  # the stable ABI as of torch 2.10
# No -ffast-math, no contraction to FMA, no -march: indices must be the same on every machine.
CXX_FLAGS = ["-std=c++20", "-O3", "-fPIC", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", STABLE_ABI]
NVCC_FLAGS = ["-std=c++20", "-O3", "--fmad=false", "-Xcompiler=-fPIC,-fvisibility=hidden", "-DUSE_CUDA", STABLE_ABI]
# One binary per major architecture that a toolkit may know; the newest one is embedded as PTX too.
CUDA_ARCHITECTURES = ("7.5", "8.0", "9.0", "10.0", "12.0")


def say(text: str) -> None:
    print(f"pointnet2_ops: {text}", file=sys.stderr, flush=True)


def load_torch():
    try:
        import torch
    except ImportError as error:
        raise SystemExit(
            f"pointnet2_ops: building needs PyTorch >= 2.10, but `import torch` failed ({error}): "
            "`pip install 'torch>=2.10'`, then `pip install --no-build-isolation .`"
        ) from None
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < MINIMUM_TORCH:
        raise SystemExit(
            f"pointnet2_ops: building needs PyTorch >= 2.10, found {torch.__version__}: `pip install -U 'torch>=2.10'`"
        )
    return torch


def find_compiler() -> str:
    wanted = os.environ.get("CXX")
    for name in [wanted] if wanted else ["g++", "c++", "clang++"]:
        if shutil.which(shlex.split(name)[-1]):
            return name
    raise SystemExit(
        f"pointnet2_ops: no C++ compiler found ({'CXX=' + wanted if wanted else 'looked for g++, c++, clang++'}): "
        "install one (`apt install g++`, `conda install gxx_linux-64`) or set CXX to its path"
    )


def find_nvcc() -> str | None:
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    candidates = [f"{home}/bin/nvcc"] if home else ["nvcc", "/usr/local/cuda/bin/nvcc"]
    return next((path for path in map(shutil.which, candidates) if path), None)


def decide_cuda(torch, sources: list[Path]) -> str | None:
    """The nvcc to build `_cuda` with, or None. Prints the decision and its reason."""
    wanted = os.environ.get("POINTNET2_OPS_CUDA", "auto")
    if wanted not in ("auto", "0", "1"):
        raise SystemExit(f"pointnet2_ops: POINTNET2_OPS_CUDA must be auto, 0 or 1, got {wanted!r}")
    if wanted == "0":
        say("CPU only, because POINTNET2_OPS_CUDA=0")
        return None
    nvcc, torch_cuda = find_nvcc(), torch.version.cuda
    missing = "there are no sources in cuda_ops/csrc/cuda" if not sources else None
    missing = "nvcc was not found (looked at CUDA_HOME, PATH, /usr/local/cuda)" if nvcc is None else missing
    if wanted == "1" and missing:
        raise SystemExit(
            f"pointnet2_ops: POINTNET2_OPS_CUDA=1, but {missing}: install the CUDA toolkit or set CUDA_HOME"
        )
    if wanted == "auto" and torch_cuda is None:
        missing = f"torch {torch.__version__} was built without CUDA (POINTNET2_OPS_CUDA=1 builds it all the same)"
    if missing:
        say(f"CPU only, because {missing}")
        return None
    reason = f"torch has CUDA {torch_cuda}" if torch_cuda else "POINTNET2_OPS_CUDA=1 (this torch cannot load it)"
    say(f"CPU and CUDA, because nvcc is {nvcc} and {reason}")
    return nvcc


def architecture_flags(nvcc: str) -> list[str]:
    """nvcc's flags for TORCH_CUDA_ARCH_LIST, or for what this toolkit knows of CUDA_ARCHITECTURES plus newest PTX."""
    listed = os.environ.get("TORCH_CUDA_ARCH_LIST", "").replace(";", " ").split()
    if not listed:
        output = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout
        known = set(output.split())
        listed = [arch for arch in CUDA_ARCHITECTURES if f"compute_{arch.replace('.', '')}" in known]
        listed[-1] += "+PTX"
    codes = []
    for entry in listed:
        match = re.fullmatch(r"(\d+)\.(\d+[af]?)(\+PTX)?", entry)
        if match is None:
            raise SystemExit(
                f"pointnet2_ops: TORCH_CUDA_ARCH_LIST: expected entries like 9.0 or 9.0+PTX, got {entry!r}"
            )
        codes.append(f"sm_{match[1]}{match[2]}")
        if match[3]:
            codes.append(f"compute_{match[1]}{match[2]}")
    say(f"CUDA architectures {' '.join(listed)}")
    flags = [f"-gencode=arch=compute_{code.partition('_')[2]},code={code}" for code in codes]
    return [*flags, f"-DPOINTNET2_ARCHITECTURES={':'.join(codes)}"]  # for cuda/architectures.cu


def run_ninja(folder: Path, rule: str, link: str, sources: list[Path], library: Path) -> None:
    """Compiles what changed (headers included) and links `library`."""
    try:
        import ninja
    except ImportError:
        raise SystemExit("pointnet2_ops: building needs ninja: `pip install ninja`") from None

    def escaped(path: Path) -> str:
        return str(path).replace("$", "$$").replace(" ", "$ ").replace(":", "$:")

    objects = [folder / "objects" / source.relative_to(CSRC).with_suffix(".o") for source in sources]
    lines = [
        "ninja_required_version = 1.5",
        f"rule compile\n  command = {rule}\n  depfile = $out.d\n  deps = gcc\n  description = compile $in",
        f"rule link\n  command = {link}\n  description = link $out",
        *(f"build {escaped(out)}: compile {escaped(source)}" for out, source in zip(objects, sources, strict=True)),
        f"build {escaped(library)}: link {' '.join(map(escaped, objects))}",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    library.parent.mkdir(parents=True, exist_ok=True)
    (folder / "build.ninja").write_text("\n".join(lines) + "\n")
    program = Path(ninja.BIN_DIR) / "ninja"
    if subprocess.run([program, "-C", folder, "-j", str(os.cpu_count() or 1)], check=False).returncode != 0:
        raise SystemExit(f"pointnet2_ops: compiling {library.name} failed, the compiler's messages are above")


class BuildOps(build_ext):
    """Builds `_cpu` with the C++ compiler and, where decided, `_cuda` with nvcc."""

    def run(self) -> None:
        if not sys.platform.startswith("linux"):
            raise SystemExit(f"pointnet2_ops: the extension builds on Linux only, this is {sys.platform}")
        self.torch = load_torch()
        self.nvcc = decide_cuda(self.torch, sorted((CSRC / "cuda").glob("*.cu")))
        if self.nvcc is None:
            self.extensions = [ext for ext in self.extensions if ext.name != "pointnet2_ops._cuda"]
            # One left by an earlier build must not slip into this one.
            Path(self.get_ext_fullpath("pointnet2_ops._cuda")).unlink(missing_ok=True)
        super().run()

    def build_extension(self, ext: Extension) -> None:
        name = ext.name.rpartition(".")[2]
        torch_home = Path(self.torch.__file__).parent
        include = f"-I{shlex.quote(str(CSRC))} -isystem {shlex.quote(str(torch_home / 'include'))}"
        libraries = f"-L{shlex.quote(str(torch_home / 'lib'))} -ltorch_cpu"
        if name == "_cpu":
            sources = sorted([*CSRC.glob("*.cpp"), *(CSRC / "cpu").rglob("*.cpp")])
            extra = os.environ.get("POINTNET2_OPS_CXXFLAGS", "")
            compiler = find_compiler()
            rule = f"{compiler} {shlex.join(CXX_FLAGS)} {extra} {include} -MD -MF $out.d -c $in -o $out"
            link = f"{compiler} -shared {extra} -Wl,--as-needed $in {libraries} -o $out"
        else:
            sources = sorted((CSRC / "cuda").glob("*.cu"))
            nvcc = shlex.quote(self.nvcc)
            # Without libtorch_cuda at hand its symbols stay open until a torch with CUDA loads the library.
            libraries += " -ltorch_cuda" if self.torch.version.cuda else ""
            flags = shlex.join(NVCC_FLAGS + architecture_flags(self.nvcc))
            rule = f"{nvcc} {flags} {include} -MD -MF $out.d -c $in -o $out"
            link = f"{nvcc} -shared --cudart static $in {libraries} -o $out"
        library = Path(self.get_ext_fullpath(ext.name)).resolve()
        run_ninja(Path(self.build_temp).resolve() / name, rule, link, sources, library)


setup(
    packages=[*find_packages(include=["pointseg", "pointseg.*"]), "pointnet2_ops"],
    package_dir={"pointnet2_ops": "cuda_ops/pointnet2_ops"},
    package_data={
        "pointseg": ["**/*.json", "**/*.jinja", "**/*.yaml", "**/*.tsv", "**/*.css", "**/*.js", "**/*.pt", "py.typed"],
        "pointnet2_ops": ["py.typed"],
    },
    # The sources are found at build time. py_limited_api names the files *.abi3.so: one build for all Pythons.
    ext_modules=[
        Extension("pointnet2_ops._cpu", sources=[], py_limited_api=True),
        Extension("pointnet2_ops._cuda", sources=[], py_limited_api=True),
    ],
    cmdclass={"build_ext": BuildOps},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)

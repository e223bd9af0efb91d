"""`pointseg doctor`: what is installed, what it can do here, and what to mend.

Every check answers with findings; a check that breaks is a finding too, so that one broken part never hides the rest.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

TORCH = (2, 10)  # the oldest that the operators are built for
_INSTRUCTION_SETS = ("portable", "AVX2", "AVX-512")
_SPACE = 5e9  # bytes free that a store, a few runs and their checkpoints take
_REINSTALL = "install the locked requirements: make env"
_REBUILD = "build it: make env, or pip install --no-build-isolation -e ."


@dataclass(frozen=True)
class Finding:
    """One fact. `fix` says what to do about it where something is wrong."""

    about: str
    state: Literal["ok", "note", "problem"]  # a note is worth knowing, nothing fails for it
    text: str
    fix: str = ""


def examine(data: Path, runs: Path) -> list[Finding]:
    """Looks at everything: `data` is where stores and scans are kept, `runs` where runs are written."""
    checks: tuple[tuple[str, Callable[[], Iterable[Finding]]], ...] = (
        ("python", _python),
        ("packages", _packages),
        ("torch", _torch),
        ("cuda", _cuda),
        ("compiler", _compiler),
        ("operators", _operators),
        ("threads", _threads),
        ("data", lambda: _data(data)),
        ("folders", lambda: [*_folder("data", data), *_folder("runs", runs)]),
    )
    findings: list[Finding] = []
    for about, check in checks:
        try:
            findings += check()
        except Exception as error:
            text = f"cannot be examined: {type(error).__name__}: {error}"
            findings.append(Finding(about, "problem", text, _REINSTALL))
    return findings


def format_findings(findings: Iterable[Finding]) -> str:
    """A line per finding, "!" before problems, the fix below."""
    marks = {"ok": " ", "note": "-", "problem": "!"}
    lines = []
    for finding in findings:
        lines.append(f"{marks[finding.state]} {finding.about:<14} {finding.text}")
        if finding.fix:
            lines.append(f"{'':17}-> {finding.fix}")
    return "\n".join(lines)


def as_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(finding) for finding in findings]


def _python() -> list[Finding]:
    text = f"{platform.python_version()} on {platform.platform(terse=True)}, {sys.executable}"
    if sys.version_info < (3, 11):
        return [Finding("python", "problem", text, "install Python 3.11 or newer: make env PYTHON=python3.12")]
    return [Finding("python", "ok", text)]


def _packages() -> list[Finding]:
    """The versions of what pointseg requires."""
    try:
        required = importlib.metadata.requires("pointseg") or []
        found = [Finding("pointseg", "ok", importlib.metadata.version("pointseg"))]
    except importlib.metadata.PackageNotFoundError:
        return [
            Finding("pointseg", "problem", "is not installed", "make env, or pip install --no-build-isolation -e .")
        ]
    names = [re.split(r"[^\w.-]", line)[0] for line in required if "extra ==" not in line]
    versions, missing = [], []
    for name in names:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    found.append(Finding("packages", "ok", ", ".join(versions)))
    return [*found, *(Finding("packages", "problem", f"{name} is missing", _REINSTALL) for name in missing)]


def _torch() -> list[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        return [Finding("torch", "problem", f"cannot be imported: {_line(error)}", _REINSTALL)]
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < TORCH:
        needed = ".".join(map(str, TORCH))
        return [Finding("torch", "problem", f"{torch.__version__}: too old", f"pip install 'torch>={needed}'")]
    kind = f"CUDA {torch.version.cuda} build" if torch.version.cuda else "CPU build"
    return [Finding("torch", "ok", f"{torch.__version__}, {kind}")]


def _cuda() -> list[Finding]:
    """Driver, runtime, toolkit, cards, and whether they go together."""
    import torch

    driver, toolkit = _driver(), _toolkit()
    if torch.version.cuda is None:
        if driver:
            fix = "install PyTorch's CUDA build: pip install torch, then build the operators again: make env"
            return [Finding("cuda", "problem", f"driver {driver} is there, but this PyTorch is a CPU build", fix)]
        return [Finding("cuda", "ok", "no driver found, and a CPU build of PyTorch: everything runs on the CPU")]
    if not torch.cuda.is_available():
        text = f"PyTorch is built for CUDA {torch.version.cuda} but sees no GPU; driver: {driver or 'none found'}"
        if driver:
            return [Finding("cuda", "problem", text, "update the driver, or unset CUDA_VISIBLE_DEVICES")]
        return [Finding("cuda", "note", text)]
    found = [Finding("cuda", "ok", f"runtime {torch.version.cuda}, driver {driver}, toolkit {toolkit or 'not found'}")]
    if toolkit and toolkit.split(".")[0] != torch.version.cuda.split(".")[0]:
        text = f"nvcc is of CUDA {toolkit}, PyTorch of {torch.version.cuda}: operators cannot be built with it"
        found.append(Finding("cuda", "problem", text, f"put the nvcc of CUDA {torch.version.cuda} first in PATH"))
    known = torch.cuda.get_arch_list()
    for number in range(torch.cuda.device_count()):
        capability = torch.cuda.get_device_capability(number)
        memory = torch.cuda.get_device_properties(number).total_memory / 2**30
        text = f"{torch.cuda.get_device_name(number)}, {_architecture(capability)}, {memory:.0f} GiB"
        if _code_for(capability, known) is None:
            fix = "install a PyTorch that is built for it"
            found.append(Finding(f"gpu {number}", "problem", f"{text}: PyTorch has code for {', '.join(known)}", fix))
        else:
            found.append(Finding(f"gpu {number}", "ok", text))
    return found


def _architecture(capability: tuple[int, int]) -> str:
    return f"sm_{capability[0]}{capability[1]}"


def _code_for(capability: tuple[int, int], compiled: Iterable[str]) -> str | None:
    """Which of the architectures that something was compiled for a card runs: its own (sm_90), else PTX (compute_90).

    Machine code runs on later cards of the same major number, PTX on all later ones, both with an "a" on no other card.
    """
    fitting = []
    for code in compiled:
        kind, major, minor, only = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", code).groups()
        built = (int(major), int(minor))
        same = built == capability if only == "a" else built[0] == capability[0] and built <= capability
        if same or (kind == "compute" and not only and built <= capability):
            fitting.append((kind == "sm", built, code))
    return max(fitting)[2] if fitting else None


def _driver() -> str | None:
    """The NVIDIA driver's version."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return answer.stdout.split("\n")[0].strip() or None if answer.returncode == 0 else None


def _toolkit() -> str | None:
    """nvcc's release."""
    compiler = shutil.which("nvcc")
    if compiler is None:
        return None
    answer = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    release = re.search(r"release (\d+\.\d+)", answer)
    return release.group(1) if release else None


def _compiler() -> list[Finding]:
    """Only building needs one."""
    name = os.environ.get("CXX") or next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), "c++")
    path = shutil.which(name.split()[0])
    if path is None:
        fix = "install one, such as Debian's package g++, or name it in CXX"
        return [Finding("compiler", "note", f"no C++ compiler ({name}): the operators cannot be built here", fix)]
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return [Finding("compiler", "ok", answer.split("\n")[0] or path)]


def _operators() -> list[Finding]:
    """The compiled library, its instruction set, every operator against its definition."""
    failure = _import_failure("pointnet2_ops")
    if failure:
        built = shutil.which(os.environ.get("CXX", "c++").split()[0]) is not None
        fix = _REBUILD if built else "install a C++ compiler (Debian: g++), then " + _REBUILD
        return [Finding("operators", "problem", f"pointnet2_ops cannot be used: {failure}", fix)]
    import pointnet2_ops
    import torch

    library = Path(pointnet2_ops.__file__).with_name("_cpu.abi3.so")
    chosen = ctypes.CDLL(str(library)).pointnet2_set_isa(-1)
    found = [Finding("operators", "ok", f"for the CPU, with {_INSTRUCTION_SETS[chosen]} instructions: {library}")]
    devices = [torch.device("cpu")]
    if pointnet2_ops.CUDA_LIBRARY and torch.cuda.is_available():
        found += _cuda_operators(_compiled_architectures(library.with_name("_cuda.abi3.so")))
        devices.append(torch.device("cuda"))
    elif torch.cuda.is_available():
        fix = "POINTNET2_OPS_CUDA=1 pip install --no-build-isolation -e . (needs nvcc)"
        found.append(Finding("operators", "problem", "not built for CUDA, though there is a GPU", fix))
    else:
        found.append(Finding("operators", "ok", "none for CUDA are loaded: PyTorch sees no GPU"))
    return found + [finding for device in devices for finding in _tested(device)]


def _compiled_architectures(library: Path) -> list[str]:
    """What the CUDA library was compiled for, such as sm_80, sm_90 and compute_90."""
    listed = ctypes.CDLL(str(library)).pointnet2_cuda_architectures
    listed.restype = ctypes.c_char_p
    return listed().decode().split(":")


def _cuda_operators(compiled: list[str]) -> list[Finding]:
    """The architectures that the operators were compiled for, against every card's."""
    import torch

    found = [Finding("operators", "ok", f"for CUDA, compiled for {', '.join(compiled)}")]
    for number in range(torch.cuda.device_count()):
        capability = torch.cuda.get_device_capability(number)
        code, card = _code_for(capability, compiled), f"gpu {number} ({_architecture(capability)})"
        if code is None:
            text = f"{card} runs none of {', '.join(compiled)}"
            found.append(Finding("operators", "problem", text, _rebuild_for(capability)))
        elif code.startswith("compute"):
            text = f"{card} has no code of its own: the driver compiles {code} when it is first used, which takes time"
            found.append(Finding("operators", "note", text, _rebuild_for(capability)))
        else:
            found.append(Finding("operators", "ok", f"{card} runs {code}"))
    return found


def _rebuild_for(capability: tuple[int, int]) -> str:
    architecture = ".".join(map(str, capability))
    return (
        f"build for this card: POINTNET2_OPS_CUDA=1 TORCH_CUDA_ARCH_LIST={architecture} "
        "pip install --no-build-isolation -e . (with an nvcc that knows it)"
    )


def _import_failure(name: str) -> str | None:
    """Why a module cannot be imported, tried in a process of its own: a damaged library can end the process."""
    answer = subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, text=True, check=False)
    if answer.returncode < 0:
        return f"loading it ends the process (signal {-answer.returncode}): its library is damaged"
    return answer.stderr.strip().splitlines()[-1] if answer.returncode else None


def _tested(device: Any) -> list[Finding]:
    """What the self-test found on a device."""
    from pointseg.self_test import DIFFERS, self_test

    results = self_test(device)
    wrong = [name for name, failure in results if failure == DIFFERS]
    failures = [(name, failure) for name, failure in results if failure not in (None, DIFFERS)]
    found = []
    if wrong:
        text = f"wrong answers on {device.type} from {', '.join(wrong)}"
        found.append(Finding("self-test", "problem", text, _REBUILD))
    if failures:
        text = f"{', '.join(name for name, _ in failures)} cannot run on {device.type}: {failures[0][1]}"
        fix = _REBUILD
        if "no kernel image" in text:  # CUDA's words for a library that was built for other cards
            import torch

            fix = _rebuild_for(torch.cuda.get_device_capability(device))
        found.append(Finding("self-test", "problem", text, fix))
    text = f"all operators agree with their definition on {device.type}, gradients too"
    return found or [Finding("self-test", "ok", text)]


def _threads() -> list[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    text = f"{threads} of PyTorch on {cores} cores"
    if threads > cores:
        return [Finding("threads", "problem", text, f"set OMP_NUM_THREADS={cores}: more threads than cores are slow")]
    return [Finding("threads", "ok", text)]


def _data(data: Path) -> list[Finding]:
    """Scans and stores under `data`."""
    from pointseg.errors import InputError
    from pointseg.store import SceneStore

    scans = sorted(folder.parent for folder in data.glob("*/scans") if folder.is_dir())
    found = [Finding("scans", "ok", f"{sum(1 for _ in (f / 'scans').iterdir())} in {f}") for f in scans]
    for file in sorted([*data.glob("*.h5"), *data.glob("*/*.h5"), *data.glob("*/*/*.h5")]):
        try:
            found.append(Finding("store", "ok", f"{file}: {len(SceneStore(file))} scenes"))
        except InputError as error:
            found.append(Finding("store", "problem", str(error), "pointseg preprocess SCANS STORE writes it again"))
    if not found:
        text = f"no scans and no stores under {data}"
        found = [Finding("data", "note", text, "pointseg demo makes some; README: ScanNet, step by step")]
    return found


def _folder(name: str, folder: Path) -> list[Finding]:
    """May files be written there, and how much room is left?"""
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".pointseg-"):
            pass
    except OSError as error:
        fix = "give yourself the right to write there, or name another folder (--out, data.store)"
        return [Finding(name, "problem", f"{place} cannot be written to: {error.strerror}", fix)]
    free = shutil.disk_usage(place).free
    text = f"{folder.absolute()}: {free / 1e9:.0f} GB free"
    if free < _SPACE:
        return [Finding(name, "note", text, f"a store of ScanNet and some runs take more than {_SPACE / 1e9:.0f} GB")]
    return [Finding(name, "ok", text)]


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]

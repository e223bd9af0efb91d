"""scripts/gpu_check.sh, rehearsed on the CPU as it runs on a machine with a GPU: from a kit, without other packages."""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pointnet2_ops
import pytest

from benchmarks import gpu_tables

ROOT = Path(__file__).parent.parent
# What a machine with a GPU is expected to have (besides nvcc); everything else comes from the kit.
EXPECTED = ("torch", "numpy", "scipy", "h5py", "tensorboard", "tqdm", "pytest", "hypothesis", "Jinja2", "PyYAML")
EXPECTED_TOO = ("pillow", "ninja", "setuptools", "wheel", "pip", "pytest-xdist")
SCRIPT = (ROOT / "scripts" / "gpu_kit.sh").read_text()
MISSING = re.search(r"^missing=\((.*)\)", SCRIPT, re.M)[1].split()
MISSING_TO_BUILD = re.search(r"^missing_to_build=\((.*)\)", SCRIPT, re.M)[1].split()

# Stands for g++: compiles nothing and links by copying the library that is installed.
COMPILER = """#!/bin/sh
while [ $# -gt 0 ]; do
  case "$1" in
    -MF) : > "$2"; shift ;;
    -o) case "$2" in *.so) cp "$LIBRARY" "$2" ;; *) : > "$2" ;; esac; shift ;;
  esac
  shift
done
"""


def repack(name: str, folder: Path) -> None:
    """The wheel of an installed package, from its files: to make a kit without a network."""
    distribution = importlib.metadata.distribution(name)
    info = f"{distribution.name.replace('-', '_')}-{distribution.version}"
    (tag,) = re.findall(r"^Tag: (.*)", distribution.read_text("WHEEL"), re.M)[:1]
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{info}-{tag}.whl", "w") as wheel:
        record = []
        for file in distribution.files:
            if ".." in file.parts or file.suffix == ".pyc" or file.name in ("RECORD", "INSTALLER", "REQUESTED"):
                continue
            content = file.locate().read_bytes()
            wheel.writestr(str(file), content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{file},sha256={digest},{len(content)}")
        (metadata,) = {file.parts[0] for file in distribution.files if file.parts[0].endswith(".dist-info")}
        wheel.writestr(f"{metadata}/RECORD", "\n".join([*record, f"{metadata}/RECORD,,", ""]))


def link_packages(names: tuple[str, ...], folder: Path) -> None:
    """Links the named packages and what they require, and nothing else, into `folder`."""
    folder.mkdir()
    wanted, seen = list(names), set()
    while wanted:
        name = re.match(r"[\w.-]+", wanted.pop())[0]
        key = name.lower().replace("_", "-")
        if key in seen:
            continue
        seen.add(key)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # required on another system
        wanted += [line for line in distribution.requires or () if "extra ==" not in line]
        for top in {file.parts[0] for file in distribution.files if file.parts[0] not in ("..", "__pycache__")}:
            if not (folder / top).exists():
                (folder / top).symlink_to(distribution.locate_file(top))


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder of packages in place of site-packages."""
    link_packages((*EXPECTED, *EXPECTED_TOO), tmp_path / "machine")
    return tmp_path / "machine"


@pytest.fixture
def kit(tmp_path: Path, make_store: Callable[..., Path]) -> Path:
    for folder, names in (("wheels", MISSING), ("build_wheels", MISSING_TO_BUILD)):
        for name in names:
            repack(name, tmp_path / "kit" / folder)
    make_store("train", scenes=3, points=4000, folder="kit/store")
    return tmp_path / "kit"


def environment(machine: Path, tmp_path: Path) -> dict[str, str]:
    compiler = tmp_path / "g++"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "OMP_WAIT_POLICY") if name in os.environ}
    return kept | {
        "PYTHON": str(python),
        "PYTHONPATH": str(machine),
        "PYTHONNOUSERSITE": "1",
        "OMP_NUM_THREADS": "1",
        "CXX": str(compiler),
        "LIBRARY": str(Path(pointnet2_ops.__file__).with_name("_cpu.abi3.so")),
        "TORCH_CUDA_ARCH_LIST": "Nonsense",  # must not be taken from whoever calls
    }


@pytest.mark.slow
def test_rehearsal_of_all_stages(machine: Path, kit: Path, tmp_path: Path) -> None:
    env = environment(machine, tmp_path)

    def run(*command: str) -> subprocess.CompletedProcess:
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    assert "No module named 'msgspec'" in run(env["PYTHON"], "-c", "import torch, msgspec").stderr
    out = tmp_path / "out"
    check = ["scripts/gpu_check.sh", "--rehearse", "--kit", str(kit), "--work", str(tmp_path / "work")]
    check += ["--out", str(out)]
    result = run(*check)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    summary = json.loads((out / "summary.json").read_text())
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    assert list(stages) == ["build", "ops", "bench", "train", "paper", "sanitizer"]
    assert {stage["status"] for stage in stages.values()} == {"ok"}
    files = sorted(path.name for path in out.iterdir())
    assert files == sorted([*(f"{stage}.json" for stage in stages), "log.txt", "summary.json"])
    assert all(path.stat().st_size < 1_000_000 for path in out.iterdir())

    again = run(*check, "build")
    assert again.returncode == 0, again.stdout[-3000:]
    cases = json.loads((out / "build.json").read_text())["cases"]
    assert [case.get("used_again") for case in cases] == [True, None]


def test_tables_in_the_readme_come_from_the_results() -> None:
    assert gpu_tables.BEGIN + gpu_tables.render(ROOT / "benchmarks" / "gpu") + gpu_tables.END in (
        gpu_tables.README.read_text()
    )


def test_the_kits_packages_are_locked() -> None:
    locked = re.findall(r"^([\w-]+)==", (ROOT / "requirements.lock").read_text(), re.M)
    assert set(MISSING + MISSING_TO_BUILD) <= set(locked)
    assert not {"torch", "numpy"} & {*MISSING, *MISSING_TO_BUILD}


# A stage whose second case breaks the process, or hangs in silence.
STAGE = """
import os, time
from benchmarks.gpu_record import Stage
stage = Stage("", "x.json")
stage.case("first", lambda: {"value": 1})
stage.case("second", lambda: BREAK)
stage.case("third", lambda: {"value": 3})
stage.finish()
"""


@pytest.mark.parametrize(("breaks", "word"), [("os._exit(5)", "exit status 5"), ("time.sleep(60)", "not a line for")])
def test_a_crash_or_a_hang_costs_one_case(
    breaks: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("gpu_check", ROOT / "scripts" / "gpu_check.py")
    gpu_check = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_check", gpu_check)
    spec.loader.exec_module(gpu_check)
    (tmp_path / "broken_stage.py").write_text(STAGE.replace("BREAK", breaks))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    monkeypatch.setitem(gpu_check.STAGES, "broken", ("broken_stage", 60))
    monkeypatch.setattr(gpu_check, "SILENCE_S", 12)
    arguments = argparse.Namespace(out=tmp_path, work=tmp_path, kit=None, store=None, rehearse=True)
    with (tmp_path / "log.txt").open("w") as file:
        outcome = gpu_check.run_stage("broken", 60, arguments, gpu_check.Log(file))
    assert (outcome.status, outcome.passed, outcome.failed) == ("failed", 2, ["second"])
    cases = {case["name"]: case for case in json.loads((tmp_path / "broken.json").read_text())["cases"]}
    assert cases["third"]["value"] == 3
    assert "did not finish" in cases["second"]["error"]
    assert word in (tmp_path / "log.txt").read_text()

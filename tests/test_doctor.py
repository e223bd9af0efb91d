"""`pointseg doctor` names cause and fix: a sound installation, then one thing broken at a time."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pointnet2_ops
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pointseg.cli import main
from pointseg.doctor import Finding, _code_for, examine, format_findings
from pointseg.self_test import self_test


def problems(tmp_path: Path) -> list[Finding]:
    return [finding for finding in examine(tmp_path / "data", tmp_path / "runs") if finding.state == "problem"]


def test_all_is_well(tmp_path: Path, make_store, capsys: pytest.CaptureFixture[str]):
    make_store("val", scenes=2)
    arguments = ["doctor", "--data", str(tmp_path), "--runs", str(tmp_path / "runs")]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    for part in ("all operators agree with their definition on cpu", "instructions:", "val.h5: 2 scenes", "GB free"):
        assert part in text
    assert text.endswith("all is well\n")
    assert main([*arguments, "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {finding["state"] for finding in findings} <= {"ok", "note"}
    assert {"python", "torch", "operators", "self-test", "store"} <= {finding["about"] for finding in findings}


def test_every_operator_is_tried():
    """All that are registered but those that name a CUDA kernel."""
    tried = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            tried.add(func._schema.name)
            return func(*args, **kwargs or {})

    with Watch():
        results = self_test(torch.device("cpu"))
    assert [(name, failure) for name, failure in results if failure] == []
    names = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("pointnet2_ops::")]
    assert len(names) > 15
    assert {name for name in names if not name.endswith("_by")} <= tried


def test_hidden_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (found,) = [finding for finding in examine(tmp_path, tmp_path) if finding.about == "compiler"]
    assert found.state == "note"
    assert "no C++ compiler (c++)" in found.text
    assert "g++" in found.fix


def test_old_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "__version__", "2.4.1+cpu")
    (found,) = [finding for finding in problems(tmp_path) if finding.about == "torch"]
    assert found == Finding("torch", "problem", "2.4.1+cpu: too old", "pip install 'torch>=2.10'")


def test_cpu_build_of_torch_beside_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr("pointseg.doctor._driver", lambda: "580.1")
    (found,) = problems(tmp_path)
    assert found.text == "driver 580.1 is there, but this PyTorch is a CPU build"
    assert "pip install torch" in found.fix


def test_broken_extension(tmp_path: Path):
    """A library that is cut off, in a copy of the package and a process of its own."""
    package = tmp_path / "site" / "pointnet2_ops"
    shutil.copytree(Path(pointnet2_ops.__file__).parent, package)
    library = package / "_cpu.abi3.so"
    library.write_bytes(library.read_bytes()[:1000])
    program = "import sys; from pointseg.cli import main; sys.exit(main(['doctor', '--json', '--data', sys.argv[1]]))"
    root = Path(__file__).parents[1]
    answer = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": f"{package.parent}:{root}", "PATH": "/usr/bin:/bin"},
    )
    assert answer.returncode == 1, answer.stderr
    (found,) = [finding for finding in json.loads(answer.stdout) if finding["state"] == "problem"]
    assert found["about"] == "operators"
    assert "pointnet2_ops cannot be used" in found["text"]
    assert "make env" in found["fix"]


def test_operator_with_wrong_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pointnet2_ops.ops, "ball_query", lambda *_: torch.zeros(2, 40, 16, dtype=torch.int32))
    (found,) = problems(tmp_path)
    assert found.text == "wrong answers on cpu from ball_query"


def test_gradient_with_wrong_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gather = pointnet2_ops.ops.gather_operation
    monkeypatch.setattr(pointnet2_ops.ops, "gather_operation", lambda f, index: gather(2 * f - f.detach(), index))
    (found,) = problems(tmp_path)
    assert found.text == "wrong answers on cpu from gather_operation's gradient"


def test_library_for_other_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nand more")

    monkeypatch.setattr(pointnet2_ops.ops, "three_nn", refuse)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (9, 0))
    (found,) = problems(tmp_path)
    assert found.text.startswith("three_nn cannot run on cpu: CUDA error: no kernel image")
    assert "TORCH_CUDA_ARCH_LIST=9.0 pip install" in found.fix


def pretend_cards(monkeypatch: pytest.MonkeyPatch, capabilities: list[tuple[int, int]], compiled: list[str]) -> None:
    """A machine with cards that are not there: what torch and the CUDA library would say."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    for name, answer in {
        "is_available": lambda: True,
        "device_count": lambda: len(capabilities),
        "get_arch_list": lambda: ["sm_75", "sm_80", "sm_90", "compute_120"],
        "get_device_capability": lambda number: capabilities[number],
        "get_device_name": lambda number: f"card {number}",
        "get_device_properties": lambda _: SimpleNamespace(total_memory=80 * 2**30),
    }.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    monkeypatch.setattr(pointnet2_ops, "CUDA_LIBRARY", True)
    monkeypatch.setattr("pointseg.doctor._driver", lambda: "580.1")
    monkeypatch.setattr("pointseg.doctor._toolkit", lambda: "13.0")
    monkeypatch.setattr("pointseg.doctor._compiled_architectures", lambda _: compiled)
    monkeypatch.setattr("pointseg.self_test.self_test", lambda _: [("three_nn", None)])


def test_compiled_architectures_against_the_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An A100 with code of its own, an RTX 3090 that runs it too, an H100 with PTX only, a V100 with nothing."""
    pretend_cards(monkeypatch, [(8, 0), (8, 6), (9, 0), (7, 0)], ["sm_75", "sm_80", "compute_80"])
    findings = [
        f for f in examine(tmp_path, tmp_path) if f.about in ("operators", "gpu 3") and "for the CPU" not in f.text
    ]
    assert [(finding.state, finding.text) for finding in findings] == [
        ("problem", "card 3, sm_70, 80 GiB: PyTorch has code for sm_75, sm_80, sm_90, compute_120"),
        ("ok", "for CUDA, compiled for sm_75, sm_80, compute_80"),
        ("ok", "gpu 0 (sm_80) runs sm_80"),
        ("ok", "gpu 1 (sm_86) runs sm_80"),
        ("note", "gpu 2 (sm_90) has no code of its own: the driver compiles compute_80 when it is first used, "
        "which takes time"),
        ("problem", "gpu 3 (sm_70) runs none of sm_75, sm_80, compute_80"),
    ]  # fmt: skip
    assert findings[0].fix == "install a PyTorch that is built for it"
    assert "POINTNET2_OPS_CUDA=1 TORCH_CUDA_ARCH_LIST=9.0 pip install" in findings[4].fix
    assert "POINTNET2_OPS_CUDA=1 TORCH_CUDA_ARCH_LIST=7.0 pip install" in findings[5].fix


@pytest.mark.parametrize(
    ("card", "compiled", "runs"),
    [
        ((9, 0), ["sm_90a", "sm_80"], "sm_90a"),
        ((12, 1), ["sm_100a", "compute_100a"], None),  # code with an "a" runs on that card alone
        ((10, 3), ["sm_100f", "sm_103"], "sm_103"),
        ((12, 0), ["sm_75", "compute_90", "compute_100"], "compute_100"),
        ((8, 0), ["sm_86", "sm_89", "compute_86"], None),  # code for later cards
    ],
)
def test_which_code_a_card_runs(card: tuple[int, int], compiled: list[str], runs: str | None):
    assert _code_for(card, compiled) == runs


def test_without_a_gpu_it_says_so(tmp_path: Path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    texts = [finding.text for finding in examine(tmp_path, tmp_path) if finding.about == "operators"]
    assert texts[1] == "none for CUDA are loaded: PyTorch sees no GPU"


def test_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    version = importlib.metadata.version

    def without_h5py(name: str) -> str:
        if name == "h5py":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_h5py)
    assert Finding("packages", "problem", "h5py is missing", "install the locked requirements: make env") in (
        problems(tmp_path)
    )


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Simulated: the superuser may write everywhere."""

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    found = problems(tmp_path)
    assert [finding.about for finding in found] == ["data", "runs"]
    assert "cannot be written to: Permission denied" in found[0].text
    assert "name another folder" in found[0].fix


def test_damaged_store(tmp_path: Path, make_store):
    file = make_store("val", scenes=1) / "val.h5"
    file.write_bytes(file.read_bytes()[:100])
    (found,) = [f for f in examine(tmp_path, tmp_path) if f.about == "store"]
    assert found.state == "problem"
    assert "val.h5" in found.text


def test_a_check_that_breaks_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken() -> list[Finding]:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("pointseg.doctor._threads", broken)
    findings = examine(tmp_path, tmp_path)
    assert Finding("threads", "problem", "cannot be examined: ZeroDivisionError: oh", _fix(findings)) in findings
    assert findings[-1].about == "runs"


def _fix(findings: list[Finding]) -> str:
    return next(finding.fix for finding in findings if finding.about == "threads")


def test_format():
    text = format_findings([Finding("a", "ok", "fine"), Finding("b", "problem", "bad", "mend it")])
    assert text.splitlines() == ["  a              fine", "! b              bad", "                 -> mend it"]

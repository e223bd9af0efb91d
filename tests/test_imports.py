"""Imports point one way: which module of the project may use which (the tree in README.md shows the same)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EVERYONE = {"pointseg", "pointseg.errors", "pointseg.progress"}  # the version; the exception; bars
STORE = {"pointseg.store", "pointseg.store_format", "pointseg.config", "pointseg.atomic"}
LABELS = {"pointseg.scannet.labels"}
DATA = STORE | LABELS | {"pointseg.data"}
LEARNING = {"pointseg.models", "pointseg.losses", "pointseg.metrics", "pointseg.distributed", "pointseg.rundir"}
SCORES = {"pointseg.metrics", "pointseg.config", "pointseg.evaluation.definitions", "pointseg.evaluation.bootstrap"}

# Module or package (the longest name that fits counts) -> what it may import of this project.
ALLOWED = {
    "pointnet2_ops": {"pointnet2_ops"},
    "pointseg": {"pointseg.prediction"},  # the Python API, imported when it is asked for
    "pointseg.errors": set(),
    "pointseg.progress": set(),
    "pointseg.atomic": set(),
    "pointseg.process": set(),
    "pointseg.pretrained": set(),
    "pointseg.config": {"pointseg.config_networks", "pointseg.config_checks"},
    "pointseg.config_networks": {"pointseg.config_checks"},
    "pointseg.config_checks": set(),
    "pointseg.config_file": {"pointseg.config", "pointseg.config_checks"},
    "pointseg.distributed": set(),
    "pointseg.store_format": set(),
    "pointseg.store": {"pointseg.store_format", "pointseg.store_writer"},
    "pointseg.store_writer": {"pointseg.atomic", "pointseg.store_format"},
    "pointseg.store_tools": {"pointseg.store", "pointseg.store_format"}
    | {"pointseg.scannet.splits", "pointseg.scannet.summary"},  # shards and what their jobs leave
    "pointseg.scannet": {"pointseg.scannet", "pointseg.store", "pointseg.atomic", "pointseg.process"},
    "pointseg.scannet.labels": set(),
    "pointseg.scannet.ply": {"pointseg.atomic"},
    "pointseg.data": STORE | {"pointseg.data"},
    "pointseg.data.importers": STORE | LABELS,
    "pointseg.models": {"pointnet2_ops", "pointseg.models", "pointseg.config"},
    "pointseg.images": {"pointseg.images", "pointseg.models"},
    "pointseg.losses": set(),
    "pointseg.metrics": LABELS | {"pointnet2_ops"},
    "pointseg.rundir": {"pointseg.config", "pointseg.config_file", "pointseg.atomic"},
    "pointseg.evaluation": {"pointseg.evaluation"} | DATA | LEARNING,
    "pointseg.evaluation.definitions": {"pointseg.metrics", "pointseg.config"},
    "pointseg.evaluation.bootstrap": {"pointseg.metrics"},
    "pointseg.evaluation.scene_points": {"pointseg.metrics", "pointseg.atomic"},
    "pointseg.evaluation.scoreboard": LABELS | SCORES,
    "pointseg.evaluation.compare": LABELS
    | SCORES
    | {"pointseg.evaluation.scene_files", "pointseg.rundir", "pointseg.config_file"},
    "pointseg.evaluation.scene_files": LABELS | SCORES | {"pointseg.atomic"},
    "pointseg.prediction": {
        "pointseg.prediction",
        "pointseg.evaluation",
        "pointseg.scannet.ply",
        "pointseg.config_file",
        "pointseg.pretrained",
        "pointseg.report.render",
    }
    | DATA
    | LEARNING,
    "pointseg.prediction.formats": {"pointseg.prediction.formats", "pointseg.scannet.ply", "pointseg.atomic"},
    "pointseg.prediction.frame": {"pointseg.prediction.upright"},
    "pointseg.prediction.upright": set(),
    "pointseg.training": {"pointseg.training", "pointseg.evaluation", "pointseg.config_file", "pointseg.pretrained"}
    | DATA
    | LEARNING,
    # Reads the files of a run directory only: no networks, no stores.
    "pointseg.report": {"pointseg.report", "pointseg.scannet.published", "pointseg.evaluation.definitions"}
    | {"pointseg.evaluation.scene_points"}
    | {"pointseg.config", "pointseg.config_file", "pointseg.rundir"}
    | LABELS,
    "pointseg.report.render": set(),
    "pointseg.report.pages": set(),
    "pointseg.report.charts": set(),
    "pointseg.report.comparison": {"pointseg.report.pages", "pointseg.rundir"},
    "pointseg.report.explanation": {"pointseg.report.pages", "pointseg.report.render", "pointseg.rundir"} | LABELS,
    "pointseg.demo": {"pointseg"},
    "pointseg.explain": {"pointseg"},
    "pointseg.reproduction": {"pointseg"},
    "pointseg.doctor": {"pointnet2_ops", "pointseg.store", "pointseg.self_test"},
    "pointseg.self_test": {"pointnet2_ops"},
    "pointseg.cli": {"pointseg"},
    "pointseg.__main__": {"pointseg.cli"},
}
PROJECT = ("pointseg", "pointnet2_ops")


def modules() -> list[tuple[str, Path]]:
    found = []
    for base in (ROOT / "pointseg", ROOT / "cuda_ops" / "pointnet2_ops"):
        for path in sorted(base.rglob("*.py")):
            parts = path.relative_to(base.parent).with_suffix("").parts
            found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def project_imports(path: Path) -> set[str]:
    """Names of this project's modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from pointseg.models import layers` may import a module: both readings are checked.
            names.add(node.module)
            names |= {f"{node.module}.{a.name}" for a in node.names if is_module(f"{node.module}.{a.name}")}
    return {name for name in names if name.split(".")[0] in PROJECT}


def is_module(name: str) -> bool:
    return name in {module for module, _ in modules()}


def covers(allowed: set[str], name: str) -> bool:
    """Is `name` one of `allowed` or inside one? The bare package `pointseg` allows itself only (but for the top)."""
    return any(name == a or name.startswith(a + ".") for a in allowed)


def rule_for(module: str) -> str:
    fitting = [name for name in ALLOWED if module == name or module.startswith(name + ".")]
    return max(fitting, key=len)


@pytest.mark.parametrize(("module", "path"), modules(), ids=[name for name, _ in modules()])
def test_imports_follow_the_arrows(module: str, path: Path) -> None:
    allowed = ALLOWED[rule_for(module)]
    forbidden = {n for n in project_imports(path) if n not in EVERYONE and n != module and not covers(allowed, n)}
    assert not forbidden, f"{module} must not import {sorted(forbidden)}; it may import {sorted(allowed)}"


def test_every_module_of_pointseg_has_a_rule_of_its_own() -> None:
    top = {".".join(module.split(".")[:2]) for module, _ in modules()}
    assert top <= set(ALLOWED) | {"pointnet2_ops"} | {m for m in top if m.startswith("pointnet2_ops.")}, top - set(
        ALLOWED
    )


def test_the_check_can_fail(tmp_path: Path) -> None:
    file = tmp_path / "offender.py"
    file.write_text("def f():\n    from pointseg.training.train import train\n    from pointseg import models\n")
    assert project_imports(file) == {"pointseg", "pointseg.training.train", "pointseg.models"}
    assert not covers(ALLOWED["pointseg.store"], "pointseg.training.train")

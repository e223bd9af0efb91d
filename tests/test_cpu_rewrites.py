"""benchmarks/cpu_rewrites.py: each switch takes something away, and no output or gradient changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from test_pointnet2 import cloud, randomize_norms, small_config
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import cpu_rewrites
from benchmarks.cpu_rewrites import (
    INFERENCE,
    REWRITES,
    TRAINING,
    Rewrite,
    largest_difference,
    needing,
    outcome,
    switched_off,
)
from benchmarks.plain_pointnet2 import PlainPointNet2
from pointseg.models import PointNet2, build_model, layers
from pointseg.scannet.labels import NUM_CLASSES

ROOT = Path(__file__).parents[1]
CASES = [pytest.param(rewrite, what, id=f"{rewrite.name}, {what}") for rewrite in REWRITES for what in rewrite.what]


class Operators(TorchDispatchMode):
    """What is computed: each operator called and the shape of its first argument."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, object]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls.append((str(func), getattr(args[0], "shape", None) if args else None))
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def one_pass_at_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_FUSED_FROM", 0)


def model() -> PointNet2:
    torch.manual_seed(1)
    network = build_model(small_config(), num_classes=NUM_CLASSES)
    randomize_norms(network)
    return network


def operators(what: str, *off: Rewrite) -> list[tuple[str, object]]:
    with switched_off(*off), Operators() as found:
        outcome(what, model(), cloud(2, 150, torch.float32))
    return found.calls


@pytest.mark.parametrize(("rewrite", "what"), CASES)
def test_a_rewrite_is_exact(rewrite: Rewrite, what: str):
    """In float64; in inference also in float32, since only that is fused."""
    assert largest_difference(rewrite, what, model(), cloud(2, 150)) < 1e-10
    if what == INFERENCE:
        assert largest_difference(rewrite, what, model(), cloud(2, 150, torch.float32)) < 1e-5


@pytest.mark.parametrize(("rewrite", "what"), CASES)
def test_a_switch_takes_something_away(rewrite: Rewrite, what: str):
    on, off = operators(what, *needing(rewrite)), operators(what, *needing(rewrite), rewrite)
    assert on == operators(what, *needing(rewrite))
    assert on != off


def test_all_are_measured_and_the_page_shows_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cpu_rewrites, "networks", lambda: {"ours": model(), "plain": PlainPointNet2(model())})
    record = json.loads((ROOT / "benchmarks" / "cpu_rewrites.json").read_text())
    for what in (TRAINING, INFERENCE):
        measured = cpu_rewrites.measure(what, cloud(2, 150, torch.float32), seconds=0.0, least=1)
        assert {*measured["rewrites"], cpu_rewrites.MEMORY} == set(record[what]["rewrites"])
        assert all(row["largest_difference"] < 1e-10 for row in measured["rewrites"].values() if what == TRAINING)
    page = cpu_rewrites.PAGE.read_text()
    assert cpu_rewrites.written(page, record) == page

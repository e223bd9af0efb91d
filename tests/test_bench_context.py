"""The benchmark of context modules: its peers are what they are called, its memory counter counts, its script runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.context_modules import (
    FusedAttention,
    LinearAttention,
    SoftmaxAttention,
    measure,
    peak_bytes,
    point_modules,
)

ROOT = Path(__file__).parent.parent


def test_fused_attention_is_softmax_attention():
    plain, fused = SoftmaxAttention(16), FusedAttention(16)
    fused.load_state_dict(plain.state_dict())
    x = torch.randn(2, 16, 30)
    torch.testing.assert_close(fused(x), plain(x))


def test_linear_attention_averages_the_values():
    """Its weights are positive and add up to 1."""
    q, k = torch.randn(1, 30, 8), torch.randn(1, 30, 8)
    torch.testing.assert_close(LinearAttention(16).gather(q, k, torch.ones(1, 30, 8)), torch.ones(1, 30, 8))


def test_every_peer_keeps_the_shape_and_has_gradients():
    for name, module in point_modules(32).items():
        x = torch.randn(2, 32, 20, requires_grad=True)
        assert module(x).shape == x.shape, name
        module(x).sum().backward()
        assert x.grad.shape == x.shape


def test_memory_is_the_most_at_a_time():
    def run() -> torch.Tensor:
        first = torch.ones(1_000_000)
        second = first + 1
        del first
        return second * 2

    assert peak_bytes(run, torch.device("cpu")) == pytest.approx(8_000_000, rel=0.01)


@pytest.mark.parametrize("training", [True, False])
def test_latent_gnn_takes_a_tenth_of_the_memory_of_softmax_attention(training: bool):
    modules = point_modules(256)
    peaks = [cost_memory(modules[name], training) for name in ("LatentGNN", "softmax attention")]
    assert 10 * peaks[0] <= peaks[1]


def cost_memory(module: torch.nn.Module, training: bool) -> float:
    x = torch.randn(1, 4096, 256).transpose(1, 2)
    return measure(module, x, training=training, repeats=1).mebibytes


@pytest.mark.parametrize("what", ["points", "images"])
def test_the_script_writes_json(what: str, tmp_path: Path):
    sizes = ["--sizes", "64", "128"]
    command = [sys.executable, ROOT / "scripts" / "bench_context.py", what, *sizes, "--threads", "1"]
    subprocess.run([*command, "--output", tmp_path], check=True, capture_output=True)
    rows = json.loads((tmp_path / f"context_{what}.json").read_text())["rows"]
    assert {row["size"] for row in rows} == {64, 128}
    assert {row["training"] for row in rows} == {True, False}
    assert all(row["milliseconds"] > 0 and row["mebibytes"] > 0 for row in rows)

"""The whole job through the command line, and the same on two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pointseg.cli import main
from pointseg.scannet.labels import CLASS_NAMES
from pointseg.scannet.ply import read_ply

pytestmark = pytest.mark.slow

SMALL = """
data: {num_points: 1024, workers: 0}
model:
  levels:
  - {points: 128, scales: [{radius: 0.2, neighbours: 16, mlp: [16, 32]}]}
  - {points: 32, scales: [{radius: 0.6, neighbours: 16, mlp: [32, 64]}]}
  fp_mlps: [[64], [32]]
  latent_gnn: {latent_dims: [16, 8]}
  head: 32
train: {batch_size: 4, epochs: 60, log_every: 5, lr: 4e-3, decay_samples: 80}
evaluate: {pictures: 1}
"""


def test_rooms_to_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)

    assert main(["synth", "rooms", "--scenes", "8", "--seed", "3", "--density", "150"]) == 0
    assert main(["preprocess", "rooms", "store"]) == 0
    assert main(["train", "--config", "small.yaml", "--out", "run", "--set", "data.store=store"]) == 0
    assert main(["evaluate", "run"]) == 0
    assert main(["report", "run"]) == 0
    scan = sorted(Path("rooms/scans").iterdir())[0]
    mesh = scan / f"{scan.name}_vh_clean_2.ply"
    assert main(["predict", "run", str(mesh), "-o", "labelled.ply", "--up", "z", "--scale", "1"]) == 0
    capsys.readouterr()

    result = json.loads(Path("run/eval.json").read_text())
    overall = result["protocols"]["every_vertex"]["overall"]
    baseline = result["protocols"]["every_vertex"]["baseline"]
    assert overall["voxel_4.84cm"]["accuracy"] > baseline["voxel_4.84cm"]["accuracy"]  # it learned something
    assert overall["coverage"]["predicted_percent"] == 100
    page = Path("run/report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "synthetic" in page.lower()
    assert all(name in page for name in CLASS_NAMES)

    before, after = read_ply(mesh), read_ply(Path("labelled.ply"))
    np.testing.assert_array_equal(before.xyz, after.xyz)
    np.testing.assert_array_equal(before.faces, after.faces)


def test_two_processes_train_and_evaluate(tmp_path: Path) -> None:
    """torchrun on two gloo processes: one run directory, and the counts of one process."""
    (tmp_path / "small.yaml").write_text(SMALL)
    here = {"cwd": tmp_path, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    pointseg = [sys.executable, "-m", "pointseg"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--rdzv-backend=c10d"]
    torchrun += ["--rdzv-endpoint=127.0.0.1:0", "-m", "pointseg"]

    def run(*command: str) -> str:
        done = subprocess.run(command, **here, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    # 9 rooms to train on, 3 to evaluate: two processes cannot share them evenly.
    run(*pointseg, "synth", "rooms", "--scenes", "12", "--density", "150")
    run(*pointseg, "preprocess", "rooms", "store")
    settings = ["--set", "data.store=store", "--set", "train.epochs=4", "--set", "train.evaluate_every=4"]
    run(*torchrun, "train", "--config", "small.yaml", "--out", "run", *settings)
    meta = json.loads((tmp_path / "run" / "meta.json").read_text())
    assert meta["world_size"] == 2
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-2]["samples"] == 36

    results = []
    for program in (pointseg, torchrun):
        run(*program, "evaluate", "run", "--device", "cpu")
        results.append(json.loads((tmp_path / "run" / "eval.json").read_text()))
    assert results[0]["scenes"] == 3
    assert results[1]["processes"] == 2
    for protocol in ("every_vertex", "pointnet2"):
        one, two = (result["protocols"][protocol] for result in results)
        assert one["counts"] == two["counts"]
        assert one["per_scene"] == two["per_scene"]
        # Both processes scored the network that was saved, with the main process's BatchNorm statistics.
        logged = dict(lines[-1]["eval"][protocol])
        assert len(logged.pop("per_class")) > 0
        assert logged == one["overall"]

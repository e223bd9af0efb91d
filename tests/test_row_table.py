"""The table of rows beside the constant answer: its arithmetic, and that a second run does nothing again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pointseg.scannet.labels import CLASS_NAMES

ROOT = Path(__file__).parent.parent


def table(folder: Path, *more: str) -> dict:
    options = ["--smoke", "--only", "pointnet", "--work", folder / "runs", "--out", folder / "rows.json", *more]
    subprocess.run([sys.executable, ROOT / "scripts" / "row_table.py", *options], check=True, capture_output=True)
    return json.loads((folder / "rows.json").read_text())


def test_a_row_stands_beside_the_constant_answer(tmp_path: Path):
    first = table(tmp_path)
    row, constant = first["rows"]["pointnet"], first["constant_answer"]
    assert row["network"] == "PointNet"
    assert row["chunks"] == 3  # one of each training room
    assert row["better_by"] == pytest.approx(row["voxel_accuracy"] - constant["voxel_accuracy"], abs=0.005)

    result = json.loads((tmp_path / "runs" / "pointnet" / "eval.json").read_text())
    counts = np.array(result["protocols"]["every_vertex"]["counts"]["voxel_4.84cm"])
    of_class = counts.sum(axis=1)[CLASS_NAMES.index(constant["class"])]
    assert constant["voxel_accuracy"] == pytest.approx(100 * of_class / counts.sum(), abs=0.005)

    checkpoint = next((tmp_path / "runs" / "pointnet" / "checkpoints").iterdir())
    written = checkpoint.stat().st_mtime_ns
    assert table(tmp_path) == first
    assert checkpoint.stat().st_mtime_ns == written
    with pytest.raises(subprocess.CalledProcessError) as refused:
        table(tmp_path, "--set", "train.lr=1e-3")
    assert b"holds a run with another train.lr" in refused.value.stderr

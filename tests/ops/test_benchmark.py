"""The benchmark of the CPU operators runs, on small clouds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_it_prints_a_table_and_writes_json(tmp_path: Path):
    output = tmp_path / "ops.json"
    command = [sys.executable, "scripts/bench_ops.py", "--small", "--rounds", "1", "--threads", "1", "--output", output]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    record = json.loads(output.read_text())
    assert record["machine"]["threads"] == 1
    cases = {row["case"]: row["ms"] for row in record["cases"]}
    assert {name.split()[0] for name in cases} == {"FPS", "ball", "3-NN", "group", "interpolate"}
    for name, times in cases.items():
        assert name in result.stdout
        assert 0 < times["pointnet2_ops"]["fastest"] <= times["pointnet2_ops"]["median"]
        assert len(times) > 1 or name.startswith("FPS")  # its peers are packages that need not be installed

"""Interrupts a small training run at random moments, resumes it, and compares it with an undisturbed one, bit for bit.

python scripts/interrupt_training.py 10
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.interruptions import differences, train_with_interruptions
from benchmarks.training_runs import synthetic_store
from pointseg.rundir import RunDirectory

CONFIG = """
data: {{store: {store}, num_points: 1024, workers: 1}}
model: {{latent_gnn: {{latent_dims: [16, 8, 4, 2]}}}}
train: {{batch_size: 4, epochs: {epochs}, log_every: 3, evaluate_every: 6, ema: 0.9, schedule: cosine}}
evaluate: {{protocols: [every_vertex], resamples: 0}}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("times", type=int, nargs="?", default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store, config = synthetic_store(folder, scenes=6, val_scenes=2), folder / "small.yaml"
        config.write_text(CONFIG.format(store=store, epochs=12 * given.times))
        whole, disturbed = RunDirectory(folder / "whole"), RunDirectory(folder / "disturbed")
        for event in train_with_interruptions(config, disturbed, given.times, np.random.default_rng(given.seed)):
            print(event)
        command = [sys.executable, "-m", "pointseg", "train", "--config", config, "--out", whole.path]
        subprocess.run([str(part) for part in command], check=True, stderr=subprocess.DEVNULL)
        different = differences(whole, disturbed)
    print(
        "\n".join(different) or "weights, optimiser, averages, best checkpoint and log are those of an undisturbed run"
    )
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())

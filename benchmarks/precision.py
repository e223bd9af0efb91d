"""bfloat16 and `torch.compile` beside float32: time of a training step, and scores after equal training; writes JSON.

    python -m benchmarks.precision speed [--device cpu] [--batch 8] [--seconds S] [--output FILE]
    python -m benchmarks.precision accuracy [--seeds 0 1] [--epochs E] [--runs FOLDER] [--output FILE]

PointNet++ with LatentGNN. Speed: chunks of 8192 points, contenders in turns, compilation not counted. Accuracy: the
demo's recipe on 8 synthetic rooms, scored on 4 others; the same steps in either precision.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.clouds import chunks
from benchmarks.timing import interleaved, machine
from benchmarks.training_runs import finished_run, spread, synthetic_store
from pointseg.atomic import replacing
from pointseg.config import ModelConfig, TrainConfig
from pointseg.config_file import load_config
from pointseg.data.dataset import Batch
from pointseg.distributed import Distributed
from pointseg.models import build_model
from pointseg.process import keep_freed_memory
from pointseg.scannet.labels import NUM_CLASSES
from pointseg.training.step import TrainingStep

DEMO = Path(__file__).parent.parent / "configs" / "demo.yaml"
POINTS = 8192


def steps(device: torch.device, size: int) -> tuple[dict[str, Callable[[], object]], dict[str, float]]:
    """A training step in each precision, compiled and not; and the seconds that the first call took."""
    xyz = chunks(size, POINTS, np.random.default_rng(0)).to(device)
    label = torch.randint(NUM_CLASSES, (size, POINTS), device=device, generator=torch.Generator(device).manual_seed(0))
    batch = Batch(xyz=xyz, features=None, label=label, inside=label >= 0, scene=torch.zeros(size, dtype=torch.long))
    alone = Distributed(rank=0, world_size=1, device=device)
    contenders, first_call = {}, {}
    for compiled in (False, True):
        for precision in ("float32", "bfloat16"):
            settings = TrainConfig(batch_size=size, precision=precision, compile=compiled)
            torch.manual_seed(0)
            step = TrainingStep(build_model(ModelConfig(), NUM_CLASSES).to(device).train(), settings, None, alone)
            name = precision + (", compiled" if compiled else "")
            contenders[name] = lambda step=step: step(batch, None, 1e-3, 0.1).tolist()  # reading waits for the device
            started = time.perf_counter()
            contenders[name]()
            first_call[name] = round(time.perf_counter() - started, 1)
    return contenders, first_call


def speed(device: torch.device, size: int, seconds: float) -> dict[str, Any]:
    contenders, first_call = steps(device, size)
    times = interleaved(contenders, seconds, 20)
    base = times["float32"].median
    return {
        name: {"ms": round(t.median, 1), "times_float32": round(base / t.median, 2), "first_call_s": first_call[name]}
        for name, t in times.items()
    }


def accuracy(folder: Path, seeds: list[int], epochs: int) -> dict[str, Any]:
    """Voxel accuracy and mIoU (4.84 cm, in %) of runs that differ in precision and seed alone."""
    store = synthetic_store(folder, scenes=8, val_scenes=4)
    config = load_config(DEMO, (f"data.store={store}", f"train.epochs={epochs}", "evaluate.protocols=[every_vertex]"))
    result = {}
    for precision in ("float32", "bfloat16"):
        rows = []
        for seed in seeds:
            changed = replace(config, train=replace(config.train, precision=precision, seed=seed))
            rows.append(finished_run(folder / f"{precision}-{seed}", changed))
            print(precision, rows[-1], flush=True)
        result[precision] = {key: spread(rows, key) for key in ("voxel_accuracy", "miou")}
    return {"seeds": len(seeds), "epochs": epochs, **result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "accuracy"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--runs", type=Path, default=Path("runs/precision"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/precision.json"))
    given = parser.parse_args()
    keep_freed_memory()
    result = json.loads(given.output.read_text()) if given.output.exists() else {}
    if given.what == "speed":
        device = torch.device(given.device)
        result["speed"] = {
            "device": given.device,
            "batch": given.batch,
            "step": speed(device, given.batch, given.seconds),
        }
        result["speed"]["machine"] = machine()
    else:
        result["accuracy"] = accuracy(given.runs, given.seeds, given.epochs)
    with replacing(given.output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result[given.what], indent=1))


if __name__ == "__main__":
    main()

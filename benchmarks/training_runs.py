"""Training runs in a row for a table: each one finished once, taken up where it was stopped, never done twice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import cpu_model
from pointseg.config import Config
from pointseg.distributed import distributed_context
from pointseg.errors import InputError
from pointseg.evaluation.evaluate import evaluate_run
from pointseg.rundir import RunDirectory, read_json
from pointseg.scannet.preprocess import preprocess
from pointseg.scannet.synthetic import write_dataset
from pointseg.training.train import train


def synthetic_store(folder: Path, *, scenes: int, val_scenes: int, seed: int = 0) -> Path:
    """A store of synthetic rooms in `folder`; what is there already is not made again."""
    write_dataset(folder / "scannet", scenes=scenes, val_scenes=val_scenes, seed=seed)
    preprocess(folder / "scannet", folder / "store")
    return folder / "store"


def finished_run(path: Path, config: Config) -> dict[str, Any]:
    """Trains and evaluates `config` in `path`, unless that is done.

    Returns:
        seed, `voxel_accuracy` (4.84 cm) and `miou` (same voxels) in % by the first protocol, and `train_seconds`, the
        time from a logged line to the next, added up: it does not count pauses.

    Raises:
        InputError: a run of other settings is there, whose scores are not these.
    """
    run = RunDirectory(path)
    if run.config_file.exists() and (changed := run.changed_settings(config)):
        raise InputError(f"{path} holds a run with another {changed[0]}; remove it, or take another --work folder")
    if not run.eval_file.exists():
        with distributed_context() as context:
            train(config, run, context, resume=run.checkpoint_file.exists())
            evaluate_run(run, context)
    overall = read_json(run.eval_file)["protocols"][config.evaluate.protocols[0]]["overall"]["voxel_4.84cm"]
    seconds, seen = 0.0, 0
    for line in run.read_metrics():
        if "samples" in line:
            seconds += (line["samples"] - seen) / line["chunks_per_second"]
            seen = line["samples"]
    scores = {"voxel_accuracy": round(100 * overall["accuracy"], 2), "miou": round(100 * overall["miou"], 2)}
    return {"seed": config.train.seed, **scores, "train_seconds": round(seconds)}


def constant_answer(path: Path) -> dict[str, Any]:
    """What `voxel_accuracy` an evaluated run's scenes give to one class for every point, the commonest in training."""
    result = read_json(RunDirectory(path).eval_file)
    protocol = next(iter(result["protocols"].values()))
    accuracy = protocol["baseline"]["voxel_4.84cm"]["accuracy"]
    return {"class": result["baseline"]["class"], "voxel_accuracy": round(100 * accuracy, 2)}


def spread(rows: list[dict[str, Any]], key: str) -> dict[str, float]:
    """Mean, least and greatest of a column."""
    values = [row[key] for row in rows]
    return {"mean": round(sum(values) / len(values), 2), "min": min(values), "max": max(values)}


def machine() -> dict[str, Any]:
    """Where the figures came from."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"cpu": cpu_model(), "cores": os.cpu_count(), "device": device, "torch": torch.__version__}

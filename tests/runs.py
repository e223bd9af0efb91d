"""A run directory as an evaluation leaves it, made without a network: for the tests of the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pointseg.config import Config, ModelConfig
from pointseg.evaluation.definitions import MEASURES, SCHEMA, TERMS
from pointseg.evaluation.scene_points import encode_points, write_scene_points
from pointseg.evaluation.scoreboard import protocol_result
from pointseg.rundir import RunDirectory
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, NUM_CLASSES

TYPES = ("Bathroom", "Office", "Bathroom", "Kitchen")


def evaluation(synthetic: object, scenes: int = 2) -> dict:
    """An eval.json of random counts; the first scene has no annotation, no scene has a sink."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 50, (scenes, len(MEASURES), NUM_CLASSES, NUM_CLASSES + 1))
    counts[:, :, 17] = 0  # no sink anywhere
    counts[0] = 0  # a scene without annotation
    coverage = np.tile([5000, 4000, 5000, 4000, 7], (scenes, 1))
    coverage[0, [1, 3]] = 0
    types = [TYPES[n % len(TYPES)] for n in range(scenes)]
    ids = tuple(f"scene{i:04d}_00" for i in range(scenes))
    return {
        "schema": SCHEMA,
        "split": "val",
        "store": "data/store/val.h5",
        "data": {"source": "scans", "synthetic": synthetic},
        "scenes": scenes,
        "classes": list(CLASS_NAMES),
        "definitions": TERMS,
        "baseline": {"class": "wall", "source": "training split"},
        "protocols": {
            name: protocol_result(name, counts, coverage, ids, 0, 100, types) for name in ("every_vertex", "pointnet2")
        },
        "scene_types": types,
        "step": 120,
    }


def evaluated_run(path: Path, scenes: int = 2) -> RunDirectory:
    """A run with `scenes` scenes, the points of all of them thinned, those of the second one whole."""
    run = RunDirectory(path)
    run.create(Config(model=ModelConfig(context="non_local")), {"torch": "2.13.0", "store": {"split": "train"}})
    run.eval_file.write_text(json.dumps(evaluation({"seed": 0}, scenes)))
    for step in (10, 20, 30):
        run.append_metrics(
            {"step": step, "epoch": 1, "samples": step * 8, "loss": 3 / step, "accuracy": 0.5, "lr": 1e-3}
            | {"bn_momentum": 0.5, "chunks_per_second": 4.0, "data_wait": 0.01}
        )
    run.append_metrics({"step": 20, "validation": {"loss": 0.2, "accuracy": 0.4}})
    for step in (10, 30):
        scores = {"accuracy": 0.4321, "miou": step / 100}
        run.append_metrics({"step": step, "eval": {"every_vertex": {"pixel": scores}}})
    run.scenes.mkdir()
    rng = np.random.default_rng(0)
    np.savez_compressed(
        run.scenes / "scene0001_00.npz",
        xyz=rng.uniform(0, 2, (400, 3)).astype(np.float32),
        rgb=rng.integers(0, 255, (400, 3), np.uint8),
        label=np.repeat(np.array([0, 1, 2, IGNORE], np.uint8), 100),
        prediction=np.repeat(np.array([0, 1, 1, 5], np.uint8), 100),
    )
    write_scene_points(run.scene_points_file, [(f"scene{n:04d}_00", _room(n)) for n in range(scenes)])
    return run


def _room(number: int) -> bytes:
    """Floor (class 1) and back wall (0) of 4 x 3 m, on the floor a table (6) that is taken for a desk (12)."""
    rng = np.random.default_rng(number)
    floor, wall, table = (rng.uniform(0, 1, (n, 3)) for n in (4000, 3000, 1000))
    xyz = np.concatenate([floor * [4, 3, 0], wall * [4, 0, 1.8] + [0, 3, 0], table * [1.2, 0.8, 0] + [1, 1, 0.7]])
    label = np.repeat(np.array([1, 0, 6], np.uint8), [4000, 3000, 1000])
    prediction = np.where(label == 6, 12, label).astype(np.uint8)
    return encode_points(xyz, np.full((len(xyz), 3), 150, np.uint8), label, prediction, compact=True)

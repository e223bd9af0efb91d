"""Scores a network on the scenes of a store, by named protocols, from integer counts.

Every process takes every `world_size`-th scene; the counts of all scenes are added up once and divided last, so the
scores do not depend on the number of processes. C classes, P points of a scene.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from pointseg.atomic import replacing
from pointseg.config import Config
from pointseg.data.tiling import drawn_chunks
from pointseg.distributed import Distributed
from pointseg.errors import InputError
from pointseg.evaluation.inference import answers, evaluation_mode, load_network, output_classes, vote
from pointseg.evaluation.scoreboard import DEFINITIONS, MEASURES, SCHEMA, format_table, protocol_result
from pointseg.metrics import confusion_counts, voxel_representatives
from pointseg.rundir import RunDirectory, write_json
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, NUM_CLASSES
from pointseg.store import Scene, SceneStore

__all__ = ["evaluate", "evaluate_run", "format_table"]


@dataclass
class SceneTally:
    """What one scene gives under one protocol; all integers."""

    counts: np.ndarray  # [len(MEASURES), C, C + 1] int64
    chunks: int  # chunks that went through the network
    predicted: np.ndarray  # [P] bool: the vertex was scored at least once
    label: np.ndarray  # [P] uint8: train id or IGNORE; the last answer where there are several


def evaluate_run(
    run: RunDirectory, context: Distributed, *, checkpoint: Path | None = None, overrides: Iterable[str] = ()
) -> dict[str, Any]:
    """Scores a run's checkpoint on its evaluation split; writes eval.json and scenes/*.npz into the run.

    Args:
        checkpoint: default: the run's last one. overrides: `section.key=value`, on top of the run's configuration.

    Raises:
        InputError: no run, no checkpoint, one of another architecture, no store, a store without labels.
    """
    config = run.load_config(tuple(overrides))
    model, state = load_network(run, config, context.device, checkpoint)
    store = SceneStore(Path(config.data.store) / f"{config.evaluate.split}.h5")
    about = {"checkpoint": str(checkpoint or run.checkpoint_file), "step": int(state["step"])}
    counts = np.asarray(state["label_counts"])
    return evaluate(model, store, config, context, run=run, training_counts=counts, about=about)


def evaluate(
    model: nn.Module,
    store: SceneStore,
    config: Config,
    context: Distributed,
    *,
    run: RunDirectory | None = None,
    training_counts: np.ndarray | None = None,
    about: dict[str, Any] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Scores `model` on all scenes of `store`; every process returns the same dict, the content of eval.json.

    Args:
        model: (xyz [B, N, 3], features [B, N, F] or None) -> logits [B, N, 20], or 21 with `unannotated = "class"`.
        config: `config.evaluate` says how to score, `config.data` how chunks are cut.
        run: where the main process writes eval.json and scenes/*.npz; None writes nothing.
        training_counts: [20 or more] points per class of the training split, for the baseline that always gives the
            commonest class; without them it is the commonest class of the evaluated split.
        about: what else eval.json shall say, e.g. the checkpoint's step.

    Raises:
        InputError: scenes without labels, or a network whose answers are not finite.
    """
    started = time.monotonic()
    _check_labels(store)
    protocols = config.evaluate.protocols
    counts = np.zeros((len(protocols), len(store), len(MEASURES), NUM_CLASSES, NUM_CLASSES + 1), np.int64)
    # Per protocol and scene: vertices, annotated vertices, predicted ones of each, chunks.
    coverage = np.zeros((len(protocols), len(store), 5), np.int64)
    pictures: dict[int, np.ndarray] = {}
    pictured = "every_vertex" if "every_vertex" in protocols else protocols[0]

    mine = range(context.rank, len(store), context.world_size)
    bar = tqdm(mine, desc="evaluating", unit="scene", disable=not (progress and context.is_main), dynamic_ncols=True)
    with evaluation_mode(model):
        for number in bar:
            scene = store[number]
            for row, protocol in enumerate(protocols):
                score = _score_every_vertex if protocol == "every_vertex" else _score_pointnet2
                tally = score(model, scene, number, config, context.device)
                counts[row, number] = tally.counts
                coverage[row, number] = _coverage(scene, tally)
                if protocol == pictured and number < config.evaluate.pictures:
                    pictures[number] = tally.label

    counts = context.all_reduce_sum(torch.from_numpy(counts)).numpy()
    coverage = context.all_reduce_sum(torch.from_numpy(coverage)).numpy()
    baseline, source = _commonest_class(store, training_counts)
    result = {
        "schema": SCHEMA,
        "split": store.split,
        "store": str(store.path),
        "data": store.description,
        "scenes": len(store),
        "classes": list(CLASS_NAMES),
        "num_points": config.data.num_points,
        "block": config.data.block,
        "context": config.data.context,
        "votes": config.evaluate.votes,
        "seed": config.evaluate.seed,
        "processes": context.world_size,
        "seconds": round(time.monotonic() - started, 1),
        "definitions": DEFINITIONS,
        "baseline": {"class": CLASS_NAMES[baseline], "source": source},
        "protocols": {
            protocol: protocol_result(protocol, counts[row], coverage[row], store.scan_ids, baseline)
            for row, protocol in enumerate(protocols)
        },
        **(about or {}),
    }
    _save_pictures(store, pictures, config, context, run)
    if run is not None and context.is_main:
        write_json(run.eval_file, result)
    context.barrier()
    return result


# --- Scenes ----------------------------------------------------------------------------------------------------------


def _score_every_vertex(
    model: nn.Module, scene: Scene, number: int, config: Config, device: torch.device
) -> SceneTally:
    votes = vote(
        model,
        scene.xyz,
        scene.rgb if config.data.color else None,
        config.data,
        outputs=output_classes(config),
        passes=config.evaluate.votes,
        batch_size=config.evaluate.batch_size,
        seed=[config.evaluate.seed, number],
        device=device,
        name=scene.scan_id,
    )
    label = _known(votes.label())
    return SceneTally(_measure(scene.xyz, label, scene.label), votes.chunks, votes.counts > 0, label)


def _score_pointnet2(model: nn.Module, scene: Scene, number: int, config: Config, device: torch.device) -> SceneTally:
    tally = SceneTally(
        counts=np.zeros((len(MEASURES), NUM_CLASSES, NUM_CLASSES + 1), np.int64),
        chunks=0,
        predicted=np.zeros(len(scene.xyz), bool),
        label=np.full(len(scene.xyz), IGNORE, np.uint8),
    )
    chunks = drawn_chunks(
        scene.xyz, config.data, config.evaluate, np.random.default_rng([config.evaluate.seed, number, 0])
    )
    for chunk, probability in answers(
        model,
        scene.xyz,
        scene.rgb if config.data.color else None,
        chunks,
        batch_size=config.evaluate.batch_size,
        device=device,
        name=scene.scan_id,
    ):
        drawn = chunk.index[chunk.scored]
        label = _known(probability[chunk.scored].argmax(axis=1))
        tally.counts += _measure(scene.xyz[drawn], label, scene.label[drawn])
        tally.chunks += 1
        tally.predicted[drawn] = True
        tally.label[drawn] = label
    return tally


def _measure(xyz: np.ndarray, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Counts [len(MEASURES), C, C + 1] of the points xyz [n, 3]; a voxel is annotated if its first point is."""
    rows = []
    for size in MEASURES.values():
        chosen = slice(None) if size is None else voxel_representatives(xyz, size)
        rows.append(confusion_counts(prediction[chosen], target[chosen], NUM_CLASSES))
    return np.stack(rows)


def _known(outputs: np.ndarray) -> np.ndarray:
    """Outputs of the network to train ids; the 21st output (unannotated) is none of the classes."""
    return np.where(outputs < NUM_CLASSES, outputs, IGNORE).astype(np.uint8)


def _coverage(scene: Scene, tally: SceneTally) -> list[int]:
    annotated = scene.label != IGNORE
    seen = (len(scene.xyz), annotated.sum(), tally.predicted.sum(), (tally.predicted & annotated).sum(), tally.chunks)
    return [int(n) for n in seen]


def _check_labels(store: SceneStore) -> None:
    if len(store) == 0:
        raise InputError(f"{store.path}: expected scenes to evaluate, got none")
    unlabelled = [scan_id for scan_id, labelled in zip(store.scan_ids, store.labelled, strict=True) if not labelled]
    if unlabelled:
        raise InputError(
            f"{store.path}: expected labels for every scene of an evaluated split, "
            f"got {len(unlabelled)} of {len(store)} without, the first is {unlabelled[0]}"
        )


def _commonest_class(store: SceneStore, training_counts: np.ndarray | None) -> tuple[int, str]:
    """The class that the baseline always gives, and whose points said so; ties go to the lowest id."""
    if training_counts is not None:
        return int(np.argmax(training_counts[:NUM_CLASSES])), "training split"
    return int(np.argmax(store.label_counts.sum(axis=0)[:NUM_CLASSES])), f"evaluated split ({store.split})"


def _save_pictures(
    store: SceneStore,
    labels: dict[int, np.ndarray],
    config: Config,
    context: Distributed,
    run: RunDirectory | None,
) -> None:
    """The main process writes scenes/<scan id>.npz, whoever scored the scene: xyz, rgb, label, prediction."""
    if run is None:
        return
    if context.is_main:
        run.scenes.mkdir(parents=True, exist_ok=True)
        for old in run.scenes.glob("*.npz"):
            old.unlink()
    for number in range(min(config.evaluate.pictures, len(store))):
        scene = store[number]
        prediction = labels.get(number, np.zeros(len(scene.xyz), np.uint8))
        prediction = context.all_reduce_sum(torch.from_numpy(prediction)).numpy()
        if context.is_main:
            with replacing(run.scenes / f"{scene.scan_id}.npz") as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, xyz=scene.xyz, rgb=scene.rgb, label=scene.label, prediction=prediction)

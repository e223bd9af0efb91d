"""Scores a network on the scenes of a store, by named protocols, from integer counts.

Every process takes every `world_size`-th scene; the counts of all scenes are added up once and divided last. Scores
depend neither on the number of processes nor on the order of scenes ("pointnet2_literal" does, as released) nor on the
batch. C classes, M measures, D chunks of a scene.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pointseg.config import Config
from pointseg.distributed import Distributed
from pointseg.errors import InputError
from pointseg.evaluation.benchmark_export import benchmark_miou, pack, prepare_folder, write_scene
from pointseg.evaluation.definitions import MEASURES, SCHEMA, TERMS
from pointseg.evaluation.inference import evaluation_mode, load_network
from pointseg.evaluation.protocols import SceneTally, literally_scored, score_scenes
from pointseg.evaluation.scene_files import scene_table, write_scene_counts
from pointseg.evaluation.scoreboard import format_table, protocol_result
from pointseg.evaluation.shown_scenes import ShownScenes
from pointseg.progress import progress_bar
from pointseg.rundir import RunDirectory, write_json, write_text
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, NUM_CLASSES
from pointseg.store import Scene, SceneStore

__all__ = ["evaluate", "evaluate_run", "format_table"]


def evaluate_run(
    run: RunDirectory,
    context: Distributed,
    *,
    checkpoint: Path | None = None,
    overrides: Iterable[str] = (),
    export: Path | None = None,
    progress: bool = True,
) -> dict[str, Any] | None:
    """Scores a run's checkpoint on its evaluation split; writes what `evaluate` writes into the run.

    Args:
        checkpoint: default: the run's last one. overrides: `section.key=value`, on top of the run's configuration.
        export: folder for every vertex's prediction in the layout of ScanNet's benchmark.
        progress: draw a bar on the main process.

    Returns:
        the content of eval.json; None for a split without labels, which can only be exported.

    Raises:
        InputError: no run, no checkpoint, one of another architecture, no store, a store without labels.
    """
    config = run.load_config(tuple(overrides))
    if export is not None:
        prepare_folder(export)
        config = _with_benchmark(config)
    model, state = load_network(run, config, context.device, checkpoint)
    store = SceneStore(Path(config.data.store) / f"{config.evaluate.split}.h5", CLASS_NAMES)
    if export is not None and not store.labelled.any():
        _predict_all(model, store, config, context, lambda scene, label: write_scene(export, scene, label), progress)
        result = None
    else:
        about = {"checkpoint": str(checkpoint or run.checkpoint_file), "step": int(state["step"])}
        result = evaluate(
            model,
            store,
            config,
            context,
            run=run,
            training_counts=np.asarray(state["label_counts"]),
            about=about,
            on_labels=None if export is None else lambda scene, label: write_scene(export, scene, label),
            progress=progress,
        )
    if export is not None and context.is_main:
        pack(export, store)
        if result is not None:
            _check_export(export, store, result)
    context.barrier()
    return result


def evaluate(
    model: nn.Module,
    store: SceneStore,
    config: Config,
    context: Distributed,
    *,
    run: RunDirectory | None = None,
    training_counts: np.ndarray | None = None,
    about: dict[str, Any] | None = None,
    on_labels: Callable[[Scene, np.ndarray], None] | None = None,
    on_first: Callable[[Scene, np.ndarray], None] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Scores `model` on all scenes of `store`; every process returns the same dict, the content of eval.json.

    Args:
        model: (xyz [B, N, 3], features [B, N, F] or None) -> logits [B, N, 20], or 21 with `unannotated = "class"`.
        config: `config.evaluate` says how to score, `config.data` how chunks are cut.
        run: where the main process writes eval.json, eval_scenes.csv (a row a scene and protocol), eval_counts.json
            (each scene's counts), scene_points.zip and scenes/*.npz; None writes nothing.
        training_counts: [20 or more] points per class of the training split, for the baseline that always gives the
            commonest class; without them it is the commonest class of the evaluated split.
        about: what else eval.json shall say, e.g. the checkpoint's step.
        on_labels: is given each scene of this process and the class of its every vertex, [P] uint8 train ids.
        on_first: is given the store's first scene likewise, on the main process; vertices without an answer are IGNORE.

    Raises:
        InputError: scenes without labels, or a network whose answers are not finite.
    """
    started = time.monotonic()
    _check_labels(store)
    protocols = config.evaluate.protocols
    counts = np.zeros((len(protocols), len(store), len(MEASURES), NUM_CLASSES, NUM_CLASSES + 1), np.int64)
    coverage = np.zeros((len(protocols), len(store), 5), np.int64)
    seconds = np.zeros(len(store))
    by_chunk: dict[int, np.ndarray] = {}  # scene -> counts [D, M, C, C + 1] under "pointnet2_literal"
    shown = ShownScenes(len(store), config.evaluate.display_points)
    main = protocols.index("every_vertex") if "every_vertex" in protocols else 0

    mine = range(context.rank, len(store), context.world_size)
    scored = score_scenes(protocols, model, (store[number] for number in mine), config, context.device)
    bar = progress_bar(scored, total=len(mine), desc="evaluating", unit="scene", shown=progress and context.is_main)
    with evaluation_mode(model):
        for number, (scene, tallies, took) in zip(mine, bar, strict=True):
            seconds[number] = took
            for row, protocol in enumerate(protocols):
                tally = tallies[protocol]
                counts[row, number] = tally.counts.sum(axis=0)
                coverage[row, number] = _coverage(scene, tally)
                if protocol == "pointnet2_literal":
                    by_chunk[number] = tally.counts
                if protocol == "benchmark" and on_labels is not None:
                    on_labels(scene, tally.label)
                if row == main and run is not None:
                    shown.add(number, scene, tally.label)
                if row == main and number == 0 and on_first is not None:
                    on_first(scene, tally.label)

    coverage = context.all_reduce_sum(torch.from_numpy(coverage)).numpy()
    if "pointnet2_literal" in protocols:  # which chunks it scores depends on the chunks of all scenes
        row = protocols.index("pointnet2_literal")
        scored = literally_scored(coverage[row, :, 4], config.evaluate.literal_batch)
        coverage[row, :, 4] = [np.count_nonzero(chosen) for chosen in scored]
        for number, parts in by_chunk.items():
            counts[row, number] = parts[scored[number]].sum(axis=0)
    counts = context.all_reduce_sum(torch.from_numpy(counts)).numpy()
    seconds = context.all_reduce_sum(torch.from_numpy(seconds)).numpy()
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
        "definitions": TERMS,
        "baseline": {"class": CLASS_NAMES[baseline], "source": source},
        "scene_types": list(store.scene_types),
        "scene_seconds": [round(float(value), 3) for value in seconds],
        "protocols": {
            protocol: protocol_result(
                protocol,
                counts[row],
                coverage[row],
                store.scan_ids,
                baseline,
                config.evaluate.resamples,
                store.scene_types,
            )
            for row, protocol in enumerate(protocols)
        },
        **(about or {}),
    }
    if run is not None:
        shown.save(store, counts[main, :, 0], config.evaluate.pictures, context, run)
    if run is not None and context.is_main:
        write_scene_counts(run.scene_counts_file, dict(zip(protocols, counts, strict=True)), store.scan_ids)
        write_text(run.scene_table_file, scene_table(result))
        write_json(run.eval_file, result)  # last: the report looks for it
    context.barrier()
    return result


def _coverage(scene: Scene, tally: SceneTally) -> list[int]:
    """Vertices, annotated vertices, predicted ones of each, chunks."""
    annotated = scene.label != IGNORE
    seen = (len(scene.xyz), annotated.sum(), tally.predicted.sum(), (tally.predicted & annotated).sum(), tally.chunks)
    return [int(n) for n in seen]


def _with_benchmark(config: Config) -> Config:
    """The same configuration with the protocol that exports; it shares its predictions with "every_vertex"."""
    if "benchmark" in config.evaluate.protocols:
        return config
    protocols = (*config.evaluate.protocols, "benchmark")
    return replace(config, evaluate=replace(config.evaluate, protocols=protocols))


def _predict_all(
    model: nn.Module,
    store: SceneStore,
    config: Config,
    context: Distributed,
    on_labels: Callable[[Scene, np.ndarray], None],
    progress: bool,
) -> None:
    """Gives `on_labels` each scene of this process and the class of its every vertex, without scoring."""
    mine = range(context.rank, len(store), context.world_size)
    scenes = (store[number] for number in mine)
    scenes = (replace(scene, label=np.full(len(scene.xyz), IGNORE, np.uint8)) for scene in scenes)  # counted nowhere
    scored = score_scenes(("benchmark",), model, scenes, config, context.device)
    bar = progress_bar(scored, total=len(mine), desc="predicting", unit="scene", shown=progress and context.is_main)
    with evaluation_mode(model):
        for one in bar:
            on_labels(one.scene, one.tallies["benchmark"].label)


def _check_export(folder: Path, store: SceneStore, result: dict[str, Any]) -> None:
    """The files, scored by the benchmark's rule from scratch, must give the mIoU that eval.json says."""
    files, counted = benchmark_miou(folder, store), result["protocols"]["benchmark"]["overall"]["pixel"]["miou"]
    if files != counted and not (files and counted and math.isclose(files, counted, rel_tol=1e-9)):
        raise RuntimeError(f"{folder}: the exported files score an mIoU of {files}, the evaluation {counted}")


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

"""The named protocols: which points of a scene the network answers for, and what is counted of the answers.

A protocol takes its answers from one of two sources, so that protocols of one source share the network's work:

- `every_vertex`, `benchmark`: votes for every vertex, from chunks that cover the scene;
- `pointnet2`, `pointnet2_literal`: PointNet++'s draws, one chunk a column.

C classes, P points of a scene, M measures (`MEASURES`), D chunks of a scene.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pointseg.config import Config, Protocol
from pointseg.data.tiling import Votes, drawn_chunks
from pointseg.evaluation.definitions import MEASURES
from pointseg.evaluation.inference import answers, output_classes, vote
from pointseg.metrics import confusion_counts, voxel_representatives, voxel_representatives_literal
from pointseg.scannet.labels import IGNORE, NUM_CLASSES
from pointseg.store import Scene


@dataclass
class SceneTally:
    """What one scene gives under one protocol; all integers."""

    counts: np.ndarray  # [D or 1, M, C, C + 1] int64: of each chunk where some may be left out later, else of all
    chunks: int  # D
    predicted: np.ndarray  # [P] bool: the vertex was scored at least once
    label: np.ndarray  # [P] uint8: train id or IGNORE; the last answer where there are several


def score_scene(
    protocols: tuple[Protocol, ...], model: nn.Module, scene: Scene, config: Config, device: torch.device
) -> dict[Protocol, SceneTally]:
    """Scores a scene by each protocol; the network answers once per source.

    Raises:
        InputError: the network answers with something that is not finite.
    """
    tallies: dict[Protocol, SceneTally] = {}
    if wanted := [name for name in protocols if name in ("every_vertex", "benchmark")]:
        tallies |= dict.fromkeys(wanted, _score_votes(model, scene, config, device))
    if wanted := [name for name in protocols if name in ("pointnet2", "pointnet2_literal")]:
        tallies |= _score_draws(wanted, model, scene, config, device)
    return tallies


def _score_votes(model: nn.Module, scene: Scene, config: Config, device: torch.device) -> SceneTally:
    label, votes = vote_labels(model, scene, config, device)
    return SceneTally(measure(scene.xyz, label, scene.label)[None], votes.chunks, votes.counts > 0, label)


def vote_labels(model: nn.Module, scene: Scene, config: Config, device: torch.device) -> tuple[np.ndarray, Votes]:
    """The class of every vertex of a scene, [P] uint8 train ids (or IGNORE), and the votes."""
    votes = vote(
        model,
        scene.xyz,
        scene.rgb if config.data.color else None,
        config.data,
        outputs=output_classes(config),
        passes=config.evaluate.votes,
        batch_size=config.evaluate.batch_size,
        seed=scene_seed(config.evaluate.seed, scene.scan_id),
        device=device,
        name=scene.scan_id,
    )
    return _known(votes.label()), votes


def _score_draws(
    protocols: list[Protocol], model: nn.Module, scene: Scene, config: Config, device: torch.device
) -> dict[Protocol, SceneTally]:
    predicted = np.zeros(len(scene.xyz), bool)
    labels = np.full(len(scene.xyz), IGNORE, np.uint8)
    counts: dict[Protocol, list[np.ndarray]] = {name: [] for name in protocols}
    rng = np.random.default_rng([*scene_seed(config.evaluate.seed, scene.scan_id), 0])
    for chunk, probability in answers(
        model,
        scene.xyz,
        scene.rgb if config.data.color else None,
        config.data,
        drawn_chunks(scene.xyz, config.data, config.evaluate, rng),
        batch_size=config.evaluate.batch_size,
        device=device,
        name=scene.scan_id,
    ):
        drawn = chunk.index[chunk.scored]
        label = _known(probability[chunk.scored].argmax(axis=1))
        for name, parts in counts.items():
            first = voxel_representatives_literal if name == "pointnet2_literal" else voxel_representatives
            parts.append(measure(scene.xyz[drawn], label, scene.label[drawn], first))
        predicted[drawn] = True
        labels[drawn] = label
    empty = np.zeros((0, len(MEASURES), NUM_CLASSES, NUM_CLASSES + 1), np.int64)
    return {
        name: SceneTally(np.stack(parts) if parts else empty, len(parts), predicted, labels)
        for name, parts in counts.items()
    }


def measure(
    xyz: np.ndarray,
    prediction: np.ndarray,
    target: np.ndarray,
    representatives: Callable[[np.ndarray, float], np.ndarray] = voxel_representatives,
) -> np.ndarray:
    """Counts [M, C, C + 1] of the points xyz [n, 3]; a voxel is annotated if its first point is."""
    rows = []
    for size in MEASURES.values():
        chosen = slice(None) if size is None else representatives(xyz, size)
        rows.append(confusion_counts(prediction[chosen], target[chosen], NUM_CLASSES))
    return np.stack(rows)


def literally_scored(chunks: np.ndarray, batch: int) -> list[np.ndarray]:
    """Which chunks of each scan the released script scores: `chunks` [S] int -> per scan [chunks of it] bool.

    The script reads scan after scan into a batch that is not full, then scores the first `batch` chunks of it and keeps
    the rest: behind the next scan's chunks. What is left when the scans are used up is dropped.
    """
    scored = [np.zeros(int(count), bool) for count in chunks]
    waiting: list[tuple[int, int]] = []  # (scan, chunk)
    filling = False
    for scan, count in enumerate(chunks):
        own = [(scan, chunk) for chunk in range(int(count))]
        waiting = waiting + own if filling else own + waiting
        filling = len(waiting) < batch
        if not filling:
            for done, chunk in waiting[:batch]:
                scored[done][chunk] = True
            waiting = waiting[batch:]
    return scored


def scene_seed(seed: int, scan_id: str) -> list[int]:
    """What a scene's draws begin with: its name, not its place, so that scenes in any order get the same counts."""
    return [seed, zlib.crc32(scan_id.encode())]


def _known(outputs: np.ndarray) -> np.ndarray:
    """Outputs of the network to train ids; the 21st output (unannotated) is none of the classes."""
    return np.where(outputs < NUM_CLASSES, outputs, IGNORE).astype(np.uint8)

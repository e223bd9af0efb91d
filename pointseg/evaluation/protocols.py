"""The named protocols: which points of a scene the network answers for, and what is counted of the answers.

A protocol takes its answers from one of two sources, so that protocols of one source share the network's work:

- `every_vertex`, `benchmark`: votes for every vertex, from chunks that cover the scene;
- `pointnet2`, `pointnet2_literal`: PointNet++'s draws, one chunk a column.

C classes, P points of a scene, M measures (`MEASURES`), D chunks of a scene.
"""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from pointseg.config import Config, DataConfig, Protocol
from pointseg.data.chunks import rotate_z
from pointseg.data.tiling import Votes, covering_chunks, drawn_chunks
from pointseg.evaluation.definitions import MEASURES
from pointseg.evaluation.inference import Answer, View, answers, output_classes, views
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


class ScoredScene(NamedTuple):
    scene: Scene
    tallies: dict[Protocol, SceneTally]
    seconds: float  # cutting and counting, and of every batch the share that its chunks have


def score_scenes(
    protocols: tuple[Protocol, ...], model: nn.Module, scenes: Iterable[Scene], config: Config, device: torch.device
) -> Iterator[ScoredScene]:
    """Scores scenes, in their order, by each protocol; the network answers once per source.

    A batch that a scene does not fill goes on with the next scene's chunks; no more scenes are under way, and in
    memory, than a batch has chunks.

    Raises:
        InputError: the network answers with something that is not finite.
    """
    waiting: deque[_Scoring] = deque()

    def seen() -> Iterator[View]:
        for scene in scenes:
            waiting.append(_Scoring(protocols, scene, config))
            yield from waiting[-1].views()

    for answer in answers(model, seen(), config.data, batch_size=config.evaluate.batch_size, device=device):
        while waiting[0].complete:
            yield waiting.popleft().result()
        waiting[0].add(answer)
    while waiting:
        yield waiting.popleft().result()


class _Scoring:
    """A scene under way."""

    def __init__(self, protocols: tuple[Protocol, ...], scene: Scene, config: Config) -> None:
        self._scene = scene
        self._sources: list[_Covering | _Draws] = []
        if wanted := [name for name in protocols if name in ("every_vertex", "benchmark")]:
            self._sources.append(_Covering(wanted, scene, config))
        if wanted := [name for name in protocols if name in ("pointnet2", "pointnet2_literal")]:
            self._sources.append(_Draws(wanted, scene, config))
        self._asked: deque[_Covering | _Draws] = deque()  # whose chunks have no answer yet, in the order of the chunks
        self._cut = False
        self._seconds = 0.0

    def views(self) -> Iterator[View]:
        """Every chunk of every source."""
        for source in self._sources:
            begun = time.perf_counter()
            for view in source.views():
                self._asked.append(source)
                self._seconds += time.perf_counter() - begun
                yield view
                begun = time.perf_counter()
        self._cut = True

    def add(self, answer: Answer) -> None:
        """Takes the answer for the first view that has none."""
        begun = time.perf_counter()
        self._asked.popleft().add(answer)
        self._seconds += answer.seconds + time.perf_counter() - begun

    @property
    def complete(self) -> bool:
        return self._cut and not self._asked

    def result(self) -> ScoredScene:
        begun = time.perf_counter()
        tallies = {name: tally for source in self._sources for name, tally in source.tallies().items()}
        return ScoredScene(self._scene, tallies, self._seconds + time.perf_counter() - begun)


class _Covering:
    """Votes for every vertex, from chunks that cover the scene `evaluate.votes` times."""

    def __init__(self, protocols: list[Protocol], scene: Scene, config: Config) -> None:
        self._protocols, self._scene, self._config = protocols, scene, config
        self._votes = Votes(len(scene.xyz), output_classes(config))

    def views(self) -> Iterator[View]:
        """The scene as it stands, then turned about z by random angles, which moves the columns too."""
        scene, data = self._scene, self._config.data
        for number in range(self._config.evaluate.votes):
            rng = _generator(scene, self._config, number)
            xyz = rotate_z(scene.xyz, rng.uniform(0, 2 * np.pi)) if number else scene.xyz
            yield from views(covering_chunks(xyz, data, rng), xyz, _colors(scene, data), scene.scan_id)

    def add(self, answer: Answer) -> None:
        self._votes.add(answer.chunk, answer.probability)

    def tallies(self) -> dict[Protocol, SceneTally]:
        label = _known(self._votes.label())
        counts = measure(self._scene.xyz, label, self._scene.label)[None]
        return dict.fromkeys(self._protocols, SceneTally(counts, self._votes.chunks, self._votes.counts > 0, label))


class _Draws:
    """PointNet++'s draws, one chunk a column, counted as they are answered."""

    def __init__(self, protocols: list[Protocol], scene: Scene, config: Config) -> None:
        self._scene, self._config = scene, config
        self._predicted = np.zeros(len(scene.xyz), bool)
        self._label = np.full(len(scene.xyz), IGNORE, np.uint8)
        self._counts: dict[Protocol, list[np.ndarray]] = {name: [] for name in protocols}

    def views(self) -> Iterator[View]:
        scene, data = self._scene, self._config.data
        chunks = drawn_chunks(scene.xyz, data, self._config.evaluate, _generator(scene, self._config, 0))
        return views(chunks, scene.xyz, _colors(scene, data), scene.scan_id)

    def add(self, answer: Answer) -> None:
        drawn = answer.chunk.index[answer.chunk.scored]
        label = _known(answer.probability[answer.chunk.scored].argmax(axis=1))
        for name, parts in self._counts.items():
            first = voxel_representatives_literal if name == "pointnet2_literal" else voxel_representatives
            parts.append(measure(self._scene.xyz[drawn], label, self._scene.label[drawn], first))
        self._predicted[drawn] = True
        self._label[drawn] = label

    def tallies(self) -> dict[Protocol, SceneTally]:
        empty = np.zeros((0, len(MEASURES), NUM_CLASSES, NUM_CLASSES + 1), np.int64)
        return {
            name: SceneTally(np.stack(parts) if parts else empty, len(parts), self._predicted, self._label)
            for name, parts in self._counts.items()
        }


def _generator(scene: Scene, config: Config, number: int) -> np.random.Generator:
    """Of a scene's pass `number`."""
    return np.random.default_rng([*scene_seed(config.evaluate.seed, scene.scan_id), number])


def _colors(scene: Scene, data: DataConfig) -> np.ndarray | None:
    return scene.rgb if data.color else None


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

"""Times training crops on synthetic scenes of ScanNet's size; prints and writes JSON.

    python -m benchmarks.crops [--scenes N] [--points P] [--seconds S] [--output FILE]

Two questions: how many times as fast is a draw as PointNet++'s own way of drawing, on one core and from the same random
numbers (the chunks are compared), and how many chunks a second does the loader deliver with 0, 1 and 2 workers?
Workers hand batches over in fresh shared memory, whose page faults can cost as much as the drawing: the JSON has the
time of writing a chunk to it, and to memory that was used before.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.clouds import room
from benchmarks.timing import interleaved, machine
from pointseg.atomic import replacing
from pointseg.config import AugmentConfig, DataConfig, TrainConfig
from pointseg.data.chunks import sample_chunk
from pointseg.data.dataset import ChunkDataset, StepSampler, training_loader
from pointseg.process import keep_freed_memory
from pointseg.scannet.labels import CLASS_NAMES, IGNORE
from pointseg.store import Scene, SceneStore, StoreMeta, write_store

_ROOM = (10.0, 8.0, 2.6)  # metres; 150,000 vertices then stand as densely as ScanNet's, 800 on a square metre of floor
_FUSION_BLOCK = 0.08  # metres
# Every change of a chunk that can be made on a device too; the loader also mixes.
EVERY_CHANGE = AugmentConfig(
    thin=0.35,
    patches=3,
    normal_noise=0.012,
    smooth_noise=0.02,
    elastic=0.02,
    jitter=0.005,
    scale=0.1,
    scale_axes=0.05,
    flip=0.5,
    tilt=5.0,
    input_dropout=0.875,
)


def restated_chunk(
    xyz: np.ndarray, label: np.ndarray, rng: np.random.Generator, config: DataConfig
) -> tuple[np.ndarray, np.ndarray]:
    """PointNet++'s released ScanNet data set restated in NumPy: each draw looks at every vertex of the scene.

    Returns:
        Index into the scene [N] and whether the point is supervised [N].
    """
    low, high = xyz.min(axis=0), xyz.max(axis=0)
    margin = np.array([config.block / 2, config.block / 2])
    for _ in range(config.max_draws):
        center = xyz[rng.integers(len(xyz))].astype(np.float64)
        block_low, block_high = np.append(center[:2] - margin, low[2]), np.append(center[:2] + margin, high[2])
        column = np.sum((xyz >= block_low - config.context) * (xyz <= block_high + config.context), axis=1) == 3
        points, annotated = xyz[column], label[column] != IGNORE
        inside = np.sum((points >= block_low - config.slack) * (points <= block_high + config.slack), axis=1) == 3
        cells = np.ceil((points[inside] - block_low) / (block_high - block_low) * [31.0, 31.0, 62.0])
        occupied = np.unique(cells[:, 0] * 31 * 62 + cells[:, 1] * 62 + cells[:, 2])
        enough = np.sum(annotated) / len(annotated) >= config.min_annotated
        if enough and len(occupied) / 31 / 31 / 62 >= config.min_occupied:
            break
    drawn = rng.integers(len(points), size=config.num_points)
    return np.flatnonzero(column)[drawn], inside[drawn]


def scene(number: int, points: int) -> Scene:
    """A furnished room, a tenth of it or so unannotated, in the order of a fused mesh: block after block, at random."""
    rng = np.random.default_rng([number, points])
    xyz = room(points, _ROOM, rng)
    blocks = np.floor((xyz - xyz.min(axis=0)) / _FUSION_BLOCK).astype(np.int64) @ [1_000_000, 1_000, 1]
    _, block = np.unique(blocks, return_inverse=True)
    xyz = xyz[np.argsort(rng.permutation(block.max() + 1)[block], kind="stable")]
    label = rng.integers(len(CLASS_NAMES), size=points).astype(np.uint8)
    for center in xyz[rng.integers(points, size=10)]:
        label[((xyz - center) ** 2).sum(axis=1) < 0.7**2] = IGNORE
    return Scene(f"scene{number:04d}_00", xyz, rng.integers(256, size=(points, 3)).astype(np.uint8), label)


def make_store(path: Path, scenes: int, points: int) -> SceneStore:
    meta = StoreMeta(class_names=CLASS_NAMES, ignore=IGNORE, aligned=True, created={"source": "benchmarks/crops.py"})
    write_store(path, "train", (scene(n, points) for n in range(scenes)), meta, sizes=[points] * scenes)
    return SceneStore(path)


def draws(store: SceneStore, config: DataConfig, seconds: float) -> dict[str, float]:
    """Milliseconds a chunk of either way, medians over turns of 16 chunks on other scenes; their chunks are equal."""

    def ours(number: int) -> tuple[np.ndarray, np.ndarray]:
        chunk = sample_chunk(store, number % len(store), np.random.default_rng(number), config)
        return chunk.index, chunk.inside

    def plain(number: int) -> tuple[np.ndarray, np.ndarray]:
        points = store[number % len(store)]
        return restated_chunk(points.xyz, points.label, np.random.default_rng(number), config)

    for number in range(16):
        for one, other in zip(ours(number), plain(number), strict=True):
            np.testing.assert_array_equal(one, other)
    turn = 16
    times = interleaved({"pointseg": _turns(ours, turn), "PointNet++ restated": _turns(plain, turn)}, seconds, 40)
    return {name: round(spent.median / turn, 4) for name, spent in times.items()}


def _turns(draw: Callable[[int], object], length: int) -> Callable[[], None]:
    numbers: Iterator[int] = itertools.count()

    def run() -> None:
        for number in itertools.islice(numbers, length):
            draw(number)

    return run


def loaded(store: SceneStore, workers: int, seconds: float, batch_size: int) -> float:
    """Chunks a second from the loader, its start not counted."""
    dataset = ChunkDataset(store, DataConfig(workers=workers), seed=0)
    sampler = StepSampler(dataset, TrainConfig(batch_size=batch_size), 0, 10**9, rank=0, world_size=1)
    batches = iter(training_loader(dataset, sampler, pin_memory=False))
    for _ in range(4 * workers + 2):  # what was prepared while the workers started
        next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        count += len(next(batches)["xyz"])
    return count / (time.perf_counter() - start)


def handing_over(batch_size: int) -> dict[str, float]:
    """Milliseconds to write a chunk's points, 21 bytes each for xyz, label and inside, by the kind of memory."""
    batch = torch.zeros((batch_size, DataConfig().num_points, 3 * 4 + 8 + 1), dtype=torch.uint8)
    kinds = {"fresh shared memory": lambda: batch.clone().share_memory_(), "used memory": batch.clone}
    times = interleaved(kinds, seconds=2.0, rounds=21)
    return {name: round(spent.median / batch_size, 4) for name, spent in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=48)
    parser.add_argument("--points", type=int, default=150_000, help="vertices of a scene")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=8.0, help="for each figure")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/crops.json"))
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    result: dict[str, object] = {"scenes": arguments.scenes, "vertices": arguments.points, "batch": arguments.batch}
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "train.h5", arguments.scenes, arguments.points)
        for least in (0.7, 1.0):
            milliseconds = draws(store, dataclasses.replace(DataConfig(), min_annotated=least), arguments.seconds)
            ratio = round(milliseconds["PointNet++ restated"] / milliseconds["pointseg"], 1)
            result[f"min_annotated {least}"] = {"ms a chunk, one core": milliseconds, "times as fast": ratio}
            print(f"min_annotated {least}: {milliseconds} ms a chunk, {ratio} times as fast", flush=True)
        speeds = {}
        for workers in (0, 1, 2):
            speeds[workers] = round(loaded(store, workers, arguments.seconds, arguments.batch))
            print(f"{workers} workers: {speeds[workers]} chunks/s", flush=True)
    result |= {"chunks a second by workers": speeds, "ms a chunk, writing": handing_over(arguments.batch)}
    result["machine"] = machine()
    with replacing(arguments.output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {arguments.output}")


if __name__ == "__main__":
    main()

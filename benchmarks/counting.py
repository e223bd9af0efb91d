"""Voxels and counts of whole scenes as evaluation takes them, beside a plain numpy statement of the same.

python -m benchmarks.counting [--output FILE] [--scenes N] [--points P]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from benchmarks.clouds import room
from pointseg.evaluation.definitions import MEASURES
from pointseg.evaluation.protocols import measure
from pointseg.scannet.labels import IGNORE, NUM_CLASSES

Scene = tuple[np.ndarray, np.ndarray, np.ndarray]


def plain(xyz: np.ndarray, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Counts [M, C, C + 1] in as few lines as numpy takes: rows made unique, one addition a point."""
    counts = np.zeros((len(MEASURES), NUM_CLASSES, NUM_CLASSES + 1), np.int64)
    for row, size in enumerate(MEASURES.values()):
        chosen = np.arange(len(xyz))
        if size is not None:
            cells = np.floor((xyz.astype(np.float64) - xyz.min(axis=0)) / size).astype(np.int64)
            chosen = np.sort(np.unique(cells, axis=0, return_index=True)[1])
        truth, answer = target[chosen], prediction[chosen]
        annotated = truth != IGNORE
        answer = np.where(answer < NUM_CLASSES, answer, NUM_CLASSES)
        np.add.at(counts[row], (truth[annotated], answer[annotated]), 1)
    return counts


def scenes(count: int, points: int) -> list[Scene]:
    """Synthetic clouds of ScanNet's size, and labels without sense."""
    made = []
    for number in range(count):
        rng = np.random.default_rng([number])
        xyz = room(points, (7.0, 5.0, 2.6), rng)
        target = rng.integers(0, NUM_CLASSES, points).astype(np.uint8)
        target[rng.random(points) < 0.1] = IGNORE
        made.append((xyz, np.where(rng.random(points) < 0.8, target % NUM_CLASSES, 3).astype(np.uint8), target))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/counting.json"))
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--points", type=int, default=150_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # a thread a scene
    made, cores = scenes(arguments.scenes, arguments.points), os.cpu_count() or 1
    for scene in made[:2]:
        assert np.array_equal(measure(*scene), plain(*scene))
    seconds: dict[str, list[float]] = {"ours, a core": [], f"ours, {cores} threads": [], "plain numpy": []}
    with ThreadPoolExecutor(cores) as pool:
        for _ in range(3):
            for name, times in seconds.items():
                started = time.perf_counter()
                if name == "plain numpy":
                    [plain(*scene) for scene in made[:4]]
                    share = 4
                else:
                    mapper = pool.map if "threads" in name else map
                    list(mapper(lambda scene: measure(*scene), made))
                    share = len(made)
                times.append((time.perf_counter() - started) / share)
    medians = {name: sorted(times)[1] for name, times in seconds.items()}
    result = {
        "points_a_scene": arguments.points,
        "cores": cores,
        "milliseconds_a_scene": {name: round(1e3 * value, 2) for name, value in medians.items()},
        "times_faster": {name: round(medians["plain numpy"] / value, 1) for name, value in medians.items()},
    }
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

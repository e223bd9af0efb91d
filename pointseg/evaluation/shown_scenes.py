"""What a run keeps of its scenes to be looked at: every scene thinned, the worst and the best ones whole.

S scenes, P points of a scene, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from pointseg.atomic import replacing
from pointseg.distributed import Distributed
from pointseg.evaluation.scene_points import encode_points, thinned, write_scene_points
from pointseg.rundir import RunDirectory
from pointseg.scannet.labels import NUM_CLASSES
from pointseg.store import Scene, SceneStore


class ShownScenes:
    """Collects the predictions of this process's scenes; `save` brings those of all processes together.

    Args:
        scenes: S. display_points: kept of every scene at most; 0 for none.
    """

    def __init__(self, scenes: int, display_points: int) -> None:
        self._labels: dict[int, np.ndarray] = {}  # scene -> [P] uint8
        self._display_points = display_points
        self._sizes = np.zeros(scenes, np.int64)
        self._index = np.zeros((scenes, display_points), np.int32)
        self._thinned = np.zeros((scenes, display_points), np.uint8)  # predictions at the index

    def add(self, number: int, scene: Scene, label: np.ndarray) -> None:
        """label: [P] uint8, the prediction for scene `number`."""
        self._labels[number] = label
        if self._display_points:
            kept = thinned(scene.xyz, self._display_points)
            self._sizes[number] = len(kept)
            self._index[number, : len(kept)] = kept
            self._thinned[number, : len(kept)] = label[kept]

    def save(
        self, store: SceneStore, counts: np.ndarray, pictures: int, context: Distributed, run: RunDirectory
    ) -> None:
        """Writes scene_points.zip and scenes/<scan id>.npz (xyz, rgb, label, prediction); every process must call it.

        Args:
            counts: [S, C, C + 1] of the points of all scenes. pictures: scenes to keep whole.
        """
        arrays = [
            context.all_reduce_sum(torch.from_numpy(array)).numpy()
            for array in (self._sizes, self._index, self._thinned)
        ]
        if context.is_main:
            run.scenes.mkdir(parents=True, exist_ok=True)
            run.scene_points_file.unlink(missing_ok=True)
            if self._display_points:
                write_scene_points(run.scene_points_file, _encoded(store, *arrays))
            for old in run.scenes.glob("*.npz"):
                old.unlink()
        for number in worst_and_best(counts, pictures):
            scene = store[number]
            prediction = self._labels.get(number, np.zeros(len(scene.xyz), np.uint8))
            prediction = context.all_reduce_sum(torch.from_numpy(prediction)).numpy()
            if context.is_main:
                with replacing(run.scenes / f"{scene.scan_id}.npz") as temporary, temporary.open("wb") as file:
                    np.savez_compressed(file, xyz=scene.xyz, rgb=scene.rgb, label=scene.label, prediction=prediction)


def worst_and_best(counts: np.ndarray, number: int) -> list[int]:
    """`number` scenes, or all: those of the lowest share of correct points, then as many, or one fewer, of the highest.

    counts: [S, C, C + 1]. Scenes without annotation stand between the two, so that they are the last to be taken.
    """
    correct, total = np.trace(counts[:, :, :NUM_CLASSES], axis1=1, axis2=2), counts.sum(axis=(1, 2))
    scored, others = np.flatnonzero(total), np.flatnonzero(total == 0)
    scored = scored[np.argsort(correct[scored] / total[scored], kind="stable")]
    middle, number = (len(scored) + 1) // 2, min(number, len(counts))
    order = np.concatenate([scored[:middle], others, scored[middle:]])
    worst = (number + 1) // 2
    return [*order[:worst].tolist(), *order[len(order) - (number - worst) :].tolist()]


def _encoded(
    store: SceneStore, sizes: np.ndarray, index: np.ndarray, prediction: np.ndarray
) -> Iterator[tuple[str, bytes]]:
    for number, size in enumerate(sizes.tolist()):
        scene, kept = store[number], index[number, :size]
        yield (
            scene.scan_id,
            encode_points(scene.xyz[kept], scene.rgb[kept], scene.label[kept], prediction[number, :size], compact=True),
        )

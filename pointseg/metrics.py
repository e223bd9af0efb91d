"""Integer confusion counts, one label per voxel, and the scores that are read off the counts.

Counts are added over points, scenes and processes as integers and divided once, at the end, so that a score does not
depend on how the work was shared out. C = number of classes, P = points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

VOXEL_2CM = 0.02  # metres; PointNet++'s released evaluation script
VOXEL_4_84CM = 1.5 / 31  # metres; Dai et al., "ScanNet", CVPR 2017: a 1.5 m block in 31 cells


def confusion_counts(prediction: np.ndarray, target: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts of (true class, predicted class) as int64 [C, C + 1].

    prediction: [P] integers; everything outside 0..C-1 is counted in the last column (predicted outside the classes).
    target:     [P] integers; everything outside 0..C-1 is unannotated and not counted at all.
    """
    if prediction.shape != target.shape or prediction.ndim != 1:
        raise ValueError(f"prediction and target must be [P] alike, got {prediction.shape} and {target.shape}")
    truth = target.astype(np.int64)
    annotated = (truth >= 0) & (truth < num_classes)
    answer = prediction[annotated].astype(np.int64)
    answer[(answer < 0) | (answer >= num_classes)] = num_classes
    cells = truth[annotated] * (num_classes + 1) + answer
    counts = np.bincount(cells, minlength=num_classes * (num_classes + 1))
    return counts.reshape(num_classes, num_classes + 1).astype(np.int64)


def voxel_representatives(xyz: np.ndarray, size: float) -> np.ndarray:
    """The first point, in point order, of every occupied voxel: ascending int64 indices [V] into `xyz` [P, 3].

    Voxels are cubes of side `size` metres on a grid that starts at the minimum corner of the points given. Two voxels
    never share a key, unlike in PointNet++'s released script, whose x + y*nx + z*nx*ny runs over indices 0..n.
    """
    if len(xyz) == 0:
        return np.zeros(0, np.int64)
    points = np.asarray(xyz, np.float64)
    cells = np.floor((points - points.min(axis=0)) / size).astype(np.int64)  # [P, 3], each >= 0
    nx, ny, nz = (int(n) + 1 for n in cells.max(axis=0))
    if nx * ny * nz < 2**63:
        keys = (cells[:, 0] * ny + cells[:, 1]) * nz + cells[:, 2]
        _, first = np.unique(keys, return_index=True)
    else:
        _, first = np.unique(cells, axis=0, return_index=True)
    return np.sort(first).astype(np.int64)


def constant_answer_counts(counts: np.ndarray, answer: int) -> np.ndarray:
    """The counts [C, C + 1] of always answering class `answer` on the points that `counts` was taken from."""
    constant = np.zeros_like(counts)
    constant[:, answer] = counts.sum(axis=1)
    return constant


@dataclass(frozen=True)
class Scores:
    """What one matrix of counts says. Shares in 0..1; None where there is nothing to divide by (never NaN).

    Means run over the classes that occur in the truth; `present` says which. A class that occurs nowhere has recall
    and IoU None, even where it was predicted: those points already count as missed in the class they belong to.
    """

    total: int  # annotated points or voxels
    accuracy: float | None  # correct / total
    class_accuracy: float | None  # mean of `recall` over the classes present
    calibrated_accuracy: float | None  # mean of `recall` by the weights given, over the classes present
    mean_iou: float | None  # mean of `iou` over the classes present
    recall: tuple[float | None, ...]  # per class: correct / occurrences in the truth
    iou: tuple[float | None, ...]  # per class: correct / (occurrences in the truth + predicted elsewhere)
    present: tuple[bool, ...]  # per class: does it occur in the truth?


def scores(counts: np.ndarray, calibration: Sequence[float] | None = None) -> Scores:
    """Scores of int64 counts [C, C + 1]; `calibration` = a weight per class, without which that score is None."""
    num_classes = len(counts)
    if counts.shape != (num_classes, num_classes + 1):
        raise ValueError(f"counts must be [C, C + 1], got {list(counts.shape)}")
    correct = np.diagonal(counts)
    occurs = counts.sum(axis=1)
    union = occurs + counts[:, :num_classes].sum(axis=0) - correct
    present = tuple(bool(n) for n in occurs > 0)
    recall = tuple(_ratio(correct[c], occurs[c]) for c in range(num_classes))
    iou = tuple(_ratio(correct[c], union[c]) if present[c] else None for c in range(num_classes))
    return Scores(
        total=int(occurs.sum()),
        accuracy=_ratio(correct.sum(), occurs.sum()),
        class_accuracy=_mean(recall, None),
        calibrated_accuracy=None if calibration is None else _mean(recall, calibration),
        mean_iou=_mean(iou, None),
        recall=recall,
        iou=iou,
        present=present,
    )


def _ratio(part: int, whole: int) -> float | None:
    return float(part) / float(whole) if whole else None


def _mean(values: Sequence[float | None], weights: Sequence[float] | None) -> float | None:
    """Weighted mean over the values that are not None; None when no weight is left."""
    pairs = [(v, 1.0 if weights is None else float(weights[c])) for c, v in enumerate(values) if v is not None]
    whole = sum(weight for _, weight in pairs)
    return sum(value * weight for value, weight in pairs) / whole if whole else None

"""Integer confusion counts, one label per voxel, and the scores that are read off the counts.

Counts are added over points, scenes and processes as integers and divided once, at the end, so that a score does not
depend on how the work was shared out. C = number of classes, P = points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pointnet2_ops.ops import first_in_voxel

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
    points = np.require(xyz, None if xyz.dtype in (np.float32, np.float64) else np.float64, ["C", "W"])
    try:
        return np.flatnonzero(first_in_voxel(torch.from_numpy(points), size).numpy())
    except ValueError:  # more voxels than the operator can name
        points = points.astype(np.float64)
    cells = np.floor((points - points.min(axis=0)) / size).astype(np.int64)
    _, first = np.unique(cells, axis=0, return_index=True)
    return np.sort(first).astype(np.int64)


def voxel_representatives_literal(xyz: np.ndarray, size: float) -> np.ndarray:
    """`voxel_representatives` as PointNet++'s released script has it, down to its key.

    Indices are rounded up, so they run over 0..n, but the key x + y*nx + z*nx*ny is made for 0..n-1: some voxels share
    a key, and only the first point of them all is looked at.
    """
    if len(xyz) == 0:
        return np.zeros(0, np.int64)
    points = np.asarray(xyz, np.float64)
    low = points.min(axis=0)
    nx, ny, _ = np.ceil((points.max(axis=0) - low) / size)
    x, y, z = np.ceil((points - low) / size).T
    _, first = np.unique(x + y * nx + z * nx * ny, return_index=True)
    return np.sort(first).astype(np.int64)


def constant_answer_counts(counts: np.ndarray, answer: int) -> np.ndarray:
    """The counts [C, C + 1] of always answering class `answer` on the points that `counts` was taken from."""
    constant = np.zeros_like(counts)
    constant[:, answer] = counts.sum(axis=1)
    return constant


# What a mean over classes makes of a class that does not occur in the truth. "skip": leaves it out, always.
# "zero": counts its recall as 0, as PointNet++'s released script does. "benchmark": leaves it out unless it was
# predicted, which is an IoU of 0, as ScanNet's own evaluator has it.
AbsentRule = Literal["skip", "zero", "benchmark"]


@dataclass(frozen=True)
class Scores:
    """What one matrix of counts says. Shares in 0..1; None where there is nothing to divide by (never NaN).

    A class that occurs nowhere has recall and IoU None (but for the rule "benchmark"); `present` says which occur.
    """

    total: int  # annotated points or voxels
    accuracy: float | None  # correct / total
    class_accuracy: float | None  # mean of `recall`
    calibrated_accuracy: float | None  # mean of `recall` by the weights given
    mean_iou: float | None  # mean of `iou`
    recall: tuple[float | None, ...]  # per class: correct / occurrences in the truth
    iou: tuple[float | None, ...]  # per class: correct / (occurrences in the truth + predicted elsewhere)
    present: tuple[bool, ...]  # per class: does it occur in the truth?


def scores(counts: np.ndarray, calibration: Sequence[float] | None = None, absent: AbsentRule = "skip") -> Scores:
    """Scores of int64 counts [C, C + 1]; `calibration` = a weight per class, without which that score is None."""
    recall, iou = class_scores(counts, absent)
    means = mean_scores(counts, calibration, absent)
    occurs = counts.sum(axis=1)
    return Scores(
        total=int(occurs.sum()),
        accuracy=_number(means["accuracy"]),
        class_accuracy=_number(means["class_accuracy"]),
        calibrated_accuracy=None if calibration is None else _number(means["calibrated_accuracy"]),
        mean_iou=_number(means["miou"]),
        recall=tuple(map(_number, recall)),
        iou=tuple(map(_number, iou)),
        present=tuple(bool(n) for n in occurs > 0),
    )


def class_scores(counts: np.ndarray, absent: AbsentRule = "skip") -> tuple[np.ndarray, np.ndarray]:
    """Recall and IoU of each class, [..., C] float64 each, of counts [..., C, C + 1]; NaN: nothing to divide by."""
    num_classes = counts.shape[-2]
    if counts.shape[-1] != num_classes + 1:
        raise ValueError(f"counts must end in [C, C + 1], got {list(counts.shape)}")
    correct = np.diagonal(counts, axis1=-2, axis2=-1)
    occurs = counts.sum(axis=-1)
    union = occurs + counts[..., :num_classes].sum(axis=-2) - correct
    counted = union > 0 if absent == "benchmark" else occurs > 0
    return _ratio(correct, occurs, occurs > 0), _ratio(correct, union, counted)


def mean_scores(
    counts: np.ndarray, calibration: Sequence[float] | None = None, absent: AbsentRule = "skip"
) -> dict[str, np.ndarray]:
    """Accuracy and the means over classes, [...] float64 each, of many matrices of counts [..., C, C + 1] at once."""
    recall, iou = class_scores(counts, absent)
    correct, total = np.diagonal(counts, axis1=-2, axis2=-1).sum(axis=-1), counts.sum(axis=(-2, -1))
    if absent == "zero":
        recall = np.nan_to_num(recall)
    even = np.ones(counts.shape[-2])
    return {
        "accuracy": _ratio(correct, total, total > 0),
        "class_accuracy": _mean(recall, even),
        "calibrated_accuracy": _mean(recall, even if calibration is None else np.asarray(calibration, np.float64)),
        "miou": _mean(iou, even),
    }


def _ratio(part: np.ndarray, whole: np.ndarray, defined: np.ndarray) -> np.ndarray:
    return np.where(defined, part / np.where(whole > 0, whole, 1), np.nan)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean over the last axis and the values that are not NaN; NaN when no weight is left."""
    known = ~np.isnan(values)
    whole = (known * weights).sum(axis=-1)
    return _ratio((np.where(known, values, 0) * weights).sum(axis=-1), whole, whole > 0)


def _number(value: np.ndarray) -> float | None:
    return None if np.isnan(value) else float(value)

"""What eval.json says, made from integer counts, and the table of it for the terminal.

S scenes, M measures (`MEASURES`), C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pointseg.metrics import VOXEL_2CM, VOXEL_4_84CM, constant_answer_counts, scores
from pointseg.scannet.labels import CALIBRATED_WEIGHTS, CLASS_NAMES, NUM_CLASSES

SCHEMA = 1  # of eval.json

# What is counted: every point, or one point per voxel of this size.
MEASURES: dict[str, float | None] = {"pixel": None, "voxel_2cm": VOXEL_2CM, "voxel_4.84cm": VOXEL_4_84CM}

DEFINITIONS = {
    "pixel accuracy": "correct points / annotated points of the 20 classes",
    "voxel accuracy": "one label per occupied voxel (that of its first point in point order, for truth and prediction "
    "alike): correct voxels / voxels annotated with one of the 20 classes. The size is named: 2 cm is that of "
    "PointNet++'s released script, 4.84 cm = 1.5 m / 31 that of Dai et al. (CVPR 2017)",
    "class accuracy": "mean over the classes that occur of correct / occurrences, counts summed over all scenes first; "
    "'class pixel' counts points, 'class voxel' counts voxels",
    "calibrated accuracy": "the same mean, weighted by PointNet++'s fixed class shares of ScanNet",
    "IoU": "correct / (occurrences + wrong answers with this class), over points; mIoU is the mean over the classes "
    "that occur",
    "unannotated": "points without one of the 20 classes are counted nowhere; answers outside the 20 are wrong",
}

PROTOCOLS = {
    "every_vertex": "Every vertex gets a prediction. The scan is cut into columns that overlap evenly, with a margin "
    "of context; the points of a column are dealt out to chunks; a vertex takes the class with the largest sum of "
    "probabilities over the chunks in which it is inside the column. Voxels are those of the whole scan.",
    "pointnet2": "PointNet++'s released script: columns on a grid from the scan's minimum, with a margin of context; "
    "one draw with replacement per column; columns with almost no drawn point inside are dropped; only drawn points "
    "inside the column are scored, a point drawn twice counts twice. Voxels are those of the drawn points of a column.",
}
_NOTES = {
    "pointnet2": (
        "differs from the released script: the last incomplete batch of columns is scored too",
        "differs from the released script: voxel keys do not collide",
    ),
}


def protocol_result(
    protocol: str, counts: np.ndarray, coverage: np.ndarray, scan_ids: tuple[str, ...], baseline: int
) -> dict[str, Any]:
    """counts [S, len(MEASURES), C, C + 1] and coverage [S, 5] of all scenes, as eval.json holds them."""
    total = counts.sum(axis=0)
    constant = np.stack([constant_answer_counts(matrix, baseline) for matrix in total])
    return {
        "definition": PROTOCOLS[protocol],
        "notes": list(_NOTES.get(protocol, ())),
        "overall": _summary(total, coverage.sum(axis=0)),
        "baseline": _summary(constant, None),
        "per_class": _per_class(total),
        "per_scene": [{"scene": scan_ids[i], **_summary(counts[i], coverage[i])} for i in range(len(counts))],
        "counts": {measure: total[row].tolist() for row, measure in enumerate(MEASURES)},
    }


def _summary(counts: np.ndarray, coverage: np.ndarray | None) -> dict[str, Any]:
    """Per measure the scores of counts [len(MEASURES), C, C + 1], what occurs, and how much was looked at."""
    result: dict[str, Any] = {}
    for row, measure in enumerate(MEASURES):
        got = scores(counts[row], CALIBRATED_WEIGHTS)
        result[measure] = {
            "accuracy": got.accuracy,
            "class_accuracy": got.class_accuracy,
            "calibrated_accuracy": got.calibrated_accuracy,
            "miou": got.mean_iou,
            "count": got.total,
        }
    result["classes_present"] = int(sum(got.present))
    result["classes_absent"] = [name for name, present in zip(CLASS_NAMES, got.present, strict=True) if not present]
    if coverage is not None:
        vertices, annotated, predicted, predicted_annotated, chunks = (int(n) for n in coverage)
        result["coverage"] = {
            "vertices": vertices,
            "annotated": annotated,
            "predicted": predicted,
            "predicted_percent": 100 * predicted / vertices,
            "annotated_predicted_percent": 100 * predicted_annotated / annotated if annotated else None,
            "chunks": chunks,
        }
    return result


def _per_class(total: np.ndarray) -> list[dict[str, Any]]:
    """One entry a class; scores of a class that does not occur are None."""
    of = {measure: scores(total[row]) for row, measure in enumerate(MEASURES)}
    return [
        {
            "class": CLASS_NAMES[c],
            "train_id": c,
            "present": of["pixel"].present[c],
            "iou": of["pixel"].iou[c],
            "recall": {measure: got.recall[c] for measure, got in of.items()},
            "count": {measure: int(total[row, c].sum()) for row, measure in enumerate(MEASURES)},
        }
        for c in range(NUM_CLASSES)
    ]


# --- Terminal --------------------------------------------------------------------------------------------------------

# Columns of the terminal's table: heading, measure, score.
_COLUMNS = (
    ("pixel", "pixel", "accuracy"),
    ("voxel 4.84 cm", "voxel_4.84cm", "accuracy"),
    ("voxel 2 cm", "voxel_2cm", "accuracy"),
    ("class pixel", "pixel", "class_accuracy"),
    ("class voxel", "voxel_4.84cm", "class_accuracy"),
    ("mIoU", "pixel", "miou"),
)


def format_table(result: dict[str, Any]) -> str:
    """The scores in % as text: one line per protocol, each with the baseline below it."""
    rows = [["", *(heading for heading, _, _ in _COLUMNS)]]
    for protocol, part in result["protocols"].items():
        for name, key in ((protocol, "overall"), (f"always {result['baseline']['class']!r}", "baseline")):
            values = (part[key][measure][score] for _, measure, score in _COLUMNS)
            rows.append([name, *("absent" if value is None else f"{100 * value:.1f}" for value in values)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    first = next(iter(result["protocols"].values()))["overall"]
    absent = "".join(f", {name}" for name in first["classes_absent"])
    footer = f"{result['scenes']} scenes of split {result['split']!r}; accuracies in %; class voxel at 4.84 cm"
    if absent:
        footer += f"; absent classes: {absent[2:]}"
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], footer])

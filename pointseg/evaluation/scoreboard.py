"""What eval.json says, made from integer counts, and the table of it for the terminal.

S scenes, M measures (`MEASURES`), C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from pointseg.config import Protocol
from pointseg.evaluation.bootstrap import score_intervals
from pointseg.evaluation.definitions import ABSENT_RULES, MEASURES, NOTES, PROTOCOLS
from pointseg.metrics import AbsentRule, constant_answer_counts, scores
from pointseg.scannet.labels import CALIBRATED_WEIGHTS, CLASS_NAMES, NUM_CLASSES


def protocol_result(
    protocol: Protocol,
    counts: np.ndarray,
    coverage: np.ndarray,
    scan_ids: tuple[str, ...],
    baseline: int,
    resamples: int,
    scene_types: Sequence[str] = (),
) -> dict[str, Any]:
    """counts [S, M, C, C + 1] and coverage [S, 5] of all scenes, as eval.json holds them.

    Args:
        scene_types: what kind of room each scene is, "" where nobody knows; () where nobody knows of any.
    """
    total, rule = counts.sum(axis=0), ABSENT_RULES[protocol]
    constant = np.stack([constant_answer_counts(matrix, baseline) for matrix in total])
    return {
        "definition": PROTOCOLS[protocol],
        "notes": list(NOTES[protocol]),
        "overall": _summary(total, coverage.sum(axis=0), rule),
        "intervals": {
            measure: score_intervals(counts[:, row], CALIBRATED_WEIGHTS, rule, resamples)
            for row, measure in enumerate(MEASURES)
        },
        "baseline": _summary(constant, None, rule),
        "per_class": _per_class(total, rule),
        "per_scene_type": _per_scene_type(counts, scene_types, rule),
        "per_scene": [{"scene": scan_ids[i], **_summary(counts[i], coverage[i], rule)} for i in range(len(counts))],
        "counts": {measure: total[row].tolist() for row, measure in enumerate(MEASURES)},
    }


def _per_scene_type(counts: np.ndarray, scene_types: Sequence[str], rule: AbsentRule) -> list[dict[str, Any]]:
    """One entry a kind of room, the commonest first: how many scenes, and the scores of their counts added up."""
    kinds = Counter(kind for kind in scene_types if kind)
    of = np.array(scene_types)
    return [
        {"scene_type": kind, "scenes": scenes, **_summary(counts[of == kind].sum(axis=0), None, rule)}
        for kind, scenes in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    ]


def _summary(counts: np.ndarray, coverage: np.ndarray | None, rule: AbsentRule) -> dict[str, Any]:
    """Per measure the scores of counts [M, C, C + 1], what occurs, and how much was looked at."""
    result: dict[str, Any] = {}
    for row, measure in enumerate(MEASURES):
        got = scores(counts[row], CALIBRATED_WEIGHTS, rule)
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


def _per_class(total: np.ndarray, rule: AbsentRule) -> list[dict[str, Any]]:
    """One entry a class; scores of a class that does not occur are None."""
    of = {measure: scores(total[row], absent=rule) for row, measure in enumerate(MEASURES)}
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
    """The scores in % as text: one line per protocol, below it how sure they are and the baseline."""
    rows = [["", *(heading for heading, _, _ in _COLUMNS)]]
    for protocol, part in result["protocols"].items():
        intervals = [part["intervals"][measure][score] for _, measure, score in _COLUMNS]
        rows.append([protocol, *(_percent(part["overall"][measure][score]) for _, measure, score in _COLUMNS)])
        if any(intervals):
            rows.append(["95 % interval", *("-" if i is None else "-".join(map(_percent, i)) for i in intervals)])
        constant = (part["baseline"][measure][score] for _, measure, score in _COLUMNS)
        rows.append([f"always {result['baseline']['class']!r}", *map(_percent, constant)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    first = next(iter(result["protocols"].values()))["overall"]
    absent = "".join(f", {name}" for name in first["classes_absent"])
    scenes = f"{result['scenes']} scene{'s' * (result['scenes'] > 1)}"
    footer = f"{scenes} of split {result['split']!r}; accuracies in %; class voxel at 4.84 cm"
    if absent:
        footer += f"; absent classes: {absent[2:]}"
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], footer])


def _percent(value: float | None) -> str:
    return "absent" if value is None else f"{100 * value:.1f}"

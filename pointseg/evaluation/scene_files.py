"""What an evaluation leaves of each scene: a table for people, and the counts that every score can be made of again.

S scenes, M measures, C classes.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from pointseg.atomic import replacing
from pointseg.errors import InputError
from pointseg.evaluation.definitions import MEASURES
from pointseg.scannet.labels import NUM_CLASSES

_SCORES = ("accuracy", "class_accuracy", "calibrated_accuracy", "miou", "count")
_COVERAGE = ("vertices", "annotated", "predicted", "predicted_percent", "annotated_predicted_percent", "chunks")


def scene_table(result: dict[str, Any]) -> str:
    """CSV with a row for every scene and protocol of an eval.json; shares in 0..1, empty where there is no score."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    scores = [f"{measure} {score}" for measure in MEASURES for score in _SCORES]
    table.writerow(["scene", "protocol", *scores, "classes_present", *_COVERAGE, "seconds"])
    for number, seconds in enumerate(result["scene_seconds"]):
        for protocol, part in result["protocols"].items():
            row = part["per_scene"][number]
            values = [row[measure][score] for measure in MEASURES for score in _SCORES]
            coverage = [row["coverage"][name] for name in _COVERAGE]
            table.writerow([row["scene"], protocol, *values, row["classes_present"], *coverage, seconds])
    return file.getvalue()


def write_scene_counts(path: Path, counts: dict[str, np.ndarray], scan_ids: tuple[str, ...]) -> None:
    """Writes counts [S, M, C, C + 1] per protocol as JSON: scene -> measure -> [[true, predicted, n], ...]."""
    content = {
        protocol: {
            scan_id: {measure: _entries(scene[row]) for row, measure in enumerate(MEASURES)}
            for scan_id, scene in zip(scan_ids, scenes, strict=True)
        }
        for protocol, scenes in counts.items()
    }
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def read_scene_counts(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """What `write_scene_counts` wrote: per protocol and scene int64 [M, C, C + 1].

    Raises:
        InputError: no such file, or one with something else in it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            protocol: {scan_id: np.stack([_matrix(of[m]) for m in MEASURES]) for scan_id, of in scenes.items()}
            for protocol, scenes in content.items()
        }
    except OSError as error:
        raise InputError(f"run: cannot read {path}: {error.strerror}; evaluate the run again") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise InputError(f"run: {path} must hold the counts of `pointseg evaluate`; evaluate the run again") from None


def _entries(counts: np.ndarray) -> list[list[int]]:
    true, predicted = np.nonzero(counts)
    return np.stack([true, predicted, counts[true, predicted]], axis=1).tolist()


def _matrix(entries: list[list[int]]) -> np.ndarray:
    counts = np.zeros((NUM_CLASSES, NUM_CLASSES + 1), np.int64)
    if entries:
        true, predicted, number = np.array(entries, np.int64).T
        counts[true, predicted] = number
    return counts

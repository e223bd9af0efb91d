"""eval.json as the report reads it: what must be there, checked when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import msgspec

from pointseg.errors import InputError
from pointseg.evaluation.definitions import SCHEMA
from pointseg.rundir import read_json

Score = float | None  # None: nothing to score


class Scores(TypedDict):
    accuracy: Score
    class_accuracy: Score
    calibrated_accuracy: Score
    miou: Score
    count: int


Measured = TypedDict("Measured", {"pixel": Scores, "voxel_2cm": Scores, "voxel_4.84cm": Scores})
Recall = TypedDict("Recall", {"pixel": Score, "voxel_2cm": Score, "voxel_4.84cm": Score})
Interval = tuple[float, float] | None


class Coverage(TypedDict):
    vertices: int
    annotated: int
    predicted_percent: float
    chunks: int


class Overall(Measured):
    classes_present: int
    classes_absent: list[str]
    coverage: Coverage


class Scene(Measured):
    scene: str
    classes_present: int
    coverage: Coverage


class OfClass(TypedDict):
    train_id: int
    present: bool
    iou: Score
    recall: Recall
    count: dict[str, int]


class ProtocolResult(TypedDict):
    definition: str
    notes: list[str]
    overall: Overall
    intervals: dict[str, dict[str, Interval]]
    baseline: Measured
    per_class: list[OfClass]
    per_scene: list[Scene]
    counts: dict[str, list[list[int]]]


class Baseline(TypedDict):
    source: str


class Evaluation(TypedDict):
    split: str
    store: str
    data: dict[str, Any]
    scenes: int
    classes: list[str]
    definitions: dict[str, str]
    baseline: Baseline
    protocols: dict[str, ProtocolResult]


def read_evaluation(path: Path) -> dict[str, Any]:
    """The content of an eval.json.

    Raises:
        InputError: no JSON, of another schema, or without something that the report shows; it is named.
    """
    result = read_json(path)
    schema = result.get("schema") if isinstance(result, dict) else None
    if schema != SCHEMA:
        raise InputError(f"{path}: expected schema {SCHEMA}, got {schema}; evaluate again")
    try:
        checked = msgspec.convert(result, Evaluation)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: damaged ({error}); evaluate again") from None
    if not checked["protocols"]:
        raise InputError(f"{path}: damaged (no protocols); evaluate again")
    return result

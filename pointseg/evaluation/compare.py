"""Several runs beside each other: means and spreads over seeds, and which differences are more than luck.

Runs that differ in their seed only are one row. The first row is the one the others are compared with, on the same
scenes: a resample draws scenes (the same for all rows) and, where a row has several, seeds (each row its own).

S scenes, R resamples, K runs of a row, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pointseg.config import Config, Protocol
from pointseg.config_file import changed_keys
from pointseg.errors import InputError
from pointseg.evaluation.bootstrap import interval, resampled_scores, resamples_of
from pointseg.evaluation.definitions import ABSENT_RULES, MEASURES, SCHEMA
from pointseg.evaluation.scene_files import read_scene_counts
from pointseg.metrics import class_scores, mean_scores
from pointseg.rundir import RunDirectory, read_json
from pointseg.scannet.labels import CALIBRATED_WEIGHTS, CLASS_NAMES

# Heading, measure, score; the paper's Table 3 has the first four, with voxels of 4.84 cm.
COLUMNS = (
    ("voxel 4.84 cm", "voxel_4.84cm", "accuracy"),
    ("pixel", "pixel", "accuracy"),
    ("class voxel 4.84 cm", "voxel_4.84cm", "class_accuracy"),
    ("class pixel", "pixel", "class_accuracy"),
    ("voxel 2 cm", "voxel_2cm", "accuracy"),
    ("mIoU", "pixel", "miou"),
)
# Settings that may differ within a row: they do not change what is trained, or are what the spread is over.
_NOT_THE_EXPERIMENT = (
    "train.seed",
    "train.log_every",
    "train.checkpoint_every",
    "train.evaluate_every",
    "train.validate_every",
    "train.validate_chunks",
    "data.workers",
)


@dataclass(frozen=True)
class _Run:
    path: Path
    config: Config
    result: dict[str, Any]  # its eval.json
    counts: dict[str, dict[str, np.ndarray]]  # protocol -> scene -> [M, C, C + 1]


def compare(
    paths: Sequence[Path], *, protocol: Protocol | None = None, resamples: int = 10_000, seed: int = 0
) -> dict[str, Any]:
    """What the rows score and how they differ from the first; can be written as JSON.

    Args:
        paths: run directories that `pointseg evaluate` has been through; the first one's row is the reference.
        protocol: default: the first one of the first run that all runs have.
        resamples: behind the intervals and p-values. seed: of the resamples.

    Returns:
        {"protocol", "split", "scenes", "rows": [{"name", "runs", "seeds", "scores", "difference", "iou"}]}: per column
        of `COLUMNS`, `scores` has mean, low, high and values over seeds and the 95 % interval, `difference` (None in
        the first row) has mean, interval and p; shares in 0..1. `iou` has the mean over seeds of each class.

    Raises:
        InputError: a folder that is no evaluated run, runs of other scenes, a protocol that a run lacks.
    """
    if not paths:
        raise InputError("runs: expected one run directory or more, got none")
    if resamples < 1:
        raise InputError(f"resamples must be 1 or more, got {resamples}")
    runs = [_read(RunDirectory(path)) for path in paths]
    _check_alike(runs)
    protocol = protocol or _common_protocol(runs)
    for run in runs:
        if protocol not in run.counts:
            raise InputError(f"{run.path}: has no scores by {protocol!r}, only by {', '.join(run.counts)}")
    rows = _rows(runs)
    scenes = list(runs[0].counts[protocol])
    counts = [_stack(row, protocol, scenes) for row in rows]
    drawn = resamples_of(len(scenes), resamples, (seed, 0))
    resampled = [
        _resample_seeds(counts[number], drawn, protocol, np.random.default_rng([seed, 1, number]))
        for number in range(len(rows))
    ]
    return {
        "protocol": protocol,
        "split": runs[0].result["split"],
        "synthetic": runs[0].result["data"].get("synthetic"),
        "scenes": len(scenes),
        "resamples": resamples,
        "rows": [
            {
                "name": name,
                "runs": [str(run.path) for run in row],
                "seeds": [run.config.train.seed for run in row],
                "scores": _scores(counts[number], resampled[number], protocol),
                "difference": _differences(counts, resampled, number, protocol) if number else None,
                "iou": _class_means(counts[number], protocol),
            }
            for number, (name, row) in enumerate(zip(_names(rows), rows, strict=True))
        ],
    }


def _read(run: RunDirectory) -> _Run:
    config = run.load_config()
    if not run.eval_file.is_file():
        raise InputError(f"run: {run.path} has no eval.json; evaluate it first: pointseg evaluate {run.path}")
    result = read_json(run.eval_file)
    if not isinstance(result, dict) or result.get("schema") != SCHEMA:
        raise InputError(
            f"{run.eval_file}: expected the scores of `pointseg evaluate`, schema {SCHEMA}; evaluate again"
        )
    return _Run(run.path, config, result, read_scene_counts(run.scene_counts_file))


def _check_alike(runs: Sequence[_Run]) -> None:
    """The same scenes with the same points, or the comparison means nothing."""
    first = runs[0]

    def data(run: _Run) -> tuple[Any, ...]:
        scenes = next(iter(run.counts.values()))
        return run.result["split"], run.result["data"].get("points"), list(scenes)

    for run in runs[1:]:
        if run.path.resolve() == first.path.resolve():
            raise InputError(f"{run.path}: expected every run once, got it twice")
        if data(run) != data(first):
            raise InputError(
                f"{run.path}: expected an evaluation of the same scenes as {first.path}'s ({first.result['split']!r}, "
                f"{first.result['scenes']} scenes), got {run.result['split']!r}, {run.result['scenes']} scenes"
            )


def _common_protocol(runs: Sequence[_Run]) -> Protocol:
    for protocol in runs[0].counts:
        if all(protocol in run.counts for run in runs):
            return protocol  # type: ignore[return-value]
    raise InputError("runs: expected a protocol that all were evaluated by, got none")


def _rows(runs: Sequence[_Run]) -> list[list[_Run]]:
    """Runs that differ in `_NOT_THE_EXPERIMENT` and how they were evaluated only, in the order of their first."""
    rows: list[list[_Run]] = []
    for run in runs:
        for row in rows:
            if not _differing(row[0].config, run.config):
                row.append(run)
                break
        else:
            rows.append([run])
    return rows


def _differing(one: Config, other: Config) -> list[str]:
    keys = changed_keys(one, dataclasses.replace(other, evaluate=one.evaluate))
    return [key for key in keys if key not in _NOT_THE_EXPERIMENT]


def _names(rows: Sequence[Sequence[_Run]]) -> list[str]:
    """The networks' names; where two rows have the same, the run directory's comes behind."""
    networks = [row[0].config.model.describe() for row in rows]
    return [
        f"{name} ({row[0].path.resolve().name})" if networks.count(name) > 1 else name
        for name, row in zip(networks, rows, strict=True)
    ]


def _stack(row: Sequence[_Run], protocol: Protocol, scenes: Sequence[str]) -> np.ndarray:
    """[K, S, M, C, C + 1]"""
    return np.stack([np.stack([run.counts[protocol][scene] for scene in scenes]) for run in row])


def _resample_seeds(
    counts: np.ndarray, drawn: np.ndarray, protocol: Protocol, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Per column the row's score [R] on the scenes `drawn` [R, S], averaged over as many runs drawn anew."""
    rule, resamples, runs = ABSENT_RULES[protocol], len(drawn), len(counts)
    chosen = rng.integers(runs, size=(runs, resamples))
    result = {}
    for row, measure in enumerate(MEASURES):
        per_run = [resampled_scores(one[:, row], drawn, CALIBRATED_WEIGHTS, rule) for one in counts]
        for heading, column_measure, score in COLUMNS:
            if column_measure == measure:
                values = np.stack([scores[score] for scores in per_run])  # [K, R]
                result[heading] = np.take_along_axis(values, chosen, axis=0).mean(axis=0)
    return result


def _values(counts: np.ndarray, measure: str, score: str, protocol: Protocol) -> np.ndarray:
    """The score of each run, [K], NaN where there is none."""
    total = counts[:, :, list(MEASURES).index(measure)].sum(axis=1)
    return mean_scores(total, CALIBRATED_WEIGHTS, ABSENT_RULES[protocol])[score]


def _scores(counts: np.ndarray, resampled: dict[str, np.ndarray], protocol: Protocol) -> dict[str, Any]:
    result = {}
    for heading, measure, score in COLUMNS:
        values = _values(counts, measure, score, protocol)
        result[heading] = {
            "mean": _number(values.mean()),
            "low": _number(values.min()),
            "high": _number(values.max()),
            "values": [_number(value) for value in values],
            "interval": interval(resampled[heading]),
        }
    return result


def _differences(
    counts: Sequence[np.ndarray], resampled: Sequence[dict[str, np.ndarray]], number: int, protocol: Protocol
) -> dict[str, Any]:
    """Row `number` minus the first: mean, 95 % interval, and the two-sided share of resamples beyond 0."""
    result = {}
    for heading, measure, score in COLUMNS:
        mine, reference = (_values(counts[row], measure, score, protocol).mean() for row in (number, 0))
        spread = resampled[number][heading] - resampled[0][heading]
        beyond = 2 * min(np.mean(spread <= 0), np.mean(spread >= 0))
        known = interval(spread)
        result[heading] = {
            "mean": _number(mine - reference),
            "interval": known,
            # No resample beyond 0 says no more than that the share is below one in their number.
            "p": None if known is None else float(min(max(beyond, 1 / len(spread)), 1.0)),
        }
    return result


def _class_means(counts: np.ndarray, protocol: Protocol) -> dict[str, float | None]:
    """Mean over runs of each class's IoU over points."""
    _, iou = class_scores(counts[:, :, 0].sum(axis=1), ABSENT_RULES[protocol])
    return {name: _number(value) for name, value in zip(CLASS_NAMES, iou.mean(axis=0), strict=True)}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

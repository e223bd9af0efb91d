"""How sure a score is: the same scenes drawn anew, with replacement.

S scenes, R resamples, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pointseg.metrics import AbsentRule, mean_scores

LEVEL = 0.95


def resamples_of(scenes: int, resamples: int, seed: Sequence[int] = (0,)) -> np.ndarray:
    """How often each scene is drawn in each resample: int64 [R, S], rows sum to S."""
    rng = np.random.default_rng([*seed])
    return rng.multinomial(scenes, np.full(scenes, 1 / scenes), size=resamples)


def resampled_scores(
    counts: np.ndarray, weights: np.ndarray, calibration: Sequence[float] | None, absent: AbsentRule
) -> dict[str, np.ndarray]:
    """Every mean score, [R] each, of the scenes' counts [S, C, C + 1] added up by `weights` [R, S]."""
    return mean_scores(np.tensordot(weights, counts, axes=1), calibration, absent)


def score_intervals(
    counts: np.ndarray, calibration: Sequence[float] | None, absent: AbsentRule, resamples: int
) -> dict[str, list[float] | None]:
    """The 95 % interval [low, high] of every mean score of counts [S, C, C + 1].

    None where there is no telling: fewer than two scenes, no resamples, or a resample without the score.
    """
    if resamples == 0 or len(counts) < 2:
        return dict.fromkeys(mean_scores(counts.sum(axis=0), calibration, absent))
    drawn = resampled_scores(counts, resamples_of(len(counts), resamples), calibration, absent)
    return {name: interval(values) for name, values in drawn.items()}


def interval(values: np.ndarray) -> list[float] | None:
    """[low, high] that holds the middle 95 % of `values` [R]; None if one of them is NaN."""
    if np.isnan(values).any():
        return None
    return [float(v) for v in np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])]

"""Intervals over scenes: against resamples drawn one at a time, and against what is known of means."""

from __future__ import annotations

import numpy as np
import pytest

from pointseg.evaluation.bootstrap import interval, resampled_scores, resamples_of, score_intervals
from pointseg.metrics import mean_scores, scores


def _counts(scenes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 50, (scenes, 3, 4))


def test_every_resample_draws_as_many_scenes():
    drawn = resamples_of(7, 50)
    assert drawn.shape == (50, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert (drawn == 0).any()
    assert np.array_equal(drawn, resamples_of(7, 50))
    assert not np.array_equal(drawn, resamples_of(7, 50, seed=(1,)))


@pytest.mark.parametrize("absent", ["skip", "zero", "benchmark"])
def test_resampled_scores_are_those_of_the_scenes_drawn(absent: str):
    counts = _counts(5)
    counts[:, 2] = 0  # a class that does not occur
    drawn = resamples_of(5, 20)
    got = resampled_scores(counts, drawn, [0.5, 0.3, 0.2], absent)
    for number, times in enumerate(drawn):
        one = scores(np.repeat(counts, times, axis=0).sum(axis=0), [0.5, 0.3, 0.2], absent)
        expected = (one.accuracy, one.class_accuracy, one.calibrated_accuracy, one.mean_iou)
        assert tuple(got[name][number] for name in mean_scores(counts[0])) == pytest.approx(expected)


def test_interval_holds_the_score_and_shrinks_with_scenes():
    few, many = (score_intervals(_counts(scenes), None, "skip", 500)["accuracy"] for scenes in (10, 160))
    whole = scores(_counts(160).sum(axis=0)).accuracy
    assert many[0] < whole < many[1]
    assert (few[1] - few[0]) / (many[1] - many[0]) == pytest.approx(4, rel=0.4)  # the square root of 16


def test_no_interval_where_there_is_no_telling():
    assert score_intervals(_counts(1), None, "skip", 100)["accuracy"] is None
    assert score_intervals(_counts(5), None, "skip", 0)["miou"] is None
    assert interval(np.array([0.1, np.nan])) is None

"""Learning rate and BatchNorm momentum step by step."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from pointseg.config import Config, TrainConfig
from pointseg.errors import InputError
from pointseg.training.schedule import bn_momentum, learning_rate


def test_staircase() -> None:
    settings = Config().train  # batches of 64
    assert learning_rate(settings, 0, 10) == learning_rate(settings, 3124, 10) == 1e-3
    assert learning_rate(settings, 3125, 10) == pytest.approx(7e-4)  # 200,000 chunks
    assert learning_rate(settings, 10**6, 10) == 1e-5
    assert bn_momentum(settings, 0) == 0.5
    assert bn_momentum(settings, 6250) == 0.125
    assert bn_momentum(settings, 10**6) == 0.01


def test_cosine_with_warmup() -> None:
    settings = TrainConfig(schedule="cosine", lr=1.0, lr_floor=0.2, warmup=0.1)
    rates = [learning_rate(settings, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    for step in range(10, 100):
        assert rates[step] == pytest.approx(0.6 + 0.4 * math.cos(math.pi * (step - 10) / 90))


def test_one_cycle_rises_and_falls() -> None:
    settings = TrainConfig(schedule="onecycle", lr=1.0, lr_floor=0.0, warmup=0.25)
    rates = [learning_rate(settings, step, 40) for step in range(40)]
    assert rates[9] == rates[10] == 1.0
    assert all(a < b for a, b in pairwise(rates[:10]))
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[0] == pytest.approx(1 / 25 + 24 / 25 * (1 - math.cos(math.pi / 10)) / 2)
    assert learning_rate(settings, 40, 40) == pytest.approx(0)
    with pytest.raises(InputError, match="warmup must be between 0 and 1 with schedule onecycle, got 0"):
        TrainConfig(schedule="onecycle")

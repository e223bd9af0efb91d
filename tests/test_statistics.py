"""What is measured of a scan, on clouds whose figures are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pointseg.scannet.labels import IGNORE
from pointseg.scannet.statistics import measure


def plane(count: int, side: float, spread: float, rng: np.random.Generator) -> np.ndarray:
    return np.column_stack([rng.uniform(0, side, (count, 2)), rng.normal(0, spread, count)])


def test_a_random_floor() -> None:
    rng = np.random.default_rng(0)
    density, side = 900.0, 4.0
    xyz = plane(int(density * side**2), side, 0.001, rng)
    label = np.ones(len(xyz), np.uint8)
    label[rng.random(len(xyz)) < 0.2] = IGNORE
    found = measure(xyz, label, rng)
    # Poisson points: the distance to the nearest has median sqrt(ln 2 / (pi density)), variation sqrt(4 / pi - 1).
    assert found.spacing == pytest.approx(math.sqrt(math.log(2) / (math.pi * density)), rel=0.08)
    assert found.spacing_variation == pytest.approx(math.sqrt(4 / math.pi - 1), rel=0.08)
    assert found.floor_density == pytest.approx(0.8 * density, rel=0.05)
    assert found.floor_spread == pytest.approx(0.001, rel=0.1)
    assert found.flat_share > 0.95
    assert math.isnan(found.upright_spread)
    assert found.unannotated == pytest.approx(0.2, abs=0.02)


def test_a_rough_wall_that_fills_one_column() -> None:
    rng = np.random.default_rng(0)
    wall = plane(3000, 1.0, 0.012, rng)[:, [0, 2, 1]]
    found = measure(wall, np.zeros(len(wall), np.uint8), rng)
    assert found.upright_spread == pytest.approx(0.012, rel=0.15)
    assert found.flat_share < 0.02
    assert found.column_points > 2500
    assert found.distinct_share == pytest.approx(3000 / 8192 * (1 - math.exp(-8192 / 3000)), rel=0.02)
    assert math.isnan(found.floor_density)

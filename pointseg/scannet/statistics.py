"""What a scan's vertices are like, in the numbers that decide how hard it is to learn from: spacing, roughness.

P points of a scan, S of them looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy.spatial import cKDTree

from pointseg.scannet.labels import CLASS_NAMES, IGNORE

FLOOR = CLASS_NAMES.index("floor")
PATCH = 0.10  # metres; radius of the patches whose flatness is measured
FLAT = 0.005  # metres; a patch with less spread about its plane is flat
COLUMN, CONTEXT = 1.5, 0.2  # metres; PointNet++'s column and what it keeps around it
DRAWS = 8192  # points drawn with replacement from a column and its context
_SAMPLE = 1500  # points of a scan that are looked at


@dataclass(frozen=True)
class ScanStatistics:
    """Medians over one scan; NaN where a scan has nothing to measure."""

    vertices: int
    spacing: float  # metres to the nearest neighbour
    spacing_variation: float  # standard deviation of that distance over its mean
    floor_density: float  # floor points a square metre
    column_points: float  # points in a column
    distinct_share: float  # different points among the draws of a column
    floor_spread: float  # metres; root mean square distance of a floor patch's points from its plane
    upright_spread: float  # metres; the same for other patches whose plane is steeper than 60 degrees
    flat_share: float  # patches, of all, that are flat
    unannotated: float  # share of points


def measure(xyz: np.ndarray, label: np.ndarray, rng: Generator) -> ScanStatistics:
    """xyz [P, 3] metres, +z up; label [P] train ids or IGNORE; `rng` chooses the points that are looked at."""
    xyz = np.asarray(xyz, np.float64)
    tree = cKDTree(xyz)
    chosen = rng.choice(len(xyz), min(_SAMPLE, len(xyz)), replace=False)
    nearest = tree.query(xyz[chosen], k=2)[0][:, 1]
    spread, steep = _patches(xyz, tree, chosen)
    on_floor = label[chosen] == FLOOR
    column, drawn_from = (_column_sizes(xyz, chosen[:200], side) for side in (COLUMN, COLUMN + 2 * CONTEXT))
    return ScanStatistics(
        vertices=len(xyz),
        spacing=float(np.median(nearest)),
        spacing_variation=float(nearest.std() / nearest.mean()),
        floor_density=_floor_density(xyz[label == FLOOR], rng),
        column_points=float(np.median(column)),
        distinct_share=float(np.median(drawn_from * -np.expm1(-DRAWS / drawn_from) / DRAWS)),
        floor_spread=_median(spread[on_floor]),
        upright_spread=_median(spread[~on_floor & steep]),
        flat_share=float((spread < FLAT).mean()),
        unannotated=float((label == IGNORE).mean()),
    )


def _patches(xyz: np.ndarray, tree: cKDTree, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spread about the plane [S] of each chosen point's patch, NaN where it has under 6 points; is it steep? [S]"""
    spread, steep = np.full(len(chosen), np.nan), np.zeros(len(chosen), bool)
    for number, members in enumerate(tree.query_ball_point(xyz[chosen], PATCH)):
        if len(members) >= 6:
            values, vectors = np.linalg.eigh(np.cov(xyz[members].T, bias=True))
            spread[number] = np.sqrt(max(values[0], 0.0))
            steep[number] = abs(vectors[2, 0]) < 0.5
    return spread, steep


def _floor_density(floor: np.ndarray, rng: Generator) -> float:
    """Points a square metre in discs of radius 0.2 m around floor points: the median, which the edges do not move."""
    if len(floor) == 0:
        return float("nan")
    tree = cKDTree(floor[:, :2])
    some = floor[rng.choice(len(floor), min(_SAMPLE, len(floor)), replace=False), :2]
    return float(np.median(tree.query_ball_point(some, 0.2, return_length=True)) / (np.pi * 0.2**2))


def _column_sizes(xyz: np.ndarray, centers: np.ndarray, side: float) -> np.ndarray:
    """Points [S] in the columns of that side around the points `centers`."""
    return np.array([np.count_nonzero((np.abs(xyz[:, :2] - xyz[c, :2]) <= side / 2).all(1)) for c in centers])


def _median(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")

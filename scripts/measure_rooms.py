"""How like real scans rooms are: spacing, density, roughness, annotation, class shares, how full the balls are.

    python scripts/measure_rooms.py data/rooms          # ScanNet's folder layout
    python scripts/measure_rooms.py data/store/val.h5   # a store

prints Markdown tables, the rooms' figures beside those measured on a real scan.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from pointnet2_ops.ops import ball_query_with_count, furthest_point_sample

from pointseg.config import ModelConfig
from pointseg.scannet.labels import CALIBRATED_WEIGHTS, CLASS_NAMES, NUM_CLASSES
from pointseg.scannet.scan import find_scans, read_scan
from pointseg.scannet.statistics import COLUMN, CONTEXT, DRAWS, ScanStatistics, measure
from pointseg.store import SceneStore


@dataclass(frozen=True)
class Row:
    """A line of the table: what ScanStatistics calls it, and what it was on a real scan at full density."""

    text: str
    field: str
    scale: float
    real: str


ROWS = (
    Row("nearest neighbour, median mm", "spacing", 1000, "16"),
    Row("... variation (deviation / mean)", "spacing_variation", 1, "0.41"),
    Row("floor, points a square metre", "floor_density", 1, "796"),
    Row("points in a 1.5 m column, median", "column_points", 1, "5859"),
    Row("distinct share of 8192 draws, %", "distinct_share", 100, "66"),
    Row("floor: spread about a plane, 10 cm, mm", "floor_spread", 1000, "1.8"),
    Row("other upright surfaces, the same, mm", "upright_spread", 1000, "14"),
    Row("patches of 10 cm flatter than 5 mm, %", "flat_share", 100, "21"),
    Row("unannotated, %", "unannotated", 100, "27"),
    Row("vertices", "vertices", 1, ""),
)
# Of another real scan, whose columns hold 1546 points: rooms are thinned to that to compare.
REAL_FILL = (80, 52, 49, 39)
REAL_THIN_DISTINCT = "28-32"
REAL_THIN_COLUMN = 1546
CHUNKS = 4  # a scan, for the balls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", type=Path, help="folder in ScanNet's layout, or a store's file")
    parser.add_argument("--scans", type=int, default=16, help="how many to measure; classes are counted over these too")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    measured, fills, distinct, counts = [], [], [], np.zeros(256, np.int64)
    for xyz, label in islice(_scans(arguments.rooms), arguments.scans):
        measured.append(measure(xyz, label, rng))
        counts += np.bincount(label, minlength=256)
        thinned = xyz[rng.random(len(xyz)) < REAL_THIN_COLUMN / measured[-1].column_points]
        fills.append(_slot_fill(thinned, rng))
        distinct.append(measure(thinned, np.zeros(len(thinned), np.uint8), rng).distinct_share)
    print(_statistics_table(measured, np.mean(fills, axis=0), float(np.median(distinct))))
    print(_class_table(counts[:NUM_CLASSES] / counts[:NUM_CLASSES].sum()))


def _scans(rooms: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if rooms.is_file():
        store = SceneStore(rooms)
        for scene in range(len(store)):
            yield np.asarray(store[scene].xyz), np.asarray(store[scene].label)
        return
    for folder, *_ in find_scans(rooms).values():
        scan = read_scan(folder, None)
        if scan.label is not None:
            yield scan.xyz, scan.label


def _slot_fill(xyz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Share of the slots of PointNet++'s balls that hold a point of their own, level by level [4]."""
    chunks = []
    while len(chunks) < CHUNKS:
        near = np.abs(xyz[:, :2] - xyz[rng.integers(len(xyz)), :2]) <= COLUMN / 2 + CONTEXT
        column = np.flatnonzero(near.all(1))
        chunks.append(xyz[column[rng.integers(len(column), size=DRAWS)]])
    points = torch.from_numpy(np.stack(chunks).astype(np.float32))
    fill = []
    for level in ModelConfig().levels:
        picked = furthest_point_sample(points, level.points).long()
        centres = torch.gather(points, 1, picked[..., None].expand(-1, -1, 3))
        scale = level.scales[0]
        count = ball_query_with_count(scale.radius, scale.neighbours, points, centres)[1]
        fill.append(count.double().mean().item() / scale.neighbours)
        points = centres
    return np.array(fill)


def _statistics_table(measured: list[ScanStatistics], fill: np.ndarray, distinct: float) -> str:
    lines = [f"| median of {len(measured)} scans | real scan | these rooms | from - to |", "|---|---|---|---|"]
    for row in ROWS:
        values = np.array([getattr(one, row.field) for one in measured]) * row.scale
        middle, low, high = (_figure(v) for v in (np.nanmedian(values), np.nanmin(values), np.nanmax(values)))
        lines.append(f"| {row.text} | {row.real} | {middle} | {low} - {high} |")
    lines.append(f"| distinct share at 1546 a column, % | {REAL_THIN_DISTINCT} | {100 * distinct:.0f} | |")
    for level, (real, own) in enumerate(zip(REAL_FILL, fill, strict=True), start=1):
        lines.append(f"| slots filled at 1546 a column, level {level}, % | {real} | {100 * own:.0f} | |")
    return "\n".join(lines) + "\n"


def _class_table(share: np.ndarray) -> str:
    lines = ["| class | ScanNet, % | these rooms, % | ratio |", "|---|---|---|---|"]
    published = CALIBRATED_WEIGHTS / CALIBRATED_WEIGHTS.sum()
    for name, real, own in zip(CLASS_NAMES, published, share, strict=True):
        lines.append(f"| {name} | {100 * real:.2f} | {100 * own:.2f} | {own / real:.1f} |")
    return "\n".join(lines) + "\n"


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


if __name__ == "__main__":
    main()

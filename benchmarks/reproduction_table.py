"""The committed runs of a reproduction in one table, from their per-scene files alone.

python -m benchmarks.reproduction_table FOLDER [--write]      prints FOLDER's table; --write: also into FOLDER/README.md

FOLDER/<config>-seed<n>/eval_scenes.csv is what `pointseg evaluate` leaves of a run. The first row's difference to each
other row is tested on scenes: a resample draws scenes, the same for both rows, and seeds, each row its own.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np

ROWS = ("pointnet2_ssg", "pointnet2_ssg_nonlocal", "pointnet2_ssg_latentgnn", "pointnet2_ssg_latentgnn_k3")
MEASURES = ("voxel_4.84cm", "pixel")
RESAMPLES = 10_000
BEGIN, END = "<!-- table -->\n", "<!-- end -->\n"


def scenes_of(run: Path, measure: str) -> tuple[list[str], np.ndarray]:
    """Names, and correct and all points or voxels of each scene [S, 2], by `every_vertex`."""
    with (run / "eval_scenes.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["protocol"] == "every_vertex"]
    counted = [
        (float(row[f"{measure} accuracy"]) * int(row[f"{measure} count"]), int(row[f"{measure} count"])) for row in rows
    ]
    return [row["scene"] for row in rows], np.rint(np.array(counted)).astype(np.int64)


def table(folder: Path) -> list[dict[str, Any]]:
    """Of each row that has runs: seeds, accuracies in % by measure, mean difference to the first row and its p."""
    result, first = [], {}
    for number, name in enumerate(ROWS):
        runs = sorted(folder.glob(f"{name}-seed*"))
        if not runs:
            continue
        entry: dict[str, Any] = {"row": name, "seeds": len(runs)}
        for measure in MEASURES:
            read = [scenes_of(run, measure) for run in runs]
            assert all(names == read[0][0] for names, _ in read), f"{name}: runs of different scenes"
            counts = np.stack([part for _, part in read])  # [K, S, 2]
            values = 100 * counts[..., 0].sum(axis=1) / counts[..., 1].sum(axis=1)
            entry[measure] = {"values": [round(float(v), 2) for v in values], "mean": round(float(values.mean()), 3)}
            if number == 0:
                first[measure] = counts
            else:
                drawn = differences(first[measure], counts, np.random.default_rng([number, MEASURES.index(measure)]))
                beyond = 2 * min(np.mean(drawn <= 0), np.mean(drawn >= 0))
                low, high = (round(float(edge), 2) for edge in np.quantile(drawn, (0.025, 0.975)))
                reference = 100 * (first[measure][..., 0].sum(axis=1) / first[measure][..., 1].sum(axis=1)).mean()
                entry[measure] |= {
                    "difference": round(float(values.mean() - reference), 3),
                    "interval": [low, high],
                    "p": max(float(min(beyond, 1.0)), 1 / RESAMPLES),
                }
        result.append(entry)
    return result


def differences(one: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Accuracy of `other` minus that of `one`, [K, S, 2] each, in %, on resampled scenes and seeds: [RESAMPLES]."""
    scenes = rng.integers(one.shape[1], size=(RESAMPLES, one.shape[1]))
    means = []
    for counts in (one, other):
        drawn = counts[:, scenes].sum(axis=2)  # [K, R, 2]
        shares = drawn[..., 0] / drawn[..., 1]
        chosen = rng.integers(len(counts), size=(len(counts), RESAMPLES))
        means.append(np.take_along_axis(shares, chosen, axis=0).mean(axis=0))
    return 100 * (means[1] - means[0])


def markdown(rows: list[dict[str, Any]]) -> str:
    lines = ["| network | seeds | voxel 4.84 cm, % | difference | pixel, % | difference |", "|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        cells = [row["row"], str(row["seeds"])]
        for measure in MEASURES:
            of = row[measure]
            cells.append(" / ".join(f"{value:.1f}" for value in of["values"]))
            change = ""
            if "difference" in of:
                low, high = of["interval"]
                change = f"{of['difference']:+.1f} [{low:+.1f}, {high:+.1f}], p {of['p']:.2g}"
            cells.append(change)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    text = markdown(table(arguments.folder))
    print(text, end="")
    if arguments.write:
        page = arguments.folder / "README.md"
        before, rest = page.read_text().split(BEGIN)
        page.write_text(before + BEGIN + text + END + rest.split(END)[1])


if __name__ == "__main__":
    main()

"""Scores the files that `pointseg predict` wrote of scans whose labels a store holds; prints, and writes JSON.

python scripts/score_predictions.py data/store/val.h5 labelled/*.ply [--output FILE]

For example what the installed package makes of the rooms that the shipped network has not seen:

    pointseg predict data/rooms/scans/scene0011_00/scene0011_00_vh_clean_2.ply ... -o labelled/
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pointseg.errors import InputError
from pointseg.evaluation.definitions import MEASURES
from pointseg.evaluation.protocols import measure
from pointseg.metrics import scores
from pointseg.prediction.formats import read_cloud
from pointseg.progress import progress_bar
from pointseg.rundir import write_json
from pointseg.scannet.labels import CLASS_NAMES
from pointseg.store import SceneStore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("files", type=Path, nargs="+", help="one a scan, its name beginning with the scan's")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    store = SceneStore(given.store)
    number = {scene: i for i, scene in enumerate(store.scan_ids)}
    counts = []
    for path in progress_bar(given.files, desc="scoring", unit="scan"):
        scan = "_".join(path.stem.split("_")[:2])
        if scan not in number:
            raise InputError(f"{path}: expected the name of one of the {len(store)} scans of {given.store}")
        scene, predicted = store[number[scan]], read_cloud(path).columns["train_id"]
        if len(predicted) != len(scene.xyz):
            raise InputError(f"{path}: expected the {len(scene.xyz)} points of {scan}, got {len(predicted)}")
        counts.append(measure(scene.xyz, predicted, scene.label))
    result: dict[str, Any] = {"files": len(counts), "data": store.description}
    for name, total in zip(MEASURES, np.sum(counts, axis=0), strict=True):
        of = scores(total)
        result[name] = {"accuracy": of.accuracy, "class_accuracy": of.class_accuracy, "miou": of.mean_iou}
        print(f"{name}: accuracy {of.accuracy:.1%}, class accuracy {of.class_accuracy:.1%}, mean IoU {of.mean_iou:.1%}")
        result[name]["iou"] = dict(zip(CLASS_NAMES, of.iou, strict=True))
    if given.output:
        write_json(given.output, result)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"score_predictions: {error}")

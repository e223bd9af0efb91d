"""scripts/score_predictions.py: what it says of files with known mistakes, and of files that it cannot score."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pointseg.prediction.formats import Cloud, write_cloud
from pointseg.scannet.labels import NUM_CLASSES
from pointseg.store import SceneStore

SCRIPT = Path(__file__).parents[1] / "scripts" / "score_predictions.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False)


def predicted(path: Path, xyz: np.ndarray, train_id: np.ndarray) -> Path:
    write_cloud(path, Cloud({**dict(zip("xyz", xyz.T, strict=True)), "train_id": train_id.astype(np.uint8)}))
    return path


def test_counts_the_points_of_all_files(make_store, tmp_path: Path):
    store = make_store("val", scenes=2) / "val.h5"
    scenes = list(SceneStore(store))
    known = scenes[0].label < NUM_CLASSES
    right = predicted(tmp_path / f"{scenes[0].scan_id}_vh_clean_2.ply", scenes[0].xyz, scenes[0].label)
    floor = predicted(tmp_path / f"{scenes[1].scan_id}.npz", scenes[1].xyz, np.full(len(scenes[1].label), 1))
    done = run(store, right, floor, "--output", tmp_path / "scores.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "scores.json").read_text())
    annotated = scenes[1].label < NUM_CLASSES
    correct = known.sum() + (scenes[1].label == 1).sum()
    assert result["pixel"]["accuracy"] == pytest.approx(correct / (known.sum() + annotated.sum()), abs=1e-12)
    assert f"pixel: accuracy {result['pixel']['accuracy']:.1%}" in done.stdout
    assert result["voxel_4.84cm"]["accuracy"] < 1


def test_names_a_file_of_another_scan_or_length(make_store, tmp_path: Path):
    store = make_store("val", scenes=1) / "val.h5"
    scene = SceneStore(store)[0]
    stranger = predicted(tmp_path / "scene9999_00.ply", scene.xyz, scene.label)
    short = predicted(tmp_path / f"{scene.scan_id}.ply", scene.xyz[:-1], scene.label[:-1])
    for path, words in ((stranger, "expected the name of one of the 1 scans"), (short, "expected the 2000 points of")):
        done = run(store, path)
        assert done.returncode == 1
        assert words in done.stderr
        assert str(path) in done.stderr
        assert "Traceback" not in done.stderr

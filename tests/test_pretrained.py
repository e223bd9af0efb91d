"""The network that ships: its file is small and loads, its card says what its scores say, it finds floor and walls."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import pointseg
from pointseg.pretrained import PRETRAINED
from pointseg.rundir import load_checkpoint
from pointseg.scannet.preprocess import preprocess
from pointseg.scannet.synthetic import write_dataset
from pointseg.store import SceneStore
from scripts import pack_pretrained


def test_file_and_card():
    state = load_checkpoint(PRETRAINED)  # weights only: never runs code
    assert PRETRAINED.stat().st_size < pack_pretrained.MOST_BYTES
    assert "optimizer" not in state
    about = json.loads(PRETRAINED.with_suffix(".json").read_text())
    assert about["data"]["synthetic"]
    card = (PRETRAINED.parent / "README.md").read_text()
    expected = pack_pretrained.table(about["scores"]["every_vertex"])
    assert card.split(pack_pretrained.BEGIN)[1].split(pack_pretrained.END)[0] == expected


def test_the_readme_quotes_the_range_over_seeds():
    root = Path(__file__).parents[1]
    ranges = json.loads((root / "benchmarks" / "demo.json").read_text())["range"]
    readme = " ".join((root / "README.md").read_text().split())
    for key in ("voxel_accuracy", "miou"):
        assert f"{ranges[key]['min']:.1f} to {ranges[key]['max']:.1f} %" in readme


@pytest.mark.slow
def test_floor_and_walls_of_an_unseen_room(tmp_path: Path):
    write_dataset(tmp_path / "rooms", scenes=1, val_scenes=0, seed=4711)
    preprocess(tmp_path / "rooms", tmp_path / "store")
    room = SceneStore(tmp_path / "store" / "train.h5")[0]
    labels = pointseg.load_pretrained().predict(room.xyz)
    scored = room.label < 20
    assert np.mean(labels.train_id[scored] == room.label[scored]) > 0.7
    for train_id in (0, 1):
        of_class = room.label == train_id
        assert np.mean(labels.train_id[of_class] == train_id) > 0.8, labels.classes[train_id]

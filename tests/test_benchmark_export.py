"""Files for ScanNet's benchmark: what is in them, and that they score what the report says."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pointseg.config import Config, DataConfig, EvalConfig, LevelConfig, ModelConfig, ScaleConfig
from pointseg.distributed import Distributed
from pointseg.errors import InputError
from pointseg.evaluation.benchmark_export import benchmark_miou, pack, prepare_folder, write_scene
from pointseg.evaluation.evaluate import evaluate_run
from pointseg.evaluation.inference import output_classes
from pointseg.models import build_model
from pointseg.rundir import RunDirectory
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, nyu40_to_train
from pointseg.store import Scene, SceneStore, StoreMeta, write_store
from tests.conftest import box_room

ALONE = Distributed(rank=0, world_size=1, device=torch.device("cpu"))
META = StoreMeta(class_names=CLASS_NAMES, ignore=IGNORE, aligned=True)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run with an untrained network, a labelled val split and an unlabelled test split."""
    rooms = [box_room(f"scene{n:04d}_00", 900, np.random.default_rng(n)) for n in range(2)]
    write_store(tmp_path / "store/val.h5", "val", rooms, META)
    write_store(tmp_path / "store/test.h5", "test", [replace(rooms[0], scan_id="scene0707_00", label=None)], META)
    level = LevelConfig(points=8, scales=(ScaleConfig(radius=1.0, mlp=(8,)),))
    config = Config(
        data=DataConfig(store=str(tmp_path / "store"), num_points=512),
        model=ModelConfig(levels=(level,), fp_mlps=((8,),), context="none"),
        evaluate=EvalConfig(protocols=("every_vertex",)),
    )
    run = RunDirectory(tmp_path / "run")
    run.create(config, {})
    torch.manual_seed(0)
    model = build_model(config.model, output_classes(config))
    state = {"model": model.state_dict(), "step": 0, "classes": list(CLASS_NAMES), "label_counts": torch.ones(21)}
    run.save_checkpoint(state)
    return run


def test_files_score_what_the_evaluation_says(run: RunDirectory, tmp_path: Path):
    folder = tmp_path / "export"
    result = evaluate_run(run, ALONE, export=folder)
    store = SceneStore(tmp_path / "store/val.h5")
    assert sorted(path.name for path in folder.iterdir()) == ["scene0000_00.txt", "scene0001_00.txt", "val.zip"]
    with np.load(run.scenes / "scene0001_00.npz") as kept:
        ids = np.loadtxt(folder / "scene0001_00.txt", dtype=np.int64)
        assert np.array_equal(nyu40_to_train(ids), kept["prediction"])
    assert benchmark_miou(folder, store) == pytest.approx(result["protocols"]["benchmark"]["overall"]["pixel"]["miou"])
    with zipfile.ZipFile(folder / "val.zip") as archive:
        assert archive.namelist() == ["scene0000_00.txt", "scene0001_00.txt"]
        assert archive.read("scene0000_00.txt") == (folder / "scene0000_00.txt").read_bytes()


def test_scans_without_labels_are_exported_and_not_scored(run: RunDirectory, tmp_path: Path):
    folder = tmp_path / "export"
    assert evaluate_run(run, ALONE, export=folder, overrides=("evaluate.split=test",)) is None
    assert sorted(path.name for path in folder.iterdir()) == ["scene0707_00.txt", "test.zip"]
    assert len((folder / "scene0707_00.txt").read_text().splitlines()) == 900
    assert not run.eval_file.exists()


def test_the_rule_by_hand(tmp_path: Path):
    # Wall, wall, floor, chair, unannotated; answers wall, floor, floor, none of the classes, bed.
    label = np.array([0, 0, 1, 4, IGNORE], np.uint8)
    scene = Scene("scene0000_00", np.zeros((5, 3), np.float32), np.zeros((5, 3), np.uint8), label)
    write_store(tmp_path / "val.h5", "val", [scene], META)
    write_scene(tmp_path, scene, np.array([0, 1, 1, IGNORE, 3], np.uint8))
    assert (tmp_path / "scene0000_00.txt").read_text() == "1\n2\n2\n0\n4\n"
    # Wall 1 of 2, floor 1 of 2, chair 0 of 1; bed was answered where nothing is annotated only.
    assert benchmark_miou(tmp_path, SceneStore(tmp_path / "val.h5")) == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is missing"),
        ("1\n2\n", r"must have 900 lines, one a vertex, got 2"),
        ("1\n" * 899 + "13\n", "ids of the 20 classes or 0, got 13"),
        ("1\n" * 899 + "wall\n", "one NYU40 id a line"),
    ],
)
def test_damaged_files_are_not_packed(run: RunDirectory, tmp_path: Path, text: str | None, message: str):
    folder = tmp_path / "export"
    evaluate_run(run, ALONE, export=folder)
    (folder / "val.zip").unlink()
    file = folder / "scene0001_00.txt"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(InputError, match=rf"scene0001_00\.txt.*{message}"):
        pack(folder, SceneStore(tmp_path / "store/val.h5"))
    assert not (folder / "val.zip").exists()


def test_folders_that_hold_something_else_are_left_alone(tmp_path: Path):
    (tmp_path / "notes.md").touch()
    with pytest.raises(InputError, match=r"expected an empty folder or an earlier export, got .* with notes\.md"):
        prepare_folder(tmp_path)
    with pytest.raises(InputError, match="expected a folder to write to"):
        prepare_folder(tmp_path / "notes.md" / "export")

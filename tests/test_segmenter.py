"""The Python API: three lines from numpy array to labels, for a run and for the network that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import pointseg
from pointseg.cli import main
from pointseg.config import Config, DataConfig, LatentGNNConfig, LevelConfig, ModelConfig, ScaleConfig
from pointseg.config_file import dump_config
from pointseg.errors import InputError
from pointseg.evaluation.inference import output_classes
from pointseg.models import build_model
from pointseg.prediction import segmenter as module
from pointseg.rundir import RunDirectory
from pointseg.scannet.labels import CLASS_NAMES
from pointseg.scannet.ply import read_ply, write_ply

LEVELS = (LevelConfig(points=32, scales=(ScaleConfig(radius=0.3, neighbours=8, mlp=(16,)),)),)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    model = ModelConfig(levels=LEVELS, fp_mlps=((16,),), latent_gnn=LatentGNNConfig(latent_dims=(8,)), head=16)
    config = Config(data=DataConfig(num_points=256), model=model)
    torch.manual_seed(0)
    network = build_model(config.model, output_classes(config))
    run = RunDirectory(tmp_path / "run")
    run.create(config, {})
    state = {"model": network.state_dict(), "classes": list(CLASS_NAMES), "step": 1, "config": dump_config(config)}
    run.save_checkpoint(state)
    return run


@pytest.fixture
def xyz() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (1500, 3)) * [4.0, 3.0, 2.2]


def test_labels_of_an_array(run: RunDirectory, xyz: np.ndarray):
    segmenter = pointseg.load_run(run.path)
    xyz[3] = np.nan
    labels = segmenter.predict(xyz)
    assert labels.train_id.shape == labels.probability.shape == (1500,)
    assert labels.train_id[3] == 255
    assert labels.probability[3] == 0
    assert labels.train_id.max() == 255
    assert set(np.delete(labels.train_id, 3)) <= set(range(20))
    assert labels.classes[0] == "wall"
    again = segmenter.predict(xyz, votes=3)
    assert (again.probability != labels.probability).any()


def test_frames_are_taken_as_given_or_guessed(run: RunDirectory, xyz: np.ndarray):
    segmenter = pointseg.load_run(run.path)
    expected = segmenter.predict(xyz)
    millimetres = np.round(xyz[:, [0, 2, 1]] * [1, 1, -1] * 1024)  # +y up
    exact = segmenter.predict(np.round(xyz * 1024) / 1024)
    np.testing.assert_array_equal(segmenter.predict(millimetres, up="y", scale=1 / 1024).train_id, exact.train_id)
    assert expected.probability.min() > 0


def test_arrays_that_are_none(run: RunDirectory):
    segmenter = pointseg.load_run(run.path)
    for bad, got in (
        (np.zeros((3, 100)), r"\[3, 100\] float64"),
        (np.zeros((10, 3), complex), r"\[10, 3\] complex128"),
        (np.zeros((10, 3), bool), r"\[10, 3\] bool"),
    ):
        with pytest.raises(InputError, match=r"xyz must be \[P, 3\] real numbers, got " + got):
            segmenter.predict(bad)
    with pytest.raises(InputError, match="got none among 10"):
        segmenter.predict(np.full((10, 3), np.nan))
    with pytest.raises(InputError, match=r"rgb must be \[10, 3\] uint8, got \[10, 3\] float64"):
        segmenter.predict(np.ones((10, 3)), np.ones((10, 3)))
    with pytest.raises(InputError, match="is not a run directory"):
        pointseg.load_run("nowhere")


def test_without_a_run_the_network_that_ships_is_used(
    run: RunDirectory, xyz: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr(module, "PRETRAINED", run.checkpoint_file)
    write_ply(tmp_path / "scan.ply", xyz.astype(np.float32))
    assert main(["predict", str(tmp_path / "scan.ply"), "-o", str(tmp_path / "out.ply")]) == 0
    assert "network: the network that ships (PointNet++ SSG + LatentGNN, 1 kernel, synthetic rooms)" in (
        capsys.readouterr().out
    )
    expected = pointseg.load_pretrained().predict(xyz.astype(np.float32), up="auto", scale=None)
    np.testing.assert_array_equal(read_ply(tmp_path / "out.ply").vertices["train_id"], expected.train_id)
    assert main(["predict", str(run.path), "-o", str(tmp_path / "out.ply")]) == 2
    assert "predict: expected [RUN] FILE..., got" in capsys.readouterr().err


def test_names_of_the_package():
    with pytest.raises(AttributeError, match="module 'pointseg' has no attribute 'load_nothing'"):
        _ = pointseg.load_nothing

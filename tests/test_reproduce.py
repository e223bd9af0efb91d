"""`pointseg reproduce table3`: the smoke scale from rooms to page, going on, other settings, failures, schedules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pointseg.cli import main
from pointseg.config import Config, DataConfig, TrainConfig
from pointseg.errors import InputError
from pointseg.reproduction.rows import ROWS, SCALES, row_config, shortened
from pointseg.reproduction.runner import Job, Runner


def test_smoke(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    arguments = ["reproduce", "table3", "--scale", "smoke", "--seeds", "1", "--out", str(tmp_path)]
    assert main(arguments) == 0
    result = json.loads((tmp_path / "table3.json").read_text())
    assert [row["name"] for row in result["rows"]] == [
        "PointNet++ SSG",
        "PointNet++ SSG + non-local blocks",
        "PointNet++ SSG + LatentGNN, 1 kernel",
        "PointNet++ SSG + LatentGNN, 3 kernels",
    ]
    assert result["synthetic"]
    assert [row["published"]["voxel 4.84 cm"] for row in result["rows"]] == [83.2, 84.0, 84.2, 85.2]
    # The paper counts 0.70, 0.31 and 0.54 M.
    assert [round(row["added_parameters"] / 1e6, 3) for row in result["rows"]] == [0, 0.698, 0.297, 0.537]
    for row in result["rows"]:
        run = tmp_path / row["runs"][0]
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert lines[-1]["samples"] == 24
        assert (run / "eval_scenes.csv").is_file()
        assert 0 <= row["scores"]["voxel 4.84 cm"]["mean"] <= 1
    page, text = (tmp_path / "table3.html").read_text(), (tmp_path / "table3.md").read_text()
    for part in (page, text):
        assert "85.2" in part
        assert "synthetic rooms, not ScanNet" in part
    capsys.readouterr()

    checkpoint = tmp_path / result["rows"][0]["runs"][0] / "checkpoints" / "last.pt"
    before = checkpoint.stat().st_mtime_ns
    monkeypatch.chdir(tmp_path.parent)
    assert main([*arguments[:-1], tmp_path.name]) == 0  # nothing left to do, from whichever folder
    assert "4 runs, 4 done already" in capsys.readouterr().out
    assert checkpoint.stat().st_mtime_ns == before

    assert main([*arguments, "--set", "train.lr=0.1"]) == 2
    assert "was begun with another train.lr" in capsys.readouterr().err


def test_wrong_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = ["--out", str(tmp_path)]
    assert main(["reproduce", "table3", *out, "--rows", "pointnet3"]) == 2
    assert "expected some of pointnet2_ssg" in capsys.readouterr().err
    assert main(["reproduce", "table3", *out, "--seeds", "0"]) == 2
    assert "seeds must be 1 or more, got 0" in capsys.readouterr().err
    assert main(["reproduce", "table3", *out, "--store", str(tmp_path / "none")]) == 2
    assert "train.h5" in capsys.readouterr().err


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    jobs = [Job(f"run{n}", Config(data=DataConfig(store=str(tmp_path / "none"))), tmp_path / "runs") for n in range(2)]
    with pytest.raises(InputError, match=r"2 of 2 runs failed: run\d: .*train\.h5.*run\d\.log\); run\d"):
        Runner(["cpu"]).run(jobs)
    assert "[2/2] FAILED" in capsys.readouterr().out


def test_shortened_schedule():
    config = shortened(Config(), chunks=24_020, scenes=1201)
    assert (config.train.epochs, config.train.decay_samples) == (20, 20_000)
    config = shortened(Config(data=DataConfig(chunks_per_scene=4), train=TrainConfig(epochs=200)), 24_020, 100)
    assert (config.train.epochs, config.train.decay_samples) == (60, 19_983)  # of fewer scenes the same chunks
    with pytest.raises(InputError, match="chunks must be at least the batch of 64, got 63"):
        shortened(Config(), chunks=63, scenes=10)


def test_the_papers_scale_is_the_configuration_itself():
    config = row_config(ROWS[2], SCALES["paper"], Path("data/store"), scenes=1201)
    assert config == Config()
    assert (config.train.epochs, config.train.batch_size, config.model.latent_gnn.kernels) == (200, 64, 1)

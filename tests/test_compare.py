"""Comparing runs: means and ranges over seeds by hand, differences that are there and differences that are not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pointseg.cli import main
from pointseg.config import Config, LatentGNNConfig, ModelConfig, TrainConfig
from pointseg.errors import InputError
from pointseg.evaluation.compare import compare
from pointseg.evaluation.definitions import MEASURES, SCHEMA
from pointseg.evaluation.scene_files import write_scene_counts
from pointseg.report.comparison import format_comparison
from pointseg.rundir import RunDirectory, write_json
from pointseg.scannet.labels import NUM_CLASSES

SCENES = 40
PLAIN = ModelConfig(context="none")
LATENT = ModelConfig(context="latent_gnn", latent_gnn=LatentGNNConfig(kernels=3))


def _run(path: Path, accuracy: float, *, model: ModelConfig = PLAIN, seed: int = 0, scenes: int = SCENES) -> Path:
    """An evaluated run of two classes, 1000 points a scene, of which `accuracy` on average are right in class 0."""
    run = RunDirectory(path)
    run.create(Config(model=model, train=TrainConfig(seed=seed)), {})
    rng = np.random.default_rng(7)  # the same hard and easy scenes for every run
    counts = np.zeros((scenes, len(MEASURES), NUM_CLASSES, NUM_CLASSES + 1), np.int64)
    difficulty = rng.normal(0, 0.05, scenes)
    right = np.rint(1000 * (accuracy + difficulty - difficulty.mean())).astype(int)
    counts[:, :, 0, 0], counts[:, :, 0, 1], counts[:, :, 1, 1] = right[:, None], 1000 - right[:, None], 500
    ids = tuple(f"scene{n:04d}_00" for n in range(scenes))
    write_scene_counts(run.scene_counts_file, {"every_vertex": counts}, ids)
    data = {"points": 1500 * scenes, "synthetic": True}
    write_json(run.eval_file, {"schema": SCHEMA, "split": "val", "scenes": scenes, "data": data, "step": 1})
    return path


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        _run(tmp_path / "plain-0", 0.70, seed=0),
        _run(tmp_path / "plain-1", 0.72, seed=1),
        _run(tmp_path / "latent-0", 0.80, model=LATENT, seed=0),
        _run(tmp_path / "latent-1", 0.78, model=LATENT, seed=1),
    ]


def test_means_and_ranges_over_seeds(runs: list[Path]):
    result = compare(runs, resamples=500)
    plain, latent = result["rows"]
    assert (plain["name"], latent["name"]) == ("PointNet++ SSG", "PointNet++ SSG + LatentGNN, 3 kernels")
    assert plain["seeds"] == latent["seeds"] == [0, 1]
    for row, expected in ((plain, (0.70, 0.72)), (latent, (0.80, 0.78))):
        accuracy = row["scores"]["pixel"]
        # Class 1 is always right: a third of the points.
        values = [(2 * share + 1) / 3 for share in expected]
        assert accuracy["values"] == pytest.approx(values, abs=1e-3)
        assert accuracy["mean"] == pytest.approx(np.mean(accuracy["values"]))
        assert (accuracy["low"], accuracy["high"]) == (min(accuracy["values"]), max(accuracy["values"]))
        assert accuracy["interval"][0] < accuracy["mean"] < accuracy["interval"][1]
    assert plain["difference"] is None
    gain = latent["difference"]["pixel"]
    assert gain["mean"] == pytest.approx(latent["scores"]["pixel"]["mean"] - plain["scores"]["pixel"]["mean"])
    assert gain["interval"][0] > 0
    assert gain["p"] == 1 / 500  # never beyond 0: no more is known
    assert latent["iou"]["wall"] > plain["iou"]["wall"]
    assert latent["iou"]["bed"] is None
    json.dumps(result, allow_nan=False)


def test_scenes_are_paired(tmp_path: Path):
    """A gain of half a point in every scene is certain, though the scores themselves are known to two points only."""
    result = compare([_run(tmp_path / "a", 0.700), _run(tmp_path / "b", 0.705, model=LATENT)], resamples=500)
    gain = result["rows"][1]["difference"]["pixel"]
    low, high = result["rows"][0]["scores"]["pixel"]["interval"]
    assert gain["p"] < 0.05
    assert gain["interval"][1] - gain["interval"][0] < 0.2 * (high - low)


def test_a_spread_over_seeds_makes_a_difference_less_sure(tmp_path: Path):
    rows = [
        *(_run(tmp_path / f"a{n}", share, seed=n) for n, share in enumerate((0.70, 0.78, 0.74))),
        *(_run(tmp_path / f"b{n}", share, seed=n, model=LATENT) for n, share in enumerate((0.71, 0.79, 0.75))),
    ]
    gain = compare(rows, resamples=500)["rows"][1]["difference"]["pixel"]
    assert gain["mean"] == pytest.approx(0.0067, abs=0.002)
    assert gain["p"] > 0.2


def test_equal_networks_of_other_recipes_are_two_rows(tmp_path: Path):
    one = _run(tmp_path / "one", 0.7)
    run = RunDirectory(_run(tmp_path / "two", 0.7))
    other = Config(model=PLAIN, train=TrainConfig(lr=0.01))
    (tmp_path / "three").mkdir()
    three = RunDirectory(tmp_path / "three")
    three.create(other, {})
    for name in ("eval.json", "eval_counts.json"):
        (three.path / name).write_bytes((run.path / name).read_bytes())
    names = [row["name"] for row in compare([one, three.path], resamples=10)["rows"]]
    assert names == ["PointNet++ SSG (one)", "PointNet++ SSG (three)"]


def test_formats(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = [*map(str, runs), "--resamples", "200"]
    assert main(["compare", *arguments]) == 0
    text = capsys.readouterr().out
    assert "PointNet++ SSG + LatentGNN, 3 kernels" in text
    assert "synthetic rooms, not ScanNet" in text
    result = compare(runs, resamples=200)
    mean = f"{100 * result['rows'][1]['scores']['voxel 4.84 cm']['mean']:.1f}"
    for name in ("table.txt", "table.md", "table.tex", "table.html", "table.json"):
        assert main(["compare", *arguments, "-o", str(tmp_path / name)]) == 0
        written = (tmp_path / name).read_text()
        if name.endswith("json"):
            assert json.loads(written) == result
        else:
            assert f"{mean} (" in written, name
    assert "https://" not in (tmp_path / "table.html").read_text()
    lines = format_comparison(result, "latex").splitlines()
    assert lines[0] == r"\begin{tabular}{lrrrrrrr}"
    assert all(line.count("&") == 7 for line in lines[2:7] if line.endswith(r"\\"))


def test_what_cannot_be_compared(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    other = _run(tmp_path / "other", 0.7, scenes=12)
    with pytest.raises(InputError, match=r"other: expected an evaluation of the same scenes .* got 'val', 12 scenes"):
        compare([runs[0], other])
    with pytest.raises(InputError, match="once, got it twice"):
        compare([runs[0], runs[0]])
    with pytest.raises(InputError, match="has no scores by 'benchmark', only by every_vertex"):
        compare(runs, protocol="benchmark")
    with pytest.raises(InputError, match="is not a run directory"):
        compare([tmp_path / "nowhere"])
    RunDirectory(tmp_path / "fresh").create(Config(), {})
    with pytest.raises(InputError, match="evaluate it first"):
        compare([tmp_path / "fresh"])
    assert main(["compare", str(runs[0]), "-o", str(tmp_path / "table.doc")]) == 2
    assert "expected a file named .txt, .md, .tex, .html, .json" in capsys.readouterr().err

"""The committed reproduction: its table follows from its per-scene files, and these from one another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.reproduction_table import BEGIN, END, markdown, scenes_of, table
from pointseg.config_file import load_config

FOLDER = Path(__file__).parents[1] / "benchmarks" / "reproduction" / "h200_48k"


def test_the_page_shows_what_the_files_say():
    page = (FOLDER / "README.md").read_text()
    assert page.split(BEGIN)[1].split(END)[0] == markdown(table(FOLDER))


def test_runs_are_of_the_same_scenes_and_of_the_configurations_they_name():
    runs = sorted(path.parent for path in FOLDER.glob("*/eval_scenes.csv"))
    assert len(runs) == 7
    names, _ = scenes_of(runs[0], "pixel")
    for run in runs:
        assert scenes_of(run, "pixel")[0] == names
        config = load_config(run / "config.yaml")
        assert f"seed{config.train.seed}" in run.name
        assert config.model.context == {"s": "none", "n": "non_local", "l": "latent_gnn"}[run.name.split("ssg")[1][1]]
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        assert last["samples"] == 48_000


def test_significance_follows_from_the_files():
    rows = {row["row"]: row for row in table(FOLDER)}
    latent = rows["pointnet2_ssg_latentgnn"]["voxel_4.84cm"]
    plain = rows["pointnet2_ssg"]["voxel_4.84cm"]
    assert latent["difference"] == pytest.approx(latent["mean"] - plain["mean"], abs=0.02)
    assert latent["interval"][0] < 0 < latent["interval"][1]  # no verdict

"""The committed reproduction: its table follows from its per-scene files, and these from one another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.reproduction_table import BEGIN, END, markdown, scenes_of, table
from pointseg.config_file import load_config

REPRODUCTIONS = Path(__file__).parents[1] / "benchmarks" / "reproduction"


@pytest.mark.parametrize("folder", sorted(path.name for path in REPRODUCTIONS.iterdir()))
def test_the_page_shows_what_the_files_say(folder: str):
    page = (REPRODUCTIONS / folder / "README.md").read_text()
    assert page.split(BEGIN)[1].split(END)[0] == markdown(table(REPRODUCTIONS / folder))


@pytest.mark.parametrize(
    ("folder", "count", "scenes", "samples"),
    [("h200_48k", 7, 32, 48_000), ("h200_48k_1201_rooms", 5, 312, 48_064), ("cpu_6k_1201_rooms", 9, 312, 6_016)],
)
def test_runs_are_of_the_same_scenes_and_of_the_configurations_they_name(folder, count, scenes, samples):
    runs = sorted(path.parent for path in (REPRODUCTIONS / folder).glob("*/eval_scenes.csv"))
    assert len(runs) == count
    names, _ = scenes_of(runs[0], "pixel")
    assert len(names) == scenes
    for run in runs:
        assert scenes_of(run, "pixel")[0] == names
        config = load_config(run / "config.yaml")
        assert f"seed{config.train.seed}" in run.name
        assert config.model.context == {"s": "none", "n": "non_local", "l": "latent_gnn"}[run.name.split("ssg")[1][1]]
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        assert last["samples"] == samples


def test_significance_follows_from_the_files():
    rows = {row["row"]: row for row in table(REPRODUCTIONS / "h200_48k")}
    latent = rows["pointnet2_ssg_latentgnn"]["voxel_4.84cm"]
    plain = rows["pointnet2_ssg"]["voxel_4.84cm"]
    assert latent["difference"] == pytest.approx(latent["mean"] - plain["mean"], abs=0.01)
    assert latent["interval"][0] < 0 < latent["interval"][1]  # no verdict

"""The report is made from a run directory's files alone and says what they say."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pointseg.config import Config, ModelConfig
from pointseg.errors import InputError
from pointseg.evaluation.definitions import MEASURES, SCHEMA, TERMS
from pointseg.evaluation.scoreboard import protocol_result
from pointseg.report.charts import Series, line_chart
from pointseg.report.report import report
from pointseg.rundir import RunDirectory
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, NUM_CLASSES


def _result(synthetic: object, scenes: int = 2) -> dict:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 50, (scenes, len(MEASURES), NUM_CLASSES, NUM_CLASSES + 1))
    counts[:, :, 17] = 0  # no sink anywhere
    counts[0] = 0  # a scene without annotation
    coverage = np.tile([5000, 4000, 5000, 4000, 7], (scenes, 1))
    coverage[0, [1, 3]] = 0
    ids = tuple(f"scene{i:04d}_00" for i in range(scenes))
    return {
        "schema": SCHEMA,
        "split": "val",
        "store": "data/store/val.h5",
        "data": {"source": "scans", "synthetic": synthetic},
        "scenes": scenes,
        "classes": list(CLASS_NAMES),
        "definitions": TERMS,
        "baseline": {"class": "wall", "source": "training split"},
        "protocols": {
            name: protocol_result(name, counts, coverage, ids, 0, 100) for name in ("every_vertex", "pointnet2")
        },
        "step": 120,
    }


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "my <run>")
    run.create(Config(model=ModelConfig(context="non_local")), {"torch": "2.13.0", "store": {"split": "train"}})
    run.eval_file.write_text(json.dumps(_result({"seed": 0})))
    for step in (10, 20, 30):
        run.append_metrics(
            {"step": step, "epoch": 1, "samples": step * 8, "loss": 3 / step, "accuracy": 0.5, "lr": 1e-3}
            | {"bn_momentum": 0.5, "chunks_per_second": 4.0, "data_wait": 0.01}
        )
    run.append_metrics({"step": 30, "eval": {"every_vertex": {"pixel": {"accuracy": 0.4321}}}})
    run.scenes.mkdir()
    rng = np.random.default_rng(0)
    np.savez_compressed(
        run.scenes / "scene0001_00.npz",
        xyz=rng.uniform(0, 2, (400, 3)).astype(np.float32),
        rgb=rng.integers(0, 255, (400, 3), np.uint8),
        label=np.repeat(np.array([0, 1, 2, IGNORE], np.uint8), 100),
        prediction=np.repeat(np.array([0, 1, 1, 5], np.uint8), 100),
    )
    return run


class _Page(HTMLParser):
    """Collects what the page refers to and checks that elements are closed in order."""

    VOID = ("meta", "img", "line", "polyline", "br", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_whole_and_fetches_nothing(run: RunDirectory):
    _, html = report(run.path)
    text = html.read_text()
    page = _Page(text)
    assert len(page.references) == 4  # four pictures of the one scene
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert not re.search(r"https?://|@import|url\(", text)
    assert page.tags.count("svg") == 6
    assert "<title>my &lt;run&gt; · pointseg</title>" in text
    assert "66.7 % of the annotated ones correct" in text


def test_numbers_are_those_of_the_evaluation(run: RunDirectory):
    shutil.rmtree(run.scenes)
    result = _result({"seed": 0})
    overall = result["protocols"]["pointnet2"]["overall"]
    baseline = result["protocols"]["every_vertex"]["baseline"]
    chair = result["protocols"]["every_vertex"]["per_class"][4]
    for file in report(run.path):
        text = file.read_text()
        for value in (overall["voxel_2cm"]["accuracy"], baseline["pixel"]["accuracy"], chair["iou"]):
            assert f"{100 * value:.1f}" in text
        assert "absent: sink" in text
        assert not re.search(r"\b(nan|None)\b", text)
        assert "2.13.0" in text
        assert "model.context" in text
        assert "non-local" in text


def test_synthetic_rooms_are_named_and_published_rows_left_out(run: RunDirectory):
    shutil.rmtree(run.scenes)
    for file in report(run.path):
        text = file.read_text()
        assert "Synthetic rooms, not ScanNet." in text
        assert "PointCNN" not in text


def test_published_rows_stand_next_to_the_312_scans_only(run: RunDirectory):
    shutil.rmtree(run.scenes)  # pictures take time and are not looked at here
    run.eval_file.write_text(json.dumps(_result(None, scenes=312)))
    for file in report(run.path):
        text = file.read_text()
        assert "Synthetic" not in text
        assert "PointCNN" in text
        assert "85.2" in text
    run.eval_file.write_text(json.dumps(_result(None, scenes=311)))
    assert "PointCNN" not in report(run.path)[1].read_text()


def test_a_run_without_log_and_pictures_has_a_report_too(run: RunDirectory):
    run.metrics_file.unlink()
    shutil.rmtree(run.scenes)
    page = _Page(report(run.path)[1].read_text())
    assert page.references == []
    assert "svg" not in page.tags


def test_what_is_missing_is_said(run: RunDirectory, tmp_path: Path):
    with pytest.raises(InputError, match="is not a run directory"):
        report(tmp_path / "nowhere")
    (run.scenes / "scene0001_00.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InputError, match=r"scene0001_00\.npz: cannot be read"):
        report(run.path)
    run.eval_file.write_text(json.dumps({"schema": 0}))
    with pytest.raises(InputError, match=f"expected schema {SCHEMA}, got 0"):
        report(run.path)
    run.eval_file.unlink()
    with pytest.raises(InputError, match=r"has no eval\.json; evaluate it first"):
        report(run.path)


def test_chart_draws_finite_values_to_scale():
    svg = line_chart("t", [Series("s", [0, 1, 2, 3], [0.0, 1.0, float("nan"), 0.5])], x_label="step")
    points = re.search(r'points="([^"]+)"', svg)
    assert points is not None
    (x0, y0), (x1, y1), (x2, y2) = ([float(v) for v in point.split(",")] for point in points[1].split())
    assert x1 - x0 == pytest.approx((x2 - x0) / 3, abs=0.2)
    assert y2 - y1 == pytest.approx((y0 - y1) / 2, abs=0.2)
    assert y1 < y0


def test_chart_of_nothing_is_nothing():
    assert line_chart("t", [Series("s", [], [])], x_label="step") == ""
    assert line_chart("t", [Series("s", [1], [0.0])], x_label="step", log=True) == ""


@pytest.mark.parametrize("log", [False, True])
def test_chart_of_one_value(log: bool):
    svg = line_chart("t", [Series("s", [5], [1e-3])], x_label="step", log=log)
    assert "nan" not in svg
    assert svg.count("<polyline") == 1

"""The report is made from a run directory's files alone and says what they say."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from runs import evaluated_run, evaluation

from pointseg.errors import InputError
from pointseg.evaluation.definitions import SCHEMA
from pointseg.report.charts import Series, line_chart
from pointseg.report.report import commonest_confusions, report
from pointseg.rundir import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return evaluated_run(tmp_path / "my <run>")


class _Page(HTMLParser):
    """Collects what the page refers to and checks that elements are closed in order."""

    VOID = ("meta", "img", "line", "polyline", "br", "link", "input", "rect")

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
    pictures = [reference for reference in page.references if not reference.startswith("#")]
    assert len(pictures) == 4  # four pictures of the one scene
    assert all(reference.startswith("data:image/png;base64,") for reference in pictures)
    assert not re.search(r"@import|url\(", text)
    assert page.tags.count("svg") == 7
    assert "<title>my &lt;run&gt; · pointseg</title>" in text
    assert "66.7 % of the annotated ones correct" in text


def test_numbers_are_those_of_the_evaluation(run: RunDirectory):
    shutil.rmtree(run.scenes)
    result = evaluation({"seed": 0})
    overall = result["protocols"]["pointnet2"]["overall"]
    baseline = result["protocols"]["every_vertex"]["baseline"]
    chair = result["protocols"]["every_vertex"]["per_class"][4]
    for file in report(run.path):
        text = file.read_text().split("<script")[0]
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
    run.eval_file.write_text(json.dumps(evaluation(None, scenes=312)))
    for file in report(run.path):
        text = file.read_text()
        assert "Synthetic" not in text
        assert "PointCNN" in text
        assert "85.2" in text
    run.eval_file.write_text(json.dumps(evaluation(None, scenes=311)))
    assert "PointCNN" not in report(run.path)[1].read_text()


def test_a_run_without_log_and_pictures_has_a_report_too(run: RunDirectory):
    run.metrics_file.unlink()
    shutil.rmtree(run.scenes)
    page = _Page(report(run.path)[1].read_text())
    assert all(reference.startswith("#") for reference in page.references)
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


def test_scores_of_another_step_than_the_checkpoints_are_called_so(run: RunDirectory):
    shutil.rmtree(run.scenes)
    run.save_checkpoint({"model": {}, "step": 120})
    assert "last checkpoint" not in report(run.path)[1].read_text()
    run.save_checkpoint({"model": {}, "step": 150})
    for file in report(run.path):
        assert "These scores are of step 120" in file.read_text()
        assert "last checkpoint is of step 150" in file.read_text()


def _without(result: dict, *keys: str) -> dict:
    """`result` with what the keys lead to taken out."""
    inner = result
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return result


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        (lambda result: _without(result, "protocols"), "missing required field `protocols`"),
        (lambda result: _without(result, "protocols", "pointnet2", "overall", "pixel"), r"`\$.protocols"),
        (lambda result: result | {"scenes": "many"}, r"`\$.scenes`"),
        (lambda result: result | {"protocols": {}}, "no protocols"),
        (lambda result: [result], "expected schema"),
    ],
)
def test_a_damaged_evaluation_is_one_line(run: RunDirectory, damaged: Callable[[dict], object], said: str):
    run.eval_file.write_text(json.dumps(damaged(evaluation(None))))
    with pytest.raises(InputError, match=said) as error:
        report(run.path)
    assert str(run.eval_file) in str(error.value)
    assert "\n" not in str(error.value)


def test_commonest_confusions():
    counts = [[50, 3, 0, 7], [9, 0, 1, 0], [0, 0, 4, 0]]
    found = commonest_confusions(counts, ["wall", "floor", "bed", "none"], 3)
    assert [(one["truth"], one["answer"], one["points"]) for one in found] == [
        ("floor", "wall", 9),
        ("wall", "none", 7),
        ("wall", "floor", 3),
    ]
    assert found[1]["of_class"] == 7 / 60
    assert found[1]["of_errors"] == 7 / 20


def test_what_explain_left_is_part_of_the_page(run: RunDirectory):
    shutil.rmtree(run.scenes)
    run.explanation.mkdir()
    level = {
        "scale": 0.125,
        "added": 0.5,
        "reach": 1.2,
        "chance": 2.3,
        "far": 0.4,
        "far_chance": 0.6,
        "latent_nodes": 7,
    }
    (run.explanation / "explain.json").write_text(json.dumps({"title": "a run, a room", "levels": [level]}))
    for name in ("nodes.png", "affinity.png"):
        Image.new("RGB", (4, 4)).save(run.explanation / name)
    text = report(run.path)[1].read_text()
    assert "a run, a room" in text
    assert "+0.125" in text
    assert sum(url.startswith("data:image/png") for url in _Page(text).references) == 2


@pytest.mark.parametrize(
    ("values", "percent", "span"),
    [([0.991, 0.993], True, 0.05), ([0.2, 0.8], True, 0.6), ([100.0, 100.5], False, 10), ([3.0, 1.0], False, 2)],
)
def test_axes_do_not_blow_up_small_changes(values: list[float], percent: bool, span: float):
    svg = line_chart("t", [Series("s", [0, 1], values)], x_label="step", percent=percent)
    low, high = map(float, re.search(r'data-range="([^"]+)"', svg)[1].split(",")[2:])
    assert low <= min(values) < max(values) <= high
    assert span * 0.99 <= high - low <= 2 * span
    assert not percent or (low >= 0 and high <= 1)


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

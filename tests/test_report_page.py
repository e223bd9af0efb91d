"""The report's page in a headless Chromium: what it asks for, its tables, charts and 3D view, schemes and widths."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from browser import CHROMIUM, Browser, browser
from runs import evaluated_run

from pointseg.report.report import report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
SCENES = 12
TABLE = "document.getElementById('scene-table')"
VIEWER = "document.getElementById('viewer')"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The report of a run of 12 scenes, opened from disk in a window of 1200 x 900."""
    folder = tmp_path_factory.mktemp("page")
    _, html = report(evaluated_run(folder / "run", SCENES).path)
    with browser(folder / "profile") as one:
        one.address = html.as_uri()
        one.screen(1200, 900)
        one.open(one.address)
        yield one


def _column(page: Browser, heading: str) -> list[str]:
    """The texts of a column of the table of scenes, of the rows that are shown."""
    place = f"[...{TABLE}.tHead.rows[0].cells].findIndex(cell => cell.textContent === '{heading}')"
    rows = f"[...{TABLE}.tBodies[0].rows].filter(row => !row.hidden)"
    return page.run(f"(column => {rows}.map(row => row.cells[column].textContent))({place})")


def _click(page: Browser, selector: str) -> None:
    page.run(f"document.querySelector(`{selector}`).click()")


def _drawn(page: Browser, action: str) -> np.ndarray:
    """The 3D view after the frame that the JavaScript `action` makes it draw."""
    before = page.run(f"Number({VIEWER}.dataset.frames ?? 0)")
    page.run(action)
    page.wait(f"Number({VIEWER}.dataset.frames) > {before} && {VIEWER}.dataset.state === 'ready'")
    return page.picture("#viewer canvas")


def test_opens_from_disk_without_network_and_complaints(page: Browser):
    assert [url for url in page.requests if not url.startswith(("data:", "blob:"))] == [page.address]
    assert page.errors == []


def test_table_sorts(page: Browser):
    heading = "[...document.querySelectorAll('#scene-table th')].find(cell => cell.textContent === 'mIoU')"
    page.run(f"{heading}.click()")
    shown = [float(text) for text in _column(page, "mIoU") if text != "absent"]
    assert len(shown) == SCENES - 1  # one scene has no annotation
    assert shown == sorted(shown, reverse=True)
    page.run(f"{heading}.click()")
    assert [float(text) for text in _column(page, "mIoU")[1:]] == shown[::-1]


def test_table_filters(page: Browser):
    def type_in(text: str) -> None:
        field = "document.querySelector('#scenes input')"
        page.run(f"{field}.value = '{text}', {field}.dispatchEvent(new Event('input'))")

    type_in("office")
    assert sorted(_column(page, "scene")) == ["scene0001_00", "scene0005_00", "scene0009_00"]
    assert page.run("document.getElementById('scene-count').textContent") == f"3 of {SCENES}"
    type_in("bath 08_")
    assert _column(page, "scene") == ["scene0008_00"]
    type_in("")
    assert len(_column(page, "scene")) == SCENES


def test_a_scene_of_the_table_opens_in_3d_and_turns(page: Browser):
    row = f"[...{TABLE}.tBodies[0].rows].find(row => row.textContent.includes('scene0003_00'))"
    first = _drawn(page, f"{row}.querySelector('button').click()")
    assert page.run("document.querySelector('[data-part=picker]').selectedOptions[0].textContent").startswith(
        "scene0003"
    )
    assert [len(np.unique(part.reshape(-1, 3), axis=0)) > 100 for part in np.split(first[:, :1086], 3, axis=1)] == [
        True
    ] * 3

    page.picture("#viewer canvas")  # scrolled to
    box, before = page.box("#viewer canvas"), page.run(f"Number({VIEWER}.dataset.frames)")
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.drag(middle, (middle[0] + 150, middle[1] + 20))
    page.wait(f"Number({VIEWER}.dataset.frames) > {before}")
    assert np.mean(page.picture("#viewer canvas") != first) > 0.05
    after = _drawn(page, f"{VIEWER}.querySelector('[data-part=reset]').click()")
    for _ in range(50):  # what the drag had still to draw may come first
        if np.mean(after != first) < 0.001:
            break
        time.sleep(0.1)
        after = page.picture("#viewer canvas")
    assert np.mean(after != first) < 0.001


def test_legend_switches_a_class_off(page: Browser):
    whole = _drawn(page, f"{VIEWER}.querySelector('[data-part=all]').click()")
    truth = slice(0, whole.shape[1] // 3)
    floor = "document.querySelector('[data-part=legend] [data-class=\"1\"]')"
    assert page.run(f"{floor}.textContent") == "floor"
    without = _drawn(page, f"{floor}.click()")
    assert page.run(f"{floor}.getAttribute('aria-pressed')") == "false"
    assert _green(whole[:, truth]) > 2000
    assert _green(without[:, truth]) < 20
    assert _green(_drawn(page, f"{floor}.click()")[:, truth]) == _green(whole[:, truth])


def _green(picture: np.ndarray) -> int:
    """Pixels of about the colour of floors, (152, 223, 138)."""
    red, green, blue = picture.astype(int).transpose(2, 0, 1)
    return int(np.count_nonzero((green > red + 40) & (green > blue + 40)))


def test_a_cell_of_the_confusion_matrix_says_its_counts(page: Browser):
    _click(page, ".matrix tbody tr:nth-child(2) td:nth-of-type(1)")
    said = page.run("document.getElementById('confusion-note').textContent")
    assert said.startswith("floor, taken for wall: ")
    assert said.endswith(" %")
    assert page.run("document.querySelectorAll('.confusions li').length") == 5


def test_a_chart_zooms_and_comes_back(page: Browser):
    chart = "document.querySelector('svg.chart')"
    whole = page.run(f"{chart}.querySelectorAll('polyline')[1].getAttribute('points')")
    page.picture("svg.chart")  # scrolled to
    box = page.box("svg.chart")
    at = box["y"] + box["height"] / 2
    page.drag((box["x"] + 0.45 * box["width"], at), (box["x"] + 0.99 * box["width"], at))
    zoomed = page.run(f"{chart}.querySelectorAll('polyline')[1].getAttribute('points')")
    assert len(zoomed.split()) == 2  # of steps 10, 20, 30 the last two
    assert page.run(f"{chart}.querySelector('.readout').textContent").startswith("step ")
    page.run(f"{chart}.dispatchEvent(new Event('dblclick'))")
    assert page.run(f"{chart}.querySelectorAll('polyline')[1].getAttribute('points')") == whole


def test_both_colour_schemes(page: Browser):
    brightness = {}
    for dark in (False, True):
        page.screen(1200, 900, dark=dark)
        brightness[dark] = page.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
        text = page.run("getComputedStyle(document.querySelector('h1')).color.match(/\\d+/g).map(Number)[0]")
        assert abs(brightness[dark] - text) > 150
    assert brightness[True] < 60 < 200 < brightness[False]
    page.screen(1200, 900)


def test_fits_a_phone(page: Browser):
    page.screen(390, 844, mobile=True)
    page.open(page.address)
    assert page.run("document.documentElement.scrollWidth") == 390
    narrow = _drawn(page, f"{VIEWER}.scrollIntoView()")
    assert len(np.unique(narrow.reshape(-1, 3), axis=0)) > 100
    assert page.run("[...document.querySelectorAll('.captions span')].map(one => one.textContent)") == ["prediction"]
    assert page.errors == []

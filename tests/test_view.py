"""`pointseg view`: what is served, to whom, and the page in a headless Chromium."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, browser
from runs import evaluated_run

from pointseg.cli import main
from pointseg.errors import InputError
from pointseg.evaluation.scene_points import encode_points, read_scene_points
from pointseg.prediction.formats import Cloud, write_cloud
from pointseg.prediction.shown_file import file_points
from pointseg.report.view import ViewedScene, run_scenes, view_server
from pointseg.scannet.labels import IGNORE


@contextmanager
def served(scenes: list[ViewedScene]) -> Iterator[str]:
    """The address of a server that runs meanwhile."""
    with view_server("a <title>", scenes, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _get(address: str, **headers: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
        return answer.read()


def _cloud(points: int = 5000) -> dict[str, np.ndarray]:
    """Columns of a floor and a wall."""
    xyz = np.random.default_rng(0).uniform(0, 1, (points, 3)).astype(np.float32) * np.float32([4, 3, 2])
    xyz[::2, 2], xyz[1::2, 1] = 0, 3
    return {"x": xyz[:, 0], "y": xyz[:, 1], "z": xyz[:, 2]}


def test_a_run_shows_the_worst_scene_first_and_every_point_where_it_has_them(tmp_path: Path):
    run = evaluated_run(tmp_path / "run", 4)
    scenes = run_scenes(run)
    shares = [float(scene.note.split(" %")[0]) for scene in scenes[:-1]]
    assert shares == sorted(shares)
    assert scenes[-1][:2] == ("scene0000_00", "unannotated")
    by_name = {scene.name: scene for scene in scenes}
    with np.load(run.scenes / "scene0001_00.npz") as arrays:
        whole = encode_points(*(arrays[key] for key in ("xyz", "rgb", "label", "prediction")))
    assert by_name["scene0001_00"].note.endswith("every point")
    assert by_name["scene0001_00"].load() == whole
    thinned = read_scene_points(run.scene_points_file, ["scene0002_00"])
    with served(scenes) as address:
        number = [scene.name for scene in scenes].index("scene0002_00")
        assert _get(f"{address}/points/{number}") == thinned["scene0002_00"]
        assert b"a &lt;title&gt;" in _get(address)
        for path, headers, status in ((f"points/{len(scenes)}", {}, 404), ("", {"Host": "elsewhere.example:80"}, 403)):
            with pytest.raises(urllib.error.HTTPError) as error:
                _get(f"{address}/{path}", **headers)
            assert error.value.code == status


def test_a_run_without_points_says_how_to_get_them(tmp_path: Path):
    run = evaluated_run(tmp_path / "run")
    run.scene_points_file.unlink()
    (run.scenes / "scene0001_00.npz").unlink()
    with pytest.raises(InputError, match="keeps no points of its scenes; evaluate it again"):
        run_scenes(run)


def test_a_file_gives_prediction_or_truth(tmp_path: Path):
    columns, rows = _cloud(), np.arange(5000)
    write_cloud(tmp_path / "predicted.ply", Cloud({**columns, "label": rows % 40, "train_id": rows % 30}))
    write_cloud(tmp_path / "labelled.ply", Cloud({**columns, "label": np.where(rows % 2, 2, 13)}))
    content = file_points(tmp_path / "predicted.ply", 10_000, up="z", scale=1, say=lambda _: None)
    points, present = np.frombuffer(content[32:40], np.uint32).tolist()
    assert (points, present) == (5000, 4)
    last = np.bincount(np.frombuffer(content[-5000:], np.uint8), minlength=256)
    assert last[IGNORE] == np.count_nonzero(rows % 30 >= 20)
    said: list[str] = []
    content = file_points(tmp_path / "labelled.ply", 1000, up="z", scale=1, say=said.append)
    points, present = np.frombuffer(content[32:40], np.uint32).tolist()
    assert points <= 1000
    assert present == 2
    assert set(content[-points:]) == {1, IGNORE}  # floor; 13 is none of the benchmark's
    assert said[-1] == f"labelled.ply: {points:,} of 5,000 points are shown"


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["view"]) == 2
    assert main(["view", str(tmp_path / "nothing.ply")]) == 2
    assert main(["view", str(tmp_path)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert "nothing.ply, which does not exist" in said[1]
    assert "is not a run directory" in said[2]
    with served([]) as address, pytest.raises(InputError, match=r"port: .* cannot be had"):
        view_server("again", [], int(address.rpartition(":")[2]))


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_the_page_draws_and_says_what_cannot_be_read(tmp_path: Path):
    write_cloud(tmp_path / "cloud.npz", Cloud(_cloud()))

    def broken() -> bytes:
        raise InputError("no such luck")

    def whole() -> bytes:
        return file_points(tmp_path / "cloud.npz", 10_000, say=lambda _: None)

    scenes = [ViewedScene("cloud.npz", "", whole), ViewedScene("broken", "", broken)]
    viewer = "document.getElementById('viewer')"
    with served(scenes) as address, browser(tmp_path / "profile") as page:
        page.screen(900, 700, dark=True)
        page.open(f"{address}/")
        page.wait(f"Number({viewer}.dataset.frames) > 0 && {viewer}.dataset.state === 'ready'")
        picture = page.picture("#viewer canvas")
        assert np.mean(picture.max(axis=-1) > 120) > 0.05  # points are light, the page is dark
        assert page.run("[...document.querySelectorAll('.captions span')].map(one => one.textContent)") == ["colour"]
        assert page.errors == []
        page.run(f"{viewer}.querySelector('[data-part=after]').click()")
        page.wait(f"{viewer}.dataset.state === 'failed'")
        assert "no such luck" in page.run(f"{viewer}.querySelector('[data-part=note]').textContent")

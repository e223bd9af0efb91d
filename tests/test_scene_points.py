"""Scenes for the eye: which points are kept, their bytes, which scenes are kept whole."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from pointseg.errors import InputError
from pointseg.evaluation.scene_points import encode_points, read_scene_points, thinned, write_scene_points
from pointseg.evaluation.shown_scenes import worst_and_best
from pointseg.scannet.labels import NUM_CLASSES


def _room(points: int, seed: int = 0) -> np.ndarray:
    """[P, 3] float32 on the floor and two walls of a room of 5 x 4 x 2.5 m, much denser in one corner."""
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(0, 1, (points, 3)) ** 2 * [5, 4, 2.5]
    xyz[np.arange(points), rng.integers(0, 3, points)] = 0
    return xyz.astype(np.float32)


def _decoded(content: bytes) -> tuple[np.ndarray, list[np.ndarray]]:
    """xyz [P, 3] float64 and the columns of bytes that follow, straight from the layout."""
    *origin, step, points, _ = struct.unpack_from("<4d2I", content)
    columns = np.frombuffer(content, np.uint8, offset=40).reshape(-1, points)
    change = columns[:3].astype(np.int64) + 256 * columns[3:6].astype(np.int64)
    return np.cumsum(change, axis=1).T % 65536 * step + origin, list(columns[6:])


@pytest.mark.parametrize("limit", [500, 3000])
def test_thinning_is_even_and_keeps_to_its_limit(limit: int):
    xyz = _room(40_000)
    kept = thinned(xyz, limit)
    assert 0.6 * limit < len(kept) <= limit
    assert np.all(np.diff(kept) > 0)
    corner = (xyz < 1).all(axis=1)  # 3 of the 42.5 square metres
    assert corner.mean() > 0.2
    assert corner[kept].mean() < 0.12
    assert np.array_equal(thinned(xyz[:limit], limit), np.arange(limit))


@pytest.mark.parametrize(("compact", "error"), [(True, 0.0021), (False, 5e-5)])
def test_bytes_hold_the_points(compact: bool, error: float):
    xyz, rng = _room(5000) - 2 + np.array([0, 0, 100]), np.random.default_rng(1)
    rgb = rng.integers(0, 256, (5000, 3), np.uint8)
    truth, prediction = rng.integers(0, 256, (2, 5000), np.uint8)
    got, columns = _decoded(encode_points(xyz, rgb, truth, prediction, compact=compact))
    want = np.column_stack([xyz, rgb & 0xF8 if compact else rgb, truth, prediction])
    both = [np.column_stack([got, *columns]), want]
    # The order is another; each point is found again by what is exact, its classes and colour.
    ours, theirs = (rows[np.lexsort(rows[:, 3:].T)] for rows in both)
    assert np.array_equal(ours[:, 3:], theirs[:, 3:])
    if not compact:
        assert np.abs(ours[:, :3] - theirs[:, :3]).max() < error
    assert np.abs(np.sort(got, axis=0) - np.sort(xyz, axis=0)).max() < error


def test_neighbours_follow_each_other_and_deflate_well():
    xyz = _room(20_000)
    nothing = np.zeros(len(xyz), np.uint8)
    content = encode_points(xyz, None, nothing, nothing, compact=True)
    assert len(zlib.compress(content, 9)) < 3.5 * len(xyz)


def test_312_scenes_fit_in_a_page():
    xyz, rng = _room(20_000), np.random.default_rng(1)
    rgb = rng.integers(0, 256, xyz.shape, np.uint8)  # worse than any camera's
    truth = (xyz[:, 2] > 0).astype(np.uint8)
    wrong = np.where(rng.random(len(xyz)) < 0.2, rng.integers(0, 20, len(xyz)), truth).astype(np.uint8)
    content = encode_points(xyz, rgb, truth, wrong, compact=True)
    got, _ = _decoded(content)
    assert np.median(np.linalg.norm(np.diff(got, axis=0), axis=1)) < 0.1
    assert 312 * len(zlib.compress(content, 9)) * 4 / 3 < 55e6  # bytes in base64, of EvalConfig.display_points each


def test_one_point():
    got, columns = _decoded(encode_points(np.array([[1.5, -2, 3]]), prediction=np.array([7], np.uint8)))
    assert got.tolist() == [[1.5, -2, 3]]
    assert [column.tolist() for column in columns] == [[7]]


def test_file_of_scenes(tmp_path: Path):
    path = tmp_path / "scene_points.zip"
    assert read_scene_points(path, ["a"]) == {}
    write_scene_points(path, [("a", b"1" * 500), ("b", b"2")])
    assert read_scene_points(path, ["b", "missing"]) == {"b": b"2"}
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"scene_points\.zip cannot be read .*; evaluate the run again"):
        read_scene_points(path, ["a"])


def test_the_worst_and_the_best_scenes_are_kept():
    counts = np.zeros((5, NUM_CLASSES, NUM_CLASSES + 1), np.int64)
    for scene, correct in ((0, 70), (1, 20), (2, 90), (4, 50)):  # scene 3 has no annotation
        counts[scene, 2, 2], counts[scene, 2, 5] = correct, 100 - correct
    assert worst_and_best(counts, 0) == []
    assert worst_and_best(counts, 1) == [1]
    assert worst_and_best(counts, 3) == [1, 4, 2]
    assert worst_and_best(counts, 4) == [1, 4, 0, 2]
    assert worst_and_best(counts, 9) == [1, 4, 3, 0, 2]

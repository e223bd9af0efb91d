"""Columns and chunks of whole scenes: nothing is lost, the protocol is PointNet++'s."""

from __future__ import annotations

import numpy as np
import pytest

from pointseg.config import DataConfig, EvalConfig
from pointseg.data.tiling import TiledChunk, Votes, batches, covering_chunks, drawn_chunks, even_columns, grid_columns


def _room(size: tuple[float, float] = (4.0, 3.2), points: int = 5000, seed: int = 0) -> np.ndarray:
    low = np.array([10.0, -7.0, 0.0])
    return (low + np.random.default_rng(seed).uniform(0, [*size, 2.5], (points, 3))).astype(np.float32)


def _column_by_loop(xyz: np.ndarray, start: np.ndarray, block: float, context: float, slack: float):
    """Indices within the margin and which of them are inside, point by point."""
    index, inside = [], []
    for i, point in enumerate(xyz[:, :2].astype(np.float64)):
        if all(point >= start - context) and all(point <= start + block + context):
            index.append(i)
            inside.append(all(point >= start - slack) and all(point <= start + block + slack))
    return index, inside


def test_grid_columns_agree_with_a_loop_over_points():
    xyz = _room(points=600)
    low = xyz[:, :2].min(axis=0).astype(np.float64)
    starts = [low + np.array([1.5 * i, 1.5 * j]) for i in range(3) for j in range(3)]
    columns = list(grid_columns(xyz, 1.5, 0.2, 0.001))
    assert len(columns) == 9
    for column, start in zip(columns, starts, strict=True):
        index, inside = _column_by_loop(xyz, start, 1.5, 0.2, 0.001)
        assert column.index.tolist() == index
        assert column.inside.tolist() == inside


@pytest.mark.parametrize("size", [(4.0, 3.2), (3.0, 1.5), (0.4, 0.3), (7.6, 0.0), (1.5000001, 2.9999999)])
def test_every_point_is_inside_a_column_of_both_grids(size: tuple[float, float]):
    xyz = _room(size)
    for columns in (grid_columns(xyz, 1.5, 0.2, 0.001), even_columns(xyz, 1.5, 0.2)):
        seen = np.zeros(len(xyz), bool)
        for column in columns:
            seen[column.index[column.inside]] = True
        assert seen.all()


def test_even_columns_do_not_hang_over_the_edge():
    xyz = _room((3.1, 1.0), 20_000)
    grid = [np.ptp(xyz[c.index[c.inside], 0]) for c in grid_columns(xyz, 1.5, 0.2, 0.001)]
    even = [np.ptp(xyz[c.index[c.inside], 0]) for c in even_columns(xyz, 1.5, 0.2)]
    assert len(grid) == len(even) == 3
    assert min(grid) < 0.2  # the sliver that is left of 3.1 m after two columns
    assert min(even) > 1.45


def test_a_single_point_is_a_scene():
    data = DataConfig(num_points=16)
    chunks = list(covering_chunks(np.ones((1, 3), np.float32), data, np.random.default_rng(0)))
    assert len(chunks) == 1
    assert chunks[0].index.tolist() == [0] * 16
    assert chunks[0].scored.all()


@pytest.mark.parametrize("num_points", [64, 1000, 8192])
def test_covering_chunks_score_every_point(num_points: int):
    xyz = _room()
    counts = np.zeros(len(xyz), int)
    for chunk in covering_chunks(xyz, DataConfig(num_points=num_points), np.random.default_rng(1)):
        assert chunk.index.shape == chunk.scored.shape == (num_points,)
        assert chunk.scored.any()
        np.add.at(counts, chunk.index[chunk.scored], 1)
    assert counts.min() >= 1


def _awkward_scene(name: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    if name == "one vertex":
        return np.full((1, 3), -3.7, np.float32)
    if name == "line":
        return (rng.uniform(0, 9, (700, 1)) * [0.6, 0.8, 0]).astype(np.float32)
    if name == "corridor of 40 m":
        return rng.uniform([5, -20, 0], [6.7, 20, 2.5], (20_000, 3)).astype(np.float32)
    if name == "L-shape":
        legs = rng.uniform(0, [[9, 1.2, 2.5]], (4000, 3)), rng.uniform(0, [[1.2, 9, 2.5]], (4000, 3))
        return np.concatenate(legs).astype(np.float32)
    if name == "fewer points than a chunk":
        return _room(points=100)
    assert name == "stray vertex"
    return np.append(_room(points=3000), [[900, -900, 40]], axis=0).astype(np.float32)


@pytest.mark.parametrize(
    "name", ["one vertex", "line", "corridor of 40 m", "L-shape", "fewer points than a chunk", "stray vertex"]
)
@pytest.mark.parametrize("num_points", [128, 2048])
def test_coverage_of_awkward_scenes_is_complete(name: str, num_points: int):
    xyz = _awkward_scene(name)
    votes = Votes(len(xyz), outputs=1)
    for chunk in covering_chunks(xyz, DataConfig(num_points=num_points), np.random.default_rng(2)):
        assert chunk.index.shape == (num_points,)
        votes.add(chunk, np.ones((num_points, 1), np.float32))
    assert np.count_nonzero(votes.counts) == len(xyz)


def test_covering_chunks_repeat_a_point_only_when_the_column_has_too_few():
    xyz = _room((1.0, 1.0), 700)
    sizes = []
    for chunk in covering_chunks(xyz, DataConfig(num_points=300), np.random.default_rng(1)):
        assert len(np.unique(chunk.index)) == 300
        sizes.append(len(chunk.index))
    assert sizes == [300, 300, 300]
    (chunk,) = covering_chunks(xyz, DataConfig(num_points=1000), np.random.default_rng(1))
    assert len(np.unique(chunk.index)) == 700


def test_drawn_chunks_follow_the_released_script():
    xyz = _room()
    data, evaluation = DataConfig(num_points=512), EvalConfig()
    chunks = list(drawn_chunks(xyz, data, evaluation, np.random.default_rng(3)))
    columns = list(grid_columns(xyz, 1.5, 0.2, 0.001))
    assert len(chunks) == len(columns) == 9
    for chunk, column in zip(chunks, columns, strict=True):
        assert chunk.index.shape == (512,)
        assert len(np.unique(chunk.index)) < 512  # with replacement
        inside = set(column.index[column.inside].tolist())
        assert set(chunk.index.tolist()) <= set(column.index.tolist())
        assert all((i in inside) == scored for i, scored in zip(chunk.index.tolist(), chunk.scored, strict=True))


def test_drawn_chunks_drop_columns_with_few_inside_points():
    # A dense wall at x = 1.45 and one point at x = 1.6: the second column sees the wall as margin.
    rng = np.random.default_rng(0)
    wall = np.column_stack([np.full(4000, 1.45), rng.uniform(0, 1, 4000), rng.uniform(0, 2, 4000)])
    xyz = np.vstack([[[0, 0, 0], [1.6, 0, 0]], wall]).astype(np.float32)
    data = DataConfig(num_points=1024)
    assert len(list(grid_columns(xyz, 1.5, 0.2, 0.001))) == 2
    assert len(list(drawn_chunks(xyz, data, EvalConfig(), np.random.default_rng(0)))) == 1
    assert len(list(drawn_chunks(xyz, data, EvalConfig(min_inside=0.0), np.random.default_rng(0)))) == 2


@pytest.mark.parametrize("tiler", ["drawn", "covering"])
def test_chunks_are_a_function_of_the_generator(tiler: str):
    xyz, data = _room(), DataConfig(num_points=256)

    def cut(seed: int) -> np.ndarray:
        rng = np.random.default_rng([seed, 4, 0])
        chunks = drawn_chunks(xyz, data, EvalConfig(), rng) if tiler == "drawn" else covering_chunks(xyz, data, rng)
        return np.stack([chunk.index for chunk in chunks])

    assert np.array_equal(cut(0), cut(0))
    assert not np.array_equal(cut(0), cut(1))


def test_batches_keep_the_last_incomplete_one():
    chunks = [TiledChunk(np.array([i]), np.array([True]), np.zeros(2, np.float32)) for i in range(5)]
    assert [[int(c.index[0]) for c in batch] for batch in batches(chunks, 2)] == [[0, 1], [2, 3], [4]]


def test_votes_average_the_scored_answers():
    votes = Votes(points=3, outputs=2)
    chunk = TiledChunk(np.array([0, 0, 1]), np.array([True, True, False]), np.zeros(2, np.float32))
    votes.add(chunk, np.array([[0.2, 0.8], [0.6, 0.4], [1.0, 0.0]], np.float32))
    assert votes.counts.tolist() == [2, 0, 0]
    assert votes.label().tolist() == [1, 0, 0]
    assert votes.probability().tolist() == pytest.approx([0.6, 0.0, 0.0])

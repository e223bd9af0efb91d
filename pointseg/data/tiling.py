"""Cuts a whole scene into chunks of a fixed number of points and adds the answers up again.

Two ways, one per evaluation protocol:

- `drawn_chunks`: PointNet++'s released script. Columns on a fixed grid, one draw with replacement per column.
- `covering_chunks`: every point is in at least one chunk in which its answer counts.

Both work on plain coordinates, so that they serve scenes of a store and files of one's own alike. Randomness comes
from the generator passed in. P = points of the scene, N = points of a chunk, K = outputs of the network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from pointseg.config import DataConfig, EvalConfig
from pointseg.errors import InputError

EDGE = 0.001  # metres; how far outside a column a point still belongs to it, so that rounding leaves no gap between two
MAX_COLUMNS = 10_000  # a side; more is a wrong unit or a stray point, not a scene

Item = TypeVar("Item")


@dataclass(frozen=True)
class Column:
    """The points of a square column of full height and of the margin around it."""

    index: np.ndarray  # [n] int64 ascending, into the scene
    inside: np.ndarray  # [n] bool: within the column itself, not the margin
    center: np.ndarray  # [2] float32: the middle of the column in x and y


@dataclass(frozen=True)
class TiledChunk:
    """What the network sees at once."""

    index: np.ndarray  # [N] int64 into the scene; repeats are possible
    scored: np.ndarray  # [N] bool: the answer for this point counts
    center: np.ndarray  # [2] float32: the middle of its column in x and y


def grid_columns(xyz: np.ndarray, block: float, context: float, slack: float) -> Iterator[Column]:
    """PointNet++'s columns: a grid of `block` metres from the scene's minimum, x outer, y inner; no empty ones."""
    low = xyz[:, :2].min(axis=0).astype(np.float64)
    counts = _columns_per_axis(xyz[:, :2].max(axis=0).astype(np.float64) - low, block)
    starts_x, starts_y = (low[axis] + block * np.arange(counts[axis]) for axis in (0, 1))
    return _cut_columns(xyz, starts_x, starts_y, block, context, slack)


def even_columns(xyz: np.ndarray, block: float, context: float) -> Iterator[Column]:
    """As many columns as `grid_columns`, spread evenly so that none hangs over the scene's edge.

    A fixed grid leaves slivers at the far sides in which the network sees a strip of the room only. Here neighbouring
    columns overlap instead; every point is inside one column or more.
    """
    starts_x, starts_y = even_starts(xyz[:, :2].min(axis=0), xyz[:, :2].max(axis=0), block)
    return _cut_columns(xyz, starts_x, starts_y, block, context, EDGE)


def even_starts(low: np.ndarray, high: np.ndarray, block: float, overhang: float = 0.0) -> list[np.ndarray]:
    """Where the columns of `even_columns` start in x and y, for a scene from `low` to `high` [2].

    With an overhang (metres, at most half a block) the first and last columns reach so far beyond the scene, and there
    is one column more.
    """
    low = low.astype(np.float64)
    extent = high.astype(np.float64) - low
    starts = []
    for axis, count in enumerate(_columns_per_axis(extent, block)):
        room = max(extent[axis] - block, 0.0)  # how far the last column starts from the first
        starts.append(low[axis] + np.linspace(-overhang, room + overhang, count + (overhang > 0)))
    return starts


def drawn_chunks(
    xyz: np.ndarray, data: DataConfig, evaluation: EvalConfig, rng: np.random.Generator
) -> Iterator[TiledChunk]:
    """One chunk per grid column: `num_points` draws with replacement, of which those inside are scored.

    A chunk of whose draws fewer than `min_inside` are inside is dropped, as in PointNet++'s script.
    """
    for column in grid_columns(xyz, data.block, data.context, evaluation.slack):
        draw = rng.integers(len(column.index), size=data.num_points)
        inside = column.inside[draw]
        if np.count_nonzero(inside) >= evaluation.min_inside * data.num_points:
            yield TiledChunk(column.index[draw], inside, column.center)


def covering_chunks(xyz: np.ndarray, data: DataConfig, rng: np.random.Generator) -> Iterator[TiledChunk]:
    """Chunks in which every point of the scene is scored at least once.

    The points of each column and its margin are shuffled and dealt out to as few chunks as hold them; what is missing
    to `num_points` is drawn from the rest of the column, so that all its chunks are equally dense. Points of the
    margin are seen but not scored: the network was never supervised there.
    """
    for column in even_columns(xyz, data.block, data.context):
        yield from deal_chunks(column, data, rng)


def deal_chunks(column: Column, data: DataConfig, rng: np.random.Generator) -> Iterator[TiledChunk]:
    """The chunks of `covering_chunks` that a column is dealt out to; none if no point is inside."""
    if not column.inside.any():
        return
    order = rng.permutation(len(column.index))
    start = 0
    for piece in np.array_split(order, math.ceil(len(order) / data.num_points)):
        chosen = np.concatenate([piece, _fill(order, start, len(piece), data.num_points - len(piece), rng)])
        start += len(piece)
        if column.inside[chosen].any():
            yield TiledChunk(column.index[chosen], column.inside[chosen], column.center)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items; the last one holds what is left."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


class Votes:
    """Sums of the network's probabilities for every point of a scene: 4 * (K + 1) bytes a point."""

    def __init__(self, points: int, outputs: int) -> None:
        self.sums = np.zeros((points, outputs), np.float32)  # [P, K]
        self.counts = np.zeros(points, np.int32)  # [P]
        self.chunks = 0

    def add(self, chunk: TiledChunk, probability: np.ndarray) -> None:
        """Adds probability [N, K] at the scored points of the chunk; a point that is in it twice votes twice."""
        index = chunk.index[chunk.scored]
        # Six times as fast as np.add.at; on the CPU it adds in order, so the sums do not vary.
        torch.from_numpy(self.sums).index_add_(0, torch.from_numpy(index), torch.from_numpy(probability[chunk.scored]))
        np.add.at(self.counts, index, 1)
        self.chunks += 1

    def label(self) -> np.ndarray:
        """The output with the largest sum, [P] int64; ties go to the lowest, and so do points without a vote (0)."""
        return self.sums.argmax(axis=1)

    def probability(self) -> np.ndarray:
        """The mean probability of `label()`, [P] float32; 0 for points without a vote."""
        return self.sums.max(axis=1) / np.maximum(self.counts, 1).astype(np.float32)


def _columns_per_axis(extent: np.ndarray, block: float) -> tuple[int, int]:
    if max(extent) > MAX_COLUMNS * block:
        most = MAX_COLUMNS * block
        raise InputError(f"xyz must span at most {most:g} m in x and y, got {max(extent):g} m: is there a stray point?")
    nx, ny = (max(1, math.ceil(side / block)) for side in extent)
    return nx, ny


def _cut_columns(
    xyz: np.ndarray, starts_x: np.ndarray, starts_y: np.ndarray, block: float, context: float, slack: float
) -> Iterator[Column]:
    """Columns [start, start + block] in x and y; points sorted by x once, so that a column looks at its strip only."""
    by_x = np.argsort(xyz[:, 0], kind="stable")
    sorted_x = xyz[by_x, 0].astype(np.float64)
    for x in starts_x:
        strip = by_x[np.searchsorted(sorted_x, x - context) : np.searchsorted(sorted_x, x + block + context, "right")]
        if len(strip) == 0:  # far outliers leave many of them
            continue
        strip = np.sort(strip)
        for column in strip_columns(xyz[strip, :2], x, starts_y, block, context, slack):
            yield Column(strip[column.index], column.inside, column.center)


def strip_columns(
    xy: np.ndarray, x: float, starts_y: np.ndarray, block: float, context: float, slack: float
) -> Iterator[Column]:
    """The columns that start at `x` and at each of `starts_y`, of points [P, 2] of [x - context, x + block + context].

    Points are sorted by y once, so that a column looks at its own points only; indices are into `xy`.
    """
    in_x = xy[:, 0].astype(np.float64)
    in_x = (in_x >= x - slack) & (in_x <= x + block + slack)
    by_y = np.argsort(xy[:, 1], kind="stable")
    sorted_y = xy[by_y, 1].astype(np.float64)
    for y in starts_y:
        near = by_y[np.searchsorted(sorted_y, y - context) : np.searchsorted(sorted_y, y + block + context, "right")]
        if len(near):
            near = np.sort(near)
            own = xy[near, 1].astype(np.float64)
            in_y = (own >= y - slack) & (own <= y + block + slack)
            yield Column(near, in_x[near] & in_y, np.array([x + block / 2, y + block / 2], np.float32))


def _fill(order: np.ndarray, start: int, length: int, missing: int, rng: np.random.Generator) -> np.ndarray:
    """`missing` more than `order[start : start + length]`: first of the rest, without replacement, then repeats."""
    others = len(order) - length
    if missing <= others:
        place = rng.choice(others, missing, replace=False)
        return order[np.where(place < start, place, place + length)]
    rest = np.concatenate([order[:start], order[start + length :]])
    everything = np.concatenate([order[start : start + length], rest])
    return np.concatenate([rest, rng.choice(everything, missing - others)])

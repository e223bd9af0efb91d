"""Labels for scenes of any size: a band of columns after another, so that votes are kept for one band at a time.

P points of the scene, K outputs of the network. Takes 16 bytes a point beside the scene and its labels, and, for the
points of one band, 4 (K + 1). A place is a point's number in order of x.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from pointseg.config import DataConfig
from pointseg.data.chunks import rotate_z
from pointseg.data.tiling import EDGE, TiledChunk, Votes, deal_chunks, even_starts, strip_columns
from pointseg.evaluation.inference import answers, views
from pointseg.store import floor_height

_BIN = 0.05  # metres; places are in order of x to this precision, ...
_MAX_BINS = 1 << 16  # ... or a coarser one: numpy sorts 16-bit keys in linear time


def label_in_bands(
    model: nn.Module,
    xyz: np.ndarray,
    rgb: np.ndarray | None,
    data: DataConfig,
    *,
    outputs: int,
    passes: int,
    top_k: int,
    batch_size: int,
    seed: Sequence[int],
    device: torch.device,
    name: str,
    on_points: Callable[[int], None] = lambda _: None,
) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest outputs of every point, [P, top_k] uint8, and their mean probabilities, [P, top_k] float32.

    The first pass sees the chunks of `pointseg.data.tiling.covering_chunks`. Each further one shifts the columns and
    turns what the network sees of them about z, by an angle of its own.

    Args:
        xyz: [P, 3] float32 metres, +z up. rgb: [P, 3] uint8; None: the network takes no colours.
        top_k: at most K. on_points: is told, after each chunk, for how many more points there is an answer.
    """
    floor = floor_height(xyz)
    order = _Order(xyz[:, 0])
    rngs = [np.random.default_rng([*seed, number]) for number in range(passes)]
    angles = [rng.uniform(0, 2 * np.pi) if number else 0.0 for number, rng in enumerate(rngs)]
    best = np.zeros((len(xyz), top_k), np.uint8)
    probability = np.zeros((len(xyz), top_k), np.float32)
    band = _Band(outputs)
    for strip, following in pairwise([*_strips(xyz, data.block, passes), None]):
        index, place = order.between(strip.x - data.context, strip.x + data.block + data.context)
        own, angle = xyz[index], angles[strip.number]
        band.widen(int(place.max(initial=-1)) + 1)
        turned = rotate_z(own, angle) if strip.number else own
        chunks = _chunks(own, strip, angle, data, rngs[strip.number])
        seen = views(chunks, turned, None if rgb is None else rgb[index], name, floor)
        for answer in answers(model, seen, data, batch_size=batch_size, device=device):
            on_points(band.add(place, answer.chunk, answer.probability))
        stop = len(xyz) if following is None else order.first(following.x - EDGE)
        rows = order.index[band.start : stop]
        best[rows], probability[rows] = band.close(stop, top_k)
    return best, probability


class _Strip(NamedTuple):
    """Columns of one pass that start at the same x."""

    x: float
    number: int  # of the pass
    starts_y: np.ndarray


def _strips(xyz: np.ndarray, block: float, passes: int) -> list[_Strip]:
    """Those of all passes, in order of x. Pass v shifts its columns by a share v / passes of half a block."""
    low, high = xyz[:, :2].min(axis=0), xyz[:, :2].max(axis=0)
    strips = []
    for number in range(passes):
        starts_x, starts_y = even_starts(low, high, block, overhang=block / 2 * number / passes)
        strips += [_Strip(float(x), number, starts_y) for x in starts_x]
    return sorted(strips, key=lambda strip: strip[:2])


def _chunks(
    own: np.ndarray, strip: _Strip, angle: float, data: DataConfig, rng: np.random.Generator
) -> Iterator[TiledChunk]:
    """The chunks of a strip, their centres turned as their points will be."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for column in strip_columns(own[:, :2], strip.x, strip.starts_y, data.block, data.context, EDGE):
        for chunk in deal_chunks(column, data, rng):
            yield replace(chunk, center=(turn @ chunk.center).astype(np.float32)) if strip.number else chunk


class _Order:
    """Points in order of x, to the precision of a bin, and within it in the scene's own."""

    def __init__(self, x: np.ndarray) -> None:
        """x: [P] float32."""
        self._x = x
        self._low = float(x.min())
        self._bin = max(_BIN, (float(x.max()) - self._low) / (_MAX_BINS - 2))
        keys = ((x - np.float32(self._low)) / np.float32(self._bin)).astype(np.uint16)
        self.index = np.argsort(keys, kind="stable").astype(np.int32 if len(x) < 2**31 else np.int64)
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=_MAX_BINS))])

    def first(self, x: float) -> int:
        """A place before which all points lie below x."""
        return int(self._starts[np.clip(int((x - self._low) / self._bin) - 1, 0, _MAX_BINS)])

    def between(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """The points with low <= x <= high, in the scene's order: their numbers in it, int64, and their places."""
        start = self.first(low)
        stop = int(self._starts[np.clip(int((high - self._low) / self._bin) + 2, 0, _MAX_BINS)])
        x = self._x[self.index[start:stop]].astype(np.float64)
        place = start + ((x >= low) & (x <= high)).nonzero()[0]
        index = self.index[place]
        shuffle = np.argsort(index)
        return index[shuffle].astype(np.int64), place[shuffle]


class _Band:
    """Votes for the places from `start` on that have some, but not all of them yet."""

    def __init__(self, outputs: int) -> None:
        self.start = 0
        self._votes = Votes(0, outputs)

    def widen(self, stop: int) -> None:
        self._move(self.start, max(stop, self.start + len(self._votes.counts)))

    def add(self, place: np.ndarray, chunk: TiledChunk, answer: np.ndarray) -> int:
        """Adds the answers for a chunk whose indices are into `place`; returns how many points had none before."""
        rows = place[chunk.index] - self.start
        scored = rows[chunk.scored]
        new = len(np.unique(scored[self._votes.counts[scored] == 0]))
        self._votes.add(replace(chunk, index=rows), answer)
        return new

    def close(self, stop: int, top_k: int) -> tuple[np.ndarray, np.ndarray]:
        """Best outputs and their mean probabilities of all places below `stop`, whose votes are then forgotten."""
        ready = slice(0, stop - self.start)
        mean = self._votes.sums[ready] / np.maximum(self._votes.counts[ready], 1)[:, None].astype(np.float32)
        if top_k == 1:
            best = mean.argmax(axis=1)[:, None]
        else:
            best = np.argsort(-mean, axis=1, kind="stable")[:, :top_k]
        self._move(stop, max(stop, self.start + len(self._votes.counts)))
        return best.astype(np.uint8), np.take_along_axis(mean, best, axis=1)

    def _move(self, start: int, stop: int) -> None:
        """Makes room for the places from `start` to `stop`."""
        old, kept = self._votes, slice(start - self.start, len(self._votes.counts))
        self._votes = Votes(stop - start, old.sums.shape[1])
        self._votes.sums[: kept.stop - kept.start] = old.sums[kept]
        self._votes.counts[: kept.stop - kept.start] = old.counts[kept]
        self.start = start

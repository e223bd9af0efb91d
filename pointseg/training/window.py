"""What happened since the last logged line: sums over steps, and where the time went."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pointseg.data.dataset import Batch
from pointseg.distributed import Distributed

_UNREAD_ON_DEVICE = 10  # steps whose batches are kept, so that one that went wrong can be shown


class Step(NamedTuple):
    """One step as the device reported it."""

    number: int  # from 0
    batch: Batch  # this process's chunks
    loss: float  # weighted sum over the supervised points of all processes
    correct: float
    points: float  # supervised ones, of all processes
    gradient_norm: float  # not finite: the step was skipped


class Window:
    """Steps are handed in as tensors and read together, because reading makes the host wait for the device.

    Sums are kept in double precision and in the order of the steps, so that a run that was stopped and goes on from
    `state()` logs what an unbroken one would have.
    """

    def __init__(self, context: Distributed, batch_size: int, state: dict[str, float] | None = None) -> None:
        self._context = context
        self._batch_size = batch_size
        self._unread: list[tuple[int, Tensor, Batch]] = []
        self._start(state)

    def _start(self, state: dict[str, float] | None = None) -> None:
        self._sums = dict(state or {"loss": 0.0, "correct": 0.0, "points": 0.0, "gradient_norm": 0.0, "steps": 0})
        self._since, self._waited, self._steps_here = time.perf_counter(), 0.0, 0

    def wait(self) -> None:
        self._waiting_since = time.perf_counter()

    def loaded(self) -> None:
        self._waited += time.perf_counter() - self._waiting_since

    def add(self, step: int, outcome: Tensor, batch: Batch) -> None:
        """`outcome` [4] is what `TrainingStep` returned for `batch`."""
        self._unread.append((step, outcome, batch))
        self._steps_here += 1

    @property
    def full(self) -> bool:
        """Is it time to read? At every step on the CPU, where reading costs nothing."""
        return len(self._unread) >= (_UNREAD_ON_DEVICE if self._context.device.type == "cuda" else 1)

    def read(self) -> list[Step]:
        """Takes in what has been added, all processes together; returns the steps that were skipped."""
        if not self._unread:
            return []
        numbers, outcomes, batches = zip(*self._unread, strict=True)
        rows = self._context.all_reduce_sum(torch.stack(outcomes)).tolist()
        self._unread = []
        skipped = []
        for number, batch, row in zip(numbers, batches, rows, strict=True):
            if not all(map(math.isfinite, row)):
                skipped.append(Step(number, batch, *row))
                continue
            for name, value in zip(("loss", "correct", "points", "gradient_norm"), row, strict=True):
                self._sums[name] += value
            self._sums["steps"] += 1
        return skipped

    def state(self) -> dict[str, float]:
        """The sums, for a checkpoint."""
        return dict(self._sums)

    def close(self) -> dict[str, Any]:
        """Means over the window, for the log; the next window starts."""
        sums, elapsed = self._sums, time.perf_counter() - self._since
        points, steps = max(sums["points"], 1.0), max(sums["steps"], 1)
        means = {
            "loss": sums["loss"] / points,
            "accuracy": sums["correct"] / points,
            "gradient_norm": sums["gradient_norm"] / steps,
            "chunks_per_second": self._steps_here * self._batch_size / elapsed,
            "data_wait": self._waited / elapsed,
        }
        self._start()
        return means

"""What happened since the last logged line: sums over steps, and where the time went."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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


class Pace(NamedTuple):
    """How fast steps went, evaluations not counted."""

    seconds: float
    chunks_per_second: float  # of all processes
    data_wait: float  # share of the time in which this process waited for a batch

    def describe(self) -> str:
        return f"{self.seconds:.0f} s, {self.chunks_per_second:.2f} chunks/s, data wait {100 * self.data_wait:.1f} %"


@dataclass
class _Clock:
    since: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    steps: int = 0

    def pace(self, batch_size: int) -> Pace:
        seconds = time.perf_counter() - self.since
        return Pace(seconds, self.steps * batch_size / seconds, self.waited / seconds)


class Window:
    """Steps are handed in as tensors and read together, because reading makes the host wait for the device.

    Sums are kept in double precision and in the order of the steps, so that a run that was stopped and goes on from
    `state()` logs what an unbroken one would have.
    """

    def __init__(self, context: Distributed, batch_size: int, state: dict[str, float] | None = None) -> None:
        self._context = context
        self._batch_size = batch_size
        self._unread: list[tuple[int, Tensor, Batch]] = []
        self._run = _Clock()
        self._start(state)

    def _start(self, state: dict[str, float] | None = None) -> None:
        self._sums = dict(state or {"loss": 0.0, "correct": 0.0, "points": 0.0, "gradient_norm": 0.0, "steps": 0})
        self._clock = _Clock()

    def begin(self) -> None:
        """Everything is ready for the first step: time counts from here. It begins with waiting."""
        self._run, self._clock = _Clock(), _Clock()
        self.wait()

    def wait(self) -> None:
        self._waiting_since = time.perf_counter()

    def loaded(self) -> None:
        waited = time.perf_counter() - self._waiting_since
        for clock in (self._run, self._clock):
            clock.waited += waited

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done meanwhile is no training."""
        started = time.perf_counter()
        yield
        for clock in (self._run, self._clock):
            clock.since += time.perf_counter() - started

    def add(self, step: int, outcome: Tensor, batch: Batch) -> None:
        """`outcome` [4] is what `TrainingStep` returned for `batch`."""
        self._unread.append((step, outcome, batch))
        for clock in (self._run, self._clock):
            clock.steps += 1

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
        sums, pace = self._sums, self._clock.pace(self._batch_size)
        points, steps = max(sums["points"], 1.0), max(sums["steps"], 1)
        means = {
            "loss": sums["loss"] / points,
            "accuracy": sums["correct"] / points,
            "gradient_norm": sums["gradient_norm"] / steps,
            "chunks_per_second": pace.chunks_per_second,
            "data_wait": pace.data_wait,
            "memory": _peak_memory(self._context.device),
        }
        self._start()
        return means

    def whole_run(self) -> Pace:
        """Since `begin`, on this process."""
        return self._run.pace(self._batch_size)


def _peak_memory(device: torch.device) -> dict[str, float]:
    """The most that this process has held so far, MB; on a GPU also PyTorch's tensors there."""
    peaks = {"process_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}
    if device.type == "cuda":
        peaks["device_peak_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return {name: round(value, 1) for name, value in peaks.items()}

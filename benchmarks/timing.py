"""Times contenders in turns, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Milliseconds:
    median: float
    fastest: float


def interleaved(
    contenders: dict[str, Callable[[], object]], seconds: float, rounds: int, least: int = 1
) -> dict[str, Milliseconds]:
    """The time of each contender over up to `rounds` rounds, after one call to warm up.

    A slow contender leaves the rounds once it has used its share of `seconds` and was timed `least` times.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    share = seconds / len(contenders)
    for _ in range(rounds):
        for name, run in contenders.items():
            if len(times[name]) >= least and sum(times[name]) > share:
                continue
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: Milliseconds(1e3 * statistics.median(t), 1e3 * min(t)) for name, t in times.items()}


def wait_for(device: torch.device) -> None:
    """Until `device` has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def machine() -> dict[str, object]:
    """What a reader needs to place the numbers."""
    return {
        "cpu": cpu_model(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()

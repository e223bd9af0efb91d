"""Training interrupted at random moments by SIGTERM and SIGKILL and taken up again, beside a run that never was."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pointseg.rundir import RunDirectory
from pointseg.training.faults import EXIT_PREEMPTED

MEASURED = {"chunks_per_second", "data_wait", "memory"}  # of a logged line: they differ from run to run


def train_with_interruptions(config: Path, run: RunDirectory, times: int, rng: np.random.Generator) -> list[str]:
    """Trains `config` in `run`, sending SIGTERM or SIGKILL `times` times, each a random number of lines after a start.

    Returns what happened, a line each. Raises RuntimeError where the program ends otherwise than documented.
    """
    events = []
    for number in range(times):
        kind = [signal.SIGTERM, signal.SIGKILL][number % 2]
        lines = int(rng.integers(1, 4)) + _logged(run)
        with _train(config, run) as process:
            while process.poll() is None and _logged(run) < lines:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.05))
            if process.poll() is None:
                process.send_signal(kind)
            output, status = process.communicate()[1], process.returncode
        expected = {0, EXIT_PREEMPTED if kind == signal.SIGTERM else -signal.SIGKILL}
        if status not in expected or "Traceback" in output:
            raise RuntimeError(f"{kind.name}: status {status}, expected one of {expected}: {output[-2000:]}")
        events.append(f"{kind.name} after {_logged(run)} logged lines: status {status}")
    with _train(config, run) as process:
        output = process.communicate()[1]
    if process.returncode:
        raise RuntimeError(output[-2000:])
    return events


def differences(one: RunDirectory, other: RunDirectory) -> list[str]:
    """Names what is not the same bit for bit: entries of the last and the best checkpoint, logged lines."""
    found = []
    for name in ("checkpoint_file", "best_checkpoint_file"):
        paths = [getattr(run, name) for run in (one, other)]
        if paths[0].exists() != paths[1].exists():
            found.append(f"{paths[0].name} exists in one run only")
        elif paths[0].exists():
            a, b = (dict(_leaves(torch.load(path, weights_only=True), paths[0].name)) for path in paths)
            found += sorted(a.keys() ^ b.keys())
            found += [key for key in a.keys() & b.keys() if not _same(a[key], b[key])]
    lines = [
        [{k: v for k, v in line.items() if k not in MEASURED} for line in run.read_metrics()] for run in (one, other)
    ]
    return found + (["metrics.jsonl"] if lines[0] != lines[1] else [])


def _train(config: Path, run: RunDirectory) -> subprocess.Popen:
    going_on = ["--resume"] if run.checkpoint_file.exists() else ["--config", str(config)]
    command = [sys.executable, "-m", "pointseg", "train", "--out", str(run.path), *going_on]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _logged(run: RunDirectory) -> int:
    return sum(1 for _ in run.read_metrics())


def _leaves(tree: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _leaves(value, f"{prefix}/{name}")
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from _leaves(value, f"{prefix}/{number}")
    else:
        yield prefix, tree


def _same(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other

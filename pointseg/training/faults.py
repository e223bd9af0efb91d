"""What can go wrong in the middle of a run, and the one line that says so."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pointseg.atomic import replacing
from pointseg.distributed import Distributed
from pointseg.errors import InputError
from pointseg.training.window import Step

EXIT_PREEMPTED = 75  # status of a run that SIGTERM or SIGUSR1 stopped: EX_TEMPFAIL of <sysexits.h>, "try again"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # Ctrl-C; a batch system's end; its warning (SLURM)


class Interrupted(KeyboardInterrupt):
    """A signal came; the step under way was finished and a checkpoint written."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.preempted = number != signal.SIGINT


@contextmanager
def interruption() -> Iterator[Callable[[], int]]:
    """Turns the first signal into a request, `interrupted()`: its number, else 0. The second acts as it always does."""
    came: list[int] = []
    previous: dict[int, Any] = {}

    def remember(number: int, frame: Any) -> None:
        came.append(number)
        for each in _SIGNALS:
            signal.signal(each, previous[each])

    for number in _SIGNALS:
        previous[number] = signal.signal(number, remember)
    try:
        yield lambda: came[0] if came else 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def explained(context: Distributed) -> Iterator[None]:
    """Turns what ends a run from outside into an error of one line.

    Raises:
        InputError: a loader process was killed.
        ConnectionError: another process of the run is gone.
    """
    try:
        yield
    except (ConnectionError, EOFError):  # it was killed while it handed a batch over
        raise InputError(
            "data.workers: loader process ended unexpectedly while it handed a batch over, as when memory runs out; "
            "the last checkpoint is kept (fewer data.workers, or 0)"
        ) from None
    except RuntimeError as error:
        message = str(error)
        if worker := re.search(r"DataLoader worker \(pid\(?s?\)? ?([\d, ]+)\)", message):
            raise InputError(
                f"data.workers: loader process {worker[1].strip()} ended unexpectedly, as when memory runs out "
                "(fewer data.workers need less); the last checkpoint is kept"
            ) from None
        if context.world_size > 1 and re.search(r"(?i)connection|peer|timed out|nccl|gloo", message):
            raise ConnectionError(
                f"process {context.rank} of {context.world_size}: another process of this run has ended or does not "
                "answer; the last checkpoint is kept, --resume goes on from it"
            ) from None
        raise


def is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an exception of its own, the CPU's allocator only a text."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def out_of_memory(step: int, chunks: int, parts: int, fitting: int | None) -> InputError:
    """`chunks` of a process were taken in `parts`; taking them in `fitting` was tried and works."""
    advice = (
        f"train.accumulate={fitting} ({chunks // fitting} at a time) fits, with the same batch and learning rate"
        if fitting
        else "not even one chunk at a time fits; fewer data.num_points do"
    )
    return InputError(f"step {step}: out of memory with {chunks // parts} chunks at a time on a process; {advice}")


def report_nonfinite(step: Step, scan_ids: tuple[str, ...], folder: Path, context: Distributed, *, stop: bool) -> str:
    """Names a skipped step's scenes and saves this process's batch, `step_<n>_process_<rank>.pt`.

    Returns the message; raises it as InputError when the run is to `stop`.
    """
    scenes = ", ".join(sorted({scan_ids[i] for i in step.batch["scene"].tolist()}))
    path = folder / f"step_{step.number:08d}_process_{context.rank}.pt"
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        torch.save(dict(step.batch), partial)
    points = max(step.points, 1.0)
    message = (
        f"step {step.number}: loss is {step.loss / points:.4g}, gradient {step.gradient_norm:.4g} on {scenes}: "
        f"not finite, step skipped; its batch: {path}"
    )
    if stop:
        raise InputError(
            f"{message}; the last checkpoint is kept (a lower train.lr, or train.on_nonfinite=skip to go on)"
        )
    return message

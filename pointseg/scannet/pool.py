"""Work shared out to processes that are started afresh, stop quietly on Ctrl-C and never outlive their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from pointseg.errors import InputError
from pointseg.process import keep_freed_memory

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(function: Callable[[_Task], _Result], tasks: Sequence[_Task], workers: int) -> Iterator[_Result]:
    """The results of all tasks, in the order in which they finish; 0 workers: one after another in this process.

    An exception of `function` ends the rest, after the tasks that run already. Raises InputError if a process dies.
    """
    if workers == 0 or len(tasks) < 2:
        yield from map(function, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(tasks)), context, initializer=_start) as pool:
        # Processes inherit the mask: Ctrl-C, which reaches the whole group, stops the parent alone.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            futures = [pool.submit(function, task) for task in tasks]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise InputError(
                f"workers: one of {workers} processes died, perhaps for lack of memory; "
                f"run this again with fewer, what is finished is kept"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _start() -> None:
    """Settings of a process: memory as in `main`, and an end with its parent.

    A parent that was killed cannot stop its processes, and they would wait for tasks for ever.
    """
    keep_freed_memory()

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

"""Times calls on a CUDA device with its own clock (in a rehearsal on the CPU: with the host's)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def captured(run: Callable[[], object]) -> Callable[[], object]:
    """A replay of `run` as a CUDA graph: what the device does, without the time the host takes to ask for it."""
    if not torch.cuda.is_available():
        return run
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()

    def replay() -> object:
        graph.replay()
        return result

    return replay


def milliseconds(run: Callable[[], object], calls: int) -> float:
    if not torch.cuda.is_available():
        begin = time.perf_counter()
        for _ in range(calls):
            run()
        return 1e3 * (time.perf_counter() - begin) / calls
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(calls):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / calls


def interleaved(contenders: dict[str, Callable[[], object]], seconds: float, rounds: int) -> dict[str, float]:
    """The median milliseconds of a call of each contender over up to `rounds` rounds, taken in turns.

    A round calls a contender often enough to last about a millisecond. A slow one leaves the rounds once it has used
    its share of `seconds`; each is timed at least once after a call to warm up.
    """
    share = 1e3 * seconds / len(contenders)
    calls, times = {}, {}
    for name, run in contenders.items():
        warm = milliseconds(run, 1)
        if warm < share:
            warm = milliseconds(run, 1)
        calls[name] = max(1, min(200, int(1 / max(warm, 1e-3))))
        times[name] = [] if warm < share else [warm]
    for _ in range(rounds):
        for name, run in contenders.items():
            if times[name] and sum(times[name]) * calls[name] > share:
                continue
            times[name].append(milliseconds(run, calls[name]))
    return {name: statistics.median(values) for name, values in times.items()}

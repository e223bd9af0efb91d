"""A training step as one CUDA graph: a launch instead of hundreds, for batches too small to hide them.

Shapes are static in training, so a step records once and replays. What changes from step to step must be data on the
device (the batch, the learning rate, the random generator's seed) or forces a new recording (`record_again`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

_EAGER_STEPS = 3  # before recording, so that libraries and the optimiser have made what they make once


class GraphedStep:
    """`compute(*inputs) -> Tensor`, run eagerly three times, then recorded and replayed; every call is a real step."""

    def __init__(self, compute: Callable[..., Tensor], device: torch.device) -> None:
        self._compute = compute
        self._stream = torch.cuda.Stream(device)  # recording is not possible on the default stream
        self._eager_steps = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *inputs: Any) -> Tensor:
        if self._eager_steps < _EAGER_STEPS:
            self._eager_steps += 1
            return self._beside(lambda: self._compute(*inputs))
        if self._graph is None:
            self._record(inputs)
        else:
            for static, given in zip(tree_leaves(self._inputs), tree_leaves(inputs), strict=True):
                if isinstance(given, Tensor):
                    static.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._output.clone()

    def record_again(self) -> None:
        """Something that a recording holds as a constant has changed."""
        self._graph = None

    def _record(self, inputs: tuple[Any, ...]) -> None:
        self._inputs = tree_map_only(Tensor, torch.clone, inputs)
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        # The loader's thread that pins memory goes on meanwhile: only this thread's calls are recorded, and checked.
        with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            self._output = self._compute(*self._inputs)

    def _beside(self, compute: Callable[[], Tensor]) -> Tensor:
        """On the stream that records: autograd remembers the stream of its first pass."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            output = compute()
        current.wait_stream(self._stream)
        return output

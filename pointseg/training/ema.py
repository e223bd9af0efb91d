"""Exponential moving average of a network's weights and BatchNorm statistics (Polyak averaging)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class AveragedModel:
    """A second network, `model`, whose weights and statistics follow those of the trained one.

    After step n the average is moved by 1 - d towards the weights, with d = min(decay, (1 + n) / (10 + n)): early on it
    forgets faster, so that it does not drag the random start along.
    """

    def __init__(self, trained: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(trained).requires_grad_(False).eval()
        self._averages, self._current = _floats(self.model), _floats(trained)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Moves the average after step `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, current in zip(self._averages, self._current, strict=True):
            average.lerp_(current, 1 - decay)


def _floats(model: nn.Module) -> list[Tensor]:
    """Weights and statistics; not BatchNorm's counters."""
    return [tensor for tensor in model.state_dict(keep_vars=True).values() if tensor.is_floating_point()]

"""Learning rate and BatchNorm momentum as functions of the step, so that nothing has to be saved to go on."""

from __future__ import annotations

import math

from pointseg.config import TrainConfig

_FIRST_SHARE = 1 / 25  # one-cycle: what it begins with, of the highest rate (Smith and Topin 2019, fast.ai's setting)


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The learning rate of step `step` (from 0) of a run of `steps`.

    "staircase": times `lr_decay` every `decay_samples` chunks seen, never under `lr_floor`; the length does not matter.
    "cosine": half a cosine from `lr` to `lr_floor` (Loshchilov and Hutter 2017, without restarts).
    "onecycle": half a cosine up from a 25th of `lr`, half a cosine down to `lr_floor`; momentum stays as it is.
    Over the first `warmup` share of the steps the rate rises: linearly from 0, or the rising half of "onecycle".
    """
    rising = config.warmup * steps
    if step < rising:
        share = (step + 1) / math.ceil(rising)
        if config.schedule == "onecycle":
            return _half_cosine(config.lr * _FIRST_SHARE, config.lr, share)
        return _falling(config, step, steps, rising) * share
    return _falling(config, step, steps, rising)


def _falling(config: TrainConfig, step: int, steps: int, rising: float) -> float:
    if config.schedule == "staircase":
        drops = step * config.batch_size // config.decay_samples
        return max(config.lr * config.lr_decay**drops, config.lr_floor)
    return _half_cosine(config.lr, config.lr_floor, max(step - rising, 0) / max(steps - rising, 1))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def bn_momentum(config: TrainConfig, step: int) -> float:
    """PyTorch's BatchNorm momentum (the new batch's share): a staircase like the learning rate's."""
    drops = step * config.batch_size // config.decay_samples
    return max(config.bn_momentum * config.bn_decay**drops, config.bn_floor)

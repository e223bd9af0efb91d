"""Loss and accuracy on chunks of the evaluation split: a glance, not an evaluation, cheap enough to be taken often."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from pointseg.config import AugmentConfig, Config
from pointseg.data.dataset import ChunkDataset, Collate, Draw
from pointseg.distributed import Distributed
from pointseg.evaluation.inference import evaluation_mode
from pointseg.store import SceneStore
from pointseg.training.step import TrainingStep


class Validation:
    """The same `train.validate_chunks` chunks at every look, cut as for training but never changed.

    They are made once and kept in memory; every process looks at its share of them.
    """

    def __init__(self, store: SceneStore, config: Config, context: Distributed) -> None:
        data = replace(config.data, rotate=False, augment=AugmentConfig())
        dataset, collate = ChunkDataset(store, data, seed=config.evaluate.seed), Collate(data)
        mine = range(context.rank, config.train.validate_chunks, context.world_size)
        draws = [Draw(*divmod(number, len(dataset))) for number in mine]
        size = config.evaluate.batch_size
        starts = range(0, len(draws), size)
        self._batches = [collate([dataset[draw] for draw in draws[start : start + size]]) for start in starts]
        self._context = context

    def __call__(self, model: nn.Module, step: TrainingStep) -> dict[str, float]:
        """The loss that `step` minimises, as a mean over supervised points, and the share of them that is right."""
        device = self._context.device
        sums = torch.zeros(3, dtype=torch.float64, device=device)
        with evaluation_mode(model):
            for batch in self._batches:
                on_device = {key: value if value is None else value.to(device) for key, value in batch.items()}
                sums += step.sums(model, on_device)
        loss, correct, points = self._context.all_reduce_sum(sums).tolist()
        return {"loss": loss / max(points, 1), "accuracy": correct / max(points, 1)}

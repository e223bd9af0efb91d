"""From a store to batches: which scene comes when, on which process, cut and changed by which random numbers.

Everything is a function of (seed, epoch, scene): no state has to be saved to go on with a stopped run, and the batches
do not depend on the number of loader processes.

B chunks a batch, N points a chunk, F feature channels.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from pointseg.config import DataConfig, TrainConfig
from pointseg.data.augment import augment_block, input_dropout, mix_chunks, move_chunk
from pointseg.data.chunks import Chunk, cut_block, draw_points
from pointseg.data.inputs import point_inputs
from pointseg.store import SceneStore


class Draw(NamedTuple):
    """One chunk of a run: the `item`-th draw of an epoch's `len(store) * chunks_per_scene`."""

    epoch: int
    item: int


class Batch(TypedDict):
    xyz: Tensor  # [B, N, 3] float32
    features: Tensor | None  # [B, N, F] float32
    label: Tensor  # [B, N] int64
    inside: Tensor  # [B, N] bool, in the block that is supervised
    scene: Tensor  # [B] int64 into the store


class ChunkDataset(Dataset):
    """Chunks of a store's scenes, by `Draw`."""

    def __init__(self, store: SceneStore, config: DataConfig, *, seed: int) -> None:
        self.store = store
        self.config = config
        self.seed = seed

    def __len__(self) -> int:
        """Draws in an epoch."""
        return len(self.store) * self.config.chunks_per_scene

    def __getitem__(self, draw: Draw) -> tuple[int, Chunk]:
        rng = np.random.default_rng([self.seed, draw.epoch, draw.item])
        scene = draw.item % len(self.store)
        augment = self.config.augment
        chunk = self._chunk(scene, rng)
        if augment.mix and rng.random() < augment.mix:
            chunk = mix_chunks(chunk, self._chunk(int(rng.integers(len(self.store))), rng))
        if augment.input_dropout:
            chunk = input_dropout(chunk, rng, augment.input_dropout)
        return scene, chunk

    def _chunk(self, scene: int, rng: np.random.Generator) -> Chunk:
        """A chunk of one scene, changed as far as that concerns this scene alone."""
        block = cut_block(self.store, scene, rng, self.config)
        block = augment_block(block, rng, self.config.augment)
        rgb = self.store[scene].rgb if self.config.color else None
        chunk = draw_points(block, rgb, rng, self.config.num_points)
        return move_chunk(chunk, rng, self.config)


class StepSampler(Sampler[list[Draw]]):
    """The draws of each training step that fall to one process.

    The epochs, each a permutation of all draws, stand one behind another; a step takes the next `batch_size` of them,
    so a batch may reach into the next epoch and none is ever incomplete. Process `rank` takes every `world_size`-th
    draw of a step.
    """

    def __init__(
        self, dataset: ChunkDataset, config: TrainConfig, first_step: int, last_step: int, *, rank: int, world_size: int
    ) -> None:
        if config.batch_size % world_size:
            raise ValueError(f"batch_size must be a multiple of world_size={world_size}, got {config.batch_size}")
        self.draws = len(dataset)
        self.batch_size = config.batch_size
        self.seed = config.seed
        self.first_step = first_step
        self.last_step = last_step
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return max(self.last_step - self.first_step, 0)

    def __iter__(self) -> Iterator[list[Draw]]:
        known: tuple[int, np.ndarray] = (-1, np.empty(0))
        for step in range(self.first_step, self.last_step):
            batch = []
            for sample in range(step * self.batch_size + self.rank, (step + 1) * self.batch_size, self.world_size):
                epoch, place = divmod(sample, self.draws)
                if epoch != known[0]:
                    known = epoch, np.random.default_rng([self.seed, epoch]).permutation(self.draws)
                batch.append(Draw(epoch, int(known[1][place])))
            yield batch


def steps_of(draws: int, *, epochs: int, batch_size: int) -> int:
    """Training steps that see every draw of `epochs` epochs at least once."""
    return math.ceil(draws * epochs / batch_size)


def training_loader(dataset: ChunkDataset, sampler: StepSampler, *, pin_memory: bool) -> DataLoader[Batch]:
    """One pass over the whole rest of the run: loader processes start once, not once an epoch."""
    workers = dataset.config.workers
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=Collate(dataset.config),
        pin_memory=pin_memory,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_signals_to_the_loop,
    )


def _leave_signals_to_the_loop(worker: int) -> None:
    """Signals reach the whole process group; loader processes go on until the loop has finished its step."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


class Collate:
    """Chunks to a `Batch`; a class because loader processes started by spawn must pickle it."""

    def __init__(self, config: DataConfig) -> None:
        self.config = config

    def __call__(self, items: list[tuple[int, Chunk]]) -> Batch:
        scenes, chunks = zip(*items, strict=True)

        def stack(name: str) -> Tensor:
            return torch.from_numpy(np.stack([getattr(chunk, name) for chunk in chunks]))

        rgb = stack("rgb") if self.config.color else None
        xyz, features = point_inputs(stack("xyz"), rgb, stack("origin"), self.config)
        label, inside = stack("label").long(), stack("inside")
        return Batch(xyz=xyz, features=features, label=label, inside=inside, scene=torch.tensor(scenes))

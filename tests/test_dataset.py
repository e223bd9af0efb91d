"""Batches: a function of seed and step, shared out over processes without loss."""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch

from pointseg.config import DataConfig, TrainConfig
from pointseg.data.dataset import Batch, ChunkDataset, Draw, StepSampler, steps_of, training_loader
from pointseg.store import SceneStore

DATA = DataConfig(num_points=64, min_occupied=0.0, workers=0)
TRAIN = TrainConfig(batch_size=4, seed=5)


@pytest.fixture
def dataset(make_store) -> ChunkDataset:
    return ChunkDataset(SceneStore(make_store(scenes=3) / "train.h5"), DATA, seed=5)


def sampler(dataset: ChunkDataset, first: int = 0, last: int = 6, *, rank: int = 0, world_size: int = 1) -> StepSampler:
    return StepSampler(dataset, TRAIN, first, last, rank=rank, world_size=world_size)


def test_every_epoch_is_a_permutation(dataset: ChunkDataset) -> None:
    draws = [draw for step in sampler(dataset) for draw in step]
    assert [len(step) for step in sampler(dataset)] == [4] * 6
    for epoch in range(8):
        mine = draws[epoch * 3 : epoch * 3 + 3]
        assert [draw.epoch for draw in mine] == [epoch] * 3
        assert sorted(draw.item for draw in mine) == [0, 1, 2]
    assert len({tuple(draw.item for draw in draws[e * 3 : e * 3 + 3]) for e in range(8)}) > 1


def test_a_sampler_can_start_anywhere(dataset: ChunkDataset) -> None:
    assert list(sampler(dataset, first=2)) == list(sampler(dataset))[2:]
    assert len(sampler(dataset, first=2)) == 4
    assert list(sampler(dataset, first=9)) == []


def test_processes_share_a_step(dataset: ChunkDataset) -> None:
    whole = list(sampler(dataset))
    parts = [list(sampler(dataset, rank=rank, world_size=2)) for rank in range(2)]
    for step, draws in enumerate(whole):
        assert sorted(parts[0][step] + parts[1][step]) == sorted(draws)
    with pytest.raises(ValueError, match=r"batch_size must be a multiple of world_size=3, got 4"):
        sampler(dataset, world_size=3)


def test_steps_cover_all_epochs() -> None:
    assert steps_of(1201, epochs=200, batch_size=64) == 3754
    assert steps_of(3, epochs=1, batch_size=4) == 1


def _batches(dataset: ChunkDataset, rank: int, world_size: int) -> list[Batch]:
    """What one of `world_size` processes trains on in the first three steps, two epochs and a bit."""
    torch.set_num_threads(1)
    mine = sampler(dataset, last=3, rank=rank, world_size=world_size)
    return [
        {key: value.numpy() for key, value in batch.items()}
        for batch in training_loader(dataset, mine, pin_memory=False)
    ]


def test_batches_do_not_depend_on_workers_and_processes(dataset: ChunkDataset) -> None:
    dataset.config = dataclasses.replace(DATA, color=True)
    whole = _batches(dataset, 0, 1)
    for workers, world_size in itertools.product((0, 1, 2), (1, 2)):
        dataset.config = dataclasses.replace(DATA, color=True, workers=workers)
        with ProcessPoolExecutor(world_size, multiprocessing.get_context("fork")) as processes:
            parts = [processes.submit(_batches, dataset, rank, world_size) for rank in range(world_size)]
        for rank, part in enumerate(parts):
            for batch, expected in zip(part.result(), whole, strict=True):
                for key in ("xyz", "features", "label", "inside", "scene"):
                    np.testing.assert_array_equal(batch[key], expected[key][rank::world_size])


def test_a_batch(dataset: ChunkDataset) -> None:
    batch = next(iter(training_loader(dataset, sampler(dataset), pin_memory=False)))
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items() if value is not None} == {
        "xyz": ((4, 64, 3), torch.float32),
        "label": ((4, 64), torch.int64),
        "inside": ((4, 64), torch.bool),
        "scene": ((4,), torch.int64),
    }
    assert batch["features"] is None


def test_rotation_keeps_heights_and_distances(dataset: ChunkDataset) -> None:
    _, turned = dataset[Draw(0, 1)]
    dataset.config = dataclasses.replace(DATA, rotate=False)
    _, straight = dataset[Draw(0, 1)]
    np.testing.assert_array_equal(turned.index, straight.index)
    np.testing.assert_array_equal(turned.xyz[:, 2], straight.xyz[:, 2])
    assert np.abs(turned.xyz - straight.xyz).max() > 0.1
    np.testing.assert_allclose(
        np.linalg.norm(turned.xyz[:, None] - turned.xyz, axis=2),
        np.linalg.norm(straight.xyz[:, None] - straight.xyz, axis=2),
        atol=1e-5,
    )

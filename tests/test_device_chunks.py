"""Chunks cut on a device are those the loader would cut from the same random numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.crops import EVERY_CHANGE
from pointseg.config import AugmentConfig, DataConfig, TrainConfig
from pointseg.data.augment import estimate_normals
from pointseg.data.chunks import cut_block, draw_points
from pointseg.data.dataset import ChunkDataset, StepSampler
from pointseg.data.device_augment import (
    _normals,
    drop_vertices,
    gather_rows,
    input_dropout,
    move_chunks,
    move_vertices,
    pick_members,
)
from pointseg.data.device_chunks import DeviceChunks, DeviceScenes, cut_columns, first_valid, valid_tries
from pointseg.errors import InputError
from pointseg.store import Scene, SceneStore, write_store

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]
CPU = torch.device("cpu")
DATA = DataConfig(num_points=256, min_occupied=0.02, rotate=False, device_chunks=True)


class Given:
    """Stands in for a generator: takes its uniform numbers from a list."""

    def __init__(self, centres: np.ndarray, points: np.ndarray) -> None:
        self.centres, self.points = iter(centres), points

    def integers(self, high: int, size: int | None = None) -> np.ndarray | int:
        return int(next(self.centres) * high) if size is None else (self.points * high).astype(np.int64)


@pytest.fixture
def store(make_store: Callable[..., Path]) -> SceneStore:
    """Scenes whose points are in the order of their grid, one of them with an outlier and so with larger cells."""
    folder = make_store(points=6000, scenes=4)
    unsorted = SceneStore(folder / "train.h5")
    scenes = [_reordered(unsorted, i) for i in range(len(unsorted))]
    scenes[3].xyz[-1] = [70, 150, 1]
    for _ in range(2):  # the outlier moves the grid once more
        write_store(folder / "sorted.h5", "train", scenes, unsorted.meta)
        store = SceneStore(folder / "sorted.h5")
        orders = [store.grid(i).order for i in range(len(store))]
        scenes = [
            Scene(s.scan_id, s.xyz[order], s.rgb[order], s.label[order])
            for s, order in zip(scenes, orders, strict=True)
        ]
    assert all((np.diff(store.grid(i).order) == 1).all() for i in range(len(store)))
    return store


def _reordered(store: SceneStore, i: int) -> Scene:
    scene, order = store[i], store.grid(i).order
    return Scene(scene.scan_id, scene.xyz[order], scene.rgb[order], scene.label[order])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("least", "tries_taken"), [((0.0, 0.0), 1), ((0.95, 0.0), 4), ((0.0, 0.0185), 4), ((1.0, 1.0), 1)]
)
def test_blocks_and_points_are_those_of_the_loader(
    store: SceneStore, least: tuple[float, float], tries_taken: int, device: str
) -> None:
    config = dataclasses.replace(DATA, min_annotated=least[0], min_occupied=least[1], max_draws=5)
    batch = 32
    rng = np.random.default_rng(1)
    scene = rng.integers(len(store), size=batch)
    centres, points = rng.random((batch, config.max_draws)), rng.random((batch, config.num_points))

    scenes = DeviceScenes.load(store, config, torch.device(device))
    columns = cut_columns(scenes, torch.from_numpy(scene).to(device), torch.from_numpy(centres).to(device), config)
    tries = first_valid(valid_tries(scenes, columns, config))
    column = columns.chosen(tries)
    place = pick_members(column.member, torch.from_numpy(points).to(device))
    index = column.index.gather(1, place).cpu().numpy() - store.offsets[scene][:, None]

    used = []
    for b in range(batch):
        rng = Given(centres[b], points[b])
        block = cut_block(store, scene[b], rng, config)
        used.append(config.max_draws - len(list(rng.centres)))
        members = column.index[b][column.member[b]].cpu().numpy() - store.offsets[scene[b]]
        np.testing.assert_array_equal(members, block.index)
        np.testing.assert_array_equal(index[b], draw_points(block, store[scene[b]].rgb, rng, config.num_points).index)
    assert (tries + 1).tolist() == used
    assert len(set(used)) >= tries_taken


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_is_what_the_loader_gives(store: SceneStore, device: str) -> None:
    config = dataclasses.replace(DATA, color=True, height=True, center=True)
    chunks = DeviceChunks(store, config, _sampler(store, config), torch.device(device))
    batch = chunks.make(torch.tensor([2, 0, 1], device=device))
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
        "xyz": ((3, 256, 3), torch.float32),
        "features": ((3, 256, 4), torch.float32),
        "label": ((3, 256), torch.int64),
        "inside": ((3, 256), torch.bool),
        "scene": ((3,), torch.int64),
    }
    assert batch["xyz"][..., :2].abs().max() <= 0.95 + 1e-5
    supervised = (batch["xyz"][..., :2].abs() <= 0.76 + 1e-5).all(dim=-1)
    assert torch.equal(batch["inside"], supervised)
    torch.testing.assert_close(batch["xyz"][..., 2], batch["features"][..., 3])


def test_a_resumed_run_goes_on_with_the_same_batches(store: SceneStore) -> None:
    config = dataclasses.replace(DATA, rotate=True, augment=EVERY_CHANGE)
    whole, rest, other = (
        list(DeviceChunks(store, config, _sampler(store, config, first, seed), CPU))
        for first, seed in ((0, 5), (2, 5), (2, 6))
    )
    assert (len(whole), len(rest)) == (6, 4)
    for one, two in zip(whole[2:], rest, strict=True):
        assert all(one[key] is two[key] is None or torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(rest[0]["xyz"], other[0]["xyz"])
    assert torch.cat([batch["scene"] for batch in whole]).bincount().tolist() == [6] * 4


def test_what_the_device_cannot_do_is_said() -> None:
    with pytest.raises(InputError, match=r"augment.mix must be 0 with device_chunks, got 0.5"):
        DataConfig(device_chunks=True, augment=AugmentConfig(mix=0.5))


def test_thinning_keeps_a_uniform_share() -> None:
    member = torch.rand((200, 1000), generator=_generator()) < 0.5
    kept = drop_vertices(torch.zeros(200, 1000, 3), member, _generator(), AugmentConfig(thin=0.35))
    assert not (kept & ~member).any()
    shares = kept.sum(dim=1) / member.sum(dim=1)
    assert 0.35 <= shares.min() < 0.4
    assert 0.95 < shares.max() <= 1
    assert abs(shares.mean() - 0.675) < 0.05
    single = torch.zeros((8, 1000), dtype=torch.bool)
    single[:, 3] = True
    assert torch.equal(drop_vertices(torch.zeros(8, 1000, 3), single, _generator(), AugmentConfig(thin=0.0)), single)


def test_patches_are_balls_around_vertices() -> None:
    vertices = torch.rand((100, 800, 3), generator=_generator())
    member = torch.ones((100, 800), dtype=torch.bool)
    kept = drop_vertices(vertices, member, _generator(), AugmentConfig(patches=1, patch_radius=0.3))
    assert 20 < (~kept).any(dim=1).sum() < 70  # of the half that has a patch, some tiny
    for cloud, stays in zip(vertices, kept, strict=True):
        gone = cloud[~stays]
        if len(gone):
            reach = torch.cdist(gone, gone).amax(dim=1).min()  # that of its centre
            assert reach <= 0.3
            centre = gone[torch.cdist(gone, gone).amax(dim=1).argmin()]
            assert len(cloud) - int(stays.sum()) <= int((torch.cdist(centre[None], cloud) <= 0.3).sum())


def test_normals_are_those_of_the_loader() -> None:
    """A floor and a wall, as seen by either; up to sign."""
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-0.9, 0.9, (40_000, 3)).astype(np.float32)
    xyz[:20_000, 2], xyz[20_000:, 0] = 0, 0.93
    ours = _normals(
        torch.from_numpy(xyz)[None], torch.ones(1, 40_000, dtype=torch.bool), torch.from_numpy(xyz)[None], 0.95
    )
    cosine = (ours[0].numpy() * estimate_normals(xyz)).sum(axis=1)
    floor, wall = (
        (xyz[:, 2] == 0) & (xyz[:, 0] < 0.8),
        np.abs(xyz[:, 2]) > 0.2,
    )  # where they meet, cells have some of both
    assert ours[0, torch.from_numpy(floor), 2].abs().min() > 0.999
    assert ours[0, torch.from_numpy(wall), 0].abs().min() > 0.999
    assert np.abs(cosine)[floor | wall].min() > 0.999


def test_noise_moves_vertices_along_normals_and_copies_alike() -> None:
    rng = np.random.default_rng(0)
    floor = rng.uniform(-0.9, 0.9, (4, 20_000, 3)).astype(np.float32) * np.array([1, 1, 0], np.float32)
    vertices, member = torch.from_numpy(floor), torch.ones((4, 20_000), dtype=torch.bool)
    place = torch.randint(20_000, (4, 30_000), generator=_generator())
    config = DataConfig(augment=AugmentConfig(normal_noise=0.02))
    before = gather_rows(vertices, place)
    moved = move_vertices(vertices, member, place, _generator(), config) - before
    assert moved[..., :2].abs().max() < 1e-6
    deviations = moved[..., 2].std(dim=1)
    assert deviations.max() <= 0.0205
    assert deviations.max() > 2 * deviations.min()  # each chunk draws its own
    for augment in (config.augment, AugmentConfig(jitter=0.01), AugmentConfig(elastic=0.05), EVERY_CHANGE):
        points = move_vertices(vertices, member, place, _generator(), DataConfig(augment=augment))
        assert not torch.equal(points, before)
        first = torch.zeros((4, 20_000), dtype=torch.int64).scatter_(1, place, torch.arange(30_000).expand(4, -1))
        assert torch.equal(points, gather_rows(points, first.gather(1, place)))  # copies of a vertex stay copies


def test_chunks_turn_about_z_and_scale_about_their_origin() -> None:
    xyz = torch.rand((50, 100, 3), generator=_generator()) + 5
    origin = torch.tensor([5.5, 5.5, 5.0]).expand(50, 3)
    turned, middle = move_chunks(xyz, origin, _generator(), DataConfig())
    torch.testing.assert_close(turned[..., 2], xyz[..., 2])
    torch.testing.assert_close((turned - middle[:, None]).norm(dim=2), (xyz - origin[:, None]).norm(dim=2))
    angle = torch.atan2(middle[:, 1], middle[:, 0])
    assert angle.min() < -2.5
    assert angle.max() > 2.5
    config = DataConfig(rotate=False, augment=AugmentConfig(scale=0.2, flip=0.5))
    scaled, same = move_chunks(xyz, origin, _generator(), config)
    assert torch.equal(same, origin)
    factors = (scaled - origin[:, None]) / (xyz - origin[:, None])
    torch.testing.assert_close(factors[..., 2].amin(dim=1), factors[..., 2].amax(dim=1), atol=1e-3, rtol=0)
    assert 0.8 <= factors[..., 2].min() < 0.85 < 1.15 < factors[..., 2].max() <= 1.2 + 1e-3
    assert 10 < (factors[:, 0, 0] < 0).sum() < 40
    tilted, _ = move_chunks(xyz, origin, _generator(), DataConfig(rotate=False, augment=AugmentConfig(tilt=5)))
    torch.testing.assert_close((tilted - origin[:, None]).norm(dim=2), (xyz - origin[:, None]).norm(dim=2))
    assert 0.01 < (tilted - xyz).norm(dim=2).max() < 1.5 * np.deg2rad(5)


def test_input_dropout_copies_the_first_point() -> None:
    inside = torch.rand((400, 500), generator=_generator()) < 0.9
    source, supervised = input_dropout(inside, _generator(), 0.875)
    dropped = source != torch.arange(500)
    assert (source[dropped] == 0).all()
    assert not (supervised & dropped).any()
    assert torch.equal(supervised[:, 1:], (inside & ~dropped)[:, 1:])
    shares = dropped.float().mean(dim=1)
    assert shares.max() <= 0.875 + 0.06
    assert abs(shares.mean() - 0.4375) < 0.03


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def _sampler(store: SceneStore, config: DataConfig, first: int = 0, seed: int = 5) -> StepSampler:
    dataset = ChunkDataset(store, config, seed=seed)
    return StepSampler(dataset, TrainConfig(batch_size=4, seed=seed), first, 6, rank=0, world_size=1)

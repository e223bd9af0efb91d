"""Augmentations do what they promise, by the generator alone, and touch nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from benchmarks.crops import EVERY_CHANGE
from pointseg.config import AugmentConfig, DataConfig
from pointseg.config_file import parse_config
from pointseg.data import augment
from pointseg.data.augment import augment_block, input_dropout, mix_chunks, move_chunk
from pointseg.data.chunks import Block, Chunk, cut_block, draw_points
from pointseg.data.dataset import ChunkDataset, Draw, StepSampler, training_loader
from pointseg.errors import InputError
from pointseg.store import SceneStore

EVERYTHING = dataclasses.replace(EVERY_CHANGE, mix=0.5)
DATA = DataConfig(num_points=512, min_occupied=0.0, color=True)


@pytest.fixture
def store(make_store) -> SceneStore:
    return SceneStore(make_store(points=5000) / "train.h5")


@pytest.fixture
def block(store: SceneStore) -> Block:
    return cut_block(store, 0, rng(), DATA)


@pytest.fixture
def chunk(store: SceneStore, block: Block) -> Chunk:
    return draw_points(block, store[0].rgb, rng(), 512)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def sheets() -> tuple[np.ndarray, np.ndarray]:
    """A floor and a wall 2 m apart, 20,000 vertices, and which of them are the floor's."""
    xyz = rng().uniform(0, 2, (20_000, 3)).astype(np.float32)
    floor = np.arange(len(xyz)) < 10_000
    xyz[floor, 2], xyz[~floor, 0] = 0, 4
    return xyz, floor


def same(one: object, other: object) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


def test_everything_is_off_by_default(block: Block, chunk: Chunk) -> None:
    source = rng()
    assert augment_block(block, source, AugmentConfig()) is block
    assert same(move_chunk(chunk, source, dataclasses.replace(DATA, rotate=False)), chunk)
    assert source.random() == rng().random()  # nothing was drawn


@pytest.mark.parametrize(
    "config",
    [AugmentConfig(**{f.name: getattr(EVERYTHING, f.name)}) for f in dataclasses.fields(AugmentConfig)]
    + [EVERYTHING, AugmentConfig()],
    ids=[f.name for f in dataclasses.fields(AugmentConfig)] + ["everything", "nothing"],
)
def test_a_chunk_is_a_function_of_the_generator(store: SceneStore, config: AugmentConfig) -> None:
    """Equal seeds give equal chunks, others do not; points keep the labels of their vertices."""

    def chunks(seed: int) -> list[tuple[int, Chunk]]:
        data = dataclasses.replace(DATA, augment=config)
        return [ChunkDataset(store, data, seed=seed)[Draw(1, item)] for item in range(3)]

    for (scene, one), (_, again), (_, other) in zip(chunks(5), chunks(5), chunks(6), strict=True):
        assert same(one, again)
        assert not np.array_equal(one.xyz, other.xyz)
        assert one.xyz.dtype == np.float32
        assert one.xyz.shape == (512, 3)
        assert np.isfinite(one.xyz).all()
        own = one.index >= 0
        assert np.array_equal(one.label[own], store[scene].label[one.index[own]])
        assert np.array_equal(one.rgb[own], store[scene].rgb[one.index[own]])


def test_all_copies_of_a_vertex_stay_copies(store: SceneStore) -> None:
    data = dataclasses.replace(DATA, num_points=4096, augment=dataclasses.replace(EVERYTHING, mix=0.0))
    chunk = ChunkDataset(store, data, seed=0)[Draw(0, 0)][1]
    _, first, inverse = np.unique(chunk.index, return_index=True, return_inverse=True)
    assert len(first) < 4096
    assert np.array_equal(chunk.xyz, chunk.xyz[first][inverse])


def test_thinning_keeps_a_share_between_the_least_and_all() -> None:
    shares = [len(augment.thin(1000, rng(seed), 0.35)) / 1000 for seed in range(200)]
    assert 0.35 <= min(shares) < 0.4
    assert 0.95 < max(shares) <= 1
    kept = augment.thin(1000, rng(), 0.5)
    assert (np.diff(kept) > 0).all()
    assert kept.min() >= 0
    assert kept.max() < 1000
    assert augment.thin(1, rng(), 0.0).tolist() == [0]


def test_patches_are_balls(block: Block) -> None:
    dropped = 0
    for seed in range(20):
        kept = augment.drop_patches(block.xyz, rng(seed), 1, 0.4)
        assert (np.diff(kept) > 0).all()
        gone = np.delete(block.xyz, kept, axis=0)
        dropped += len(gone) > 0
        if len(gone):
            assert np.linalg.norm(gone - gone.mean(axis=0), axis=1).max() <= 0.8
    assert 5 <= dropped < 20  # 0 patches are as likely as 1
    assert len(augment.drop_patches(block.xyz, rng(), 50, 100.0)) >= len(block.xyz) / 2  # nothing takes the most


def test_normals_of_planes() -> None:
    xyz, floor = sheets()
    normals = augment.estimate_normals(xyz)
    assert normals.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.abs(normals[floor, 2]), 1, atol=1e-4)
    np.testing.assert_allclose(np.abs(normals[~floor, 0]), 1, atol=1e-4)


def test_normals_agree_with_a_decomposition_of_each_cell() -> None:
    points = rng().normal(0, 0.02, (40, 3)) * [1, 0.5, 0.2]
    turn = np.linalg.qr(rng(1).normal(size=(3, 3)))[0]
    xyz = (points @ turn.T + 7).clip(6.95, 7.049).astype(np.float32)  # one cell of 10 cm
    expected = np.linalg.eigh(np.cov(xyz.T.astype(np.float64)))[1][:, 0]
    assert abs(augment.estimate_normals(xyz) @ expected).min() > 0.999


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_vertices_have_normals_too(count: int) -> None:
    xyz = np.repeat(np.array([[1, 2, 3]], np.float32), count, axis=0)
    np.testing.assert_allclose(np.abs(augment.estimate_normals(xyz)), [[0, 0, 1]] * count, atol=1e-3)
    tall = np.array([[0, 0, 0], [0, 0, 1e6]], np.float32)
    assert np.isfinite(augment.estimate_normals(tall)).all()


def test_noise_goes_along_the_normals_and_is_as_large_as_asked() -> None:
    xyz, floor = sheets()
    sizes = []
    for seed in range(30):
        moved = augment.normal_noise(xyz, rng(seed), 0.012, 0.0, 0.2) - xyz
        assert np.abs(moved[floor, :2]).max() < 1e-4
        assert np.abs(moved[~floor, 1:]).max() < 1e-4
        sizes.append(moved[floor, 2].std())
    assert max(sizes) < 0.0125
    assert min(sizes) < 0.003
    assert 0.004 < np.mean(sizes) < 0.008


def test_smooth_noise_is_smooth() -> None:
    """Neighbours move together, vertices far apart do not; the size is right on the average."""
    xyz, _ = sheets()
    moved = np.stack([augment.normal_noise(xyz, rng(s), 0.0, 0.02, 0.2)[:10_000, 2] for s in range(40)])
    assert moved.std() == pytest.approx(0.02 / np.sqrt(3), rel=0.25)  # of a size uniform in [0, 0.02]
    distance = np.linalg.norm(xyz[:10_000] - xyz[0], axis=1)
    near, far = (distance > 0) & (distance < 0.04), distance > 0.8
    correlation = (moved * moved[:, :1]).mean(axis=0) / (moved[:, 0] ** 2).mean()
    assert correlation[near].min() > 0.8
    assert abs(correlation[far].mean()) < 0.3


def test_a_smooth_field_has_the_covariance_it_names() -> None:
    xyz = np.array([[0, 0, 0], [0.3, 0, 0], [3, 0, 0]], np.float32)
    fields = np.stack([augment.smooth_field(xyz, rng(seed), 0.3) for seed in range(4000)])  # [seeds, 3, 3]
    covariance = np.einsum("sac,sbc->ab", fields, fields) / (4000 * 3)
    np.testing.assert_allclose(covariance[0], [1, np.exp(-0.5), 0], atol=0.05)


def test_elastic_and_jitter_have_bounds() -> None:
    xyz, _ = sheets()
    moved = augment.elastic(xyz, rng(), 0.05, 0.5) - xyz
    assert 0 < np.abs(moved).max() < 0.05 * np.sqrt(2 * 24) * 4
    noise = augment.jitter(xyz, rng(), 0.005) - xyz
    assert np.abs(noise).max() <= 4 * 0.005 + 1e-6
    assert noise.std() == pytest.approx(0.005, rel=0.02)


def test_moves_of_a_chunk_stay_in_bounds() -> None:
    for seed in range(50):
        assert abs(np.linalg.det(augment.affine_matrix(rng(seed), AugmentConfig(scale=0.1))) ** (1 / 3) - 1) <= 0.1
        axes = np.diag(augment.affine_matrix(rng(seed), AugmentConfig(scale_axes=0.1)))
        assert (abs(axes - 1) <= 0.1).all()
        assert len(set(axes)) == 3
        tilt = augment.affine_matrix(rng(seed), AugmentConfig(tilt=5.0))
        np.testing.assert_allclose(tilt @ tilt.T, np.eye(3), atol=1e-12)
        assert np.degrees(np.arccos(tilt[2, 2])) <= 5
        assert np.linalg.det(tilt) > 0
    flips = [np.diag(augment.affine_matrix(rng(seed), AugmentConfig(flip=0.5))).tolist() for seed in range(40)]
    assert {tuple(flip) for flip in flips} == {(x, y, 1.0) for x in (-1.0, 1.0) for y in (-1.0, 1.0)}


def test_moves_are_about_the_origin_of_the_chunk(chunk: Chunk) -> None:
    """Scaled about the block's centre on the floor, then turned about the scene's z axis, the origin with it."""
    data = dataclasses.replace(DATA, augment=AugmentConfig(scale=0.2))
    moved = move_chunk(chunk, rng(), data)
    heights = moved.xyz[:, 2] - moved.origin[2]
    factor = heights / (chunk.xyz[:, 2] - chunk.origin[2])
    assert abs(factor - np.median(factor)).max() < 1e-3
    lengths = [np.linalg.norm(c.xyz - c.origin, axis=1) for c in (chunk, moved)]
    np.testing.assert_allclose(lengths[1], np.median(factor) * lengths[0], rtol=1e-4)
    only_turned = move_chunk(chunk, rng(), DATA)
    np.testing.assert_allclose(only_turned.origin, moved.origin, atol=1e-6)  # the angle does not depend on the rest


def test_a_mix_holds_half_of_either(store: SceneStore, chunk: Chunk) -> None:
    other = draw_points(cut_block(store, 1, rng(), DATA), store[1].rgb, rng(), 512)
    mixed = mix_chunks(chunk, other)
    assert mixed.xyz.shape == (512, 3)
    assert mixed.xyz.dtype == np.float32
    assert np.array_equal(mixed.xyz[:256], chunk.xyz[:256])
    np.testing.assert_allclose(mixed.xyz[256:] - mixed.origin, other.xyz[:256] - other.origin, atol=1e-5)
    for name in ("label", "inside", "rgb"):
        expected = np.concatenate([getattr(chunk, name)[:256], getattr(other, name)[:256]])
        assert np.array_equal(getattr(mixed, name), expected)
    assert np.array_equal(mixed.index, [*chunk.index[:256], *[-1] * 256])


def test_input_dropout_is_the_released_scripts(chunk: Chunk) -> None:
    shares = []
    for seed in range(200):
        result = input_dropout(chunk, rng(seed), 0.875)
        dropped = result.index != chunk.index
        assert (result.xyz[dropped] == chunk.xyz[0]).all()
        assert (result.label[dropped] == chunk.label[0]).all()
        assert not result.inside[dropped].any()
        kept = result.index != chunk.index[0]  # and not a copy of the first by chance
        for name in ("xyz", "rgb", "label", "inside", "index"):
            assert np.array_equal(getattr(result, name)[kept], getattr(chunk, name)[kept])
        shares.append(dropped.mean())
    assert max(shares) < 0.92
    assert min(shares) < 0.05
    assert 0.37 < np.mean(shares) < 0.5


def test_epochs_do_not_depend_on_the_number_of_workers(store: SceneStore) -> None:
    def batches(workers: int) -> list:
        data = dataclasses.replace(DATA, workers=workers, color=True, height=True, augment=EVERYTHING)
        dataset = ChunkDataset(store, data, seed=3)
        sampler = StepSampler(dataset, parse_config("train: {batch_size: 2}").train, 0, 3, rank=0, world_size=1)
        return list(training_loader(dataset, sampler, pin_memory=False))

    for one, two in zip(batches(0), batches(2), strict=True):
        assert one["features"].shape == (2, 512, 4)
        assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{scale: 1.0}", "scale must be 0 or more and less than 1, got 1.0"),
        ("{thin: 1.5}", "thin must be between 0 and 1, got 1.5"),
        ("{jitter: -0.1}", "jitter must be 0 or more, got -0.1"),
        ("{smooth_length: 0.0}", "smooth_length must be positive, got 0.0"),
        ("{noise: 1}", "unknown key data.augment.noise; the nearest known one is data.augment"),
    ],
)
def test_settings_out_of_range_are_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_config(f"data: {{augment: {text}}}")
    assert message in str(caught.value)


def test_a_block_of_one_vertex_survives_everything() -> None:
    one = Block(
        np.zeros(1, np.int64), np.ones((1, 3), np.float32), np.zeros(1, np.uint8), np.ones(1, bool), np.zeros(3)
    )
    run: Callable[[int], Block] = lambda seed: augment_block(one, rng(seed), EVERYTHING)  # noqa: E731
    assert all(len(run(seed).xyz) == 1 and np.isfinite(run(seed).xyz).all() for seed in range(20))

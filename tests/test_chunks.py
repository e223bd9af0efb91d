"""Training crops follow PointNet++'s protocol."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pointseg.config import DataConfig
from pointseg.data.chunks import rotate_z, sample_chunk
from pointseg.scannet.labels import IGNORE
from pointseg.store import SceneStore

CONFIG = DataConfig(num_points=512, min_occupied=0.0)


@pytest.fixture
def store(make_store) -> SceneStore:
    return SceneStore(make_store(points=5000) / "train.h5")


def test_a_chunk_is_points_of_its_scene(store: SceneStore) -> None:
    chunk = sample_chunk(store, 1, np.random.default_rng(0), CONFIG)
    scene = store[1]
    assert chunk.xyz.shape == (512, 3)
    assert (chunk.xyz.dtype, chunk.rgb.dtype, chunk.label.dtype, chunk.index.dtype) == (
        *(np.float32, np.uint8, np.uint8, np.int64),
    )
    np.testing.assert_array_equal(chunk.xyz, scene.xyz[chunk.index])
    np.testing.assert_array_equal(chunk.rgb, scene.rgb[chunk.index])
    np.testing.assert_array_equal(chunk.label, scene.label[chunk.index])


def test_geometry_of_the_block(store: SceneStore) -> None:
    """1.5 m supervised (0.01 m slack), 0.2 m of context, full height; all points of the column can be drawn."""
    config = dataclasses.replace(CONFIG, num_points=100_000)
    chunk = sample_chunk(store, 0, np.random.default_rng(3), config)
    inside, outside = chunk.xyz[chunk.inside], chunk.xyz[~chunk.inside]
    # The centre is the first vertex drawn.
    center = store[0].xyz[np.random.default_rng(3).integers(len(store[0].xyz))]
    assert (np.abs(inside[:, :2] - center[:2]) <= 0.75 + 0.01 + 1e-6).all()
    away = np.abs(outside[:, :2] - center[:2]).max(axis=1)
    assert ((away > 0.75 + 0.01 - 1e-6) & (away <= 0.75 + 0.2 + 1e-6)).all()
    assert len(outside)
    expected = np.flatnonzero(np.abs(store[0].xyz[:, :2] - center[:2]).max(axis=1) <= 0.95)
    np.testing.assert_array_equal(np.unique(chunk.index), expected)


def test_draws_with_replacement(store: SceneStore) -> None:
    chunk = sample_chunk(store, 0, np.random.default_rng(0), dataclasses.replace(CONFIG, num_points=5000))
    assert len(np.unique(chunk.index)) < 5000


def test_the_generator_is_the_only_source_of_chance(store: SceneStore) -> None:
    one, two, other = (sample_chunk(store, 0, np.random.default_rng(s), CONFIG) for s in (7, 7, 8))
    np.testing.assert_array_equal(one.index, two.index)
    assert not np.array_equal(one.index, other.index)


def test_blocks_that_are_not_valid_are_drawn_again(make_store) -> None:
    """Left half annotated, right half not: 0.9 annotated can only be met on the left."""
    store = SceneStore(make_store(points=4000) / "train.h5")
    scene = store[0]
    label = scene.label.copy()
    label[scene.xyz[:, 0] > 1.2] = IGNORE

    class HalfAnnotated(SceneStore):
        def __getitem__(self, i: int):
            return dataclasses.replace(scene, label=label)

    half = HalfAnnotated(store.path)
    shares = {
        share: np.mean(
            [
                np.mean(sample_chunk(half, 0, np.random.default_rng(s), config).label != IGNORE)
                for s in range(20)
                for config in [dataclasses.replace(CONFIG, min_annotated=share)]
            ]
        )
        for share in (0.0, 0.8)
    }
    assert shares[0.8] > shares[0.0] + 0.1


def test_a_scene_without_a_valid_block_still_gives_a_chunk(store: SceneStore) -> None:
    hopeless = dataclasses.replace(CONFIG, min_annotated=1.0, min_occupied=1.0, max_draws=3)
    assert len(sample_chunk(store, 0, np.random.default_rng(0), hopeless).xyz) == 512


def test_rotation_is_about_z() -> None:
    xyz = np.array([[1, 0, 5], [0, 2, -1]], np.float32)
    np.testing.assert_allclose(rotate_z(xyz, np.pi / 2), [[0, 1, 5], [-2, 0, -1]], atol=1e-6)
    assert rotate_z(xyz, 1.0).dtype == np.float32

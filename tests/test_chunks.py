"""Training crops follow PointNet++'s protocol."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.crops import restated_chunk
from pointseg.config import DataConfig
from pointseg.data.chunks import rotate_z, sample_chunk
from pointseg.scannet.labels import IGNORE
from pointseg.store import Scene, SceneStore, StoreMeta, write_store

CONFIG = DataConfig(num_points=512, min_occupied=0.0)


@pytest.fixture
def store(make_store) -> SceneStore:
    return SceneStore(make_store(points=5000) / "train.h5")


def test_a_chunk_is_points_of_its_scene(store: SceneStore) -> None:
    chunk = sample_chunk(store, 1, np.random.default_rng(0), dataclasses.replace(CONFIG, color=True))
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
    folder = make_store(points=4000)
    store = SceneStore(folder / "train.h5")
    scene = store[0]
    label = scene.label.copy()
    label[scene.xyz[:, 0] > 1.2] = IGNORE
    write_store(folder / "half.h5", "train", [dataclasses.replace(scene, label=label)], store.meta)
    half = SceneStore(folder / "half.h5")
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


@pytest.mark.parametrize("min_annotated", [0.7, 0.96, 1.0])
def test_chunks_are_those_of_the_released_script(make_store, min_annotated: float) -> None:
    """From the same random numbers; the plain restatement looks at the whole scene at every draw."""
    store = SceneStore(make_store(points=5000) / "train.h5")
    config = dataclasses.replace(CONFIG, min_annotated=min_annotated, min_occupied=0.02)
    for seed in range(20):
        chunk = sample_chunk(store, seed % 3, np.random.default_rng(seed), config)
        scene = store[seed % 3]
        index, inside = restated_chunk(scene.xyz, scene.label, np.random.default_rng(seed), config)
        np.testing.assert_array_equal(chunk.index, index)
        np.testing.assert_array_equal(chunk.inside, inside)


@pytest.mark.parametrize("extent", [(0, 0, 0), (9, 0, 0), (0, 0, 2.5), (1.2, 40, 2.5), (9, 9, 0)])
def test_awkward_scenes_give_chunks(tmp_path: Path, extent: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-1, 1, (50, 3)) * extent
    scene = Scene("scene0000_00", xyz.astype(np.float32), np.zeros((50, 3), np.uint8), np.zeros(50, np.uint8))
    write_store(tmp_path / "a.h5", "train", [scene], StoreMeta(class_names=("wall",), ignore=255, aligned=True))
    chunk = sample_chunk(SceneStore(tmp_path / "a.h5"), 0, rng, DataConfig(num_points=64))
    np.testing.assert_array_equal(chunk.xyz, scene.xyz[chunk.index])
    assert chunk.inside.any()


def test_rotation_is_about_z() -> None:
    xyz = np.array([[1, 0, 5], [0, 2, -1]], np.float32)
    np.testing.assert_allclose(rotate_z(xyz, np.pi / 2), [[0, 1, 5], [-2, 0, -1]], atol=1e-6)
    assert rotate_z(xyz, 1.0).dtype == np.float32

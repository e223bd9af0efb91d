"""What a network is given: the same of a training chunk and of a tile of a whole scene."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pointseg.config import DataConfig
from pointseg.data.dataset import ChunkDataset, Draw
from pointseg.data.inputs import feature_channels, point_inputs
from pointseg.data.tiling import covering_chunks
from pointseg.evaluation.inference import answers, views
from pointseg.store import SceneStore, floor_height

DATA = DataConfig(num_points=512, min_occupied=0.0)


@pytest.fixture
def store(make_store) -> SceneStore:
    return SceneStore(make_store(points=5000) / "train.h5")


def test_height_and_centre_are_of_the_scene(store: SceneStore) -> None:
    data = dataclasses.replace(DATA, height=True, center=True, rotate=False)
    scene = store[2]
    chunk = ChunkDataset(store, data, seed=0)[Draw(0, 2)][1]
    floor = store.floor(2)
    assert floor == floor_height(scene.xyz) == pytest.approx(np.percentile(scene.xyz[:, 2], 1), abs=0.01)
    xyz, features = point_inputs(torch.from_numpy(chunk.xyz)[None], None, torch.from_numpy(chunk.origin)[None], data)
    assert feature_channels(data) == 1
    np.testing.assert_allclose(features[0, :, 0], chunk.xyz[:, 2] - floor, atol=1e-6)
    np.testing.assert_allclose(xyz[0], chunk.xyz - chunk.origin, atol=1e-6)
    assert abs(xyz[0, :, :2]).max() <= 0.95 + 1e-5
    assert point_inputs(xyz, None, torch.zeros(1, 3), DATA)[1] is None


def test_tiles_of_a_scene_are_given_like_training_chunks(store: SceneStore) -> None:
    """Colours, height above the floor, and coordinates about the middle of the column."""
    data, scene = dataclasses.replace(DATA, color=True, height=True, center=True), store[0]
    chunks = list(covering_chunks(scene.xyz, data, np.random.default_rng(0)))
    seen: list[tuple[Tensor, Tensor]] = []

    class Recorder(nn.Module):
        def forward(self, xyz: Tensor, features: Tensor) -> Tensor:
            seen.append((xyz, features))
            return torch.zeros(*xyz.shape[:2], 20)

    looks = views(chunks, scene.xyz, scene.rgb, "a room")
    scored = answers(Recorder(), looks, data, batch_size=3, device=torch.device("cpu"))
    assert len(list(scored)) == len(chunks)
    xyz, features = (torch.cat(tensors).numpy() for tensors in zip(*seen, strict=True))
    for chunk, points, values in zip(chunks, xyz, features, strict=True):
        np.testing.assert_allclose(points[:, :2] + chunk.center, scene.xyz[chunk.index, :2], atol=1e-5)
        np.testing.assert_allclose(points[:, 2], scene.xyz[chunk.index, 2] - store.floor(0), atol=1e-6)
        np.testing.assert_allclose(values[:, :3], scene.rgb[chunk.index] / 255, atol=1e-6)
        assert np.array_equal(values[:, 3], points[:, 2])
        assert np.abs(points[chunk.scored, :2]).max() <= data.block / 2 + 0.002

"""Scenes, and networks whose answers can be computed without tiling: for the tests of the evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pointseg.config import Config, DataConfig, EvalConfig, LevelConfig, ModelConfig, ScaleConfig
from pointseg.distributed import Distributed
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, NUM_CLASSES
from pointseg.store import Scene, SceneStore, StoreMeta, write_store

ALONE = Distributed(rank=0, world_size=1, device=torch.device("cpu"))
CONFIG = Config(
    data=DataConfig(num_points=512),
    model=ModelConfig(
        levels=(LevelConfig(points=8, scales=(ScaleConfig(radius=1.0, mlp=(8,)),)),), fp_mlps=((8,),), context="none"
    ),
    evaluate=EvalConfig(batch_size=3, pictures=2),
)
ALL_FOUR = replace(
    CONFIG,
    evaluate=EvalConfig(
        batch_size=3,
        pictures=2,
        protocols=("every_vertex", "benchmark", "pointnet2", "pointnet2_literal"),
        literal_batch=5,
    ),
)


class ByPlace(nn.Module):
    """Answers by where a point is, so that what it says of a whole scene can be computed without tiling."""

    def __init__(self, outputs: int = NUM_CLASSES) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, xyz: Tensor, features: Tensor | None) -> Tensor:
        place = torch.arange(self.outputs, dtype=torch.float32)
        return torch.cos(place + xyz.sum(dim=-1, keepdim=True) * (1 + place / 7))

    def label(self, xyz: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self(torch.tensor(xyz[None]), None)[0].softmax(-1).argmax(-1).numpy()


class ByNeighbours(nn.Module):
    """Answers that depend on the whole chunk, as a real network's do."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(6, NUM_CLASSES, generator=generator))

    def forward(self, xyz: Tensor, features: Tensor | None) -> Tensor:
        centred = xyz - xyz.mean(dim=1, keepdim=True)
        return torch.cat([centred, torch.sin(5 * centred)], dim=-1) @ self.weight


def make_scene(number: int, points: int = 3000) -> Scene:
    rng = np.random.default_rng(number)
    xyz = rng.uniform(0, [3.4, 2.9, 2.4], (points, 3)).astype(np.float32)
    label = rng.integers(0, 12, points).astype(np.uint8)
    label[rng.random(points) < 0.15] = IGNORE
    return Scene(f"scene{number:04d}_00", xyz, rng.integers(0, 255, (points, 3), np.uint8), label)


def write_scenes(folder: Path, scenes: list[Scene]) -> SceneStore:
    path = folder / "val.h5"
    write_store(path, "val", scenes, StoreMeta(class_names=CLASS_NAMES, ignore=IGNORE, aligned=True))
    return SceneStore(path)


def matrix(result: dict, protocol: str, measure: str) -> np.ndarray:
    return np.array(result["protocols"][protocol]["counts"][measure])

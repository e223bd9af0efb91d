"""A run whose network knows nothing, but answers; for tests of what is done with its answers."""

from __future__ import annotations

from pathlib import Path

import torch

from pointseg.config import Config, DataConfig, EvalConfig, LatentGNNConfig, LevelConfig, ModelConfig, ScaleConfig
from pointseg.config_file import dump_config
from pointseg.evaluation.inference import output_classes
from pointseg.models import build_model
from pointseg.rundir import RunDirectory
from pointseg.scannet.labels import CLASS_NAMES

MODEL = ModelConfig(
    levels=(
        LevelConfig(points=64, scales=(ScaleConfig(radius=0.3, neighbours=8, mlp=(16,)),)),
        LevelConfig(points=16, scales=(ScaleConfig(radius=0.8, neighbours=8, mlp=(16,)),)),
    ),
    fp_mlps=((16,), (16,)),
    latent_gnn=LatentGNNConfig(latent_dims=(8, 4)),
    head=16,
)


def untrained_run(folder: Path, *, color: bool = False) -> RunDirectory:
    config = Config(data=DataConfig(num_points=512, color=color), model=MODEL, evaluate=EvalConfig(batch_size=4))
    torch.manual_seed(0)
    model = build_model(config.model, output_classes(config), in_features=3 if color else 0)
    run = RunDirectory(folder)
    run.create(config, {})
    state = {"model": model.state_dict(), "classes": list(CLASS_NAMES), "step": 1, "config": dump_config(config)}
    run.save_checkpoint(state)
    return run

"""A trained network and its answers for chunks of scenes; shared by evaluation and prediction.

P points of a scene, N points of a chunk, B chunks of a batch, K outputs of the network.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from pointseg.config import Config, DataConfig
from pointseg.data.inputs import feature_channels, point_inputs
from pointseg.data.tiling import TiledChunk, batches
from pointseg.errors import InputError
from pointseg.models import build_model
from pointseg.rundir import RunDirectory, load_checkpoint, load_weights
from pointseg.scannet.labels import CLASS_NAMES, NUM_CLASSES
from pointseg.store import floor_height


def output_classes(config: Config) -> int:
    """K: the 20 classes, and "unannotated" where it is trained like a class."""
    return NUM_CLASSES + (config.train.unannotated == "class")


def load_network(
    run: RunDirectory, config: Config, device: torch.device, checkpoint: Path | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a run with its trained weights, in evaluation mode, and the checkpoint it came from.

    Raises:
        InputError: no checkpoint, or one of other classes or another architecture than `config`.
    """
    path = checkpoint or run.checkpoint_file
    state = load_checkpoint(path)
    if list(state["classes"]) != list(CLASS_NAMES):
        raise InputError(f"checkpoint: {path} must know the classes {list(CLASS_NAMES)}, got {list(state['classes'])}")
    model = build_model(config.model, output_classes(config), in_features=feature_channels(config.data))
    averaged = config.evaluate.averaged and "ema" in state
    load_weights(model, state["ema" if averaged else "model"], path)
    return model.to(device).eval(), state


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """`model.eval()` inside, whatever it was before outside."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


class View(NamedTuple):
    """What the network sees of a chunk."""

    chunk: TiledChunk
    xyz: np.ndarray  # [N, 3] float32
    rgb: np.ndarray | None  # [N, 3] uint8; None: the network takes no colours
    origin: np.ndarray  # [3] float32: the centre of its column and the scene's floor
    name: str  # what the scene is called


class Answer(NamedTuple):
    chunk: TiledChunk
    probability: np.ndarray  # [N, K] float32
    seconds: float  # of the network: an equal share of what the chunk's batch took


def views(
    chunks: Iterable[TiledChunk], xyz: np.ndarray, rgb: np.ndarray | None, name: str, floor: float | None = None
) -> Iterator[View]:
    """Chunks of a scene of points xyz [P, 3] float32 and colours [P, 3] uint8, as the network sees them.

    `floor` is the height of the scene's floor, needed where `xyz` is but a part of the scene.
    """
    floor = floor_height(xyz) if floor is None else floor
    for chunk in chunks:
        colors = None if rgb is None else rgb[chunk.index]
        yield View(chunk, xyz[chunk.index], colors, np.array([*chunk.center, floor], np.float32), name)


def answers(
    model: nn.Module, seen: Iterable[View], data: DataConfig, *, batch_size: int, device: torch.device
) -> Iterator[Answer]:
    """The network's answer for each view, in their order; views of several scenes share batches.

    Raises:
        InputError: the network answers with something that is not finite.
    """
    for batch in batches(seen, batch_size):
        begun = time.perf_counter()
        # On a GPU libraries choose their kernels by the shape of a batch. All batches have the same, filled up with
        # repeats, so that a chunk's answer depends neither on its company nor on how scenes are shared out.
        filled = [*batch, *batch[-1:] * (batch_size - len(batch))] if device.type == "cuda" else batch
        xyz = _stacked([view.xyz for view in filled], device)
        rgb = None if batch[0].rgb is None else _stacked([view.rgb for view in filled], device)
        origin = _stacked([view.origin for view in filled], device)
        points, features = point_inputs(xyz, rgb, origin, data)
        with torch.inference_mode():
            probability = model(points, features).float().softmax(dim=-1).cpu().numpy()[: len(batch)]  # [B, N, K]
        seconds = (time.perf_counter() - begun) / len(batch)
        for view, part in zip(batch, probability, strict=True):
            if not np.isfinite(part).all():
                raise InputError(f"checkpoint: the network's answers for {view.name} are not finite")
            yield Answer(view.chunk, part, seconds)


def _stacked(arrays: list[np.ndarray], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays)).to(device)

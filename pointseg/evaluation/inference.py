"""A trained network and its answers for the chunks of a scene; shared by evaluation and prediction.

P points of the scene, N points of a chunk, B chunks of a batch, K outputs of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pointseg.config import Config, DataConfig
from pointseg.data.chunks import rotate_z
from pointseg.data.inputs import feature_channels, point_inputs
from pointseg.data.tiling import TiledChunk, Votes, batches, covering_chunks
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


def answers(
    model: nn.Module,
    xyz: np.ndarray,  # [P, 3] float32
    rgb: np.ndarray | None,  # [P, 3] uint8; None: the network takes no colours
    data: DataConfig,
    chunks: Iterable[TiledChunk],
    *,
    batch_size: int,
    device: torch.device,
    name: str,
    floor: float | None = None,
) -> Iterator[tuple[TiledChunk, np.ndarray]]:
    """Each chunk with the network's probabilities [N, K] float32, in the order of `chunks`.

    `floor` is the height of the scene's floor, needed where `xyz` is but a part of the scene. A batch holds
    chunks of this scene only, so that what is computed does not depend on how scenes are shared out.

    Raises:
        InputError: the network answers with something that is not finite; `name` is what the scene is called.
    """
    floor = floor_height(xyz) if floor is None else floor
    for batch in batches(chunks, batch_size):
        index = np.stack([chunk.index for chunk in batch])  # [B, N]
        colors = None if rgb is None else torch.from_numpy(rgb[index]).to(device)
        origin = torch.tensor([[*chunk.center, floor] for chunk in batch], dtype=torch.float32, device=device)
        points, features = point_inputs(torch.from_numpy(xyz[index]).to(device), colors, origin, data)
        with torch.inference_mode():
            probability = model(points, features).float().softmax(dim=-1).cpu().numpy()  # [B, N, K]
        if not np.isfinite(probability).all():
            raise InputError(f"checkpoint: the network's answers for {name} are not finite")
        yield from zip(batch, probability, strict=True)


def vote(
    model: nn.Module,
    xyz: np.ndarray,  # [P, 3] float32
    rgb: np.ndarray | None,  # [P, 3] uint8
    data: DataConfig,
    *,
    outputs: int,
    passes: int,
    batch_size: int,
    seed: Sequence[int],
    device: torch.device,
    name: str,
    on_chunk: Callable[[], None] = lambda: None,
) -> Votes:
    """Sums of probabilities for every point of a scene, from chunks that cover all of it `passes` times.

    The first pass takes the scene as it stands; each further one turns it about z by a random angle, which moves the
    columns too. Pass v draws from `default_rng([*seed, v])`. `on_chunk` is called after every chunk.
    """
    votes = Votes(len(xyz), outputs)
    for number in range(passes):
        rng = np.random.default_rng([*seed, number])
        seen = rotate_z(xyz, rng.uniform(0, 2 * np.pi)) if number else xyz
        chunks = covering_chunks(seen, data, rng)
        scored = answers(model, seen, rgb, data, chunks, batch_size=batch_size, device=device, name=name)
        for chunk, probability in scored:
            votes.add(chunk, probability)
            on_chunk()
    return votes

"""A trained network and what labelling points with it takes, from numpy arrays to numpy arrays.

P points.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from pointseg.config import Config
from pointseg.config_file import parse_config
from pointseg.errors import InputError
from pointseg.evaluation.inference import load_network, output_classes
from pointseg.prediction.bands import label_in_bands
from pointseg.prediction.frame import Up, find_frame
from pointseg.pretrained import PRETRAINED
from pointseg.rundir import RunDirectory, load_checkpoint
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, NUM_CLASSES


class Prediction(NamedTuple):
    """Of every point, in the order given; points that are not finite have no class."""

    train_id: np.ndarray  # [P] uint8: 0..19 in ScanNet's benchmark order (`classes`), 255 for none
    probability: np.ndarray  # [P] float32: the network's mean probability of that class, 0 for none
    classes: tuple[str, ...] = CLASS_NAMES


class Segmenter:
    """Labels points: `load_run("runs/NAME").predict(xyz)`, or `load_pretrained()` for the network that ships."""

    def __init__(self, model: nn.Module, config: Config, device: torch.device, source: str) -> None:
        """`model` in evaluation mode on `device`; `source` is what messages call it."""
        self.model, self.config, self.device, self.source = model, config, device, source

    def predict(
        self,
        xyz: np.ndarray,
        rgb: np.ndarray | None = None,
        *,
        up: Up | Literal["auto"] = "z",
        scale: float | None = 1.0,
        votes: int | None = None,
    ) -> Prediction:
        """Labels for every point.

        Args:
            xyz: [P, 3] of any real dtype; points that are not finite get no class.
            rgb: [P, 3] uint8, needed by a network that was trained with colours.
            up: the direction that points up; "auto" guesses. scale: metres per unit; None guesses.
            votes: passes over the scene, each from another angle; None: as the run's `evaluate.votes`.

        Raises:
            InputError: an array of another shape or dtype, no finite point, no colours where they are needed.
        """
        xyz = np.asarray(xyz)
        if xyz.ndim != 2 or xyz.shape[1] != 3 or not (np.isrealobj(xyz) and np.issubdtype(xyz.dtype, np.number)):
            raise InputError(f"xyz must be [P, 3] real numbers, got {list(xyz.shape)} {xyz.dtype}")
        if rgb is not None and (rgb.shape != xyz.shape or rgb.dtype != np.uint8):
            raise InputError(f"rgb must be {list(xyz.shape)} uint8, got {list(rgb.shape)} {rgb.dtype}")
        finite = np.isfinite(xyz).all(axis=1)
        if not finite.any():
            raise InputError(f"xyz must have finite points, got none among {len(xyz)}")
        room = find_frame(xyz[finite], up=up, scale=scale).to_room(xyz[finite])
        train_id, probability = self.label(room, None if rgb is None else rgb[finite], votes=votes)
        result = Prediction(np.full(len(xyz), IGNORE, np.uint8), np.zeros(len(xyz), np.float32))
        result.train_id[finite], result.probability[finite] = train_id[:, 0], probability[:, 0]
        return result

    def label(
        self,
        xyz: np.ndarray,
        rgb: np.ndarray | None,
        *,
        votes: int | None = None,
        top_k: int = 1,
        on_points: Callable[[int], None] = lambda _: None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest classes, [P, top_k] uint8 of 0..19 or 255, and their probabilities, [P, top_k] float32.

        Args:
            xyz: [P, 3] float32 metres, +z up, all finite. rgb: [P, 3] uint8.
            on_points: is told, after each chunk, for how many more points there is an answer.
        """
        data, evaluation = self.config.data, self.config.evaluate
        if data.color and rgb is None:
            raise InputError(f"rgb must be given: {self.source} was trained with colours")
        best, probability = label_in_bands(
            self.model,
            xyz,
            rgb if data.color else None,
            data,
            outputs=output_classes(self.config),
            passes=votes or evaluation.votes,
            top_k=top_k,
            batch_size=evaluation.batch_size,
            seed=[evaluation.seed],
            device=self.device,
            name=self.source,
            on_points=on_points,
        )
        best[best >= NUM_CLASSES] = IGNORE  # "unannotated", where it was trained like a class
        return best, probability


def load_run(path: Path | str, *, checkpoint: Path | str | None = None, device: str | None = None) -> Segmenter:
    """The network of a run directory.

    Args:
        path: what `pointseg train` wrote. checkpoint: default: the run's last.
        device: such as "cpu" or "cuda:1"; default: CUDA where there is any.

    Raises:
        InputError: no run directory, or no checkpoint that fits it.
    """
    run, place = RunDirectory(Path(path)), _device(device)
    config = run.load_config()
    model, _ = load_network(run, config, place, None if checkpoint is None else Path(checkpoint))
    return Segmenter(model, config, place, str(path))


def load_pretrained(*, device: str | None = None) -> Segmenter:
    """The network that ships with the package: PointNet++ SSG + LatentGNN, xyz only, trained on synthetic rooms."""
    place = _device(device)
    config = parse_config(load_checkpoint(PRETRAINED)["config"], source=PRETRAINED.name)
    model, _ = load_network(RunDirectory(PRETRAINED.parent), config, place, PRETRAINED)
    return Segmenter(model, config, place, f"the network that ships ({config.model.describe()}, synthetic rooms)")


def _device(name: str | None) -> torch.device:
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))

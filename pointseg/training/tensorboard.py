"""A run as TensorBoard shows it: the numbers of metrics.jsonl by groups, and one scene of the evaluation split in 3D.

    loss/training, accuracy/training, learning_rate, gradient_norm, batchnorm_momentum, epoch
    loss/validation, accuracy/validation
    speed/chunks_per_second, speed/data_wait (share of the time), memory/process_peak_mb, memory/device_peak_mb
    accuracy/PROTOCOL/MEASURE, class_accuracy/..., calibrated_accuracy/..., miou/...   of each evaluation
    iou_of_class/PROTOCOL/CLASS, accuracy_of_class/PROTOCOL/CLASS
    scene/truth, scene/prediction                                                      meshes of class colours

The scores of averaged weights have the same names in a run of their own, `averaged`: TensorBoard draws the two as two
curves of one chart.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from pointseg.evaluation.definitions import MEASURES
from pointseg.scannet.labels import colorize

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_NAMES = {
    "loss": "loss/training",
    "accuracy": "accuracy/training",
    "lr": "learning_rate",
    "bn_momentum": "batchnorm_momentum",
    "gradient_norm": "gradient_norm",
    "epoch": "epoch",
    "chunks_per_second": "speed/chunks_per_second",
    "data_wait": "speed/data_wait",
}
_SCORES = ("accuracy", "class_accuracy", "calibrated_accuracy", "miou", "iou")
_SCENE_POINTS = 20_000  # of a mesh, drawn from the scene: a browser turns them without effort
_MATERIAL = {"material": {"cls": "PointsMaterial", "size": 0.03}}  # metres


class LabelledScene(NamedTuple):
    """A scene of the evaluation split as a network sees it."""

    xyz: np.ndarray  # [P, 3] float32, metres
    truth: np.ndarray  # [P] uint8, train id or IGNORE
    prediction: np.ndarray  # the same


class TensorBoard:
    """Writes `folder` (and `folder/averaged`); what a stopped run wrote from step `purge_step` on is not shown."""

    def __init__(self, folder: Path, purge_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import

        self._open = lambda path: SummaryWriter(str(path), purge_step=purge_step)
        self._folder = folder
        self._writers = {"eval": self._open(folder)}
        self._truth_is_shown = False

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def scalars(self, line: dict[str, Any]) -> None:
        """The numbers of a line of metrics.jsonl, at its "step"."""
        named = {_NAMES[key]: value for key, value in line.items() if key in _NAMES}
        named |= {f"memory/{key}": value for key, value in line.get("memory", {}).items()}
        for name, value in named.items():
            self._writers["eval"].add_scalar(name, value, line["step"])
        for suffix in ("", "_ema"):
            for name, value in line.get(f"validation{suffix}", {}).items():
                self._writer(f"eval{suffix}").add_scalar(f"{name}/validation", value, line["step"])
            for name, value in _scores(line.get(f"eval{suffix}", {})):
                self._writer(f"eval{suffix}").add_scalar(name, value, line["step"])

    def scene(self, evaluation: str, scene: LabelledScene, step: int) -> None:
        """What "eval" or "eval_ema" predicted, as points in the colours of the classes; the truth once."""
        some = np.random.default_rng(0).permutation(len(scene.xyz))[:_SCENE_POINTS]

        def show(writer: SummaryWriter, name: str, label: np.ndarray) -> None:
            xyz, colors = (torch.from_numpy(rows[some])[None] for rows in (scene.xyz, colorize(label)))  # [1, P, 3]
            writer.add_mesh(f"scene/{name}", xyz, colors, config_dict=_MATERIAL, global_step=step)

        if not self._truth_is_shown:
            show(self._writers["eval"], "truth", scene.truth)
            self._truth_is_shown = True
        show(self._writer(evaluation), "prediction", scene.prediction)

    def _writer(self, evaluation: str) -> SummaryWriter:
        if evaluation not in self._writers:
            self._writers[evaluation] = self._open(self._folder / "averaged")
        return self._writers[evaluation]


def _scores(evaluation: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """(name, value) of an evaluation's line, {protocol: {measure: {score: value}, "per_class": {class: {...}}}}."""
    for protocol, result in evaluation.items():
        groups = [("", measure, result[measure]) for measure in MEASURES]
        groups += [("_of_class", name.replace(" ", "_"), scores) for name, scores in result["per_class"].items()]
        for suffix, name, scores in groups:
            for score in _SCORES:
                if scores.get(score) is not None:
                    yield f"{score}{suffix}/{protocol}/{name}", scores[score]

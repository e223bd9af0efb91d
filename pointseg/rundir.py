"""A run directory explains itself: configuration, circumstances, metrics, checkpoints.

config.yaml            the resolved configuration; `pointseg train --config` reads it
meta.json              arguments, versions, commit, device, seeds, what the data were
metrics.jsonl          one JSON object a line, in order of steps
checkpoints/last.pt    weights, optimiser, step, configuration, class names; best.pt: of the best voxel accuracy that
                       an evaluation while training saw; step_<n>.pt: those kept by `train.keep_every`
failures/              batches whose loss or gradient was not finite
tensorboard/           the same scalars for TensorBoard
eval.json              the scores; eval_scenes.csv: a row a scene and protocol; eval_counts.json: each scene's counts;
scene_points.zip       thinned points of every scene for 3D views (pointseg/evaluation/scene_points.py has the layout)
scenes/                points and predictions of the worst and best scenes (all by `pointseg evaluate`)
report.md, report.html what `pointseg report` writes
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import pointseg
from pointseg.atomic import replacing
from pointseg.config import Config
from pointseg.config_file import changed_keys, dump_config, load_config
from pointseg.errors import InputError

CHECKPOINT_FORMAT = 1


class RunDirectory:
    """Paths and files of one run; the constructor touches nothing on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.meta_file = path / "meta.json"
        self.metrics_file = path / "metrics.jsonl"
        self.checkpoint_file = path / "checkpoints" / "last.pt"
        self.best_checkpoint_file = path / "checkpoints" / "best.pt"
        self.failures = path / "failures"
        self.tensorboard = path / "tensorboard"
        self.eval_file = path / "eval.json"
        self.scene_table_file = path / "eval_scenes.csv"
        self.scene_counts_file = path / "eval_counts.json"
        self.scene_points_file = path / "scene_points.zip"
        self.scenes = path / "scenes"
        self.explanation = path / "explain"

    def check_free(self) -> None:
        """Raises InputError when the folder holds a run. One that never came to a checkpoint is no loss."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"out: {self.path} must be a folder or nothing yet, got a file")
        if self.checkpoint_file.exists():
            raise InputError(f"out: {self.path} already holds a run; give --resume to continue it, or another --out")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps the folder to this process, making it where there is none.

        Raises:
            InputError: another process trains here.
        """
        self._make_folder()
        with (self.path / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"out: {self.path} must not be in use, but another process is training in it"
                ) from None
            except OSError:  # a file system without locks
                pass
            yield

    def create(self, config: Config, meta: dict[str, Any]) -> None:
        """Starts a run in a folder that is free."""
        self.check_free()
        self._make_folder()
        self.write_config(config)
        write_json(self.meta_file, meta)

    def write_config(self, config: Config) -> None:
        write_text(self.config_file, dump_config(_found_from_anywhere(config)))

    def _make_folder(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"out: cannot make the folder {self.path}: {error.strerror}") from None

    def load_config(self, overrides: tuple[str, ...] = ()) -> Config:
        if not self.config_file.is_file():
            raise InputError(f"run: {self.path} is not a run directory (it has no config.yaml)")
        return load_config(self.config_file, overrides)

    def changed_settings(self, config: Config) -> list[str]:
        """The dotted names of the settings in which `config` differs from the run's own."""
        return changed_keys(self.load_config(), _found_from_anywhere(config))

    def load_meta(self) -> dict[str, Any]:
        return read_json(self.meta_file)

    # Metrics: appended line by line; a line cut off by a crash is the only one ever lost.

    def append_metrics(self, line: dict[str, Any]) -> None:
        try:
            with self.metrics_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:  # its own text does not name the file
            raise InputError(f"run: cannot write {self.metrics_file}: {error.strerror}") from None

    def read_metrics(self) -> Iterator[dict[str, Any]]:
        if not self.metrics_file.exists():
            return
        for line in self.metrics_file.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return

    def drop_metrics_after(self, step: int) -> None:
        """Forgets what a stopped run logged after the checkpoint that it goes on from."""
        kept = [line for line in self.read_metrics() if line["step"] <= step]
        write_text(self.metrics_file, "".join(json.dumps(line) + "\n" for line in kept))

    # Checkpoints

    def kept_checkpoint_file(self, step: int) -> Path:
        return self.checkpoint_file.with_name(f"step_{step:08d}.pt")

    def save_checkpoint(self, state: dict[str, Any], path: Path | None = None) -> None:
        """Writes a checkpoint, the last one unless `path` names another.

        Raises:
            InputError: it cannot be written, as on a full disk; the previous one is kept.
        """
        path = path or self.checkpoint_file
        content = io.BytesIO()  # written by ourselves, so that a failure says why
        torch.save({"format": CHECKPOINT_FORMAT, "pointseg": pointseg.__version__, **state}, content)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial, partial.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())  # before the old one is gone
        except OSError as error:
            kept = "; the previous checkpoint is kept" if path.exists() else ""
            raise InputError(f"checkpoint: cannot write {path}: {error.strerror}{kept}") from None

    def load_checkpoint(self) -> dict[str, Any]:
        return load_checkpoint(self.checkpoint_file)


def _found_from_anywhere(config: Config) -> Config:
    """With the store's absolute path, which any working directory leads to."""
    return replace(config, data=replace(config.data, store=str(Path(config.data.store).absolute())))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What `RunDirectory.save_checkpoint` wrote, on the CPU. Never runs code from the file.

    Raises:
        InputError: no such file, not a checkpoint of pointseg, cut off, or of another format.
    """
    if not path.is_file():
        raise InputError(f"checkpoint: {path} does not exist; has the run written one yet?")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail anywhere in the unpickler
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"checkpoint: {path} cannot be read: {reason}") from None
    found = state.get("format") if isinstance(state, dict) else None
    if found != CHECKPOINT_FORMAT:
        raise InputError(f"checkpoint: {path} must have format {CHECKPOINT_FORMAT}, got {found}")
    return state


def load_weights(model: nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Copies a checkpoint's weights into `model`; every name and shape must agree.

    Raises:
        InputError: the checkpoint is of another architecture; the first difference is named.
    """
    expected = model.state_dict()
    for name in [*expected, *weights]:
        want, got = (tuple(s[name].shape) if name in s else "nothing" for s in (expected, weights))
        if want != got:
            raise InputError(
                f"checkpoint: {path} is of another architecture than the configuration: "
                f"{name} must be {want}, got {got}"
            )
    model.load_state_dict(weights)


def describe_run(*, device: torch.device, world_size: int, **entries: Any) -> dict[str, Any]:
    """The circumstances of a run, for meta.json."""
    return {
        "pointseg": pointseg.__version__,
        "commit": _commit(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "arguments": sys.argv[1:],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(terse=True),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "world_size": world_size,
        **entries,
    }


def _commit() -> str | None:
    """The commit of the source tree this package runs from, "+" when it has changes; None outside its repository."""
    source = Path(__file__).parent
    git = ["git", "-C", str(source)]
    try:
        # An installed package may lie within another repository, whose commit says nothing about it.
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], capture_output=True, check=True)
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        status = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if status.stdout.strip() else "")


def write_text(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"run: cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # not JSON, or not even text
        raise InputError(f"run: {path} is not valid JSON: {error}") from None

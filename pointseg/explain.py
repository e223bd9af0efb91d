"""`pointseg explain`: from a run and a scene to pictures of what LatentGNN does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pointseg.config import Config
from pointseg.errors import InputError
from pointseg.evaluation.inference import load_network
from pointseg.prediction.explain import explain_scene
from pointseg.prediction.formats import read_cloud
from pointseg.prediction.frame import Up, find_frame
from pointseg.report.explanation import write_explanation
from pointseg.rundir import RunDirectory
from pointseg.store import SceneStore


def explain_run(
    run: RunDirectory,
    file: Path | None,
    out: Path,
    *,
    scene: str | None = None,
    up: Up | str = "auto",
    scale: float | None = None,
    device: torch.device,
    progress: bool = True,
) -> Path:
    """Explains `file`, or a room of the run's evaluation split; returns the page.

    Raises:
        InputError: no run or checkpoint, a network without LatentGNN, no such room, a file that cannot be read.
    """
    config = run.load_config()
    model, _ = load_network(run, config, device)
    name, xyz, rgb = _read(config, file, scene, up, scale)
    if config.data.color and rgb is None:
        raise InputError(f"{name}: the network of {run.path} was trained with colours, but the file has none")
    rgb = rgb if config.data.color else None
    explanation = explain_scene(model, xyz, rgb, config, device, progress=progress)
    files = write_explanation(explanation, xyz, out, title=f"{config.model.describe()}, {run.path.name}, {name}")
    return files["explain.html"]


def _read(
    config: Config, file: Path | None, scene: str | None, up: Up | str, scale: float | None
) -> tuple[str, np.ndarray, np.ndarray | None]:
    """Name, points in metres with +z up, colours."""
    if file is not None:
        cloud = read_cloud(file)
        finite = np.isfinite(cloud.xyz).all(axis=1)
        if not finite.any():
            raise InputError(f"{file}: expected points with finite coordinates, got none among {len(finite)}")
        frame = find_frame(cloud.xyz[finite], up=up, scale=scale)
        for note in frame.notes:
            print(note)
        return file.name, frame.to_room(cloud.xyz[finite]), None if cloud.rgb is None else cloud.rgb[finite]
    store = SceneStore(Path(config.data.store) / f"{config.evaluate.split}.h5")
    if scene is not None and scene not in store.scan_ids:
        raise InputError(f"scene: expected one of {store.scan_ids[0]} .. {store.scan_ids[-1]}, got {scene}")
    room = store[store.scan_ids.index(scene) if scene else 0]
    return room.scan_id, room.xyz, room.rgb

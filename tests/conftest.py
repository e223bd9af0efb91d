"""What tests share: one compute thread a process, and small stores made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pointseg.scannet.labels import CLASS_NAMES, IGNORE
from pointseg.store import Scene, StoreMeta, write_store


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Test processes run side by side; tests about threads set their number themselves."""
    torch.set_num_threads(1)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes `<folder>/<split>.h5` with small box rooms and returns the folder."""

    def make(
        split: str = "train", scenes: int = 3, points: int = 2000, *, folder: str = "store", seed: int = 0
    ) -> Path:
        meta = StoreMeta(class_names=CLASS_NAMES, ignore=IGNORE, aligned=True, created={"source": "boxes"})
        rooms = [box_room(f"scene{n:04d}_00", points, np.random.default_rng([seed, n])) for n in range(scenes)]
        write_store(tmp_path / folder / f"{split}.h5", split, rooms, meta)
        return tmp_path / folder

    return make


def box_room(scan_id: str, points: int, rng: np.random.Generator) -> Scene:
    """A 3 x 2.5 m room: floor (class 1), two walls (0), a table (6); some points unannotated."""
    xyz = rng.uniform(0, 1, (points, 3)) * [3.0, 2.5, 2.0]
    part = rng.integers(0, 4, points)
    xyz[part == 0, 2] = 0
    xyz[part == 1, 0] = 0
    xyz[part == 2, 1] = 0
    table = part == 3
    xyz[table] = xyz[table] * [0.4, 0.4, 0] + [1, 1, 0.7]
    label = np.array([1, 0, 0, 6], np.uint8)[part]
    label[rng.random(points) < 0.05] = IGNORE
    rgb = rng.integers(0, 256, (points, 3)).astype(np.uint8)
    return Scene(scan_id, (xyz + rng.normal(0, 0.003, xyz.shape)).astype(np.float32), rgb, label)

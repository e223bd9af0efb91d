"""A file of points as the 3D view takes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pointseg.errors import InputError
from pointseg.evaluation.scene_points import encode_points, thinned
from pointseg.prediction.formats import Cloud, read_cloud
from pointseg.prediction.frame import Up, find_frame
from pointseg.scannet.labels import IGNORE, NUM_CLASSES, nyu40_to_train


def file_points(
    path: Path, limit: int, *, up: Up | str = "auto", scale: float | None = None, say: Callable[[str], None] = print
) -> bytes:
    """The bytes of `encode_points` of the file's finite points, +z up, in metres, thinned to at most `limit`.

    A column train_id is the prediction; without one, a column label is the truth, as NYU40 ids.

    Args:
        up, scale: as `find_frame` takes them. say: is told what was guessed and left out.

    Raises:
        InputError: a file that cannot be read or has no finite points.
    """
    cloud = read_cloud(path)
    xyz = cloud.xyz
    kept = np.flatnonzero(np.isfinite(xyz).all(axis=1))
    if len(kept) == 0:
        raise InputError(f"{path}: expected points with finite coordinates, got none among {len(xyz)}")
    frame = find_frame(xyz[kept], up=up, scale=scale)
    for note in frame.notes:
        say(f"{path.name}: {note}")
    room = frame.to_room(xyz[kept])
    if len(kept) > limit:
        some = thinned(room, limit)
        say(f"{path.name}: {len(some):,} of {len(kept):,} points are shown")
        kept, room = kept[some], room[some]
    truth, prediction = _classes(cloud)
    rgb = cloud.rgb
    return encode_points(room, *(None if column is None else column[kept] for column in (rgb, truth, prediction)))


def _classes(cloud: Cloud) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Truth and prediction, [P] uint8 train ids, where the file has them."""
    ids, labels = (_whole_numbers(cloud, name) for name in ("train_id", "label"))
    if ids is not None:
        return None, np.where((ids >= 0) & (ids < NUM_CLASSES), ids, IGNORE).astype(np.uint8)
    return None if labels is None else nyu40_to_train(labels), None


def _whole_numbers(cloud: Cloud, name: str) -> np.ndarray | None:
    """A column [P] as int64; None where the file has none, or one of other things than whole numbers."""
    column = cloud.columns.get(name)
    if column is None or column.ndim != 1 or column.dtype.kind not in "iuf":
        return None
    whole = np.nan_to_num(np.asarray(column, np.float64), posinf=0, neginf=0)
    return whole.astype(np.int64) if np.array_equal(whole, np.rint(whole)) else None

"""Labels for a point cloud or mesh of one's own: every point of the file, in its order.

P points of the file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from pointseg.errors import InputError
from pointseg.prediction.formats import Cloud, read_cloud
from pointseg.prediction.frame import Up, find_frame
from pointseg.prediction.segmenter import Segmenter
from pointseg.scannet.labels import CLASS_NAMES, NUM_CLASSES, colorize, train_to_nyu40
from pointseg.scannet.ply import write_ply


def predict_file(
    segmenter: Segmenter,
    source: Path,
    target: Path,
    *,
    up: Up | Literal["auto"] = "auto",
    scale: float | None = None,
    votes: int | None = None,
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> str:
    """Labels the points of `source` and writes them to the PLY file `target`.

    The file written has the points of the file read, in the same order, with the same coordinates and faces, and for
    each point: `red green blue` = the colour of its class, `label` = the NYU40 id of its class as in ScanNet's own
    files, `train_id` = 0..19 in benchmark order, `probability` = the network's mean probability of that class. Points
    that are not finite, as organised clouds have them, and points that the network takes for none of the classes have
    label 0 and train_id 255. Takes about 130 bytes of memory a point, besides the file's own content.

    Args:
        up: the file's direction that points up; "auto" guesses. scale: metres per unit; None guesses.
        votes: passes over the scene; None: as the network's configuration says.
        say: is told, before the network runs, what was read and guessed.

    Returns:
        what was found, for a person.

    Raises:
        InputError: a file that cannot be read, one without colours for a network that was trained with them, no
            finite points.
    """
    if target.suffix.lower() != ".ply":
        raise InputError(f"out: expected a file named .ply, got {target}")
    if scale is not None and not (np.isfinite(scale) and scale > 0):
        raise InputError(f"scale: expected metres per unit, more than 0, got {scale:g}")
    _check_target(target)
    cloud = read_cloud(source)
    if segmenter.config.data.color and cloud.rgb is None:
        raise InputError(f"{source}: {segmenter.source} was trained with colours, but the file has none")

    finite = np.isfinite(cloud.xyz).all(axis=1)
    if not finite.any():
        raise InputError(f"{source}: expected points with finite coordinates, got none among {len(finite)}")
    frame = find_frame(cloud.xyz[finite], up=up, scale=scale)
    for line in (_describe(source, cloud, finite), *frame.notes):
        say(line)

    with tqdm(desc="labelling", unit="chunk", disable=not progress, dynamic_ncols=True) as bar:
        train_id, probability, _ = segmenter.label(
            cloud.xyz, cloud.rgb, finite, frame, votes=votes, on_chunk=bar.update
        )
    write_ply(
        target,
        cloud.xyz,
        rgb=colorize(train_id),
        label=train_to_nyu40(train_id),
        faces=cloud.faces,
        extra={"train_id": train_id, "probability": probability},
    )
    return _summary(target, train_id, probability)


def _check_target(target: Path) -> None:
    """Finds out that the result cannot be written before the work is done, not after."""
    if target.is_dir():
        raise InputError(f"out: {target} must be a file to write, got a folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out: cannot make the folder {target.parent}: {error.strerror}") from None


def _describe(source: Path, cloud: Cloud, finite: np.ndarray) -> str:
    parts = [f"{len(finite):,} points", "with colours" if cloud.rgb is not None else "without colours"]
    if cloud.faces is not None:
        parts.append(f"{len(cloud.faces):,} faces")
    if not finite.all():
        parts.append(f"{np.count_nonzero(~finite):,} of the points are not finite and get label 0")
    if cloud.note:
        parts.append(cloud.note)
    return f"{source}: {', '.join(parts)}"


def _summary(target: Path, train_id: np.ndarray, probability: np.ndarray) -> str:
    """The classes found, the commonest first, with the mean probability of their points."""
    counts = np.bincount(train_id, minlength=256)
    order = [c for c in np.argsort(-counts, kind="stable") if counts[c] > 0]
    names = [CLASS_NAMES[c] if c < NUM_CLASSES else "(none)" for c in order]
    lines = [
        f"{name:16} {100 * counts[c] / len(train_id):5.1f} %   probability {probability[train_id == c].mean():.2f}"
        for name, c in zip(names, order, strict=True)
    ]
    return "\n".join([*lines, f"{len(train_id):,} labelled points: {target}"])

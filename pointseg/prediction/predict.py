"""Labels for a point cloud or mesh of one's own: every point of the file, in its order.

P points of the file, of which F are finite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from pointseg.atomic import replacing
from pointseg.errors import InputError
from pointseg.prediction.formats import FORMATS, Cloud, check_writable, read_cloud, write_cloud
from pointseg.prediction.formats.cloud import COLOR, blocks, release
from pointseg.prediction.frame import Frame, Up, find_frame
from pointseg.prediction.segmenter import Segmenter
from pointseg.prediction.smoothing import smooth
from pointseg.progress import progress_bar
from pointseg.report.render import encode_png, render, room_view
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, NUM_CLASSES, colorize, train_to_nyu40

_DRAWN = 400_000  # points of a picture, at most
_SAMPLE = 500_000  # points that guesses look at, at most


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is done with every file."""

    up: Up | Literal["auto"] = "auto"  # the file's direction that points up; "auto" guesses
    scale: float | None = None  # metres per unit; None guesses
    votes: int | None = None  # passes over the scene; None: as the network's configuration says
    smooth: float | None = None  # metres; points within it vote on each other's class
    top_k: int = 1  # classes a point
    classes: Sequence[str] = ()  # points of other classes get none; nothing: all classes
    keep_colors: bool = False  # leave the file's colours; otherwise points get those of their classes

    def __post_init__(self) -> None:
        for name, what in (("scale", "metres per unit"), ("smooth", "metres")):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise InputError(f"{name}: expected {what}, more than 0, got {value:g}")
        if self.votes is not None and self.votes < 1:
            raise InputError(f"votes: expected 1 or more, got {self.votes}")
        if not 1 <= self.top_k <= NUM_CLASSES:
            raise InputError(f"top-k: expected 1 to {NUM_CLASSES}, got {self.top_k}")
        if self.smooth and self.top_k > 1:
            raise InputError("top-k: expected 1 with smooth, which gives one class a point")
        for name in self.classes:
            if name not in CLASS_NAMES:
                raise InputError(f"classes: expected some of {', '.join(CLASS_NAMES)}, got {name!r}")


def predict_file(
    segmenter: Segmenter,
    source: Path,
    target: Path,
    options: Options | None = None,
    *,
    picture: Path | None = None,
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> str:
    """Labels the points of `source` and writes them to `target`, in the format of its name.

    The file written has the points of the file read, in the same order, with the same coordinates, faces and further
    columns, and for each point: `red green blue` = the colour of its class, `label` = the NYU40 id of its class as in
    ScanNet's own files, `train_id` = 0..19 in benchmark order, `probability` = the network's mean probability of that
    class; `train_id_2 probability_2` ... for the next best. Points that are not finite, as organised clouds have them,
    and points that the network takes for none of the classes have label 0, train_id 255 and probability 0. A column of
    the file that has one of these names is kept as `original_NAME`.

    Args:
        picture: PNG file to write, a view of the result. say: is told, before the network runs, what was guessed.

    Returns:
        what was found, for a person.

    Raises:
        InputError: a file that cannot be read or written, one without colours for a network that was trained with
            them, no finite points, points thousands of kilometres apart.
    """
    options = options or Options()
    check_writable(target)
    cloud = read_cloud(source)
    if segmenter.config.data.color and not cloud.has_color:
        raise InputError(f"{source}: {segmenter.source} was trained with colours, but the file has none")
    finite = _finite(cloud)
    if not finite.any():
        raise InputError(f"{source}: expected points with finite coordinates, got none among {len(finite)}")
    if FORMATS[target.suffix.lower()].finite and not finite.all():
        raise InputError(f"out: {target.suffix} files hold finite coordinates alone; write those of {source} as .ply")
    say(_describe(source, cloud, finite))
    try:
        frame = _frame(cloud, finite, options)
        for line in frame.notes:
            say(line)
        room = _room(cloud, finite, frame)
        rgb = cloud.rgb[finite] if segmenter.config.data.color else None
        with progress_bar(total=len(room), desc="labelling", unit="pt", unit_scale=True, shown=progress) as bar:
            best, likely = segmenter.label(room, rgb, votes=options.votes, top_k=options.top_k, on_points=bar.update)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    if options.smooth:
        say(f"smoothing: each point's class is that of most of its neighbours within {options.smooth:g} m")
        new = smooth(room, best[:, 0], likely[:, 0], options.smooth)
        best, likely = new[0][:, None], new[1][:, None]
    if options.classes:
        best[~np.isin(best[:, 0], [CLASS_NAMES.index(name) for name in options.classes])] = IGNORE
    likely[best == IGNORE] = 0
    if picture is not None:
        _draw(picture, room, best[:, 0])
    del room
    train_id = np.full((len(cloud), best.shape[1]), IGNORE, np.uint8)
    probability = np.zeros(train_id.shape, np.float32)
    train_id[finite], probability[finite] = best, likely
    write_cloud(target, _labelled(cloud, train_id, probability, options))
    return _summary(target, cloud, train_id[:, 0], probability[:, 0])


def _finite(cloud: Cloud) -> np.ndarray:
    """[P] bool"""
    finite = np.empty(len(cloud), bool)
    for rows in blocks(len(cloud)):
        finite[rows] = np.isfinite(cloud.positions(rows)).all(axis=1)
        release(cloud.columns)
    return finite


def _frame(cloud: Cloud, finite: np.ndarray, options: Options) -> Frame:
    """The frame of the file, from evenly chosen points."""
    some = slice(None, None, -(-len(cloud) // _SAMPLE))
    sample = cloud.positions(some)[finite[some]]
    if len(sample) == 0:
        sample = cloud.xyz[finite]
    return find_frame(sample, up=options.up, scale=options.scale)


def _room(cloud: Cloud, finite: np.ndarray, frame: Frame) -> np.ndarray:
    """[F, 3] float32, metres, +z up"""
    room = np.empty((np.count_nonzero(finite), 3), np.float32)
    start = 0
    for rows in blocks(len(cloud)):
        block = frame.to_room(cloud.positions(rows)[finite[rows]])
        room[start : start + len(block)] = block
        start += len(block)
        release(cloud.columns)
    return room


def _labelled(cloud: Cloud, train_id: np.ndarray, probability: np.ndarray, options: Options) -> Cloud:
    """The cloud with what was found in place of what it had, or beside it."""
    found: dict[str, np.ndarray] = {"label": train_to_nyu40(train_id[:, 0])}
    for rank in range(train_id.shape[1]):
        suffix = f"_{rank + 1}" if rank else ""
        found |= {f"train_id{suffix}": train_id[:, rank], f"probability{suffix}": probability[:, rank]}
    ours = "label" in cloud.columns and "train_id" in cloud.columns and "probability" in cloud.columns
    columns = {axis: cloud.columns[axis] for axis in "xyz"}
    if not options.keep_colors:
        colors = colorize(train_id[:, 0])
        if options.classes and (rgb := cloud.rgb) is not None:
            colors = np.where((train_id[:, 0] == IGNORE)[:, None], rgb, colors)
        columns |= {name: colors[:, axis] for axis, name in enumerate(COLOR)}
    for name, column in cloud.columns.items():
        if name in found or name == "class":
            if not ours:
                columns[f"original_{name}"] = column
        else:
            columns.setdefault(name, column)
    return replace(cloud, columns=columns | found, class_names=CLASS_NAMES)


def _draw(picture: Path, room: np.ndarray, train_id: np.ndarray) -> None:
    some = slice(None, None, -(-len(room) // _DRAWN))
    content = encode_png(render(room_view(room[some]), colorize(train_id[some])))
    with replacing(picture) as temporary:
        temporary.write_bytes(content)


def _describe(source: Path, cloud: Cloud, finite: np.ndarray) -> str:
    parts = [
        f"{len(finite):,} point{'s' * (len(finite) > 1)}",
        "with colours" if cloud.has_color else "without colours",
    ]
    if cloud.faces is not None:
        parts.append(f"{len(cloud.faces):,} faces")
    if not finite.all():
        parts.append(f"{np.count_nonzero(~finite):,} of the points are not finite, which get label 0")
    if cloud.note:
        parts.append(cloud.note)
    return f"{source}: {', '.join(parts)}"


def _summary(target: Path, cloud: Cloud, train_id: np.ndarray, probability: np.ndarray) -> str:
    """The classes found, the commonest first, with the mean probability of their points; what the file lacks."""
    counts = np.bincount(train_id, minlength=256)
    sums = np.bincount(train_id, weights=probability, minlength=256)
    lines = [
        f"{CLASS_NAMES[c] if c < NUM_CLASSES else '(none)':16} {100 * counts[c] / len(train_id):5.1f} %   "
        f"probability {sums[c] / counts[c]:.2f}"
        for c in np.argsort(-counts, kind="stable")
        if counts[c] > 0
    ]
    lacks = FORMATS[target.suffix.lower()].lacks
    if lacks and (lacks != "faces" or cloud.faces is not None):
        lines.append(f"{target.suffix} files do not hold {lacks}")
    return "\n".join([*lines, f"{len(train_id):,} labelled point{'s' * (len(train_id) > 1)}: {target}"])

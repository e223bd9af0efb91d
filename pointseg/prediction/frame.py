"""Where is up, and what is the unit? Guesses for clouds of unknown origin, and the way to metres with +z up.

Guesses assume a scan of a room or a few, upright along one of the file's axes. Each comes with a sentence that says
what was guessed and from what, so that a person can overrule it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.spatial import cKDTree

Up = Literal["x", "-x", "y", "-y", "z", "-z"]

# Rows: the file's directions that become x, y, z. All are rotations, none mirrors.
_TURNS: dict[str, np.ndarray] = {
    "z": np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "-z": np.array([[1, 0, 0], [0, -1, 0], [0, 0, -1]]),
    "y": np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "-y": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "x": np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
    "-x": np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]]),
}
_UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}

# What scans of rooms are like, and by what factor they commonly differ from it.
_ROOM, _SPACING, _SPREAD = 4.0, 0.02, 3.0  # metres, metres
_UNUSUAL = 2.0  # what another unit than the metre must be better by, squared log distances
_SAMPLE = 200_000  # points that guesses look at
_CELL, _SLAB = 0.2, 0.15  # metres; cells that a floor covers, and how thick it may be
_HABIT = 0.15  # bonus of +z, which most files have
_LOW = 1.5  # metres; a guess that makes the cloud lower than that is doubtful
_UNSURE = 0.15  # a smaller lead over the next best direction is said


@dataclass(frozen=True)
class Frame:
    """The way from a file's coordinates to the network's: metres, +z up, near the origin."""

    up: Up
    scale: float  # metres per unit
    origin: np.ndarray  # [3] float64, subtracted first, in the file's units
    notes: tuple[str, ...]  # how `up` and `scale` were come by, and what is unusual

    def to_room(self, xyz: np.ndarray) -> np.ndarray:
        """[P, 3] float32 from the file's coordinates [P, 3]; the subtraction is done in float64."""
        return ((xyz.astype(np.float64) - self.origin) @ _TURNS[self.up].T * self.scale).astype(np.float32)


def find_frame(xyz: np.ndarray, *, up: Up | Literal["auto"] = "auto", scale: float | None = None) -> Frame:
    """The frame of finite points [P, 3], P >= 1; `up` and `scale` (metres per unit) overrule the guesses."""
    origin = np.floor(xyz.min(axis=0).astype(np.float64))
    sample = xyz[:: -(-len(xyz) // _SAMPLE)].astype(np.float64) - origin
    notes = []
    if scale is None:
        scale, note = guess_scale(sample)
        notes.append(note)
    else:
        notes.append(f"unit: {scale:g} m, as given")
    if up == "auto":
        up, note = guess_up(sample * scale)
        notes.append(note)
    else:
        notes.append(f"up: {up}, as given")
    notes += _remarks(xyz, origin, scale)
    return Frame(up, scale, origin, tuple(notes))


def guess_scale(xyz: np.ndarray) -> tuple[float, str]:
    """Metres per unit, from the middle one of the three extents and the distance between neighbours."""
    extent = float(np.sort(np.ptp(np.quantile(xyz, [0.005, 0.995], axis=0), axis=0))[1])
    spacing = _spacing(xyz)

    def strangeness(name: str) -> float:
        logs = [
            np.log(max(value * _UNITS[name], 1e-9) / usual) for value, usual in ((extent, _ROOM), (spacing, _SPACING))
        ]
        return float(np.sum((np.array(logs) / np.log(_SPREAD)) ** 2)) + _UNUSUAL * (name != "m")

    name = min(_UNITS, key=strangeness)
    said = f"unit: {name}, guessed from an extent of {extent:.3g} and {spacing:.2g} between points; --scale overrules"
    return _UNITS[name], said


def guess_up(xyz: np.ndarray) -> tuple[Up, str]:
    """The direction on whose low side most of the ground plan is covered (a floor), with more things low than high.

    xyz: [P, 3] in metres.
    """
    scores = {up: _uprightness(xyz @ turn.T) + _HABIT * (up == "z") for up, turn in _TURNS.items()}
    best, second = sorted(scores, key=lambda up: -scores[up])[:2]
    said = f"up: {best}, guessed from where a floor seems to be"
    if scores[best] - scores[second] < _UNSURE:
        said += f", but {second} is nearly as likely"
    height = np.ptp(np.quantile(xyz @ _TURNS[best][2], [0.005, 0.995]))
    if height < _LOW:
        said += f"; careful: the cloud is then {height:.1f} m high, so the floor may be a piece of wall"
    chosen = next(up for up in get_args(Up) if up == best)
    return chosen, f"{said}; --up overrules"


def _uprightness(xyz: np.ndarray) -> float:
    """About 1 when +z is up; xyz [P, 3] in metres."""
    height = xyz[:, 2]
    low, high = np.quantile(height, [0.005, 0.995])
    slab = min(_SLAB, 0.15 * (high - low))
    cells = np.floor((xyz[:, :2] - xyz[:, :2].min(axis=0)) / _CELL).astype(np.int64)
    keys = cells[:, 0] * (cells[:, 1].max() + 1) + cells[:, 1]
    covered = len(np.unique(keys[height <= low + slab])) / len(np.unique(keys))
    between = height[(height > low + slab) & (height < high - slab)]
    lower_half = np.mean(between < (low + high) / 2) if len(between) else 0.5
    return float(covered + 2 * (lower_half - 0.5))


def _spacing(xyz: np.ndarray) -> float:
    """Median distance to the next point that is elsewhere; 0 for fewer than two points. `xyz` may be thinned out."""
    if len(xyz) < 2:
        return 0.0
    some = xyz[:: max(1, len(xyz) // 2000)]
    distance, _ = cKDTree(xyz).query(some, k=2)
    return float(np.median(distance[:, 1]))


def _remarks(xyz: np.ndarray, origin: np.ndarray, scale: float) -> list[str]:
    """What a person should know about the coordinates."""
    remarks = []
    farthest = np.abs(origin).max() * scale
    if farthest > 1000:
        place = ", ".join(f"{value:.0f}" for value in origin)
        remarks.append(f"coordinates are far from the origin: ({place}) is subtracted while computing")
        step = float(np.spacing(np.float32(np.abs(xyz).max()))) * scale
        if xyz.dtype == np.float32 and step > 0.002:
            remarks.append(f"careful: the file keeps them as float32, in steps of {step:.3g} m")
    size = np.ptp(xyz.astype(np.float64), axis=0).max() * scale
    if not 0.5 <= size <= 200:
        remarks.append(f"careful: the cloud is {size:.3g} m across, rooms are not; is the unit right?")
    return remarks

"""Where is up, and what is the unit? Guesses for clouds of unknown origin, and the way to metres with +z up.

Guesses assume a scan of a room or a few, upright along one of the file's axes. Each comes with how likely it is, and
with a sentence that says what was guessed and from what, so that a person can overrule it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from pointseg.errors import InputError
from pointseg.prediction.upright import TURNS, Evidence, evidence

Up = Literal["x", "-x", "y", "-y", "z", "-z"]

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "feet": 0.3048, "inches": 0.0254}  # metres
# Less likely guesses are called unsure; units more readily, as part of a room in feet looks like a hall in metres.
_SURE_OF_UP, _SURE_OF_UNIT = 0.99, 0.998
_FEWEST = 100  # points; of fewer nothing is sure
_FLOOR = 0.2  # share of the ground plan; where less of a floor is seen, up is not sure
_LARGEST = 1e6  # metres; a cloud of this size has a stray point

# How common directions and units are in files. Depth cameras have +y down; meshes for screens have +y up.
_COMMON_UP = {"z": 0.55, "y": 0.15, "-y": 0.15, "-z": 0.05, "x": 0.05, "-x": 0.05}
_COMMON_UNIT = {"m": 0.85, "mm": 0.06, "feet": 0.04, "cm": 0.03, "inches": 0.02}
# Shortest and middle extents of clouds: metres, and the spread of their logarithms. The shortest is the height
# of a room in a share _ROOMS of them; in the others (pieces of wall, heaps) it may be anything.
_HEIGHT, _ANYTHING, _MIDDLE = (2.0, 0.35), (1.0, 1.2), (4.0, 0.8)
_ROOMS = 0.6
# Fitted to generated clouds by `python scripts/frame_guesses.py --fit --rooms 20 --seed 4`: logarithms of odds.
_WEIGHTS = Evidence(floor=0.82, ceiling=-4.08, low=4.45, lying=-8.84, strange=-7.64, flat=-14.93)
_SAMPLE = 200_000  # points that guesses look at


@dataclass(frozen=True)
class Frame:
    """The way from a file's coordinates to the network's: metres, +z up, near the origin."""

    up: Up
    scale: float  # metres per unit
    origin: np.ndarray  # [3] float64, subtracted first, in the file's units
    notes: tuple[str, ...]  # how `up` and `scale` were come by, and what is unusual
    sure_of_up: bool = True
    sure_of_scale: bool = True

    def to_room(self, xyz: np.ndarray) -> np.ndarray:
        """[P, 3] float32 from the file's coordinates [P, 3]; the subtraction is done in float64."""
        return ((xyz.astype(np.float64) - self.origin) @ TURNS[self.up].T * self.scale).astype(np.float32)


def find_frame(xyz: np.ndarray, *, up: Up | Literal["auto"] = "auto", scale: float | None = None) -> Frame:
    """The frame of finite points [P, 3], P >= 1; `up` and `scale` (metres per unit) overrule the guesses.

    Raises:
        InputError: points that are thousands of kilometres apart.
    """
    origin = np.floor(xyz.min(axis=0).astype(np.float64))
    sample = xyz[:: -(-len(xyz) // _SAMPLE)].astype(np.float64) - origin
    sure_of_scale = sure_of_up = True
    notes = []
    if scale is None:
        scale, sure_of_scale, note = guess_scale(sample)
        notes.append(note)
    else:
        notes.append(f"unit: {scale:g} m, as given")
    if (size := np.ptp(sample, axis=0).max() * scale) > _LARGEST:
        raise InputError(f"xyz must span at most {_LARGEST:g} m, got {size:g} m: is there a stray point?")
    if up == "auto":
        up, sure_of_up, note = guess_up(sample * scale)
        notes.append(note)
    else:
        notes.append(f"up: {up}, as given")
    notes += _remarks(xyz, origin, scale)
    return Frame(up, scale, origin, tuple(notes), sure_of_up, sure_of_scale)


def guess_scale(xyz: np.ndarray) -> tuple[float, bool, str]:
    """Metres per unit, from the shortest and the middle extent; whether that is sure; and a sentence about it."""
    extents = np.sort(np.ptp(np.quantile(xyz, [0.005, 0.995], axis=0), axis=0))

    def likelihood(unit: str) -> float:
        shortest, middle, _ = np.log(np.maximum(extents * UNITS[unit], 1e-9))
        density = _ROOMS * _normal(shortest, *_HEIGHT) + (1 - _ROOMS) * _normal(shortest, *_ANYTHING)
        return np.log(_COMMON_UNIT[unit]) + np.log(density + 1e-300) + np.log(_normal(middle, *_MIDDLE) + 1e-300)

    (unit, share), (other, _) = _ranked({unit: likelihood(unit) for unit in UNITS})
    size, other_size = (" x ".join(f"{e * UNITS[name]:.3g}" for e in extents[::-1]) for name in (unit, other))
    sure = share >= _SURE_OF_UNIT and len(xyz) >= _FEWEST
    said = (
        f"unit: {unit}, guessed: the cloud is then {size} m ({_percent(share)} likely); {'' if sure else 'NOT SURE, '}"
    )
    return UNITS[unit], sure, f"{said}--scale {UNITS[other]:g} if it is in {other} ({other_size} m)"


def _normal(log: float, usual: float, spread: float) -> float:
    return np.exp(-(((log - np.log(usual)) / spread) ** 2) / 2) / spread


def guess_up(xyz: np.ndarray) -> tuple[Up, bool, str]:
    """The direction for which `evidence` speaks; whether that is sure; and a sentence about it. xyz: [P, 3] metres."""
    found = {up: Evidence(*row) for up, row in zip(TURNS, evidence(xyz), strict=True)}
    logs = {up: np.dot(row, _WEIGHTS) + np.log(_COMMON_UP[up]) for up, row in found.items()}
    (best, share), (second, next_share) = _ranked(logs)
    said = f"up: {best}, guessed from what lies and stands ({_percent(share)} likely)"
    sure = share >= _SURE_OF_UP and found[best].floor >= _FLOOR and len(xyz) >= _FEWEST
    if not sure:
        said += f"; NOT SURE, it may be {second} ({_percent(next_share)})"
    chosen = next(up for up in get_args(Up) if up == best)
    return chosen, sure, f"{said}; --up overrules"


def _percent(share: float) -> str:
    """Never 100 %: that would be no guess."""
    return f"{100 * share:.1f} %" if share < 0.999 else "more than 99.9 %"


def _ranked(logs: dict[str, float]) -> list[tuple[str, float]]:
    """The two likeliest names and their shares of the likelihood."""
    names = sorted(logs, key=lambda name: -logs[name])
    shares = np.exp(np.array([logs[name] for name in names]) - logs[names[0]])
    return [(name, float(share)) for name, share in zip(names[:2], shares / shares.sum(), strict=False)]


def _remarks(xyz: np.ndarray, origin: np.ndarray, scale: float) -> list[str]:
    """What a person should know about the coordinates."""
    remarks = []
    farthest = np.abs(origin).max() * scale
    if farthest > 1000:
        place = ", ".join(f"{value:.0f}" for value in origin)
        remarks.append(f"coordinates are far from the origin: ({place}) is subtracted while computing")
        step = float(np.spacing(np.abs(xyz).max())) * scale
        if step > 0.002:
            remarks.append(f"careful: the file keeps them as {xyz.dtype}, in steps of {step:.3g} m")
    size = np.ptp(xyz.astype(np.float64), axis=0).max() * scale
    if not 0.5 <= size <= 200:
        remarks.append(f"careful: the cloud is {size:.3g} m across, rooms are not; is the unit right?")
    return remarks

"""Points of evaluated scenes for the eye: thinned evenly, coordinates as integers, ready to be compressed.

One scene is a header (little-endian: float64 origin x, y, z, float64 step, uint32 points P, uint32 which of the three
optional parts are there: 1 colours, 2 truth, 4 prediction) and then one byte a point for each of: low bytes of x, y, z,
their high bytes, red, green, blue, truth, prediction. A coordinate is a uint16 in steps from the origin, written as the
difference to the point before (modulo 2**16); points follow a Morton curve, so differences are small and deflate well.

P points of a scene, Q of them kept, S scenes.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pointseg.atomic import replacing
from pointseg.errors import InputError
from pointseg.metrics import voxel_representatives

_HEADER = struct.Struct("<4d2I")
_LEVELS = 0xFFFF  # of a uint16
_STEP = 0.004  # metres; a tenth of the distance between points that are thinned for display
_KEPT_BITS = 0xF8  # of a colour: the other three are noise of the camera and cost half of the file
_LEAST = 1e-9  # metres; a scene of one point has a step too


def thinned(xyz: np.ndarray, limit: int) -> np.ndarray:
    """[Q] int64, ascending, Q <= limit: the first point of each voxel, of a size that leaves nearly `limit` of them."""
    if len(xyz) <= limit:
        return np.arange(len(xyz))
    xyz = np.ascontiguousarray(xyz, np.float32)
    a, b, c = np.ptp(xyz, axis=0).astype(np.float64) + 0.01
    size = float(np.sqrt(2 * (a * b + b * c + c * a) / limit))  # of squares that pave the walls of a box
    kept = voxel_representatives(xyz, size)
    for _ in range(5):
        if 0.9 * limit <= len(kept) <= limit:
            break
        size *= float(np.sqrt(len(kept) / (0.95 * limit)))
        kept = voxel_representatives(xyz, size)
    return kept if len(kept) <= limit else kept[np.arange(limit) * len(kept) // limit]


def encode_points(
    xyz: np.ndarray,
    rgb: np.ndarray | None = None,
    truth: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
    *,
    compact: bool = False,
) -> bytes:
    """The scene's bytes; xyz [P, 3] finite metres, rgb [P, 3] uint8, truth and prediction [P] uint8, P >= 1.

    Args:
        compact: steps of at least 4 mm and colours of five bits, which halves what is left after deflating.
    """
    xyz = np.asarray(xyz, np.float64)
    origin = xyz.min(axis=0)
    step = max(float((xyz - origin).max()) / _LEVELS, _STEP if compact else _LEAST)
    place = np.rint((xyz - origin) / step).astype(np.uint16)
    order = np.argsort(_morton(place), kind="stable")
    place = place[order]
    change = np.diff(place, axis=0, prepend=np.zeros((1, 3), np.uint16))  # wraps around, and so does the sum
    parts = [(change & 0xFF).astype(np.uint8).T, (change >> 8).astype(np.uint8).T]
    if rgb is not None:
        parts.append(rgb[order].T & np.uint8(_KEPT_BITS if compact else 0xFF))
    parts += [classes[order].astype(np.uint8) for classes in (truth, prediction) if classes is not None]
    present = (rgb is not None) + 2 * (truth is not None) + 4 * (prediction is not None)
    return b"".join([_HEADER.pack(*origin, step, len(xyz), present), *(part.tobytes() for part in parts)])


def write_scene_points(path: Path, scenes: Iterable[tuple[str, bytes]]) -> None:
    """Writes (scan id, bytes of `encode_points`) of every scene as the entries of a zip file."""
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for scan_id, content in scenes:
            file.writestr(scan_id, content)


def read_scene_points(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The bytes of those of the scenes `names` that the file holds; {} without a file.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        with zipfile.ZipFile(path) as file:
            held = set(file.namelist())
            return {name: file.read(name) for name in names if name in held}
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"run: {path} cannot be read ({error}); evaluate the run again") from None


def _morton(place: np.ndarray) -> np.ndarray:
    """[P] uint64: the bits of x, y and z [P, 3] uint16 in turn, so that near numbers are near places."""
    spread = place.astype(np.uint64)
    for shift, mask in ((32, 0xFFFF00000000FFFF), (16, 0xFF0000FF0000FF), (8, 0xF00F00F00F00F00F)):
        spread = (spread | spread << np.uint64(shift)) & np.uint64(mask)
    for shift, mask in ((4, 0x30C30C30C30C30C3), (2, 0x9249249249249249)):
        spread = (spread | spread << np.uint64(shift)) & np.uint64(mask)
    return spread[:, 0] | spread[:, 1] << np.uint64(1) | spread[:, 2] << np.uint64(2)

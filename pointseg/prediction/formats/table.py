"""The table of formats, by the ends of files' names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pointseg.prediction.formats import arrays, e57, las, meshes, pcd, ply, text
from pointseg.prediction.formats.cloud import Cloud


@dataclass(frozen=True)
class Format:
    read: Callable[[Path], Cloud]
    write: Callable[[Path, Cloud], None] | None  # None: cannot be written
    lacks: str = ""  # what a file written does not hold
    check_installed: Callable[[Path], None] = lambda _: None  # raises InputError where a package is missing
    finite: bool = False  # holds finite coordinates alone


_TEXT = Format(text.read, text.write, lacks="faces")
_LAS = Format(las.read, las.write, lacks="faces", check_installed=las.check_installed, finite=True)

_COLORS_ONLY = "labels and probabilities: points have the colours of their classes alone"

FORMATS: dict[str, Format] = {
    ".ply": Format(ply.read, ply.write),
    ".pcd": Format(pcd.read, pcd.write, lacks="faces"),
    ".npy": Format(arrays.read_npy, arrays.write_npy, lacks="faces"),
    ".npz": Format(arrays.read_npz, arrays.write_npz),
    **dict.fromkeys((".xyz", ".txt", ".csv", ".asc", ".pts"), _TEXT),
    **dict.fromkeys((".las", ".laz"), _LAS),
    ".e57": Format(e57.read, e57.write, _COLORS_ONLY, e57.check_installed, finite=True),
    ".obj": Format(meshes.read, meshes.write_obj, _COLORS_ONLY, finite=True),
    ".glb": Format(
        meshes.read, meshes.write_glb, "doubles and, without faces, labels", meshes.check_installed, finite=True
    ),
    ".stl": Format(meshes.read, None),
}


def readable(path: Path) -> bool:
    """Can a file of this name be read, if what it needs is installed?"""
    return path.suffix.lower() in FORMATS


def writable(path: Path) -> bool:
    form = FORMATS.get(path.suffix.lower())
    return form is not None and form.write is not None

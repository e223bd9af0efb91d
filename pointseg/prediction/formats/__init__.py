"""Point clouds from and to files: one table of formats, one file a format."""

from __future__ import annotations

from pathlib import Path

from pointseg.errors import InputError
from pointseg.prediction.formats.cloud import Cloud, need_xyz
from pointseg.prediction.formats.table import FORMATS, readable, writable
from pointseg.scannet.ply import require_file

__all__ = ["FORMATS", "Cloud", "check_writable", "read_cloud", "readable", "writable", "write_cloud"]


def read_cloud(path: Path) -> Cloud:
    """Reads a cloud; the format is taken from the file's name.

    Raises:
        InputError: an unknown format, no such file, one that ends early or is not what its name says, no points, a
            format that needs a package which is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        require_file(path)
        raise InputError(f"{path}: expected a file named {', '.join(FORMATS)}, got {path.suffix or 'no suffix'!r}")
    require_file(path)
    cloud = FORMATS[path.suffix.lower()].read(path)
    need_xyz(path, cloud.columns)
    if len(cloud) == 0:
        raise InputError(f"{path}: expected points, got none")
    return cloud


def check_writable(path: Path) -> None:
    """Raises InputError unless clouds can be written under this name."""
    form = FORMATS.get(path.suffix.lower())
    if form is None or form.write is None:
        names = ", ".join(suffix for suffix, other in FORMATS.items() if other.write)
        raise InputError(f"out: expected a file named {names}, got {path}")
    form.check_installed(path)


def write_cloud(path: Path, cloud: Cloud) -> None:
    """Writes a cloud in the format of the file's name: whole or not at all.

    Raises:
        InputError: a format that cannot be written or cannot hold the cloud.
    """
    check_writable(path)
    FORMATS[path.suffix.lower()].write(path, cloud)

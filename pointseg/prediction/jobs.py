"""Which files are read and which are written; what stands in the way is found out before the work."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pointseg.errors import InputError
from pointseg.prediction.formats import check_writable, readable, writable
from pointseg.scannet.ply import require_file


def plan(sources: Sequence[Path], out: Path, *, force: bool = False) -> list[tuple[Path, Path]]:
    """Pairs of a file to read and one to write; makes the folder to write to.

    One file goes to the file `out`; or, as several files and folders do, into the folder `out` under its own name, as
    PLY where its own format cannot be written.

    Raises:
        InputError: no such file, a folder without clouds, a name or a folder that cannot be written to, two files of
            one name, a file that exists, unless `force`.
    """
    files = [file for source in sources for file in (_clouds_in(source) if source.is_dir() else [source])]
    for file in files:
        require_file(file)
    if out.is_dir() and writable(out):
        raise InputError(f"out: {out} must be a file, as its name says, got a folder")
    into_folder = len(files) > 1 or any(source.is_dir() for source in sources) or out.is_dir()
    if into_folder and (writable(out) or out.is_file()):
        raise InputError(f"out: expected a folder for what becomes of several files or of a folder, got the file {out}")
    targets = [out / (f.name if writable(f) else f"{f.stem}.ply") if into_folder else out for f in files]
    for file, target in zip(files, targets, strict=True):
        check_writable(target)
        if targets.count(target) > 1:
            raise InputError(f"out: {target} would be written for more than one of the files; name them apart")
        if target.exists() and not force:
            same = "is the file to read" if target.samefile(file) else "exists"
            raise InputError(f"out: {target} {same}; --force overwrites it")
    if targets:
        check_folder(targets[0].parent)
    return list(zip(files, targets, strict=True))


def check_folder(folder: Path) -> None:
    """Makes a folder to write to; raises InputError where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"out: cannot write to the folder {folder}: {error.strerror}") from None


def _clouds_in(folder: Path) -> list[Path]:
    """The files of a folder whose names are those of clouds, in order of name."""
    files = sorted(file for file in folder.iterdir() if readable(file) and file.is_file())
    if not files:
        raise InputError(f"{folder}: expected point clouds in the folder, got none")
    return files

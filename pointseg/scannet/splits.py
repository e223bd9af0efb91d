"""Which scans go into which split: ScanNet's own two cuts, or a file's; all of them, or one share of a job array."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pointseg.errors import InputError
from pointseg.scannet.labels import SPLITS, SplitVersion, is_scan_id, split_of
from pointseg.scannet.summary import Failure


class Shard(NamedTuple):
    """The `index`-th of `count` shares of the scans, from 1."""

    index: int
    count: int

    @property
    def folder(self) -> str:
        """Where its stores go, so that shares never write the same file."""
        return f"shard-{self.index}-of-{self.count}"


def parse_shard(text: str) -> Shard:
    """ "3/16" as the third of 16 shares."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    shard = Shard(int(match[1]), int(match[2])) if match else None
    if shard is None or not 1 <= shard.index <= shard.count:
        raise InputError(f"shard: expected i/n with i from 1 to n, as 1/8, got {text!r}")
    return shard


def by_split(
    scans: Mapping[str, Sequence[Path]],
    *,
    version: SplitVersion,
    split_file: Path | None,
    scan_list: Path | None,
    shard: Shard | None,
) -> tuple[dict[str, dict[str, Path]], list[Failure]]:
    """Split -> scan id -> folder, and the scans that are asked for but not there, there twice, or in no split.

    Args:
        scans: as `find_scans` gives them.
        version: ScanNet's cut to follow; a scan that it does not have is left out silently.
        split_file: a scan id and its split a line, in the place of `version`; scans that it does not name are left out.
        scan_list: a scan id a line; other scans are left out.
        shard: which share to take of every split.
    """
    failures: list[Failure] = []
    given = None if split_file is None else _read_split_file(split_file)
    if scan_list is not None:
        listed = _read_list(scan_list)
        failures += [Failure(name, f"listed in {scan_list}, but not there") for name in listed if name not in scans]
        scans = {scan_id: folders for scan_id, folders in scans.items() if scan_id in listed}
    if given is not None:
        scans = {scan_id: folders for scan_id, folders in scans.items() if scan_id in given}
    result: dict[str, dict[str, Path]] = {}
    for scan_id, folders in scans.items():
        if len(folders) > 1:
            places = " and ".join(str(folder) for folder in folders)
            failures.append(Failure(scan_id, f"expected each scan once, got {places}"))
            continue
        try:
            split = split_of(scan_id, version) if given is None else given[scan_id]
        except InputError as error:
            failures.append(Failure(scan_id, str(error)))
            continue
        if split is not None:
            result.setdefault(split, {})[scan_id] = folders[0]
    if shard is not None:
        share = slice(shard.index - 1, None, shard.count)
        result = {split: dict(list(folders.items())[share]) for split, folders in result.items()}
    return {split: folders for split, folders in result.items() if folders}, failures


def _read_list(path: Path) -> list[str]:
    return [_scan_id(path, line) for line in _lines(path, "a scan id")]


def _read_split_file(path: Path) -> dict[str, str]:
    splits: dict[str, str] = {}
    for line in _lines(path, "a scan id and its split"):
        scan_id, _, split = line.partition(" ")
        split = split.strip()
        if split not in SPLITS:
            raise InputError(f"{path}: expected a scan id and one of {', '.join(SPLITS)} a line, got {line!r}")
        if splits.setdefault(_scan_id(path, scan_id), split) != split:
            raise InputError(f"{path}: expected {scan_id} in one split, got {splits[scan_id]} and {split}")
    return splits


def _lines(path: Path, what: str) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a text file with {what} a line, got {error}") from None
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def _scan_id(path: Path, text: str) -> str:
    if not is_scan_id(text):
        raise InputError(f"{path}: expected a scan id (as scene0000_00) a line, got {text!r}")
    return text

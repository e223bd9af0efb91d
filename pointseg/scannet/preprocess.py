"""ScanNet scans, real or synthetic, to one scene store a split.

Two passes: every scan is read, checked and kept in `OUT/.scans/<split>/<scan id>.npz`; then a split's scans are copied
into `OUT/<split>.h5`, one at a time. What was read is not read again until its files change, so a run that was stopped,
or that met broken scans, goes on where it was. The kept files go away when their split is complete.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from pointseg import __version__
from pointseg.errors import InputError
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, SPLITS, is_scan_id, split_of
from pointseg.scannet.scan import LabelMap, ScanFiles, find_label_map, find_scans, read_alignment, read_scan
from pointseg.scannet.scan_cache import CachedScan, find_scan, fingerprint, load_scan, save_scan, source_key
from pointseg.scannet.synthetic.writing import PARAMETERS
from pointseg.store import SceneStore, StoreMeta, write_store

_KEPT = ".scans"


class Failure(NamedTuple):
    """A scan that is not in the store."""

    scan_id: str
    reason: str  # one line, names the file


@dataclass(frozen=True)
class SplitSummary:
    """One store as it is now."""

    path: Path
    written: bool  # False: it was up to date
    scans: int
    points: int
    label_counts: np.ndarray  # [21] int64, unannotated last
    unaligned: int  # scans without axisAlignment, though alignment was asked for


@dataclass(frozen=True)
class Summary:
    """What `preprocess` did."""

    splits: Mapping[str, SplitSummary]  # those that have a store
    failures: tuple[Failure, ...]
    kept: Path | None  # where finished scans wait for the next run; None: nothing was kept

    def describe(self) -> str:
        """A few lines for the terminal."""
        lines = [_describe_split(split) for split in self.splits.values()]
        annotated = {name: split.label_counts[:-1] for name, split in self.splits.items()}
        annotated = {name: counts / counts.sum() for name, counts in annotated.items() if counts.sum()}
        if annotated:
            lines += ["", f"{'% of annotated vertices':24}" + "".join(f"{name:>8}" for name in annotated)]
            for row, name in enumerate(CLASS_NAMES):
                lines.append(f"{name:24}" + "".join(f"{100 * shares[row]:8.2f}" for shares in annotated.values()))
        if self.failures:
            lines += ["", f"Left out: {_scans(len(self.failures))}"]
        if self.kept:
            lines.append(
                f"Mend them and run this again, or delete {self.kept}, where finished scans are kept till then."
            )
        return "\n".join(lines)


def preprocess(
    root: Path,
    out: Path,
    *,
    splits: Sequence[str] = SPLITS,
    align: bool = True,
    workers: int = 0,
    overwrite: bool = False,
    scan_list: Path | None = None,
    progress: bool = True,
) -> Summary:
    """Writes `out/train.h5`, `val.h5` and `test.h5` from the scans below `root`.

    Scans that cannot be read are left out and reported in `Summary.failures`; the others make the store. Nothing is
    done where the store holds the same scans already.

    Args:
        root: ScanNet's root, or its folder of scans.
        out: folder of the stores.
        splits: which to write; a split without any scan is skipped.
        align: turn scans to their room's axes (`axisAlignment`).
        workers: processes that read scans; 0 reads in this one.
        overwrite: read everything anew, and replace stores that were made from another root or with other options.
        scan_list: text file with a scan id a line; other scans are left out.
        progress: show a bar.

    Raises InputError if there is no scan to read, or `out` holds stores of something else.
    """
    if workers < 0:
        raise InputError(f"workers must be 0 or more, got {workers}")
    folders, failures = _by_split(find_scans(root), scan_list)
    wanted = [split for split in SPLITS if split in splits and split in folders]
    if not wanted:
        raise InputError(f"{root}: expected scans of the splits {', '.join(splits)}, got none")
    job = _Job(out, root.resolve().name, _synthetic(root), find_label_map(root), align, workers, overwrite, progress)
    for split in wanted:
        job.check_replaceable(split)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made a folder: {error.strerror}") from None
    done: dict[str, SplitSummary] = {}
    for split in wanted:
        summary, broken = _write_split(job, split, folders[split])
        failures += broken
        if summary:
            done[split] = summary
        if not broken:
            shutil.rmtree(job.kept(split), ignore_errors=True)
    with suppress(OSError):  # another split's scans, or there was none
        (out / _KEPT).rmdir()
    return Summary(done, tuple(failures), out / _KEPT if (out / _KEPT).exists() else None)


@dataclass(frozen=True)
class _Job:
    """What holds for all splits of a run."""

    out: Path
    source: str  # the root's name, without its place on this machine
    synthetic: dict[str, Any] | None  # parameters of synthetic rooms; None: scans of real ones
    label_map: LabelMap | None
    align: bool
    workers: int
    overwrite: bool
    progress: bool

    def target(self, split: str) -> Path:
        return self.out / f"{split}.h5"

    def kept(self, split: str) -> Path:
        return self.out / _KEPT / split

    def existing(self, split: str) -> SceneStore | None:
        """The store that is there; None if there is none that this version reads."""
        try:
            return SceneStore(self.target(split))
        except InputError:
            return None

    def holds(self, split: str, keys: Mapping[str, str]) -> bool:
        """Does the store that is there hold exactly these scans?"""
        store = None if self.overwrite else self.existing(split)
        return store is not None and store.meta.created.get("fingerprint") == fingerprint(keys)

    def check_replaceable(self, split: str) -> None:
        store = None if self.overwrite else self.existing(split)
        if store is None:
            return
        got, wanted = _content(store.meta.created.get("source"), store.meta.aligned), _content(self.source, self.align)
        if got != wanted:
            raise InputError(
                f"{store.path}: expected {wanted}, got {got}; name another folder, or replace it with --overwrite"
            )


def _content(source: object, aligned: bool) -> str:
    return f"{source!r}, {'aligned' if aligned else 'not aligned'}"


def _synthetic(root: Path) -> dict[str, Any] | None:
    """What `pointseg synth` noted beside its rooms, so that no report takes them for ScanNet's."""
    for folder in (root, root.resolve().parent):
        if (folder / PARAMETERS).is_file():
            return json.loads((folder / PARAMETERS).read_text(encoding="utf-8"))
    return None


def _by_split(folders: Sequence[Path], scan_list: Path | None) -> tuple[dict[str, list[Path]], list[Failure]]:
    """The scans of each split, and those that are asked for but not there or not ScanNet's."""
    failures: list[Failure] = []
    if scan_list is not None:
        listed, there = _read_list(scan_list), {folder.name for folder in folders}
        failures = [Failure(name, f"listed in {scan_list}, but not there") for name in listed if name not in there]
        folders = [folder for folder in folders if folder.name in listed]
    result: dict[str, list[Path]] = {}
    for folder in folders:
        try:
            result.setdefault(split_of(folder.name), []).append(folder)
        except InputError as error:
            failures.append(Failure(folder.name, str(error)))
    return result, failures


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a text file with a scan id a line, got {error}") from None
    for line in lines:
        if not is_scan_id(line):
            raise InputError(f"{path}: expected a scan id (as scene0000_00) a line, got {line!r}")
    return lines


def _write_split(job: _Job, split: str, folders: Sequence[Path]) -> tuple[SplitSummary | None, list[Failure]]:
    """One store, if there is a scan for it, and the scans that could not be read."""
    keys = {folder.name: source_key(ScanFiles(folder), job.label_map, align=job.align) for folder in folders}
    if job.holds(split, keys):
        return _summarize(SceneStore(job.target(split)), written=False), []
    scans, failures = _read_scans(job, split, folders, keys)
    if not scans:
        return None, failures
    good = {scan_id: keys[scan_id] for scan_id in scans}
    written = not job.holds(split, good)
    if written:
        created = {"program": f"pointseg {__version__}", "source": job.source, "fingerprint": fingerprint(good)}
        created["synthetic"] = job.synthetic
        created["unaligned"] = sum(job.align and not scan.aligned for scan in scans.values())
        meta = StoreMeta(class_names=CLASS_NAMES, ignore=IGNORE, aligned=job.align, created=created)
        scenes = (load_scan(scan.path) for scan in scans.values())
        write_store(job.target(split), split, scenes, meta, sizes=[scan.points for scan in scans.values()])
    return _summarize(SceneStore(job.target(split)), written=written), failures


def _summarize(store: SceneStore, *, written: bool) -> SplitSummary:
    return SplitSummary(
        path=store.path,
        written=written,
        scans=len(store),
        points=int(store.offsets[-1]),
        label_counts=store.label_counts.sum(axis=0),
        unaligned=store.meta.created["unaligned"],
    )


def _read_scans(
    job: _Job, split: str, folders: Sequence[Path], keys: Mapping[str, str]
) -> tuple[dict[str, CachedScan], list[Failure]]:
    """Reads and keeps all scans of a split that are not kept yet; both results are in the order of `folders`."""
    paths = {folder.name: job.kept(split) / f"{folder.name}.npz" for folder in folders}
    results: dict[str, CachedScan | Failure] = {}
    if not job.overwrite:
        kept = {scan_id: find_scan(path, keys[scan_id]) for scan_id, path in paths.items()}
        results = {scan_id: scan for scan_id, scan in kept.items() if scan}
    tasks = [
        (folder, paths[folder.name], keys[folder.name], job.label_map, job.align)
        for folder in folders
        if folder.name not in results
    ]
    with tqdm(total=len(folders), initial=len(results), desc=split, unit="scan", disable=not job.progress) as bar:
        for scan_id, result in _run(tasks, job.workers):
            results[scan_id] = result
            bar.update()
    ordered = {folder.name: results[folder.name] for folder in folders}
    failures = [result for result in ordered.values() if isinstance(result, Failure)]
    return {scan_id: scan for scan_id, scan in ordered.items() if isinstance(scan, CachedScan)}, failures


_Task = tuple[Path, Path, str, LabelMap | None, bool]  # the arguments of `_read_one`


def _run(tasks: Sequence[_Task], workers: int) -> Iterator[tuple[str, CachedScan | Failure]]:
    """(scan id, result) of every task, in the order in which they finish."""
    if workers == 0 or len(tasks) < 2:
        for task in tasks:
            yield task[0].name, _read_one(*task)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(tasks)), context) as pool:
        scan_ids = {pool.submit(_read_one, *task): task[0].name for task in tasks}
        try:
            for future in as_completed(scan_ids):
                yield scan_ids[future], future.result()
        except BrokenProcessPool:
            raise InputError(
                f"workers: one of {workers} processes died, perhaps for lack of memory; "
                f"run this again with fewer, finished scans are kept"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _read_one(folder: Path, path: Path, key: str, label_map: LabelMap | None, align: bool) -> CachedScan | Failure:
    try:
        scene = read_scan(folder, label_map, align=align)
        aligned = align and read_alignment(ScanFiles(folder)) is not None
    except InputError as error:
        return Failure(folder.name, str(error))
    return save_scan(path, scene, key, aligned=aligned)


def _describe_split(split: SplitSummary) -> str:
    counts = split.label_counts
    share = f"{100 * counts[:-1].sum() / counts.sum():.1f} % annotated" if counts[:-1].any() else "no labels"
    state = "written" if split.written else "up to date"
    note = f"; {_scans(split.unaligned)} without axisAlignment" if split.unaligned else ""
    return f"{split.path}: {state}, {_scans(split.scans)}, {split.points:,} vertices, {share}{note}"


def _scans(count: int) -> str:
    return f"{count} scan" if count == 1 else f"{count} scans"

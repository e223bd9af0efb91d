"""ScanNet scans, real or synthetic, to one scene store a split.

Every scan is read and checked by one of several processes and written as a store of its own,
`OUT/.scans/<split>/<scan id>.h5`; then a split's scans are copied into `OUT/<split>.h5`, one at a time. A scan that is
whole in either place is not read again until its files change: a run that was stopped, or that met broken scans, goes
on where it was, and scenes that were damaged since are made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pointseg import __version__
from pointseg.errors import InputError
from pointseg.progress import progress_bar
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, SPLITS, SplitVersion
from pointseg.scannet.pool import run, usable_cores
from pointseg.scannet.scan import LabelMap, ScanFiles, find_label_map, find_scans, read_scan
from pointseg.scannet.splits import Shard, by_split
from pointseg.scannet.summary import REPORT, Failure, SplitSummary, Summary
from pointseg.scannet.synthetic.writing import PARAMETERS
from pointseg.scannet.verify import verify_scan
from pointseg.store import SCHEMA_VERSION, SceneStore, StoredScene, StoreMeta, merge_stores, write_store

_KEPT = ".scans"
_BYTES_A_WORKER = 32 << 20  # of scans; a process takes half a second to start


def preprocess(
    root: Path,
    out: Path,
    *,
    splits: Sequence[str] = SPLITS,
    align: bool = True,
    normals: bool = False,
    verify: bool = False,
    workers: int | None = 0,
    overwrite: bool = False,
    scan_list: Path | None = None,
    split_version: SplitVersion = "v2",
    split_file: Path | None = None,
    shard: Shard | None = None,
    progress: bool = True,
) -> Summary:
    """Writes `out/train.h5`, `val.h5` and `test.h5` from the scans below `root`, and `out/preprocess_report.json`.

    Scans that cannot be read are left out and reported in `Summary.failures`; the others make the store. Nothing is
    done where the store holds the same scans already, undamaged.

    Args:
        root: ScanNet's root, or its folder of scans.
        out: folder of the stores.
        splits: which to write; a split without any scan is skipped.
        align: turn scans to their room's axes (`axisAlignment`).
        normals: compute and store vertex normals.
        verify: look at every scan with `verify_scan`, also at those that need not be read.
        workers: processes that read scans, started by spawn; 0 reads in this one; None: one a core, if there is work
            for them.
        overwrite: read everything anew, and replace stores that were made from another root or with other options.
        scan_list, split_version, split_file, shard: which scans, and their splits, as in `by_split`.
        progress: show a bar.

    Raises InputError if there is no scan to read, `out` holds stores of something else, cannot be written to, or
    another run is writing to it.
    """
    if workers is not None and workers < 0:
        raise InputError(f"workers must be 0 or more, got {workers}")
    scans, failures = by_split(
        find_scans(root), version=split_version, split_file=split_file, scan_list=scan_list, shard=shard
    )
    wanted = {split: scans[split] for split in SPLITS if split in splits and split in scans}
    if not wanted and shard is None:  # of few scans a share may hold none
        raise InputError(f"{root}: expected scans of the splits {', '.join(splits)}, got none")
    created: dict[str, Any] = {"program": f"pointseg {__version__}", "source": root.resolve().name}
    created |= {"splits": split_version if split_file is None else split_file.name, "synthetic": _synthetic(root)}
    if shard is not None:
        out, created["shard"] = out / shard.folder, list(shard)
    meta = StoreMeta(class_names=CLASS_NAMES, ignore=IGNORE, aligned=align, normals=normals, created=created)
    if workers is None:
        total = sum(_bytes_read(folder) for folders in wanted.values() for folder in folders.values())
        workers = min(usable_cores(), total // _BYTES_A_WORKER)
    job = _Job(out, meta, find_label_map(root), verify, workers, overwrite, progress)
    for split in wanted:
        job.check_replaceable(split)
    done: dict[str, SplitSummary] = {}
    findings: dict[str, tuple[str, ...]] = {}
    with _sole_writer(out):
        (out / REPORT).unlink(missing_ok=True)  # it says that the job has ended
        for split, folders in wanted.items():
            summary, results = _write_split(job, split, folders)
            failures += [result.failure for result in results if result.failure]
            findings |= {result.scan_id: result.findings for result in results if result.findings}
            if summary:
                done[split] = summary
            shutil.rmtree(job.kept(split), ignore_errors=True)
        with suppress(OSError):  # parts of a split that was not asked for
            (out / _KEPT).rmdir()
        sizes = _sizes([folder for folders in wanted.values() for folder in folders.values()])
        result = Summary(done, tuple(failures), findings, verify, sizes, out / REPORT)
        result.write(root)
    return result


@dataclass(frozen=True)
class _Job:
    """What holds for all splits of a run."""

    out: Path
    meta: StoreMeta
    label_map: LabelMap | None
    verify: bool
    workers: int
    overwrite: bool
    progress: bool

    def target(self, split: str) -> Path:
        return self.out / f"{split}.h5"

    def kept(self, split: str) -> Path:
        return self.out / _KEPT / split

    def existing(self, split: str) -> SceneStore | None:
        """The store that is there; None if there is none that can be read, or it does not matter."""
        if self.overwrite:
            return None
        with suppress(InputError):
            return SceneStore(self.target(split))
        return None

    def check_replaceable(self, split: str) -> None:
        store = self.existing(split)
        if store and (got := _content(store.meta)) != (wanted := _content(self.meta)):
            raise InputError(
                f"{store.path}: expected {wanted}, got {got}; name another folder, or replace it with --overwrite"
            )


def _content(meta: StoreMeta) -> str:
    splits = meta.created.get("splits")
    parts = [repr(meta.created.get("source")), "aligned" if meta.aligned else "not aligned"]
    parts += ["with normals"] * meta.normals + [f"splits {splits}"] * (splits != "v2")
    parts += ["other classes"] * (meta.class_names != CLASS_NAMES)
    return ", ".join(parts)


def _synthetic(root: Path) -> dict[str, Any] | None:
    """What `pointseg synth` noted beside its rooms, so that no report takes them for ScanNet's."""
    for folder in (root, root.resolve().parent):
        path = folder / PARAMETERS
        if path.is_file():
            with suppress(OSError, ValueError):
                if isinstance(parameters := json.loads(path.read_text(encoding="utf-8")), dict):
                    return parameters
            return {"parameters": "unreadable"}
    return None


@contextmanager
def _sole_writer(out: Path) -> Iterator[None]:
    """Makes the folder, keeps other runs out of it, and removes what killed runs left half-written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made a folder: {error.strerror}") from None
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise InputError(
            f"{out}: another `pointseg preprocess` is writing there; wait for it, or name another folder"
        ) from None
    except OSError:  # a file system without locks
        pass
    try:
        for stale in [*out.glob(".*.tmp"), *(out / _KEPT).glob("*/.*.tmp")]:
            stale.unlink(missing_ok=True)
        yield
    finally:
        os.close(folder)


def _write_split(job: _Job, split: str, folders: Mapping[str, Path]) -> tuple[SplitSummary | None, list[_Result]]:
    """One store, if there is a scan for it, and what became of the scans that were looked at."""
    keys = {scan_id: _source_key(ScanFiles(folder), job.label_map) for scan_id, folder in folders.items()}
    store = job.existing(split)
    sources = {} if store is None else _usable(store, keys)
    if not job.overwrite:
        for scan_id in folders.keys() - sources.keys():
            sources |= _kept_scan(job, split, scan_id, keys)
    results = list(_read_scans(job, split, folders, keys, sources))
    for result in results:
        if result.failure:
            sources.pop(result.scan_id, None)
        elif result.part:
            sources[result.scan_id] = result.part
    ordered = [sources[scan_id] for scan_id in folders if scan_id in sources]
    if not ordered:
        return None, results
    written = store is None or tuple(ordered) != store.stored()
    if written:
        merge_stores(job.target(split), split, ordered, job.meta)
    read = sum(result.part is not None for result in results)
    return SplitSummary(SceneStore(job.target(split)), read, written), results


def _usable(store: SceneStore, keys: Mapping[str, str]) -> dict[str, StoredScene]:
    """The scenes of a store that are whole and were made from the files that are there now."""
    scenes: dict[str, StoredScene] = {}
    for i, (scan_id, scene) in enumerate(zip(store.scan_ids, store.stored(), strict=True)):
        if store.info[i].get("source") == keys.get(scan_id):
            with suppress(InputError):
                store.packed(i)
                scenes[scan_id] = scene
    return scenes


def _kept_scan(job: _Job, split: str, scan_id: str, keys: Mapping[str, str]) -> dict[str, StoredScene]:
    """The scan as an earlier run kept it, if that was made as this run would make it."""
    with suppress(InputError):
        part = SceneStore(job.kept(split) / f"{scan_id}.h5")
        if replace(part.meta, created={}) == replace(job.meta, created={}):
            return _usable(part, {scan_id: keys[scan_id]})
    return {}


def _source_key(files: ScanFiles, label_map: LabelMap | None) -> str:
    """Changes when the scan has to be read again: with names, sizes and times of its files, and the store's version."""
    paths = list(files.all())
    if label_map is not None and not _stat(files.labels):
        paths.append(label_map.path)
    stats = [(path.name, _stat(path)) for path in paths]
    key = [SCHEMA_VERSION, [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats if stat]]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]


def _stat(path: Path) -> os.stat_result | None:
    """None if there is nothing, or nothing that may be looked at: reading the scan will say so."""
    try:
        return path.stat()
    except OSError:
        return None


def _size(*paths: Path) -> int:
    """Bytes of those files that are there."""
    return sum(found.st_size for found in map(_stat, paths) if found)


def _bytes_read(folder: Path) -> int:
    """What reading the scan reads."""
    return _size(ScanFiles(folder).mesh, ScanFiles(folder).labels)


def _sizes(folders: Sequence[Path]) -> dict[str, int]:
    """Bytes of the four large kinds of files, by the ending of their names."""
    sizes: dict[str, int] = {}
    for folder in folders:
        for path in ScanFiles(folder).all()[:4]:
            ending = path.name.removeprefix(folder.name)
            sizes[ending] = sizes.get(ending, 0) + _size(path)
    return sizes


class _Task(NamedTuple):
    """One scan for one process."""

    folder: Path
    key: str
    part: Path | None  # where to keep it; None: it is there already, and is to be verified only


class _Result(NamedTuple):
    scan_id: str
    part: StoredScene | None = None  # what was read and kept
    failure: Failure | None = None
    findings: tuple[str, ...] = ()


def _read_scans(
    job: _Job, split: str, folders: Mapping[str, Path], keys: Mapping[str, str], have: Mapping[str, StoredScene]
) -> Iterator[_Result]:
    """Reads and keeps all scans of a split that are not in `have`; results come in the order of `folders`."""
    tasks = [
        _Task(folder, keys[scan_id], None if scan_id in have else job.kept(split) / f"{scan_id}.h5")
        for scan_id, folder in folders.items()
        if job.verify or scan_id not in have
    ]
    sizes = {scan_id: _bytes_read(folder) for scan_id, folder in folders.items()}
    total = sum(sizes[task.folder.name] for task in tasks)
    results: dict[str, _Result] = {}
    meta = replace(job.meta, created={})
    with progress_bar(total=total, desc=split, unit="B", unit_scale=True, shown=job.progress and len(tasks) > 0) as bar:
        for result in run(partial(_read_one, split, meta, job.label_map, job.verify), tasks, job.workers):
            results[result.scan_id] = result
            bar.set_postfix_str(f"{len(results)}/{len(tasks)} scans", refresh=False)
            bar.update(sizes[result.scan_id])
    return (results[scan_id] for scan_id in folders if scan_id in results)


def _read_one(split: str, meta: StoreMeta, label_map: LabelMap | None, verify: bool, task: _Task) -> _Result:
    """Reads, keeps and verifies one scan as its task says."""
    scan_id = task.folder.name
    try:
        scene = read_scan(task.folder, label_map, align=meta.aligned, normals=meta.normals) if task.part else None
        findings = verify_scan(task.folder, label_map) if verify else ()
    except InputError as error:
        return _Result(scan_id, failure=Failure(scan_id, str(error), _blamed(task.folder, str(error))))
    except Exception as error:  # whatever is wrong with one scan must not cost the others
        reason = f"{task.folder}: cannot be read ({type(error).__name__}: {' '.join(str(error).split())})"
        return _Result(scan_id, failure=Failure(scan_id, reason))
    part = None
    if scene and task.part:
        write_store(task.part, split, [replace(scene, info={**scene.info, "source": task.key})], meta)
        part = StoredScene(task.part, 0, len(scene.xyz))
    return _Result(scan_id, part, findings=findings)


def _blamed(folder: Path, reason: str) -> Path | None:
    """The scan's file that a reason starts with."""
    return next((path for path in ScanFiles(folder).all() if reason.startswith(f"{path}: ")), None)

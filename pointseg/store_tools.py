"""Stores as a whole: which scenes are damaged, and several stores joined to one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from pointseg.errors import InputError
from pointseg.progress import progress_bar
from pointseg.scannet.splits import Shard
from pointseg.scannet.summary import REPORT
from pointseg.store import SceneStore, merge_stores
from pointseg.store_format import pack_scene


def damaged_scenes(store: SceneStore, *, progress: bool = False) -> list[str]:
    """A line for every scene whose arrays do not fit their checksum, or whose index, counts or extents its points."""
    reasons = []
    for i, scan_id in enumerate(progress_bar(store.scan_ids, desc=store.split, unit="scene", delay=1, shown=progress)):
        try:
            there, computed = store.packed(i), pack_scene(store[i], store.meta)
        except InputError as error:
            reasons.append(str(error))
            continue
        except ValueError as error:  # written by other hands than `write_store`
            reasons.append(f"{store.path}: {error}")
            continue
        names = ("label_counts", "extents", "grid_shape", "grid_size", "checksum")
        wrong = [name for name in names if not np.array_equal(getattr(there, name), getattr(computed, name))]
        if wrong:
            reasons.append(f"{store.path}: {scan_id}: {', '.join(wrong)} must be those of its points")
    return reasons


def merge_files(out: Path, paths: Sequence[Path], *, empty: Collection[str] = ()) -> SceneStore:
    """Joins stores of one split into `out`, in the order of the scan ids: what one run over all scans would write.

    `empty` has the names of shards' folders (`Shard.folder`) whose share held no scan of the split.

    Raises InputError if `out` is there already, the stores differ in split, source or options, two hold the same scan,
    or a shard is missing.
    """
    if out.exists():
        raise InputError(f"{out}: expected no file there yet, got one; delete it or name another")
    stores = [SceneStore(path) for path in paths]
    first = stores[0]
    for store in stores[1:]:
        if (got := _origin(store)) != (wanted := _origin(first)):
            raise InputError(f"{store.path}: expected a store like {first.path}, {wanted}; got {got}")
    _check_shards(stores, empty)
    scenes = {}
    for store in stores:
        for scan_id, scene in zip(store.scan_ids, store.stored(), strict=True):
            if scan_id in scenes:
                raise InputError(f"{store.path}: expected every scan once, got {scan_id} in {scenes[scan_id].path} too")
            scenes[scan_id] = scene
    meta = first.meta
    meta.created.pop("shard", None)
    merge_stores(out, first.split, [scenes[scan_id] for scan_id in sorted(scenes)], meta)
    return SceneStore(out)


def merge_folders(out: Path, folders: Sequence[Path]) -> list[SceneStore]:
    """Joins the stores of the same name in several folders into the folder `out`."""
    names = sorted({path.name for folder in folders for path in folder.glob("*.h5")})
    if not names:
        raise InputError(f"store merge: expected folders with stores (train.h5, ...), got none in {folders[0]}")
    merged = []
    for name in names:
        there = [folder for folder in folders if (folder / name).exists()]
        # A job that has ended left a report, and a store of every split of which it had scans.
        empty = {folder.name for folder in folders if folder not in there and (folder / REPORT).exists()}
        merged.append(merge_files(out / name, [folder / name for folder in there], empty=empty))
    return merged


def _origin(store: SceneStore) -> dict[str, object]:
    created = {name: value for name, value in store.meta.created.items() if name not in ("shard", "program")}
    return {"split": store.split} | created


def _check_shards(stores: Sequence[SceneStore], empty: Collection[str]) -> None:
    shards = [store.meta.created.get("shard") for store in stores]
    if shards == [None] * len(shards):
        return
    job = f"store merge: expected all shards of one job for split '{stores[0].split}'"
    if None in shards or len({count for _, count in shards}) > 1:
        raise InputError(f"{job}, got {shards}")
    count = shards[0][1]
    missing = set(range(1, count + 1)) - {index for index, _ in shards}
    if missing := sorted(index for index in missing if Shard(index, count).folder not in empty):
        raise InputError(f"{job}, got none of {missing} of {count}")

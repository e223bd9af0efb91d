"""`pointseg store`: what is in a store, is it whole, a scene out of it, several into one, others' data into one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from tyro.conf import Positional
from tyro.extras import SubcommandApp

from pointseg.cli.arguments import Quiet, Split
from pointseg.errors import InputError


def info(store: Positional[Path], /) -> None:
    """Say what a store holds.

    Args:
        store: The file, or the folder of several.
    """
    import json

    import numpy as np

    from pointseg.store import SceneStore

    for path in _files(store):
        opened = SceneStore(path)
        counts = opened.label_counts.sum(axis=0)
        print(f"{path}: split '{opened.split}', {len(opened)} scenes, {counts.sum():,} points")
        aligned, normals = "" if opened.meta.aligned else "not ", "" if opened.meta.normals else "out"
        print(f"  {path.stat().st_size / 1e9:.2f} GB, fingerprint {opened.fingerprint}")
        print(f"  {aligned}aligned, with{normals} normals")
        print(f"  made from {json.dumps(opened.meta.created)}")
        types, numbers = np.unique([name or "not said" for name in opened.scene_types], return_counts=True)
        print("  rooms: " + ", ".join(f"{name} {number}" for name, number in zip(types, numbers, strict=True)))
        for name, count in zip((*opened.meta.class_names, "unannotated"), counts, strict=True):
            print(f"  {name:20}{count:14,}{100 * count / max(counts.sum(), 1):8.2f} %")


def verify(store: Positional[Path], /, *, quiet: Quiet = False) -> int:
    """Compare every scene of a store with its checksum and its index; status 2 if one is damaged.

    Args:
        store: The file, or the folder of several.
    """
    from pointseg.store import SceneStore
    from pointseg.store_tools import damaged_scenes

    status = 0
    for path in _files(store):
        try:
            opened = SceneStore(path)
            damaged = damaged_scenes(opened, progress=not quiet)
        except InputError as error:
            print(f"pointseg: {error}", file=sys.stderr)
            status = 2
            continue
        for reason in damaged:
            print(f"pointseg: {reason}", file=sys.stderr)
            status = 2
        print(f"{path}: {len(opened) - len(damaged)} of {len(opened)} scenes are whole")
    return status


def export_scene(store: Positional[Path], scene: Positional[str], out: Positional[Path], /) -> None:
    """Write one scene of a store as a PLY file, or as a folder of .npy files.

    Args:
        store: The store's file.
        scene: Which scene, as scene0000_00.
        out: A file that ends with .ply, which gets the label as `label` and NYU40's as `nyu40`; or a folder, which
            gets coord.npy, color.npy, segment20.npy and, with normals, normal.npy.
    """
    from pointseg.data.importers import write_npy_scene
    from pointseg.scannet.labels import CLASS_NAMES, train_to_nyu40
    from pointseg.scannet.ply import write_ply
    from pointseg.store import SceneStore

    opened = SceneStore(store, CLASS_NAMES)
    if scene not in opened.scan_ids:
        raise InputError(f"{store}: expected one of its {len(opened)} scenes, got {scene!r}")
    found = opened[opened.scan_ids.index(scene)]
    if out.suffix.lower() != ".ply":
        write_npy_scene(out, found)
        return
    extra = {} if found.label is None else {"nyu40": train_to_nyu40(found.label)}
    if found.normal is not None:
        extra |= {f"n{axis}": found.normal[:, column] for column, axis in enumerate("xyz")}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_ply(out, found.xyz, found.rgb, found.label, extra=extra)


def merge(out: Positional[Path], stores: Positional[tuple[Path, ...]], /) -> None:
    """Join stores of one split, or folders with stores of several, as `pointseg preprocess --shard` writes them.

    Args:
        out: The store's file, or the folder for train.h5, val.h5 and test.h5; must not be there yet.
        stores: Files, or folders: STORE/shard-*.
    """
    from pointseg.store_tools import merge_files, merge_folders

    if not stores:
        raise InputError("store merge: expected stores to join, got none")
    written = merge_folders(out, stores) if all(path.is_dir() for path in stores) else [merge_files(out, stores)]
    for store in written:
        print(f"{store.path}: {len(store)} scenes, {int(store.offsets[-1]):,} points, fingerprint {store.fingerprint}")


def import_data(
    kind: Positional[Literal["npy", "pointnet2"]],
    data: Positional[Path],
    out: Positional[Path],
    /,
    *,
    split: Split = "train",
) -> None:
    """Make a store of data that another code base prepared.

    Args:
        kind: npy: a folder per scene with coord.npy, color.npy, segment20.npy and perhaps normal.npy; pointnet2: the
            pickle of PointNet++'s ScanNet data, which has neither names nor colours.
        data: The folder of the scenes' folders, or the pickle.
        out: The store's file.
        split: Which split it is.
    """
    from pointseg.data.importers import import_npy, import_pointnet2
    from pointseg.store import SceneStore

    (import_npy if kind == "npy" else import_pointnet2)(data, out, split)
    store = SceneStore(out)
    print(f"{out}: {len(store)} scenes, {int(store.offsets[-1]):,} points, fingerprint {store.fingerprint}")


STORE_COMMANDS = {
    "info": info,
    "verify": verify,
    "export-scene": export_scene,
    "merge": merge,
    "import": import_data,
}
store = SubcommandApp()
store.__doc__ = "Look into stores, check them, take a scene out, join them, make them of others' data."
for _name, _command in STORE_COMMANDS.items():
    store.command(_command, name=_name)


def _files(store: Path) -> list[Path]:
    """The store, or the stores of a folder."""
    files = sorted(store.glob("*.h5")) if store.is_dir() else [store]
    if not files:
        raise InputError(f"{store}: expected stores (train.h5, ...), got a folder without one")
    return files

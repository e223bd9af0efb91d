"""Scans that are read already, one file each, so that preprocessing goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pointseg.atomic import replacing
from pointseg.scannet.scan import LabelMap, ScanFiles
from pointseg.store import SCHEMA_VERSION, Scene


@dataclass(frozen=True)
class CachedScan:
    """A scan on its way into a store."""

    path: Path
    points: int
    aligned: bool  # did its files say how to turn it to the room's axes, and was that wanted?


def source_key(files: ScanFiles, label_map: LabelMap | None, *, align: bool) -> str:
    """Changes when the scan has to be read again: names, sizes and times of its files, and how they are read."""
    paths = list(files.all())
    if label_map is not None and not files.labels.is_file():
        paths.append(label_map.path)
    stats = [(path.name, path.stat()) for path in paths if path.is_file()]
    return json.dumps([SCHEMA_VERSION, align, [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]])


def fingerprint(keys: Mapping[str, str]) -> str:
    """One short text for the keys of all scans of a store."""
    return hashlib.sha256(json.dumps(sorted(keys.items())).encode()).hexdigest()[:16]


def save_scan(path: Path, scene: Scene, key: str, *, aligned: bool) -> CachedScan:
    """Writes `scene` under `key`, atomically."""
    arrays = {"xyz": scene.xyz, "rgb": scene.rgb} | ({} if scene.label is None else {"label": scene.label})
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, key=np.array(key), points=np.array(len(scene.xyz)), aligned=np.array(aligned), **arrays)
    return CachedScan(path, len(scene.xyz), aligned)


def find_scan(path: Path, key: str) -> CachedScan | None:
    """The scan in `path` if it was saved whole and under the same key; reads no points."""
    try:
        with np.load(path) as file:
            if str(file["key"]) != key:
                return None
            return CachedScan(path, int(file["points"]), bool(file["aligned"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def load_scan(path: Path) -> Scene:
    """The scene that `save_scan` wrote."""
    with np.load(path) as file:
        return Scene(path.stem, file["xyz"], file["rgb"], file.get("label"))

"""Tiny ScanNet scans for tests, written by hand: a few dozen vertices, every file of a real scan."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pointseg.scannet.ply import write_ply

POINTS = 48
CATEGORIES = {"wall": 1, "floor": 2, "office chair": 5, "fridge": 24, "person": 31}  # raw category -> NYU40 id
# What the vertices of a scan are by its segments: NYU40 ids, 0 where no group names the segment.
SEGMENT_IDS = (3, 900_000_001, 17, 17, 40, 5)
NYU40_OF_SEGMENT = {3: 1, 900_000_001: 2, 17: 5, 40: 24, 5: 0}


def write_scan(
    root: Path, scan_id: str, *, points: int = POINTS, labels: bool = True, segments: bool = True, info: bool = True
) -> Path:
    """Writes `root/scan_id`; switches leave out `labels.ply`, the JSON files, or `<id>.txt`."""
    folder = root / scan_id
    folder.mkdir(parents=True)
    xyz, rgb, faces = geometry(scan_id, points)
    rgba = np.hstack([rgb, np.full((points, 1), 255, np.uint8)])
    write_ply(folder / f"{scan_id}_vh_clean_2.ply", xyz, rgba, faces=faces)
    if labels:
        write_ply(folder / f"{scan_id}_vh_clean_2.labels.ply", xyz, rgba, nyu40_ids(points), faces)
    if segments:
        write_segments(folder, segment_of_vertex(points))
    if info:
        (folder / f"{scan_id}.txt").write_text(
            f"axisAlignment = {' '.join(map(str, ALIGNMENT.ravel()))} \nsceneType = Office\n"
        )
    return folder


def geometry(scan_id: str, points: int = POINTS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates, colours and faces of a scan as its files hold them."""
    rng = np.random.default_rng(list(scan_id.encode()))
    xyz = rng.uniform(-2, 2, size=(points, 3)).astype(np.float32)
    faces = rng.integers(0, points, size=(points // 2, 3), dtype=np.int32)
    return xyz, rng.integers(0, 256, size=(points, 3), dtype=np.uint8), faces


ALIGNMENT = np.array([[0.8, 0.6, 0, 1.5], [-0.6, 0.8, 0, -0.25], [0, 0, 1, 0.125], [0, 0, 0, 1]])


def aligned(xyz: np.ndarray) -> np.ndarray:
    moved = np.column_stack([xyz.astype(np.float64), np.ones(len(xyz))]) @ ALIGNMENT.T
    return moved[:, :3].astype(np.float32)


def segment_of_vertex(points: int = POINTS) -> np.ndarray:
    return np.array(SEGMENT_IDS)[np.arange(points) % len(SEGMENT_IDS)]


def nyu40_ids(points: int = POINTS) -> np.ndarray:
    return np.array([NYU40_OF_SEGMENT[segment] for segment in segment_of_vertex(points)])


def train_ids(points: int = POINTS) -> np.ndarray:
    """The scan's labels as the store must hold them."""
    train_id = {0: 255, 1: 0, 2: 1, 5: 4, 24: 14}
    return np.array([train_id[nyu40] for nyu40 in nyu40_ids(points)], dtype=np.uint8)


def groups() -> list[dict]:
    named = {"wall": [3], "floor": [900_000_001], "office chair": [17], "fridge": [40]}
    return [{"id": i, "objectId": i, "label": name, "segments": ids} for i, (name, ids) in enumerate(named.items())]


def write_segments(folder: Path, segments: np.ndarray, named: list[dict] | None = None) -> None:
    scan_id = folder.name
    content = {"sceneId": scan_id, "segIndices": segments.tolist()}
    (folder / f"{scan_id}_vh_clean_2.0.010000.segs.json").write_text(json.dumps(content))
    content = {"sceneId": f"scannet.{scan_id}", "segGroups": groups() if named is None else named}
    (folder / f"{scan_id}.aggregation.json").write_text(json.dumps(content))


def write_label_map(root: Path, name: str = "scannetv2-labels.combined.tsv") -> Path:
    """v2's table has a column `id` and more before `nyu40id`; v1's has one column fewer."""
    columns = ["id", "raw_category", "category", "count", "nyu40id", "nyu40class"]
    if name.startswith("scannet-"):
        columns.remove("category")
    rows = [
        dict.fromkeys(columns, "7") | {"raw_category": raw, "nyu40id": str(nyu40)} for raw, nyu40 in CATEGORIES.items()
    ]
    rows.append(dict.fromkeys(columns, "") | {"raw_category": "thing"})
    lines = ["\t".join(columns), *("\t".join(row[name] for name in columns) for row in rows)]
    (root / name).write_text("\n".join(lines) + "\n")
    return root / name

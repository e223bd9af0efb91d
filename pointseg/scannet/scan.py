"""One ScanNet scan from its folder: vertices in file order, colours, labels, turned to the room's axes.

A scan `sceneSSSS_NN` is a folder of that name. What is read of it:

| file                             | train, val | test   | content                                             |
|----------------------------------|------------|--------|-----------------------------------------------------|
| `<id>_vh_clean_2.ply`            | needed     | needed | mesh; every vertex is kept                          |
| `<id>_vh_clean_2.labels.ply`     | needed (*) | -      | the same vertices with their NYU40 id               |
| `<id>.txt`                       | needed     | -      | `axisAlignment`, unless alignment is switched off   |

(*) or, in its place, what it was made from: `<id>_vh_clean_2.0.010000.segs.json` (a segment id a vertex),
`<id>.aggregation.json` (named groups of segments) and the table of names `scannetv2-labels.combined.tsv`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import numpy as np

from pointseg.errors import InputError
from pointseg.scannet.labels import is_scan_id, nyu40_to_train, split_of
from pointseg.scannet.ply import read_ply
from pointseg.store import Scene

_SCAN_FOLDERS = ("scans", "scans_test")
_LABEL_MAPS = ("scannetv2-labels.combined.tsv", "scannet-labels.combined.tsv")  # v2's, v1's
_COLORS = ("red", "green", "blue")


@dataclass(frozen=True)
class ScanFiles:
    """The files of a scan, whether they exist or not."""

    folder: Path

    @property
    def scan_id(self) -> str:
        return self.folder.name

    @property
    def mesh(self) -> Path:
        return self.folder / f"{self.scan_id}_vh_clean_2.ply"

    @property
    def labels(self) -> Path:
        return self.folder / f"{self.scan_id}_vh_clean_2.labels.ply"

    @property
    def segments(self) -> Path:
        return self.folder / f"{self.scan_id}_vh_clean_2.0.010000.segs.json"

    @property
    def aggregation(self) -> Path:
        return self.folder / f"{self.scan_id}.aggregation.json"

    @property
    def info(self) -> Path:
        return self.folder / f"{self.scan_id}.txt"

    def all(self) -> tuple[Path, ...]:
        return self.mesh, self.labels, self.segments, self.aggregation, self.info


@dataclass(frozen=True)
class LabelMap:
    """The annotators' free category names and what they are in NYU40."""

    path: Path
    nyu40_of: dict[str, int]  # raw category -> NYU40 id, 0: none


def find_scans(root: Path) -> tuple[Path, ...]:
    """The folders of all scans, ordered by scan id.

    `root` is ScanNet's root (with `scans` and perhaps `scans_test`), a folder of scans, or one scan.
    """
    if not root.is_dir():
        raise InputError(
            f"{root}: expected a folder with ScanNet scans, got {'a file' if root.exists() else 'nothing'}"
        )
    if is_scan_id(root.name):
        return (root,)
    places = [root, *(root / name for name in _SCAN_FOLDERS)]
    folders: dict[str, Path] = {}
    for place in places:
        for folder in place.iterdir() if place.is_dir() else ():
            if not (is_scan_id(folder.name) and folder.is_dir()):
                continue
            if folder.name in folders:
                raise InputError(f"{root}: expected each scan once, got {folders[folder.name]} and {folder}")
            folders[folder.name] = folder
    if not folders:
        looked = ", ".join(str(place) for place in places)
        raise InputError(f"{root}: expected folders named sceneSSSS_NN (as scene0000_00), got none in {looked}")
    return tuple(folders[scan_id] for scan_id in sorted(folders))


def find_label_map(root: Path) -> LabelMap | None:
    """The label map in `root` or beside it, or None: it is only needed for scans without `labels.ply`."""
    root = root.resolve()
    for folder in (root, root.parent, *([root.parent.parent] if is_scan_id(root.name) else [])):
        for name in _LABEL_MAPS:
            if (folder / name).is_file():
                return read_label_map(folder / name)
    return None


def read_label_map(path: Path) -> LabelMap:
    """Reads the columns `raw_category` and `nyu40id` by name: their positions differ between v1 and v2."""
    needed = ("raw_category", "nyu40id")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{path}: expected columns {', '.join(needed)}, got no {', '.join(missing)}")
            # A category without a NYU40 id has an empty cell.
            return LabelMap(path, {row["raw_category"]: int(row["nyu40id"] or 0) for row in reader})
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: expected tab-separated text with whole numbers as nyu40id, got {error}") from None


def read_scan(folder: Path, label_map: LabelMap | None, *, align: bool = True) -> Scene:
    """Reads one scan; all vertices, in file order, so that predictions can be written back vertex by vertex.

    Args:
        folder: the scan's folder; its name is the scan's id, which decides the split.
        label_map: for scans without `labels.ply`.
        align: turn the scan so that walls are parallel to x and y, where its `<id>.txt` says how.

    Raises InputError, naming the file, if a file is missing, cut short, or does not fit the others. Only scans of the
    test split may lack labels; their `label` is None.
    """
    files = ScanFiles(folder)
    mesh = read_ply(files.mesh, needs=("x", "y", "z", *_COLORS))
    points = len(mesh.vertices)
    if points == 0:
        raise InputError(f"{files.mesh}: expected vertices, got none")
    xyz = mesh.xyz
    broken = points - int(np.isfinite(xyz).all(axis=1).sum())
    if broken:
        raise InputError(f"{files.mesh}: expected finite coordinates, got {broken} of {points} vertices that are not")
    alignment = read_alignment(files) if align else None
    if alignment is not None:
        xyz = xyz.astype(np.float64) @ alignment[:3, :3].T + alignment[:3, 3]
    return Scene(files.scan_id, xyz.astype(np.float32), mesh.rgb, _read_labels(files, points, label_map))


def read_alignment(files: ScanFiles) -> np.ndarray | None:
    """The scan's rigid transform [4, 4] float64 to its room's axes, or None if its `<id>.txt` gives none.

    Scans of the test split come without that file; in the others it must not be missing.
    """
    if not files.info.is_file() and split_of(files.scan_id) == "test":
        return None
    text = _read_bytes(files.info).decode("utf-8", errors="replace")
    rows = [line.partition("=")[2] for line in text.splitlines() if line.partition("=")[0].strip() == "axisAlignment"]
    if not rows:
        return None
    try:
        matrix = np.array([float(number) for number in rows[0].split()])
    except ValueError:
        matrix = np.empty(0)
    if matrix.size != 16 or not np.isfinite(matrix).all():
        raise InputError(f"{files.info}: axisAlignment must be 16 numbers, got {rows[0].strip()!r}")
    return matrix.reshape(4, 4)


def _read_labels(files: ScanFiles, points: int, label_map: LabelMap | None) -> np.ndarray | None:
    """Train ids [P] uint8; None for a test scan without labels."""
    if files.labels.is_file():
        nyu40 = read_ply(files.labels, needs=("label",)).vertices["label"]
        if not np.issubdtype(nyu40.dtype, np.integer):
            raise InputError(f"{files.labels}: expected labels that are integers, got {nyu40.dtype}")
        if len(nyu40) != points:
            raise InputError(f"{files.labels}: expected the mesh's {points} vertices, got {len(nyu40)}")
        return nyu40_to_train(nyu40)
    absent = [file.name for file in (files.segments, files.aggregation) if not file.is_file()]
    if not absent:
        return nyu40_to_train(_derive_nyu40(files, points, label_map))
    if split_of(files.scan_id) == "test":
        return None
    raise InputError(f"{files.labels}: no such file, and no {' and no '.join(absent)} to make it from")


_SegmentId = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]  # what an int64 array can hold


class _Segmentation(msgspec.Struct):
    segment_of_vertex: list[_SegmentId] = msgspec.field(name="segIndices")


class _Group(msgspec.Struct):
    category: str = msgspec.field(name="label")
    segments: list[_SegmentId]


class _Aggregation(msgspec.Struct):
    groups: list[_Group] = msgspec.field(name="segGroups")


def _derive_nyu40(files: ScanFiles, points: int, label_map: LabelMap | None) -> np.ndarray:
    """NYU40 ids [P] from the over-segmentation and the named groups of segments; 0 where no group claims a vertex.

    Groups are painted in file order, so a segment that two groups name belongs to the later one. A group may name a
    segment that no vertex has; that paints nothing.
    """
    if label_map is None:
        raise InputError(f"{files.labels}: no such file, and no {_LABEL_MAPS[0]} beside the scans to make it with")
    segments = np.array(_read_json(files.segments, _Segmentation).segment_of_vertex, dtype=np.int64)
    if len(segments) != points:
        raise InputError(f"{files.segments}: expected segIndices of the mesh's {points} vertices, got {len(segments)}")
    known, vertex_to_known = np.unique(segments, return_inverse=True)
    nyu40_of_known = np.zeros(len(known), dtype=np.int64)
    for group in _read_json(files.aggregation, _Aggregation).groups:
        if group.category not in label_map.nyu40_of:
            raise InputError(f"{files.aggregation}: category {group.category!r} is not in {label_map.path}")
        nyu40_of_known[np.isin(known, group.segments)] = label_map.nyu40_of[group.category]
    return nyu40_of_known[vertex_to_known]


_T = TypeVar("_T")


def _read_json(path: Path, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(_read_bytes(path), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as JSON of that kind ({error}); is the file complete?") from None


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None

"""One ScanNet scan from its folder: vertices in file order, colours, labels, turned to the room's axes.

A scan `sceneSSSS_NN` is a folder of that name. What is read of it:

| file                             | train, val | test   | content                                             |
|----------------------------------|------------|--------|-----------------------------------------------------|
| `<id>_vh_clean_2.ply`            | needed     | needed | mesh; every vertex is kept                          |
| `<id>_vh_clean_2.labels.ply`     | needed (*) | -      | the same vertices with their NYU40 id               |
| `<id>.txt`                       | needed     | -      | `axisAlignment`, `sceneType`; not needed unaligned  |

(*) or, in its place, what it was made from: `<id>_vh_clean_2.0.010000.segs.json` (a segment id a vertex),
`<id>.aggregation.json` (named groups of segments) and the table of names `scannetv2-labels.combined.tsv`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import numpy as np

from pointseg.errors import InputError
from pointseg.scannet.labels import is_scan_id, labels_are_public, nyu40_to_train
from pointseg.scannet.ply import PlyMesh, read_ply, require_file
from pointseg.store import Scene

_SCAN_FOLDERS = ("scans", "scans_test")
_LABEL_MAPS = ("scannetv2-labels.combined.tsv", "scannet-labels.combined.tsv")  # v2's, v1's
_COLORS = ("red", "green", "blue")
_FARTHEST = 1000.0  # metres from the scan's origin; rooms are smaller, and broken numbers usually larger
_RIGID = 1e-3  # what rounding may leave between an alignment's rotation times its transpose and the identity


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
    """The annotators' free category names and what they are in NYU40: a tab-separated table, read when it is needed."""

    path: Path

    @cached_property
    def nyu40_of(self) -> dict[str, int]:
        """Raw category -> NYU40 id, 0: none. Columns are found by name: their positions differ between v1 and v2.

        Raises InputError if the table cannot be read.
        """
        needed = ("raw_category", "nyu40id")
        require_file(self.path)
        try:
            with self.path.open(encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file, delimiter="\t")
                missing = [name for name in needed if name not in (reader.fieldnames or ())]
                if missing:
                    raise InputError(f"{self.path}: expected columns {', '.join(needed)}, got no {', '.join(missing)}")
                # A category without a NYU40 id has an empty cell.
                return {row["raw_category"]: int(row["nyu40id"] or 0) for row in reader}
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from None
        except (ValueError, csv.Error) as error:
            raise InputError(
                f"{self.path}: expected tab-separated text with whole numbers as nyu40id, got {error}"
            ) from None

    def __getstate__(self) -> dict[str, Path]:
        """Other processes read the table themselves, if they need it."""
        return {"path": self.path}


def find_scans(root: Path) -> dict[str, list[Path]]:
    """Scan id -> its folder, ordered by scan id; several folders where a scan is there more than once.

    `root` is ScanNet's root (with `scans` and perhaps `scans_test`), a folder of scans, or one scan.
    """
    if not root.is_dir():
        raise InputError(
            f"{root}: expected a folder with ScanNet scans, got {'a file' if root.exists() else 'nothing'}"
        )
    if is_scan_id(root.name):
        return {root.name: [root]}
    places = [root, *(root / name for name in _SCAN_FOLDERS)]
    folders: dict[str, list[Path]] = {}
    for place in places:
        for folder in place.iterdir() if place.is_dir() else ():
            if is_scan_id(folder.name) and folder.is_dir():
                folders.setdefault(folder.name, []).append(folder)
    if not folders:
        looked = ", ".join(str(place) for place in places)
        raise InputError(f"{root}: expected folders named sceneSSSS_NN (as scene0000_00), got none in {looked}")
    return dict(sorted(folders.items()))


def find_label_map(root: Path) -> LabelMap | None:
    """The label map in `root` or beside it, or None: it is only needed for scans without `labels.ply`."""
    root = root.resolve()
    for folder in (root, root.parent, *([root.parent.parent] if is_scan_id(root.name) else [])):
        for name in _LABEL_MAPS:
            if (folder / name).is_file():
                return LabelMap(folder / name)
    return None


def read_scan(folder: Path, label_map: LabelMap | None, *, align: bool = True, normals: bool = False) -> Scene:
    """Reads one scan; all vertices, in file order, so that predictions can be written back vertex by vertex.

    Args:
        folder: the scan's folder; its name is the scan's id.
        label_map: for scans without `labels.ply`.
        align: turn the scan so that walls are parallel to x and y, where its `<id>.txt` says how.
        normals: compute vertex normals from the faces.

    `Scene.info` gets `scene_type`, the kind of room in ScanNet's words, and `aligned`: was it turned?

    Raises InputError, naming the file, if a file is missing, cut short, or does not fit the others. Only scans of the
    test split may lack labels; their `label` is None.
    """
    files = ScanFiles(folder)
    mesh = read_ply(files.mesh, needs=("x", "y", "z", *_COLORS), faces=normals)
    points = len(mesh.vertices)
    if points == 0:
        raise InputError(f"{files.mesh}: expected vertices, got none")
    xyz = mesh.xyz
    _check_coordinates(files.mesh, xyz)
    notes = read_info(files, needed=align and labels_are_public(files.scan_id))
    alignment = alignment_of(files, notes) if align else None
    normal = vertex_normals(files.mesh, mesh) if normals else None
    if alignment is not None:
        xyz = _turned(xyz, alignment[:3, :3]) + alignment[:3, 3]
        normal = None if normal is None else _turned(normal, alignment[:3, :3])
    return Scene(
        files.scan_id,
        xyz.astype(np.float32),
        mesh.rgb,
        _read_labels(files, points, label_map),
        None if normal is None else normal.astype(np.float32),
        {"aligned": alignment is not None, "scene_type": notes.get("sceneType", "")},
    )


def read_info(files: ScanFiles, *, needed: bool = True) -> dict[str, str]:
    """The `name = value` lines of `<id>.txt`. Scans of the test split come without it."""
    if not needed and not files.info.is_file():
        return {}
    text = _read_bytes(files.info).decode("utf-8", errors="replace")
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, sign, value in pairs if sign}


def alignment_of(files: ScanFiles, notes: Mapping[str, str]) -> np.ndarray | None:
    """The rigid transform [4, 4] float64 to the room's axes that `<id>.txt` gives, or None if it gives none."""
    text = notes.get("axisAlignment")
    if text is None:
        return None
    try:
        matrix = np.array([float(number) for number in text.split()])
    except ValueError:
        matrix = np.empty(0)
    if matrix.size != 16 or not np.isfinite(matrix).all():
        raise InputError(f"{files.info}: axisAlignment must be 16 numbers, got {text!r}")
    matrix = matrix.reshape(4, 4)
    rotation, shift = matrix[:3, :3], matrix[:3, 3]
    with np.errstate(over="ignore", invalid="ignore"):  # 1e300 is among what is refused here
        turned = np.allclose(rotation @ rotation.T, np.eye(3), rtol=0, atol=_RIGID) and np.linalg.det(rotation) > 0
    if not (turned and np.abs(shift).max() <= _FARTHEST and np.allclose(matrix[3], [0, 0, 0, 1], rtol=0, atol=_RIGID)):
        raise InputError(
            f"{files.info}: axisAlignment must be a rotation and a shift of at most {_FARTHEST:g} m, got {text!r}"
        )
    return matrix


def vertex_normals(path: Path, mesh: PlyMesh) -> np.ndarray:
    """Unit normals [P, 3] float64: the mean of a vertex's triangles, weighted by area; 0 where it has none.

    `path` is the mesh's, for the message when it has no triangles or they name vertices that are not there.
    """
    points, faces = len(mesh.vertices), mesh.faces
    if faces is None or faces.ndim != 2:
        raise InputError(
            f"{path}: expected triangles to compute normals from, got {'none' if faces is None else 'polygons'}"
        )
    if faces.size and not 0 <= faces.min() <= faces.max() < points:
        raise InputError(f"{path}: faces must name vertices 0..{points - 1}, got {faces.min()}..{faces.max()}")
    a, b, c = (mesh.xyz.astype(np.float64)[faces[:, corner]] for corner in range(3))
    area = np.cross(b - a, c - a)  # [F, 3], twice the triangle's area long
    corners = faces.ravel()
    total = np.stack([np.bincount(corners, np.repeat(area[:, k], 3), points) for k in range(3)], axis=1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 0)


def _turned(xyz: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """`xyz` [P, 3] turned, float64; by columns, which is faster than the product of so narrow matrices."""
    x, y, z = xyz.astype(np.float64).T
    return np.stack([row[0] * x + row[1] * y + row[2] * z for row in rotation], axis=1)


def _check_coordinates(path: Path, xyz: np.ndarray) -> None:
    if not np.isfinite(xyz).all():
        broken = int((~np.isfinite(xyz)).any(axis=1).sum())
        raise InputError(f"{path}: expected finite coordinates, got {broken} of {len(xyz)} vertices that are not")
    if max(-xyz.min(), xyz.max()) > _FARTHEST:
        vertex = int(np.abs(xyz).max(axis=1).argmax())
        raise InputError(
            f"{path}: expected coordinates within {_FARTHEST:g} m, got vertex {vertex} at {xyz[vertex].tolist()}"
        )


def _read_labels(files: ScanFiles, points: int, label_map: LabelMap | None) -> np.ndarray | None:
    """Train ids [P] uint8; None for a test scan without labels."""
    if files.labels.is_file():
        nyu40 = read_ply(files.labels, needs=("label",), faces=False).vertices["label"]
        if not np.issubdtype(nyu40.dtype, np.integer):
            raise InputError(f"{files.labels}: expected labels that are integers, got {nyu40.dtype}")
        if len(nyu40) != points:
            raise InputError(f"{files.labels}: expected the mesh's {points} vertices, got {len(nyu40)}")
        return nyu40_to_train(nyu40)
    absent = [file.name for file in (files.segments, files.aggregation) if not file.is_file()]
    if not absent:
        return nyu40_to_train(derive_nyu40(files, points, label_map))
    if not labels_are_public(files.scan_id):
        return None
    raise InputError(f"{files.labels}: no such file, and no {' and no '.join(absent)} to make it from")


_SegmentId = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]  # what an int64 array can hold


class _Segmentation(msgspec.Struct):
    segment_of_vertex: list[_SegmentId] = msgspec.field(name="segIndices")


class Group(msgspec.Struct):
    """An object: what the annotator called it, and its segments."""

    category: str = msgspec.field(name="label")
    segments: list[_SegmentId]


class _Aggregation(msgspec.Struct):
    groups: list[Group] = msgspec.field(name="segGroups")


def read_segments(files: ScanFiles, points: int) -> np.ndarray:
    """The segment [P] int64 of each vertex."""
    segments = np.array(_read_json(files.segments, _Segmentation).segment_of_vertex, dtype=np.int64)
    if len(segments) != points:
        raise InputError(f"{files.segments}: expected segIndices of the mesh's {points} vertices, got {len(segments)}")
    return segments


def read_groups(files: ScanFiles) -> list[Group]:
    """The objects of a scan, in file order."""
    return _read_json(files.aggregation, _Aggregation).groups


def derive_nyu40(files: ScanFiles, points: int, label_map: LabelMap | None) -> np.ndarray:
    """NYU40 ids [P] from the over-segmentation and the named groups of segments; 0 where no group claims a vertex.

    Groups are painted in file order, so a segment that two groups name belongs to the later one. A group may name a
    segment that no vertex has; that paints nothing.
    """
    if label_map is None:
        raise InputError(f"{files.labels}: no such file, and no {_LABEL_MAPS[0]} beside the scans to make it with")
    known, vertex_to_known = np.unique(read_segments(files, points), return_inverse=True)
    nyu40_of_known = np.zeros(len(known), dtype=np.int64)
    for group in read_groups(files):
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
    require_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None

"""What is odd about a scan that can be read: its files against one another, and against what ScanNet's look like."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from pointseg.errors import InputError
from pointseg.scannet.labels import labels_are_public
from pointseg.scannet.ply import PlyMesh, read_ply
from pointseg.scannet.scan import LabelMap, ScanFiles, derive_nyu40, read_groups, read_info, read_segments

_LAST_NYU40 = 40
_FEWEST_VERTICES, _MOST_VERTICES = 5_000, 1_000_000  # ScanNet's scans have 20,000 to 600,000
_LARGEST = 60.0  # metres a side
_FEW = 0.05  # share of vertices that may coincide with another, or be in no face


def verify_scan(folder: Path, label_map: LabelMap | None) -> tuple[str, ...]:
    """Findings, a line each that names the file; the scan is one that `read_scan` reads.

    Looked at: the mesh's size, faces, colours and repeated vertices; `labels.ply` against the mesh, against NYU40's
    range, and vertex by vertex against segments, groups and the table of names; groups that name segments twice or not
    there; `<id>.txt`.
    """
    files = ScanFiles(folder)
    mesh = read_ply(files.mesh)
    findings = [f"{files.mesh.name}: {finding}" for finding in _odd_mesh(mesh)]
    if not labels_are_public(files.scan_id):
        return tuple(findings)
    notes = read_info(files, needed=False)
    findings += [f"{files.info.name}: no {name}" for name in ("axisAlignment", "sceneType") if name not in notes]
    nyu40 = None
    if files.labels.is_file():
        labelled = read_ply(files.labels, needs=("x", "y", "z", "label"), faces=False)
        nyu40 = labelled.vertices["label"].astype(np.int64)
        findings += [f"{files.labels.name}: {finding}" for finding in _odd_labels(nyu40, labelled, mesh)]
    else:
        findings.append(f"{files.labels.name}: no such file; labels come from the segments")
    try:
        findings += _odd_annotation(files, nyu40, len(mesh.vertices), label_map)
    except InputError as error:
        findings.append(str(error))
    return tuple(findings)


def _odd_mesh(mesh: PlyMesh) -> list[str]:
    points, xyz, rgb = len(mesh.vertices), mesh.xyz, mesh.rgb
    findings = []
    if not _FEWEST_VERTICES <= points <= _MOST_VERTICES:
        findings.append(f"{points} vertices, where scans have {_FEWEST_VERTICES} to {_MOST_VERTICES}")
    if (size := float((xyz.max(axis=0) - xyz.min(axis=0)).max())) > _LARGEST:
        findings.append(f"{size:.0f} m large, where scans have at most {_LARGEST:.0f}")
    if rgb is not None and (rgb == rgb[0]).all():
        findings.append(f"every vertex has the colour {rgb[0].tolist()}")
    if (repeated := points - len(np.unique(xyz, axis=0))) > _FEW * points:
        findings.append(f"{repeated} of {points} vertices repeat another's place")
    if mesh.faces is None or len(mesh.faces) == 0:
        return [*findings, "no faces"]
    corners = mesh.faces.ravel() if mesh.faces.ndim == 2 else np.concatenate(mesh.faces)
    there = (corners >= 0) & (corners < points)
    if not there.all():
        findings.append(f"faces name {int((~there).sum())} vertices that are not there")
    if (loose := points - len(np.unique(corners[there]))) > _FEW * points:
        findings.append(f"{loose} of {points} vertices are in no face")
    return findings


def _odd_labels(nyu40: np.ndarray, labelled: PlyMesh, mesh: PlyMesh) -> list[str]:
    findings = []
    if not np.array_equal(labelled.xyz, mesh.xyz):
        moved = int((labelled.xyz != mesh.xyz).any(axis=1).sum())
        findings.append(f"{moved} of {len(mesh.xyz)} vertices are not where the mesh has them")
    outside = Counter(nyu40[(nyu40 < 0) | (nyu40 > _LAST_NYU40)].tolist())
    if outside:
        ids = ", ".join(f"{label} ({count} vertices)" for label, count in sorted(outside.items()))
        findings.append(f"labels outside NYU40, taken as unannotated: {ids}")
    return findings


def _odd_annotation(files: ScanFiles, nyu40: np.ndarray | None, points: int, label_map: LabelMap | None) -> list[str]:
    """Segments and groups by themselves, and against the labels [P] of `labels.ply`."""
    absent = [path.name for path in (files.segments, files.aggregation) if not path.is_file()]
    if absent:
        return [f"{name}: no such file; labels.ply cannot be checked" for name in absent]
    there = set(np.unique(read_segments(files, points)).tolist())
    findings, groups = [], read_groups(files)
    named = Counter(segment for group in groups for segment in set(group.segments))
    if lost := [segment for segment in named if segment not in there]:
        findings.append(f"{files.aggregation.name}: {len(lost)} segments that no vertex has, as {lost[0]}")
    if twice := [segment for segment, count in named.items() if count > 1]:
        findings.append(f"{files.aggregation.name}: {len(twice)} segments in more than one group, as {twice[0]}")
    if nyu40 is None:
        return findings
    if label_map is None:
        return [*findings, "no scannetv2-labels.combined.tsv beside the scans; labels.ply cannot be checked"]
    derived = derive_nyu40(files, points, label_map)
    known = np.where((nyu40 < 0) | (nyu40 > _LAST_NYU40), 0, nyu40)
    differ = known != np.where((derived < 0) | (derived > _LAST_NYU40), 0, derived)
    if differ.any():
        pairs = Counter(zip(nyu40[differ].tolist(), derived[differ].tolist(), strict=True))
        ((first, second), count), *_ = pairs.most_common(1)
        findings.append(
            f"{files.labels.name}: {int(differ.sum())} of {points} vertices differ from what segments, groups and "
            f"{label_map.path.name} give, most of them ({count}) NYU40 {first} where those give {second}"
        )
    return findings

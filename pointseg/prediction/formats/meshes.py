"""OBJ, STL and GLB through trimesh: pip install 'pointseg[mesh]'. Points are vertices, as the file lists them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from pointseg.atomic import replacing
from pointseg.errors import InputError
from pointseg.prediction.formats.cloud import COLOR, Cloud, flat_columns, numbers


def check_installed(path: Path) -> None:
    if importlib.util.find_spec("trimesh") is None:
        raise InputError(f"{path}: needs trimesh: pip install 'pointseg[mesh]'")


def read(path: Path) -> Cloud:
    check_installed(path)
    import trimesh

    try:
        with path.open("rb") as file:
            loaded = trimesh.load(file, file_type=path.suffix[1:].lower(), process=False, maintain_order=True)
        parts = loaded.dump() if isinstance(loaded, trimesh.Scene) else [loaded]
        parts = [part for part in parts if isinstance(part, trimesh.Trimesh | trimesh.PointCloud)]
        xyz = np.concatenate([np.asarray(part.vertices) for part in parts]) if parts else np.empty((0, 3))
    except Exception as error:  # trimesh's loaders raise what they come upon
        raise InputError(f"{path}: cannot be read as a mesh: {' '.join(str(error).split())}") from None
    columns = dict(zip("xyz", np.ascontiguousarray(xyz.T), strict=True))
    colors = [_colors(part) for part in parts]
    if parts and all(color is not None for color in colors):
        columns |= dict(zip(COLOR, np.concatenate(colors).T.copy(), strict=True))
    attributes = [getattr(part, "vertex_attributes", {}) for part in parts]
    for name in attributes[0] if attributes else ():
        if all(name in part and np.ndim(part[name]) in (1, 2) for part in attributes):
            column = np.concatenate([part[name] for part in attributes])
            columns[name.lstrip("_").lower()] = column[:, 0] if column.shape[1:] == (1,) else column
    return Cloud(numbers(columns), _faces(parts), note=f"{len(parts)} parts" if len(parts) > 1 else "")


def write_obj(path: Path, cloud: Cloud) -> None:
    """Positions with colours, and faces. OBJ has no place for labels."""
    xyz, rgb = cloud.xyz, cloud.rgb
    rows = xyz.astype(str).tolist() if rgb is None else np.hstack([xyz.astype(str), (rgb / 255).round(4).astype(str)])
    with replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
        file.writelines(f"v {' '.join(row)}\n" for row in rows)
        for polygon in () if cloud.faces is None else cloud.faces:
            file.write(f"f {' '.join(str(corner + 1) for corner in polygon)}\n")


def write_glb(path: Path, cloud: Cloud) -> None:
    """A mesh of triangles or a cloud, positions as float32; columns become vertex attributes."""
    check_installed(path)
    import trimesh

    rgb = cloud.rgb
    if cloud.faces is not None and len(cloud.faces) and cloud.faces.ndim == 2:
        mesh = trimesh.Trimesh(cloud.xyz, cloud.faces, vertex_colors=rgb, process=False)
        for name, column in flat_columns(numbers(cloud.columns)).items():
            if name not in ("x", "y", "z", *COLOR):
                mesh.vertex_attributes[f"_{name.upper()}"] = column.astype(np.float32)
    else:
        mesh = trimesh.PointCloud(cloud.xyz, colors=rgb)
    with replacing(path) as temporary:
        temporary.write_bytes(mesh.export(file_type="glb"))


def _colors(part: object) -> np.ndarray | None:
    """[P, 3] uint8, where vertices have colours of their own."""
    import trimesh

    if isinstance(part, trimesh.PointCloud):
        colors = np.asarray(part.colors)
        return colors[:, :3] if colors.shape == (len(part.vertices), 4) else None
    return part.visual.vertex_colors[:, :3] if part.visual.kind == "vertex" else None


def _faces(parts: list) -> np.ndarray | None:
    faces, start = [], 0
    for part in parts:
        if len(getattr(part, "faces", ())):
            faces.append(np.asarray(part.faces, np.int32) + np.int32(start))
        start += len(part.vertices)
    return np.concatenate(faces) if faces else None

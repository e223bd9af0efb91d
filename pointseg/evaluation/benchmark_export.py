"""Predictions in the layout of ScanNet's benchmark, and the benchmark's score of them.

`<scan id>.txt` has one NYU40 id a line for every vertex of `<scan id>_vh_clean_2.ply`, in its order; the zip of all
files is what the benchmark's server takes. P vertices of a scene.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from pointseg.atomic import replacing
from pointseg.errors import InputError
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, train_to_nyu40
from pointseg.store import Scene, SceneStore

_NYU40_OF_CLASSES = train_to_nyu40(np.arange(len(CLASS_NAMES)))


def prepare_folder(folder: Path) -> None:
    """Makes `folder`, or checks that it holds nothing but an earlier export.

    Raises:
        InputError: it cannot be made, or something else is in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"export: expected a folder to write to, got {folder}: {error.strerror}") from None
    foreign = [path.name for path in folder.iterdir() if path.suffix not in (".txt", ".zip")]
    if foreign:
        raise InputError(f"export: expected an empty folder or an earlier export, got {folder} with {foreign[0]} in it")


def write_scene(folder: Path, scene: Scene, label: np.ndarray) -> None:
    """Writes `label` [P] uint8 (train ids; IGNORE becomes 0, which the benchmark counts as wrong)."""
    if label.shape != (len(scene.xyz),):
        raise ValueError(f"label must be [{len(scene.xyz)}] for {scene.scan_id}, got {list(label.shape)}")
    ids = np.where(label == IGNORE, 0, train_to_nyu40(label))
    with replacing(folder / f"{scene.scan_id}.txt") as partial:
        partial.write_text("\n".join(map(str, ids.tolist())) + "\n", encoding="ascii")


def pack(folder: Path, store: SceneStore) -> Path:
    """Reads every scene's file back, checks it, and writes them all into the zip, whose path is returned.

    Raises:
        InputError: a file is missing, has another number of lines than the scene has vertices, or an unknown id.
    """
    for number in range(len(store)):
        _read(folder, store[number])
    archive = folder / f"{store.split}.zip"
    with (
        replacing(archive) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as file,
    ):
        for scan_id in store.scan_ids:
            file.write(folder / f"{scan_id}.txt", f"{scan_id}.txt")
    return archive


def benchmark_miou(folder: Path, store: SceneStore) -> float | None:
    """The benchmark's score of the files in `folder` against a labelled store, from its rule alone.

    Vertices without one of the 20 classes are not looked at; any other answer than the vertex's class is wrong, 0 too.
    IoU of a class = right / (vertices of the class + wrong answers with it); a class with neither is left out.
    """
    right, of_class, answered = (dict.fromkeys(_NYU40_OF_CLASSES.tolist(), 0) for _ in range(3))
    for number in range(len(store)):
        scene = store[number]
        annotated = scene.label != IGNORE
        truth, answer = train_to_nyu40(scene.label[annotated]), _read(folder, scene)[annotated]
        for name in right:
            right[name] += int(np.count_nonzero((truth == name) & (answer == name)))
            of_class[name] += int(np.count_nonzero(truth == name))
            answered[name] += int(np.count_nonzero(answer == name))
    unions = {name: of_class[name] + answered[name] - right[name] for name in right}
    ious = [right[name] / union for name, union in unions.items() if union]
    return sum(ious) / len(ious) if ious else None


def _read(folder: Path, scene: Scene) -> np.ndarray:
    path = folder / f"{scene.scan_id}.txt"
    try:
        ids = np.array(path.read_text(encoding="ascii").split(), dtype=np.int64)
    except FileNotFoundError:
        raise InputError(f"export: {path} is missing") from None
    except ValueError:
        raise InputError(f"export: {path} must hold one NYU40 id a line, got something else") from None
    if len(ids) != len(scene.xyz):
        raise InputError(f"export: {path} must have {len(scene.xyz)} lines, one a vertex, got {len(ids)}")
    unknown = np.setdiff1d(ids, [0, *_NYU40_OF_CLASSES])
    if len(unknown):
        raise InputError(f"export: {path} must hold ids of the 20 classes or 0, got {unknown[0]}")
    return ids

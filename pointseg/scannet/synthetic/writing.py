"""The files of a synthetic data set, in ScanNet's own layout."""

from __future__ import annotations

import json
import math
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from pointseg.atomic import replacing
from pointseg.errors import InputError
from pointseg.progress import progress_bar
from pointseg.scannet.labels import SPLITS, Split, colorize, nyu40_to_train, space_of
from pointseg.scannet.ply import write_ply
from pointseg.scannet.scan import ScanFiles
from pointseg.scannet.synthetic.annotator import annotate, labels_of, segment
from pointseg.scannet.synthetic.categories import label_table
from pointseg.scannet.synthetic.mesh import Mesh
from pointseg.scannet.synthetic.rooms import furnish
from pointseg.scannet.synthetic.scanning import scan
from pointseg.scannet.synthetic.sets import DEFAULT_DENSITY, RoomSet, first_scans

GENERATOR = 8  # raise it whenever the same parameters give other rooms
LABEL_TABLE = "scannetv2-labels.combined.tsv"
PARAMETERS = "synthetic.json"
PARTIAL = ".partial"  # rooms being written


@dataclass(frozen=True)
class _Job:
    out: Path
    split: Split
    number: int  # of the room within the split: which kind of room it is
    scan_id: str
    seed: int
    density: float

    @property
    def folder(self) -> Path:
        return self.out / ("scans_test" if self.split == "test" else "scans") / self.scan_id


def write_dataset(
    out: Path,
    *,
    scenes: int,
    val_scenes: int = 0,
    test_scenes: int = 0,
    seed: int,
    density: float = DEFAULT_DENSITY,
    workers: int = 0,
    progress: bool = True,
) -> None:
    """`write_set` of `scenes` training, `val_scenes` validation and `test_scenes` test rooms.

    Rooms take the first space numbers of ScanNet's split, scan 00.
    """
    counts: dict[Split, int] = {"train": scenes, "val": val_scenes, "test": test_scenes}
    rooms = RoomSet(scans={split: first_scans(split, count) for split, count in counts.items()}, density=density)
    write_set(out, rooms, seed=seed, workers=workers, progress=progress)


def write_set(out: Path, rooms: RoomSet, *, seed: int, workers: int = 0, progress: bool = True) -> None:
    """Writes the scans of `rooms` under `out`.

    A scan depends on `seed`, its id, its place in the split and `rooms.density` alone, not on `workers` (processes; 0
    works in this one). A folder that holds an unfinished data set of the same parameters is completed; InputError if
    `out` holds anything else.
    """
    if workers < 0:
        raise InputError(f"workers must be 0 or more, got {workers}")
    jobs = _jobs(out, rooms, seed)
    counts = {split: len(rooms.scans.get(split, ())) for split in SPLITS}
    parameters = {
        "generator": GENERATOR,
        "scenes": counts["train"],
        "val_scenes": counts["val"],
        "test_scenes": counts["test"],
        "seed": seed,
        "density": rooms.density,
    }
    _prepare(out, parameters)
    missing = [job for job in jobs if not job.folder.is_dir()]
    bar = progress_bar(total=len(jobs), initial=len(jobs) - len(missing), desc="rooms", unit="room", shown=progress)
    with bar:
        if workers > 0 and len(missing) > 1:
            # Not forked: the caller may have threads running.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(min(workers, len(missing)), mp_context=context) as pool:
                for _ in pool.map(_write_room, missing):
                    bar.update()
        else:
            for job in missing:
                _write_room(job)
                bar.update()
    shutil.rmtree(out / PARTIAL, ignore_errors=True)


def _jobs(out: Path, rooms: RoomSet, seed: int) -> list[_Job]:
    if seed < 0:
        raise InputError(f"seed must be 0 or more, got {seed}")
    if not 50 <= rooms.density <= 20_000:
        raise InputError(f"density must be 50 to 20000 vertices per square metre, got {rooms.density:g}")
    jobs = []
    for split, scan_ids in rooms.scans.items():
        number = {space: place for place, space in enumerate(sorted({space_of(scan_id) for scan_id in scan_ids}))}
        jobs += [_Job(out, split, number[space_of(i)], i, seed, rooms.density) for i in scan_ids]
    if not jobs:
        raise InputError("scenes must be 1 or more over all splits, got 0")
    return jobs


def _prepare(out: Path, parameters: dict[str, float]) -> None:
    """Makes the folder, or checks that what is in it was begun with the same parameters."""
    path = out / PARAMETERS
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: expected a folder to write to: {error.strerror}") from None
    if path.exists():
        _check_begun(path, parameters)
    elif (held := next(out.iterdir(), None)) is not None:
        raise InputError(f"{out}: expected an empty or new folder, got one with {held.name} in it")
    for name, text in ((PARAMETERS, json.dumps(parameters, indent=1) + "\n"), (LABEL_TABLE, label_table())):
        with replacing(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _check_begun(path: Path, parameters: dict[str, float]) -> None:
    try:
        begun = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise InputError(f"{path}: expected the parameters of a synthetic data set, got something else") from None
    differing = [f"{key} {begun.get(key)}" for key, value in parameters.items() if begun.get(key) != value]
    if differing:
        raise InputError(
            f"{path.parent}: holds a synthetic data set with other parameters ({', '.join(differing)}); "
            f"choose another folder"
        )


def _write_room(job: _Job) -> None:
    """Builds one room and writes its files; the folder appears under its name when all are there."""
    space, scan_number = space_of(job.scan_id), int(job.scan_id[-2:])
    step = 1 / math.sqrt(job.density)
    scene_type, room = furnish(np.random.default_rng([job.seed, space]), job.number, step)
    rng = np.random.default_rng([job.seed, space, scan_number])  # another scan of the same room is only scanned anew
    mesh, stops = scan(room.things, room.plan, step, rng)
    names = [thing.category for thing in room.things]

    files = ScanFiles(job.out / PARTIAL / job.scan_id)
    shutil.rmtree(files.folder, ignore_errors=True)
    files.folder.mkdir(parents=True)
    alignment = _alignment(mesh, rng)
    # What is on disk is not aligned: the inverse, by einsum because BLAS may round by the number of threads.
    xyz = np.einsum("pi,ij->pj", mesh.xyz - alignment[:3, 3], alignment[:3, :3])
    rgba = np.full((len(xyz), 4), 255, dtype=np.uint8)
    rgba[:, :3] = np.rint(mesh.rgb * 255)
    write_ply(files.mesh, xyz, rgba, faces=mesh.faces)
    if job.split != "test":
        segments = segment(mesh, rng)
        groups = annotate(mesh, segments, names, rng)
        label = labels_of(segments, groups)
        rgba[:, :3] = colorize(nyu40_to_train(label))
        write_ply(files.labels, xyz, rgba, label=label, faces=mesh.faces)
        _write_json(files.segments, {"sceneId": job.scan_id, "segIndices": segments.tolist()})
        _write_json(files.aggregation, {"sceneId": f"scannet.{job.scan_id}", "segGroups": groups})
        info = {
            "axisAlignment": " ".join(f"{value:.6f}" for value in alignment.ravel()),
            "numDepthFrames": stops,
            "sceneType": scene_type,
        }
        files.info.write_text("".join(f"{key} = {value}\n" for key, value in info.items()), encoding="utf-8")
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    files.folder.rename(job.folder)


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def _alignment(mesh: Mesh, rng: Generator) -> np.ndarray:
    """A matrix [4, 4] that turns the scanner's frame about z and shifts it so that the room comes to lie as built.

    Rounded to what the text file holds, so that applying the file's matrix gives the room back exactly.
    """
    angle = rng.uniform(-math.pi, math.pi)
    cos, sin = round(math.cos(angle), 6), round(math.sin(angle), 6)
    middle = (mesh.xyz.min(0) + mesh.xyz.max(0)) / 2
    matrix = np.eye(4)
    matrix[:2, :2] = (cos, -sin), (sin, cos)
    matrix[:3, 3] = np.round([middle[0] + rng.normal(), middle[1] + rng.normal(), rng.normal(0, 0.1)], 6)
    return matrix

"""`pointseg preprocess` at ScanNet's size, beside plain scripts that read the same files with plyfile, json and numpy.

    python -m benchmarks.preprocess generate SCANS            # 200 synthetic scans of about 150,000 vertices, 2.8 GB
    python -m benchmarks.preprocess time SCANS --json FILE    # every program on the same files, in one run

The scans are synthetic rooms, repeated side by side with noise until they have ScanNet's number of vertices; all five
files of a scan, in ScanNet's formats. Everything is read from the page cache. Times include the start of the programs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from plyfile import PlyData

from pointseg.scannet.labels import scans_of
from pointseg.scannet.ply import read_ply, write_ply
from pointseg.scannet.pool import usable_cores
from pointseg.scannet.scan import ScanFiles, find_label_map, find_scans

VERTICES = 150_000
SCANNET_SCANS = 1613
PLAIN_SCANS = 16  # what the slow ones of the plain scripts are timed on
WORKERS = 2


def generate(root: Path, count: int, rooms: int = 4) -> None:
    """Writes `count` scans below `root`, from a few synthetic rooms."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pointseg", "synth", folder, "--scenes", str(rooms), "--workers", str(WORKERS)]
        subprocess.run(command, check=True)
        bases = [_Room(path) for (path,) in find_scans(Path(folder)).values()]
        root.mkdir(parents=True, exist_ok=True)
        shutil.copy(find_label_map(Path(folder)).path, root)
    for number, scan_id in enumerate((scans_of("train") + scans_of("val"))[:count]):
        bases[number % len(bases)].write(root / "scans" / scan_id, np.random.default_rng([0, number]))


class _Room:
    """One room's files, to be repeated."""

    def __init__(self, folder: Path) -> None:
        files = ScanFiles(folder)
        mesh = read_ply(files.mesh)
        self.xyz, self.rgb, self.faces = mesh.xyz, mesh.rgb, mesh.faces
        self.nyu40 = read_ply(files.labels).vertices["label"]
        self.segments = np.array(json.loads(files.segments.read_text())["segIndices"])
        self.groups = json.loads(files.aggregation.read_text())["segGroups"]
        self.info = files.info.read_text()

    def write(self, folder: Path, rng: np.random.Generator) -> None:
        times = max(1, round(VERTICES / len(self.xyz)))
        step = np.float32(np.ptp(self.xyz[:, 0]) + 0.2)
        shift = np.repeat(np.arange(times), len(self.xyz))
        xyz = np.tile(self.xyz, (times, 1)) + rng.normal(0, 0.001, (len(self.xyz) * times, 3)).astype(np.float32)
        xyz[:, 0] += shift * step
        rgba = np.full((len(xyz), 4), 255, np.uint8)
        rgba[:, :3] = np.tile(self.rgb, (times, 1))
        faces = np.concatenate([self.faces + copy * len(self.xyz) for copy in range(times)])
        top = int(self.segments.max()) + 1
        segments = np.tile(self.segments, times) + shift * top
        groups = [
            group | {"segments": [segment + copy * top for segment in group["segments"]]}
            for copy in range(times)
            for group in self.groups
        ]
        files = ScanFiles(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_ply(files.mesh, xyz, rgba, faces=faces)
        write_ply(files.labels, xyz, rgba, np.tile(self.nyu40, times), faces)
        files.segments.write_text(json.dumps({"sceneId": folder.name, "segIndices": segments.tolist()}))
        files.aggregation.write_text(json.dumps({"sceneId": folder.name, "segGroups": groups}))
        files.info.write_text(self.info)


# --- The plain scripts ----------------------------------------------------------------------------------------------

TRIANGLES = {"face": {"vertex_indices": 3}}


def plain(folder: Path, out: Path, faces: dict | None = None) -> None:
    """Mesh, labels and alignment as a short script reads them."""
    files = ScanFiles(folder)
    vertices = PlyData.read(str(files.mesh), known_list_len=faces or {})["vertex"]
    labels = np.array(PlyData.read(str(files.labels), known_list_len=faces or {})["vertex"]["label"])
    _save(out / folder.name, _aligned(files, vertices), vertices, labels)


def plain_arrays(folder: Path, out: Path) -> None:
    """The same, by an author who knows that plyfile can read triangles as one array."""
    plain(folder, out, TRIANGLES)


def plain_json(folder: Path, out: Path) -> None:
    """Labels from segments and groups, as many code bases make them."""
    files = ScanFiles(folder)
    vertices = PlyData.read(str(files.mesh))["vertex"]
    segments = np.array(json.loads(files.segments.read_text())["segIndices"])
    table = {}
    with find_label_map(folder).path.open(encoding="utf-8") as file:
        names = file.readline().rstrip("\n").split("\t")
        for line in file:
            row = dict(zip(names, line.rstrip("\n").split("\t"), strict=True))
            table[row["raw_category"]] = int(row["nyu40id"] or 0)
    labels = np.zeros(len(segments), np.uint16)
    for group in json.loads(files.aggregation.read_text())["segGroups"]:
        labels[np.isin(segments, group["segments"])] = table[group["label"]]
    _save(out / folder.name, _aligned(files, vertices), vertices, labels)


def _aligned(files: ScanFiles, vertices: PlyData) -> np.ndarray:
    xyz = np.stack([vertices[axis] for axis in "xyz"], axis=1)
    for line in files.info.read_text().splitlines():
        if line.startswith("axisAlignment"):
            matrix = np.array([float(number) for number in line.split("=")[1].split()]).reshape(4, 4)
            xyz = (np.column_stack([xyz, np.ones(len(xyz))]) @ matrix.T)[:, :3].astype(np.float32)
    return xyz


def _save(folder: Path, xyz: np.ndarray, vertices: PlyData, labels: np.ndarray) -> None:
    folder.mkdir(parents=True)
    np.save(folder / "coord.npy", xyz)
    np.save(folder / "color.npy", np.stack([vertices[name] for name in ("red", "green", "blue")], axis=1))
    np.save(folder / "label.npy", labels)


# --- Timing ---------------------------------------------------------------------------------------------------------


def time_plain(script: Callable[[Path, Path], None], folders: list[Path], workers: int) -> float:
    """Seconds a scan."""
    with tempfile.TemporaryDirectory(dir=folders[0].parent) as out:
        tasks = [(folder, Path(out)) for folder in folders]
        start = time.perf_counter()
        if workers == 1:
            for task in tasks:
                script(*task)
        else:
            with multiprocessing.get_context("spawn").Pool(workers) as pool:
                pool.starmap(script, tasks, chunksize=1)
        return (time.perf_counter() - start) / len(folders)


def time_ours(root: Path, folders: list[Path], *options: str) -> dict[str, float]:
    """`pointseg preprocess` on these scans: seconds, and the largest memory of all its processes together."""
    with tempfile.TemporaryDirectory(dir=root) as out:
        listed = Path(out) / "list.txt"
        listed.write_text("\n".join(folder.name for folder in folders))
        command = [sys.executable, "-m", "pointseg", "preprocess", root, Path(out) / "store", "--scan-list", listed]
        command += ["--workers", WORKERS, *options]
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        peak = [0]
        watcher = threading.Thread(target=_watch, args=(process, peak))
        watcher.start()
        if process.wait():
            raise SystemExit(f"pointseg preprocess ended with status {process.returncode}")
        seconds = time.perf_counter() - start
        watcher.join()
    return {"scans": len(folders), "seconds": round(seconds, 2), "peak_memory_mib": round(peak[0] / 1024)}


def _watch(process: subprocess.Popen, peak: list[int]) -> None:
    """Keeps the largest sum of the group's proportional set sizes, KiB, as Linux counts them."""
    while process.poll() is None:
        total = 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if int((folder / "stat").read_text().rpartition(")")[2].split()[2]) == process.pid:
                    rollup = (folder / "smaps_rollup").read_text()
                    total += int(rollup.partition("Pss:")[2].split()[0])
            except (OSError, ValueError, IndexError):  # it has ended meanwhile
                continue
        peak[0] = max(peak[0], total)
        time.sleep(0.05)


def measure(root: Path) -> dict:
    folders = [path for (path,) in find_scans(root).values()]
    size = sum(path.stat().st_size for folder in folders for path in (ScanFiles(folder).mesh, ScanFiles(folder).labels))
    some = folders[:: max(1, len(folders) // PLAIN_SCANS)][:PLAIN_SCANS]
    vertices = [len(read_ply(ScanFiles(folder).mesh).vertices) for folder in some]
    ours = time_ours(root, folders)
    rate = ours["scans"] / ours["seconds"]
    result = {
        "data": f"synthetic rooms repeated to {round(float(np.mean(vertices)))} vertices a scan on average",
        "cores": usable_cores(),
        "pointseg": ours | {"workers": WORKERS, "scans_per_s": round(rate, 2)},
        "mb_per_s": round(size / ours["seconds"] / 1e6, 1),
        "quarter_of_the_scans": time_ours(root, folders[: len(folders) // 4]),
        f"computed_minutes_for_{SCANNET_SCANS}_scans": round(SCANNET_SCANS / rate / 60, 2),
        "plain": {},
    }
    for script, scans in ((plain, some), (plain_json, some), (plain_arrays, folders)):
        entry = {"what": script.__doc__, "scans": len(scans)}
        for workers in (1, WORKERS):
            seconds = time_plain(script, scans, workers)
            name = f"{workers}_process" + "es" * (workers > 1)
            entry[name] = {"scans_per_s": round(1 / seconds, 2), "pointseg_times_as_fast": round(rate * seconds, 1)}
        result["plain"][script.__name__] = entry
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("generate", "time"))
    parser.add_argument("scans", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.action == "generate":
        generate(arguments.scans, arguments.count)
        return
    text = json.dumps(measure(arguments.scans), indent=1) + "\n"
    print(text)
    if arguments.json:
        arguments.json.write_text(text)


if __name__ == "__main__":
    main()

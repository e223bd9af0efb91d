"""Memory and time of `pointseg predict` on large scans: generated buildings, networks that were not trained.

python -m benchmarks.predict_large [--output FILE] [--points 1e6:default 20e6:small 50e6:small] [--folder DIR]

Peak memory is the process's resident set, mapped pages of the scan included. "default" is the network and setting of
`configs/pointnet2_ssg_latentgnn.yaml`; "small" has two levels of 16 channels, so that what is measured is the rest.
Where other work shares the cores (`others`: how many threads wanted one when the command began), `core_seconds`, what
the command took of them, says more than `seconds`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.clouds import room
from pointseg.config import Config, LatentGNNConfig, LevelConfig, ModelConfig, ScaleConfig
from pointseg.config_file import dump_config, load_config
from pointseg.evaluation.inference import output_classes
from pointseg.models import build_model
from pointseg.rundir import RunDirectory
from pointseg.scannet.labels import CLASS_NAMES

ROOT = Path(__file__).parents[1]
ROOM = (6.0, 5.0, 2.6)  # metres
ROOM_POINTS = 1_000_000
ROOMS_A_SIDE = 5
UTM = np.array([691_000.0, 5_334_000.0, 500.0])
VERTEX = np.dtype(
    [*((axis, "<f8") for axis in "xyz"), *((c, "u1") for c in ("red", "green", "blue")), ("intensity", "<f4")]
)
SMALL = ModelConfig(
    levels=(
        LevelConfig(points=128, scales=(ScaleConfig(radius=0.3, neighbours=8, mlp=(16,)),)),
        LevelConfig(points=32, scales=(ScaleConfig(radius=0.8, neighbours=8, mlp=(16,)),)),
    ),
    fp_mlps=((16,), (16,)),
    latent_gnn=LatentGNNConfig(latent_dims=(8, 4)),
    head=16,
)
# `pointseg` in a process of its own, whose peak is then known.
COMMAND = (
    "import resource, sys; from pointseg.cli import main; code = main(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr); sys.exit(code)"
)


def write_building(path: Path, points: int) -> None:
    """A PLY file of rooms in a grid, scanned one after another: doubles (UTM), colours, intensity; 31 bytes a point."""
    types = {"<f8": "double", "|u1": "uchar", "<f4": "float"}
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {points}"]
    lines += [f"property {types[VERTEX[name].str]} {name}" for name in VERTEX.names] + ["end_header", ""]
    with path.open("wb") as file:
        file.write("\n".join(lines).encode())
        for number, start in enumerate(range(0, points, ROOM_POINTS)):
            rng = np.random.default_rng([number])
            count = min(ROOM_POINTS, points - start)
            place = np.array([*divmod(number, ROOMS_A_SIDE), 0]) * (np.array(ROOM) + 0.2)
            xyz = UTM + place + room(count, ROOM, rng)
            table = np.zeros(count, VERTEX)
            table["x"], table["y"], table["z"] = xyz.T
            table["intensity"] = rng.random(count)
            file.write(table.tobytes())


def make_run(folder: Path, network: str) -> Path:
    config = (
        load_config(ROOT / "configs" / "pointnet2_ssg_latentgnn.yaml") if network == "default" else Config(model=SMALL)
    )
    torch.manual_seed(0)
    model = build_model(config.model, output_classes(config))
    run = RunDirectory(folder)
    run.create(config, {})
    state = {"model": model.state_dict(), "classes": list(CLASS_NAMES), "step": 0, "config": dump_config(config)}
    run.save_checkpoint(state)
    return folder


def measure(folder: Path, points: int, network: str) -> dict[str, object]:
    scan, out = folder / "scan.ply", folder / "out.ply"
    write_building(scan, points)
    run = make_run(folder / network, network)
    arguments = ["predict", str(run), str(scan), "-o", str(out), "--device", "cpu", "--force"]
    others, before, started = os.getloadavg()[0], _core_seconds(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    )
    seconds, core_seconds = time.perf_counter() - started, _core_seconds() - before
    peak = int(done.stderr.split()[-1])
    assert out.stat().st_size > points * VERTEX.itemsize
    scan.unlink(), out.unlink()
    return {
        "points": points,
        "network": network,
        "peak_gigabytes": round(peak / 1e9, 2),
        "bytes_a_point": round(peak / points, 1),
        "seconds": round(seconds, 1),
        "million_points_a_minute": round(points / 1e6 / (seconds / 60), 2),
        "core_seconds": round(core_seconds, 1),
        "million_points_a_core_minute": round(points / 1e6 / (core_seconds / 60), 2),
        "others": round(others, 1),
    }


def _core_seconds() -> float:
    """Of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/predict_large.json"))
    parser.add_argument(
        "--points", nargs="+", default=["1e6:default", "20e6:small", "50e6:small"], metavar="POINTS:NETWORK"
    )
    parser.add_argument("--folder", type=Path, help="where the scans are written, 3 GB for 50 million points")
    arguments = parser.parse_args()
    rows = json.loads(arguments.output.read_text())["runs"] if arguments.output.exists() else []
    for word in arguments.points:
        points, network = word.split(":")
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            row = measure(Path(folder), int(float(points)), network)
        print(json.dumps(row), flush=True)
        rows = [other for other in rows if (other["points"], other["network"]) != (row["points"], network)] + [row]
        arguments.output.write_text(json.dumps({"cores": os.cpu_count(), "runs": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

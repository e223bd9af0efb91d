"""Kills `pointseg preprocess` at random moments, again and again, and compares what it ends with to an undisturbed run.

python scripts/kill_preprocess.py SCANS --kills 20
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pointseg.store import SceneStore


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scans", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory(dir=arguments.scans.resolve().parent) as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        start = time.perf_counter()
        process = _preprocess(arguments.scans, whole)
        while not list(whole.glob(".scans/*/*.h5")) and process.poll() is None:
            time.sleep(0.01)
        starting = time.perf_counter() - start
        process.wait()
        seconds = time.perf_counter() - start
        in_time = 0
        for kill in range(arguments.kills):
            # A run goes on where the last one was: short lives, so that there is work left for the last of them.
            process = _preprocess(arguments.scans, killed)
            time.sleep(float(rng.uniform(0.8 * starting, starting + 3 * (seconds - starting) / arguments.kills)))
            in_time += process.poll() is None
            process.kill()
            process.wait()
            print(f"kill {kill + 1}: {len(list(killed.glob('.scans/*/*.h5')))} scans wait, stores: {_stores(killed)}")
        if _preprocess(arguments.scans, killed).wait():
            return 1
        print(f"{in_time} of {arguments.kills} kills met a running process; an undisturbed run takes {seconds:.1f} s")
        different = _differences(whole, killed)
    print("\n".join(different) or "every array of every scene is that of the undisturbed run")
    return 1 if different else 0


def _preprocess(scans: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "pointseg", "preprocess", scans, out]
    return subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _stores(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.h5"))


def _differences(whole: Path, killed: Path) -> list[str]:
    if _stores(whole) != _stores(killed):
        return [f"stores: {_stores(whole)}, {_stores(killed)}"]
    lines = []
    for name in _stores(whole):
        first, second = SceneStore(whole / name), SceneStore(killed / name)
        if first.scan_ids != second.scan_ids:
            lines.append(f"{name}: other scans")
            continue
        for i, scan_id in enumerate(first.scan_ids):
            wanted, got = first.packed(i), second.packed(i)
            for array in wanted.arrays:
                if not np.array_equal(wanted.arrays[array], got.arrays[array]):
                    lines.append(f"{name}: {scan_id}: {array} differs")
    return lines


if __name__ == "__main__":
    sys.exit(main())

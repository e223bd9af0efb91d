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
        _preprocess(arguments.scans, whole).wait()
        scans, in_time = _finished(whole), 0
        for kill in range(arguments.kills):
            process, done = _preprocess(arguments.scans, killed), _finished(killed)
            # The moment: some scans more, so that there is work left for the last kill, and up to 50 ms.
            wanted = done + int(rng.integers(2 * (scans - done) // (arguments.kills - kill) + 1))
            while _finished(killed) < min(wanted, scans) and process.poll() is None:
                time.sleep(0.002)
            time.sleep(float(rng.uniform(0, 0.05)))
            in_time += process.poll() is None
            process.kill()
            process.wait()
            print(f"kill {kill + 1}: {_finished(killed)} of {scans} scans were finished")
        if _preprocess(arguments.scans, killed).wait():
            return 1
        print(f"{in_time} of {arguments.kills} kills met a running process")
        different = _differences(whole, killed)
    print("\n".join(different) or "every array of every scene is that of the undisturbed run")
    return 1 if different else 0


def _preprocess(scans: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "pointseg", "preprocess", scans, out]
    return subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _finished(folder: Path) -> int:
    """Scans that are kept, or in a store."""
    return len(list(folder.glob(".scans/*/*.h5"))) + sum(len(SceneStore(path)) for path in folder.glob("*.h5"))


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

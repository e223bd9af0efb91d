"""The demo over several seeds: voxel accuracy, mIoU and training time of each, and their range.

python scripts/demo_table.py [--seeds 5] [--smoke]   -> benchmarks/demo.json, and the line that the README quotes

Rooms are made once; seeds differ in initial weights, order and chunks. Stopped and started again, it goes on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pointseg.process import keep_freed_memory, let_waiting_threads_sleep

keep_freed_memory()
let_waiting_threads_sleep()
sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.training_runs import finished_run, machine, spread, synthetic_store  # noqa: E402
from pointseg.config_file import load_config  # noqa: E402
from pointseg.rundir import write_json  # noqa: E402

ROOT = Path(__file__).parent.parent
SMOKE = ("train.epochs=1", "data.num_points=1024", "evaluate.resamples=0")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "demo.yaml")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scenes", type=int, default=32, help="rooms, a quarter of them for evaluation, as the demo's")
    parser.add_argument("--work", type=Path, default=Path("runs/demo_table"), help="folder for rooms and runs")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "demo.json")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--smoke", action="store_true", help="an epoch on four rooms: does the script run?")
    given = parser.parse_args()

    scenes, seeds = (4, 2) if given.smoke else (given.scenes, given.seeds)
    # The seed of the demo's rooms; the network that ships was trained on rooms of seed 0.
    store = synthetic_store(given.work / f"rooms_{scenes}", scenes=scenes - scenes // 4, val_scenes=scenes // 4, seed=1)
    rows = []
    for seed in range(seeds):
        settings = [f"data.store={store}", f"train.seed={seed}", *given.set, *(SMOKE if given.smoke else ())]
        rows.append(finished_run(given.work / f"seed_{seed}", load_config(given.config, settings)))
        print(rows[-1], flush=True)
    ranges = {key: spread(rows, key) for key in ("voxel_accuracy", "miou", "train_seconds")}
    about = {"what": f"pointseg demo, {scenes} synthetic rooms, not ScanNet; in %", "machine": machine()}
    write_json(given.out, about | {"range": ranges, "seeds": rows})
    accuracy, miou = ranges["voxel_accuracy"], ranges["miou"]
    print(
        f"{seeds} seeds: voxel accuracy {accuracy['min']:.1f} to {accuracy['max']:.1f} %, "
        f"mIoU {miou['min']:.1f} to {miou['max']:.1f}, {ranges['train_seconds']['mean'] / 60:.1f} minutes of training"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

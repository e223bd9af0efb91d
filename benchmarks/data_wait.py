"""How long `pointseg train` waits for data at batch 8, by loader processes and precision; prints and writes JSON.

    python -m benchmarks.data_wait [--workers 0 1 2] [--precision float32 bfloat16] [--steps S] [--output FILE]

PointNet++ with LatentGNN on chunks of 8192 points of eight synthetic rooms. The figures are those of the line that the
run ends with. Other cases that the file holds stay in it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import machine
from benchmarks.training_runs import synthetic_store
from pointseg.atomic import replacing

CONFIG = Path(__file__).parent.parent / "configs" / "pointnet2_ssg_latentgnn.yaml"


def measure(store: Path, out: Path, *, workers: int, precision: str, steps: int) -> dict[str, object]:
    """One run of eight chunks a step, `steps` of them."""
    settings = (f"data.store={store}", f"data.workers={workers}", f"train.precision={precision}")
    settings += ("train.batch_size=8", f"train.epochs={steps}")  # eight rooms: a step is an epoch
    command = [sys.executable, "-m", "pointseg", "train", "--device", "cpu", "--config", str(CONFIG), "--out", str(out)]
    command += [part for setting in settings for part in ("--set", setting)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, speed, wait = re.search(r"training: (\S+) s, (\S+) chunks/s, data wait (\S+) %", output).groups()
    case = {"workers": workers, "precision": precision, "steps": steps, "seconds": float(seconds)}
    return case | {"chunks_per_second": float(speed), "data_wait_percent": float(wait)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/data_wait.json"))
    given = parser.parse_args()
    result = json.loads(given.output.read_text()) if given.output.exists() else {"cases": []}
    with tempfile.TemporaryDirectory() as name:
        store = synthetic_store(Path(name), scenes=8, val_scenes=1)
        for precision in given.precision:
            for workers in given.workers:
                out = Path(name) / f"{precision}-{workers}"
                case = measure(store, out, workers=workers, precision=precision, steps=given.steps)
                print(case, flush=True)
                others = [c for c in result["cases"] if (c["precision"], c["workers"]) != (precision, workers)]
                result["cases"] = sorted([*others, case], key=lambda c: (c["precision"], c["workers"]))
                result["machine"] = machine()
                with replacing(given.output) as temporary:
                    temporary.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Times every CPU operator against the packages that offer the like and are installed; prints a table, writes JSON.

    python scripts/bench_ops.py [--threads N] [--only TEXT] [--small] [--output FILE]

Peers it knows: fpsample, torch-fps, torch_cluster, pykdtree, scipy, and plain PyTorch.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.cpu_ops import cases
from benchmarks.timing import interleaved, machine
from pointseg.atomic import replacing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=20.0, help="time for one case, all contenders together")
    parser.add_argument("--rounds", type=int, default=21, help="most calls of one contender")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--small", action="store_true", help="small clouds: does everything run?")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/ops_cpu.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    rows = []
    print(f"{'median ms':>55}{'times ours':>13}{'fastest ms':>14}")
    for case in cases(batch=2, points=512, large=5000) if arguments.small else cases():
        if arguments.only not in case.name:
            continue
        times = interleaved(case.contenders, arguments.seconds, arguments.rounds)
        ours = times["pointnet2_ops"]
        print(f"{case.name}{'   (* ' + case.note + ')' if case.note else ''}")
        for name, time in times.items():
            print(f"  {name:<39}{time.median:14.2f}{time.median / ours.median:13.2f}{time.fastest:14.2f}", flush=True)
        rows.append({"case": case.name, "note": case.note, "ms": {name: asdict(time) for name, time in times.items()}})
    result = {"machine": machine(), "cases": rows}
    with replacing(arguments.output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{result['machine']}\nwritten to {arguments.output}")


if __name__ == "__main__":
    main()

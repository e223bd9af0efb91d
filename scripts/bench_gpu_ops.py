"""Times every CUDA operator against the original package's algorithm and plain PyTorch; one short table, and JSON.

    python scripts/bench_gpu_ops.py [--seconds S] [--output FILE]

Exits with 1 if an operator's result is not that of the reference.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import gpu_ops, gpu_timing, original


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="time for one case, all contenders together")
    parser.add_argument("--rounds", type=int, default=41, help="most rounds of a case")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/ops_gpu.json"))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("bench_gpu_ops: torch sees no CUDA device")
    with tempfile.TemporaryDirectory() as folder:
        original.load(Path(folder))

    rows = []
    for case in gpu_ops.cases():
        times = gpu_timing.interleaved(case.contenders, arguments.seconds, arguments.rounds)
        rows.append({"case": case.name, "correct": case.correct(), "median_ms": times, "goals_ms": case.goals_ms})
        print(f"{case.name}: " + ", ".join(f"{name} {time:.3f}" for name, time in times.items()), flush=True)
        temporary = arguments.output.with_suffix(".tmp")
        temporary.write_text(json.dumps({"device": gpu_timing.device(), "cases": rows}, indent=1) + "\n")
        os.replace(temporary, arguments.output)

    print(f"\n{gpu_timing.device()}; medians; must and goal are for an H100; written to {arguments.output}")
    print(f"{'':44}{'ours ms':>9}{'must':>7}{'goal':>7}{'original':>10}{'PyTorch':>9}   (times ours)")
    for row in rows:
        times, ours = row["median_ms"], row["median_ms"]["ours"]
        goals = "".join(f"{goal:7.3f}" for goal in row["goals_ms"] or ()) or f"{'-':>7}{'-':>7}"
        ratios = f"{times['original'] / ours:9.1f}x{times['PyTorch'] / ours:8.1f}x"
        print(f"{row['case']:44}{ours:9.3f}{goals}{ratios}{'' if row['correct'] else '   WRONG RESULT'}")
    raise SystemExit(0 if all(row["correct"] for row in rows) else 1)


if __name__ == "__main__":
    main()

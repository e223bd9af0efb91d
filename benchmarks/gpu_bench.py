"""Times every CUDA operator against the original package's kernels and plain PyTorch; JSON, and one short table.

python -m benchmarks.gpu_bench [--output FILE] [--seconds S]

A case fails if an operator's result is not that of the reference.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import gpu_ops, gpu_timing, original
from benchmarks.gpu_record import Stage


def measure(make: Callable[[], gpu_ops.Case], seconds: float, rounds: int) -> dict:
    case = make()
    times = gpu_timing.interleaved(case.contenders, seconds, rounds)
    shown = {name: round(time, 5) for name, time in times.items()}
    print(f"{case.name}: " + ", ".join(f"{name} {time:.4f}" for name, time in shown.items()), flush=True)
    return {"ok": case.correct(), "case": case.name, "median_ms": shown, "goals_ms": case.goals_ms}


def table(rows: list[dict]) -> str:
    lines = [
        f"{'medians, ms; must and goal: an H100':48}{'ours':>9}{'must':>7}{'goal':>7}{'original':>10}{'PyTorch':>9}"
    ]
    for row in rows:
        times, ours = row["median_ms"], row["median_ms"]["ours"]
        goals = "".join(f"{goal:7.3f}" for goal in row["goals_ms"] or ()) or f"{'-':>7}{'-':>7}"
        ratios = "".join(f"{times[name] / ours:8.1f}x" for name in ("original", "PyTorch"))
        lines.append(f"{row['case']:48}{ours:9.4f}{goals} {ratios}{'' if row['ok'] else '   WRONG RESULT'}")
        others = ", ".join(f"{name[6:]} {time:.4f}" for name, time in times.items() if name.startswith("ours, "))
        if others:
            lines.append(f"    {others}")
    return "\n".join(lines)


def main() -> None:
    stage = Stage(__doc__, "bench.json")
    if stage.rehearse:
        original.load_stand_ins()
    else:
        original.load(stage.work / "lib" / original.LIBRARY)
    seconds, rounds = (0.01, 2) if stage.rehearse else (2.0, 31)
    for name, make in gpu_ops.cases(stage.device, tiny=stage.rehearse):
        stage.case(name, lambda make=make: measure(make, seconds, rounds), needs_s=min(6, 3 * seconds))
    print(table([row for row in stage.record["cases"] if "median_ms" in row]))
    stage.finish()


if __name__ == "__main__":
    main()

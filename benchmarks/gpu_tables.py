"""The results of scripts/gpu_check.sh as Markdown.

    python -m benchmarks.gpu_tables [FOLDER] [--readme]     print them, or put them into cuda_ops/README.md

FOLDER (benchmarks/gpu) holds bench.json, train.json and paper.json; a stage without a file is left out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "cuda_ops" / "README.md"
BEGIN, END = "<!-- python -m benchmarks.gpu_tables --readme: begin -->\n", "<!-- end -->\n"
MODES = ("eager", "compiled", "graph", "compiled, graph", "graph, geometry given")


def digits(value: float) -> str:
    """Three of them, all of those before the point."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def operators(record: dict) -> str:
    rows = []
    for case in record["cases"]:
        if not case["ok"]:
            continue
        times = case["median_ms"]
        ours = times["ours"]
        own = ", ".join(f"{name[6:]} {digits(time)}" for name, time in times.items() if name.startswith("ours, "))
        others = [f"{digits(times[name])} ({digits(times[name] / ours)}x)" for name in ("original", "PyTorch")]
        goal = f"{case['goals_ms'][1]:g}" if case["goals_ms"] else ""
        rows.append([case["case"], digits(ours), goal, *others, own])
    header = ["case", "ours, ms", "goal", "original, ms (times ours)", "PyTorch, ms (times ours)", "ours otherwise, ms"]
    return markdown(header, rows)


def steps(record: dict) -> str:
    """Milliseconds of a training step, the peak memory behind; one line a network, batch size and precision."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for case in record["cases"]:
        if case["ok"] and "peak_GB" in case:
            network, B, precision, mode = case["name"].split(", ", 3)
            found.setdefault((network, B, precision), {})[mode] = f"{case['ms']:.2f} ({case['peak_GB']:.1f} GB)"
    rows = [[*key, *(cells.get(mode, "") for mode in MODES)] for key, cells in sorted(found.items())]
    return markdown(["network", "batch", "precision", *MODES], rows)


def kernels(record: dict) -> str:
    """The ten longest kernels of the last step that was profiled."""
    profiled = [case for case in record["cases"] if case["ok"] and "kernels_of_a_step" in case]
    if not profiled:
        return ""
    case = profiled[-1]
    rows = [
        [f"{row['ms']:.3f}", f"{row['ms'] / case['all_ms']:.0%}", f"{row['calls']:g}", f"`{row['kernel'][:90]}`"]
        for row in case["kernels_of_a_step"][:10]
    ]
    title = f"Longest kernels of an eager step ({case['name'].partition(', ')[2]}), {case['all_ms']:.2f} ms in all:\n\n"
    return title + markdown(["ms", "share", "calls", "kernel"], rows)


def schedule(record: dict) -> str:
    rows = [
        [
            case["name"],
            f"{case['chunks_per_second']:,.0f}",
            f"{case['waiting_share']:.0%}",
            f"{case['epochs_done']:.1f}",
            f"{case['extrapolated_minutes_for_200_epochs']:.1f}",
        ]
        for case in record["cases"]
        if case["ok"]
    ]
    header = [
        "`pointseg train`, LatentGNN, B = 64",
        "chunks/s",
        "waiting for data",
        "epochs run",
        "200 epochs, minutes",
    ]
    return markdown([*header[:-1], header[-1] + " (extrapolated)"], rows)


def render(folder: Path) -> str:
    parts = []
    for name, makers in {"bench": (operators,), "train": (steps, kernels), "paper": (schedule,)}.items():
        path = folder / f"{name}.json"
        if path.exists():
            record = json.loads(path.read_text())
            about = record["device"]
            parts.append(f"`{name}`: {about['gpu']}, PyTorch {about['torch']}.\n")
            parts += [text for make in makers if (text := make(record))]
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "benchmarks" / "gpu")
    parser.add_argument("--readme", action="store_true", help="replace the tables in cuda_ops/README.md")
    arguments = parser.parse_args()
    text = render(arguments.folder)
    if not arguments.readme:
        print(text, end="")
        return
    readme = README.read_text()
    begin, end = readme.index(BEGIN) + len(BEGIN), readme.index(END)
    README.write_text(readme[:begin] + text + readme[end:])


if __name__ == "__main__":
    main()

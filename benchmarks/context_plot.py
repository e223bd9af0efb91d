"""Pictures of what `scripts/bench_context.py` measured: time and memory, in training and inference."""

from __future__ import annotations

import json
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def plot(path: Path) -> None:
    """Writes a PNG beside the JSON file at `path`."""
    result = json.loads(path.read_text())
    measures = {"milliseconds": "milliseconds", "mebibytes": "MiB beside the input"}
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7.5), sharex=True, constrained_layout=True)
    names = list(dict.fromkeys(row["module"] for row in result["rows"]))
    for column, training in enumerate((False, True)):
        for axis, (key, label) in zip(axes[:, column], measures.items(), strict=True):
            for number, name in enumerate(names):
                rows = [r for r in result["rows"] if r["module"] == name and r["training"] == training]
                style = {"linewidth": 2.5} if name == "LatentGNN" else {"linewidth": 1.2}
                sizes = [r["size"] for r in rows]
                axis.plot(sizes, [r[key] for r in rows], "o-", color=f"C{number}", markersize=4, label=name, **style)
            axis.set(xscale="log", yscale="log", ylabel=label)
            axis.grid(alpha=0.3)
            if "stage" in result:  # few sizes, and no powers of ten
                sides = sorted({row["size"] for row in result["rows"]})
                axis.set_xticks(sides, [str(side) for side in sides])
                axis.xaxis.minorticks_off()
        axes[0, column].set_title("training step" if training else "inference")
        axes[1, column].set_xlabel("side of the image, pixels" if "stage" in result else "points N")
    axes[0, 0].legend(fontsize=8)
    where = f"After stage {result['stage']} of a ResNet-50, one image" if "stage" in result else "One cloud of N points"
    machine = f"{result['machine']['threads']} threads of {result['machine']['cpu']}"
    figure.suptitle(f"{where}, C = {result['channels']}; {machine}")
    figure.savefig(path.with_suffix(".png"), dpi=80)


def ratios(path: Path) -> str:
    """How many times the time and memory of LatentGNN the others take, at each size that both were measured at."""
    rows = json.loads(path.read_text())["rows"]
    ours = {(row["size"], row["training"]): row for row in rows if row["module"] == "LatentGNN"}
    lines = []
    for row in rows:
        own = ours.get((row["size"], row["training"]))
        if own is not None and row is not own:
            time, memory = (row[key] / own[key] for key in ("milliseconds", "mebibytes"))
            mode = "training" if row["training"] else "inference"
            lines.append(f"{row['module']:28s} {mode:9s} {row['size']:9d}  {time:6.1f} x time {memory:6.1f} x memory")
    return "\n".join(lines)


def growth(path: Path) -> str:
    """The power of the size that the time and memory of LatentGNN grow with, from the second size to the last."""
    rows = [row for row in json.loads(path.read_text())["rows"] if row["module"] == "LatentGNN"]
    lines = []
    for training in (False, True):
        _, first, *_, last = [row for row in rows if row["training"] == training]
        times = math.log(last["size"] / first["size"])
        time, memory = (math.log(last[key] / first[key]) / times for key in ("milliseconds", "mebibytes"))
        mode = "training" if training else "inference"
        lines.append(f"LatentGNN, {mode}, {first['size']} to {last['size']}: time ~ {time:.2f}, memory ~ {memory:.2f}")
    return "\n".join(lines)

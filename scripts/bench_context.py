"""Measures context modules and their peers over the number of points and over image sizes; writes JSON and pictures.

    python scripts/bench_context.py points [--most N]    # C = 256, inference and training, and LatentGNN on N points
    python scripts/bench_context.py images               # LatentGNN and the dense non-local block after stage 3
    python scripts/bench_context.py plot                 # pictures of both (needs matplotlib), ratios, growth

A peer leaves when its next call would take longer than --patience or more memory than --memory at the growth seen.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

from pointseg.process import keep_freed_memory, let_waiting_threads_sleep

keep_freed_memory()  # as in training: the time of a large tensor's pages is not what is measured
let_waiting_threads_sleep()

import torch  # noqa: E402
from torch import nn  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.context_modules import DenseNonLocal, measure, point_modules  # noqa: E402
from benchmarks.timing import machine  # noqa: E402
from pointseg.atomic import replacing  # noqa: E402
from pointseg.images.context import LATENT_DIMS, STRIDES  # noqa: E402
from pointseg.models import LatentGNN  # noqa: E402

CHANNELS = 256
POINTS = (1024, 4096, 16384, 65536, 262_144, 1_000_000)
STAGE, STAGE_CHANNELS, STAGE_STRIDE = 3, 512, 8
SIDES = (256, 384, 512, 768, 1024, 1536, 2048)  # pixels of square images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["points", "images", "plot"])
    parser.add_argument("--sizes", type=int, nargs="+", help="points, or sides of images in pixels")
    parser.add_argument("--most", type=int, help="points of one more inference of LatentGNN, in bfloat16")
    parser.add_argument("--patience", type=float, default=4, help="seconds of a call")
    parser.add_argument("--memory", type=float, default=6, help="GiB of a call")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=Path("benchmarks"), help="folder of context_*.json and *.png")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.what == "plot":
        from benchmarks.context_plot import growth, plot, ratios

        for path in sorted(arguments.output.glob("context_*.json")):
            plot(path)
            print(f"{path}\n{ratios(path)}\n{growth(path)}")
        return
    result = (points if arguments.what == "points" else images)(arguments)
    result |= {"machine": machine(), "device": arguments.device}
    path = arguments.output / f"context_{arguments.what}.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {path}")


def points(arguments: argparse.Namespace) -> dict:
    rows = []
    if arguments.most:  # first, while no other call's memory is kept
        module, shapes = LatentGNN(CHANNELS, 100).bfloat16(), {arguments.most: (1, CHANNELS, arguments.most)}
        rows += sweep("LatentGNN, bfloat16", module, shapes, False, arguments)
    shapes = {n: (1, CHANNELS, n) for n in arguments.sizes or POINTS}
    for name, module in point_modules(CHANNELS).items():
        for training in (False, True):
            rows += sweep(name, module, shapes, training, arguments)
    return {"channels": CHANNELS, "rows": rows}


def images(arguments: argparse.Namespace) -> dict:
    modules = {
        "LatentGNN": LatentGNN(STAGE_CHANNELS, LATENT_DIMS[STAGE], STRIDES["latent_gnn"], norm="frozen"),
        "dense non-local block": DenseNonLocal(STAGE_CHANNELS),
    }
    shapes = {s: (1, STAGE_CHANNELS, s // STAGE_STRIDE, s // STAGE_STRIDE) for s in arguments.sizes or SIDES}
    rows = []
    for name, module in modules.items():
        for training in (False, True):
            rows += sweep(name, module, shapes, training, arguments)
    return {"channels": STAGE_CHANNELS, "stage": STAGE, "rows": rows}


def sweep(
    name: str, module: nn.Module, shapes: dict[int, tuple[int, ...]], training: bool, arguments: argparse.Namespace
) -> list[dict]:
    """A row for each size of `shapes`, up to the first that is too much for a peer."""
    module = module.to(arguments.device)
    rows: list[dict] = []
    for size, shape in shapes.items():
        if not name.startswith("LatentGNN") and _too_much(rows, size, arguments):
            break
        x = _filled(shape, next(module.parameters()))
        cost = measure(module, x, training=training, repeats=20)
        rows.append({"module": name, "training": training, "size": size, **cost._asdict()})
        mode = "training" if training else "inference"
        print(f"{name:28s} {mode:9s} {size:9d} {cost.milliseconds:10.1f} ms {cost.mebibytes:9.1f} MiB", flush=True)
    return rows


def _too_much(rows: list[dict], size: int, arguments: argparse.Namespace) -> bool:
    """Whether a call at `size` would exceed a limit if cost went on growing as a power of size, as in the last two."""
    if len(rows) < 2:
        return False
    (first, last), limits = rows[-2:], {"milliseconds": 1e3 * arguments.patience, "mebibytes": 1024 * arguments.memory}
    further = math.log(size / last["size"]) / math.log(last["size"] / first["size"])
    return any(last[name] * (last[name] / first[name]) ** further > limit for name, limit in limits.items())


def _filled(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """Random numbers, channels last in memory as everywhere here; many are the first 2**24 again and again."""
    count = torch.Size(shape).numel()
    drawn = torch.randn(min(count, 2**24), device=like.device, dtype=like.dtype)
    x = torch.empty(count, device=like.device, dtype=like.dtype)
    for part in x.split(len(drawn)):
        part.copy_(drawn[: len(part)])
    return x.view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


if __name__ == "__main__":
    main()

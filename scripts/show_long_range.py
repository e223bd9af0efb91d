"""Shows that LatentGNN sees the whole image: trains a small segmentation network with and without it; writes JSON.

    python scripts/show_long_range.py [--steps N] [--batch B] [--seed N] [--output FILE]

The question for each shape of an image: is there a second one of its colour? Chance is 50 %. Some minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.long_range import Segmenter, train_and_score
from benchmarks.timing import machine
from pointseg.atomic import replacing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=32, help="images a step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/long_range.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    accuracy, parameters, seconds = {}, {}, {}
    for context in ("none", "latent_gnn", "non_local"):
        start = time.perf_counter()
        accuracy[context] = train_and_score(context, arguments.seed, arguments.steps, arguments.batch, report)
        seconds[context] = round(time.perf_counter() - start, 1)
        parameters[context] = sum(p.numel() for p in Segmenter(context).parameters())
        print(f"{context}: {accuracy[context]:.1%} of the shapes' positions right", flush=True)
    result = {"steps": arguments.steps, "batch": arguments.batch, "seed": arguments.seed, "chance": 0.5}
    result |= {"accuracy": accuracy, "parameters": parameters, "seconds": seconds, "machine": machine()}
    with replacing(arguments.output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {arguments.output}")


def report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

"""What computing the next batch's geometry ahead gains: times training steps, prints and writes JSON.

    python -m benchmarks.geometry_ahead [--device cpu] [--batch B] [--seconds S] [--output FILE]

"in the step": the forward pass computes it. "given": it is there, the most that can be gained. "thread": a second
thread of the process computes the next batch's meanwhile (on a GPU, "stream": `pointseg.training.ahead`).
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from benchmarks.clouds import chunks
from benchmarks.timing import interleaved, machine, wait_for
from pointseg.atomic import replacing
from pointseg.config import ModelConfig
from pointseg.data.dataset import Batch
from pointseg.losses import segmentation_loss
from pointseg.models import build_model
from pointseg.models.pointnet2 import Geometry
from pointseg.process import keep_freed_memory
from pointseg.scannet.labels import NUM_CLASSES
from pointseg.training.ahead import ahead


def contenders(device: torch.device, batch: int, points: int = 8192) -> dict[str, Callable[[], object]]:
    """Training steps of PointNet++ with LatentGNN on chunks in turns, and the geometry alone."""
    model = build_model(ModelConfig(), NUM_CLASSES).to(device)
    optimizer = torch.optim.Adam(model.parameters())
    host = [chunks(batch, points, np.random.default_rng(number)) for number in range(3)]
    clouds = [xyz.to(device) for xyz in host]
    label = torch.randint(NUM_CLASSES, (batch, points), device=device)
    supervised = torch.ones_like(label, dtype=torch.bool)
    known = [model.geometry(xyz) for xyz in clouds]
    turns = {name: itertools.cycle(range(3)) for name in ("step", "given", "geometry")}

    def step(xyz: torch.Tensor, geometry: Geometry | None = None) -> None:
        loss, count = segmentation_loss(model(xyz, None, geometry), label, supervised, None)
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
        wait_for(device)

    def given() -> None:
        number = next(turns["given"])
        step(clouds[number], known[number])

    def geometry() -> None:
        model.geometry(clouds[next(turns["geometry"])])
        wait_for(device)

    def streamed() -> Iterator[None]:
        batches = (Batch(xyz=xyz, features=None, label=label) for xyz in itertools.cycle(host))
        for prepared, computed in ahead(batches, model, device):
            step(prepared["xyz"], computed)
            yield

    def threaded() -> Iterator[None]:
        with ThreadPoolExecutor(1) as pool:
            upcoming = pool.submit(model.geometry, clouds[0])
            for number in itertools.cycle(range(3)):
                computed = upcoming.result()
                upcoming = pool.submit(model.geometry, clouds[(number + 1) % 3])
                step(clouds[number], computed)
                upcoming.result()  # what it has not hidden counts here, and hinders no other contender
                yield

    name, beside = ("stream", streamed()) if device.type == "cuda" else ("thread", threaded())
    return {
        "in the step": lambda: step(clouds[next(turns["step"])]),
        "given": given,
        name: lambda: next(beside),
        "geometry alone": geometry,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/geometry_ahead.json"))
    arguments = parser.parse_args()
    keep_freed_memory()
    times = interleaved(contenders(torch.device(arguments.device), arguments.batch), arguments.seconds, 25)
    result: dict[str, object] = {"device": arguments.device, "batch": arguments.batch}
    result["ms"] = {name: {"median": round(t.median, 1), "fastest": round(t.fastest, 1)} for name, t in times.items()}
    result["machine"] = machine()
    with replacing(arguments.output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

"""Times chunks cut on a device, data.device_chunks, on synthetic scenes of ScanNet's size; prints JSON.

    python -m benchmarks.device_chunks [--device cuda] [--scenes N] [--points P] [--batch B] [--seconds S] [--graph]
                                       [--output FILE]

The augmented row has every change of `data/device_augment.py`. With --graph the same batches also as one CUDA graph.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.crops import EVERY_CHANGE, make_store
from benchmarks.timing import machine, wait_for
from pointseg.atomic import replacing
from pointseg.config import DataConfig, TrainConfig
from pointseg.data.dataset import ChunkDataset, StepSampler
from pointseg.data.device_chunks import DeviceChunks
from pointseg.store import SceneStore


def chunks_per_second(make: Callable[[], object], batch: int, seconds: float, device: torch.device) -> float:
    """Of `make`, which makes a batch; a few are made to warm up."""
    for _ in range(3):
        make()
    wait_for(device)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        make()
        count += batch
        if count % (16 * batch) == 0:
            wait_for(device)  # or the host would run away from the device
    wait_for(device)
    return count / (time.perf_counter() - start)


def measure(store: SceneStore, config: DataConfig, arguments: argparse.Namespace) -> dict[str, object]:
    device = torch.device(arguments.device)
    sampler = StepSampler(
        ChunkDataset(store, config, seed=0), TrainConfig(batch_size=arguments.batch), 0, 10**9, rank=0, world_size=1
    )
    chunks = DeviceChunks(store, config, sampler, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    batches = iter(chunks)
    speed = chunks_per_second(lambda: next(batches), arguments.batch, arguments.seconds, device)
    row: dict[str, object] = {"chunks a second": round(speed), "candidates": chunks.scenes.candidates}
    if device.type == "cuda":
        row["peak GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        row["split GiB"] = round(sum(t.nbytes for t in vars(chunks.scenes).values() if torch.is_tensor(t)) / 2**30, 2)
    if arguments.graph:
        scene = torch.arange(arguments.batch, device=device) % len(store)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(chunks.generator)
        with torch.cuda.graph(graph):
            chunks.make(scene)
        speed = chunks_per_second(graph.replay, arguments.batch, arguments.seconds, device)
        row["chunks a second, CUDA graph"] = round(speed)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--points", type=int, default=150_000, help="vertices of a scene")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
    parser.add_argument("--graph", action="store_true")
    parser.add_argument("--output", type=Path, help="a file to write the same JSON to")
    arguments = parser.parse_args()
    name = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else machine()["cpu"]
    result: dict[str, object] = {"device": name, "scenes": arguments.scenes, "vertices": arguments.points}
    result["batch"] = arguments.batch
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "train.h5", arguments.scenes, arguments.points)
        plain = DataConfig(device_chunks=True)
        for label, config in (("plain", plain), ("augmented", dataclasses.replace(plain, augment=EVERY_CHANGE))):
            result[label] = measure(store, config, arguments)
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.output:
        with replacing(arguments.output) as temporary:
            temporary.write_text(text + "\n")


if __name__ == "__main__":
    main()

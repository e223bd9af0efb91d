"""PointNet++ (SSG) on the CPU beside the same network in plain PyTorch; prints and writes JSON.

    python -m benchmarks.cpu_network [--store STORE] [--batch B] [--seconds S] [--output FILE]

Times a training step, inference and inference in bfloat16 (ours, beside the plain network in float32), with the same
allocator settings for both and in turns; the peak memory of each, in processes of their own; how far matrix products
alone would take: their FLOPs (in inference of all neighbours, as defined: repeated ones are skipped) at the rate that a
large one is measured at; and where our time goes. The chunks are drawn from synthetic rooms of ScanNet's density,
which are made first unless `--store` names preprocessed ones.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain_pointnet2 import PlainPointNet2
from benchmarks.timing import Milliseconds, interleaved, machine
from pointseg.atomic import replacing
from pointseg.config import DataConfig, ModelConfig, TrainConfig
from pointseg.data.chunks import sample_chunk
from pointseg.losses import segmentation_loss
from pointseg.models import build_model
from pointseg.models.costs import OPERATORS
from pointseg.process import keep_freed_memory
from pointseg.scannet.labels import NUM_CLASSES
from pointseg.scannet.preprocess import preprocess
from pointseg.scannet.synthetic import write_dataset
from pointseg.store import SceneStore
from pointseg.training.step import make_optimizer

ROOMS = 4
WHAT = ("training step", "inference", "inference bfloat16")


def real_looking_chunks(store: SceneStore, batch: int) -> Tensor:
    """[batch, 8192, 3] float32, from the scenes in turns."""
    config = DataConfig()
    drawn = [sample_chunk(store, n % len(store), np.random.default_rng([0, n]), config) for n in range(batch)]
    return torch.from_numpy(np.stack([chunk.xyz - chunk.origin for chunk in drawn]))


def make_store(folder: Path) -> None:
    write_dataset(folder / "scans", scenes=ROOMS, seed=0, progress=False)
    preprocess(folder / "scans", folder)


def networks(context: str = "none") -> dict[str, nn.Module]:
    """The plain network and ours, of equal weights; ours with context modules if wanted."""
    torch.manual_seed(0)
    ours = build_model(ModelConfig(context=context), NUM_CLASSES)
    return {"plain": PlainPointNet2(ours), "ours": ours} if context == "none" else {context: ours}


def training_step(model: nn.Module, xyz: Tensor) -> Callable[[], object]:
    optimizer = make_optimizer(model, TrainConfig(), xyz.device)
    label = torch.randint(NUM_CLASSES, xyz.shape[:2], generator=torch.Generator().manual_seed(0))
    supervised = torch.ones_like(label, dtype=torch.bool)

    def run() -> None:
        model.train()
        optimizer.zero_grad()
        loss, count = segmentation_loss(model(xyz), label, supervised)
        (loss / count).backward()
        optimizer.step()

    return run


def inference(model: nn.Module, xyz: Tensor, *, bfloat16: bool = False) -> Callable[[], object]:
    def run() -> Tensor:
        model.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return model(xyz)

    return run


def job(what: str, model: nn.Module, xyz: Tensor) -> Callable[[], object]:
    if what == "training step":
        return training_step(model, xyz)
    # The plain network stays in float32: the distances it expands have no digits to lose.
    return inference(model, xyz, bfloat16=what == "inference bfloat16" and not isinstance(model, PlainPointNet2))


def largest_difference(xyz: Tensor) -> float:
    """Of the two networks' logits in float64, in training mode (without dropout)."""
    outputs = []
    for model in networks().values():
        model.double().train()
        for module in model.modules():
            if hasattr(module, "p"):
                module.p = 0.0
        with torch.no_grad():
            outputs.append(model(xyz.double()))
    return (outputs[0] - outputs[1]).abs().max().item()


def peak_mebibytes(what: str, name: str, chunks: Path, threads: int) -> float:
    """Resident memory at its peak beyond what there was before, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.cpu_network", "--peak", what, name, "--chunks", str(chunks)]
    output = subprocess.run([*command, "--threads", str(threads)], capture_output=True, text=True, check=True).stdout
    return float(output.splitlines()[-1])


def print_peak(what: str, name: str, xyz: Tensor) -> None:
    run = job(what, networks()[name], xyz)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    for _ in range(2):
        run()
    # Not getrusage's: that begins with the peak of the process which started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) * 1024
    print((peak - pages * resource.getpagesize()) / 2**20)


def gemm_rate(size: int = 2048) -> float:
    """FLOP/s of a large float32 matrix product."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    times = []
    for _ in range(8):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)


def flops(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False, custom_mapping=OPERATORS) as counter:
        run()
    return counter.get_total_flops()


def stages(model: nn.Module, xyz: Tensor) -> dict[str, float]:
    """Milliseconds of each part of inference: the fastest of some calls."""
    model.eval()
    parts = {f"encoder {n + 1}": m for n, m in enumerate(model.encoder)}
    parts |= {f"decoder {len(model.decoder) - n}": m for n, m in enumerate(model.decoder)} | {"head": model.head}
    starts, spent = {}, {}

    def note(name: str) -> None:
        elapsed = 1e3 * (time.perf_counter() - starts[name])
        spent[name] = min(spent.get(name, elapsed), elapsed)

    hooks = []
    for name, part in parts.items():
        hooks.append(part.register_forward_pre_hook(lambda *_, n=name: starts.update({n: time.perf_counter()})))
        hooks.append(part.register_forward_hook(lambda *_, n=name: note(n)))
    with torch.inference_mode():
        for _ in range(5):
            starts["geometry"] = time.perf_counter()
            geometry = model.geometry(xyz)
            note("geometry")
            model(xyz, None, geometry)
    for hook in hooks:
        hook.remove()
    return {name: round(value, 1) for name, value in spent.items()}


def largest_operators(run: Callable[[], object], most: int = 12) -> dict[str, float]:
    """Milliseconds spent in each of PyTorch's operators and ours themselves, the costliest ones."""
    run()
    with profile(activities=[ProfilerActivity.CPU]) as record:
        run()
    rows = sorted(record.key_averages(), key=lambda row: row.self_cpu_time_total, reverse=True)
    return {row.key: round(row.self_cpu_time_total / 1e3, 1) for row in rows[:most]}


def compare(chunks: Path, xyz: Tensor, seconds: float, threads: int) -> dict[str, object]:
    models = networks()
    ours = models["ours"]
    rate = gemm_rate()
    result: dict[str, object] = {"gemm_gflops": round(rate / 1e9), "largest_difference": largest_difference(xyz[:2])}
    for what in WHAT:
        contenders = {name: job(what, copy.deepcopy(model), xyz) for name, model in models.items()}
        times = interleaved(contenders, seconds / len(WHAT), 15)
        peaks = {name: peak_mebibytes(what, name, chunks, threads) for name in models}
        result[what] = {
            "ms": {name: rounded(value) for name, value in times.items()},
            "times_faster": round(times["plain"].median / times["ours"].median, 1),
            "peak_mib": {name: round(value) for name, value in peaks.items()},
            "peak_share": round(peaks["ours"] / peaks["plain"], 2),
        }
        if what != "inference bfloat16":
            floor = 1e3 * flops(contenders["ours"]) / rate
            result[what] |= {"gemm_floor_ms": round(floor), "times_floor": round(times["ours"].median / floor, 2)}
            result[what]["operators_ms"] = largest_operators(contenders["ours"])
    return result | {"inference_stages_ms": stages(ours, xyz)}


def latent_gnn_share(xyz: Tensor, seconds: float) -> dict[str, object]:
    """What LatentGNN's four modules add to a training step, in turns."""
    models = {name: networks(name)[key] for name, key in (("none", "ours"), ("latent_gnn", "latent_gnn"))}
    times = interleaved({name: training_step(model, xyz) for name, model in models.items()}, seconds, 60)
    added = times["latent_gnn"].median / times["none"].median - 1
    return {"ms": {name: rounded(value) for name, value in times.items()}, "added_percent": round(100 * added, 1)}


def rounded(value: Milliseconds) -> dict[str, float]:
    return {"median": round(value.median, 1), "fastest": round(value.fastest, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="folder with train.h5; made of synthetic rooms if not given")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/cpu_network.json"))
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--chunks", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    if arguments.peak:
        print_peak(*arguments.peak, torch.load(arguments.chunks))
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.store is None:
            make_store(Path(folder))
        xyz = real_looking_chunks(SceneStore((arguments.store or Path(folder)) / "train.h5"), arguments.batch)
        chunks = Path(folder) / "chunks.pt"
        torch.save(xyz, chunks)
        distinct = np.mean([len(chunk.unique(dim=0)) / len(chunk) for chunk in xyz])
        result = {"batch": arguments.batch, "points": xyz.shape[1], "distinct_share": round(float(distinct), 3)}
        result |= compare(chunks, xyz, arguments.seconds, arguments.threads)
    result["LatentGNN"] = latent_gnn_share(xyz, arguments.seconds / 3)
    result["machine"] = machine() | {"load_average": round(os.getloadavg()[1], 1)}  # of the last five minutes
    with replacing(arguments.output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

"""Training steps of PointNet++ with and without LatentGNN: time, peak memory, longest kernels; agreement with the CPU.

python -m benchmarks.gpu_train [--output FILE] [--seconds S]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks import gpu_timing, original
from benchmarks.gpu_baseline import Baseline
from benchmarks.gpu_record import Stage
from benchmarks.gpu_steps import Step, batch
from pointseg.config import DataConfig, LatentGNNConfig, LevelConfig, ModelConfig, ScaleConfig, TrainConfig
from pointseg.data.dataset import ChunkDataset, StepSampler, training_loader
from pointseg.models import build_model
from pointseg.scannet.labels import NUM_CLASSES
from pointseg.store import SceneStore

ROOT = Path(__file__).resolve().parents[1]
TINY_LEVELS = tuple(
    LevelConfig(points=n, scales=(ScaleConfig(radius=r, neighbours=8, mlp=(8, 16)),)) for n, r in ((64, 0.2), (16, 0.6))
)
TINY = ModelConfig(levels=TINY_LEVELS, fp_mlps=((16,), (16,)), head=8, latent_gnn=LatentGNNConfig(latent_dims=(4, 2)))


class Networks:
    """The networks that are timed, in their full size or tiny."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.points = stage.size(8192, 256)
        self.config = TINY if stage.rehearse else ModelConfig()

    def make(self, name: str, dropout: float = 0.5) -> nn.Module:
        torch.manual_seed(0)
        config = replace(self.config, dropout=dropout, context="latent_gnn" if name == "latent_gnn" else "none")
        model = Baseline(NUM_CLASSES, config) if name == "original" else build_model(config, NUM_CLASSES)
        return model.to(self.stage.device)

    def step(self, name: str, B: int, precision: str, mode: str = "eager") -> Step:
        xyz, label = batch(self.stage.size(B, 2), self.points, self.stage.device)
        # The compiler proper takes a minute a network on the CPU: rehearsed without its last stage.
        compiler = ("aot_eager" if self.stage.rehearse else "inductor") if "compiled" in mode else ""
        return Step(self.make(name), xyz, label, precision, compiler=compiler, ahead="geometry given" in mode)


def time_step(networks: Networks, name: str, B: int, precision: str, mode: str) -> dict:
    stage = networks.stage
    reset_memory(stage)
    step = networks.step(name, B, precision, mode)
    began = time.monotonic()
    run = step.captured() if "graph" in mode else step
    losses = [run().item() for _ in range(3)]
    ready = time.monotonic() - began
    calls = stage.size(5, 1)
    times = sorted(gpu_timing.milliseconds(run, calls) for _ in range(stage.size(7, 1)))
    result = {"ms": round(times[len(times) // 2], 4), "ms_range": [round(times[0], 4), round(times[-1], 4)]}
    result |= {"losses": losses, "peak_GB": peak_memory_GB(stage), "first_steps_s": round(ready, 2)}
    print(f"    {result['ms']:.3f} ms a step, {result['peak_GB']} GB", flush=True)
    return result


def time_geometry(networks: Networks, B: int) -> dict:
    step = networks.step("ssg", B, "float32")
    run = gpu_timing.captured(lambda: step.model.geometry(step.xyz))
    return {"ms": round(min(gpu_timing.milliseconds(run, networks.stage.size(10, 1)) for _ in range(3)), 4)}


def longest_kernels(networks: Networks, name: str, B: int, precision: str) -> dict:
    """The 25 kernels with the most time of an eager step, the mean of three; prints ten of them."""
    step = networks.step(name, B, precision)
    for _ in range(2):
        step()
    networks.stage.synchronize()
    cuda = networks.stage.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as profiler:
        for _ in range(3):
            step()
        networks.stage.synchronize()

    def milliseconds(event) -> float:
        return (event.self_device_time_total if cuda else event.self_cpu_time_total) / 3e3

    events = sorted(profiler.key_averages(), key=milliseconds, reverse=True)
    rows = [{"kernel": e.key[:160], "ms": round(milliseconds(e), 4), "calls": e.count / 3} for e in events[:25]]
    for row in rows[:10]:
        print(f"    {row['ms']:8.3f} ms {row['calls']:6.1f} calls  {row['kernel'][:110]}", flush=True)
    return {"all_ms": round(sum(map(milliseconds, events)), 3), "kernels_of_a_step": rows}


def against_cpu(networks: Networks) -> dict:
    """Twenty steps from the same weights on the same chunks, without dropout; rounding grows as they go on."""
    B = networks.stage.size(4, 2)
    curves = []
    for device in (networks.stage.device, torch.device("cpu")):
        xyz, label = batch(B, networks.points, device)
        step = Step(networks.make("latent_gnn", dropout=0.0).to(device), xyz, label, "float32")
        curves.append([round(step().item(), 6) for _ in range(20)])
    differences = [abs(a - b) / b for a, b in zip(*curves, strict=True)]
    # Adam's first steps are the gradients' signs: where a gradient is near 0 rounding decides, and the curves part.
    good = max(differences[:2]) < 1e-3 and max(differences) < 0.05
    return {"ok": good, "device": curves[0], "cpu": curves[1], "relative_differences": differences}


def with_loading(stage: Stage, networks: Networks, B: int) -> dict:
    """Steps fed by loader processes from the store, copied into the graph's tensors."""
    B = stage.size(B, 2)
    workers = stage.size(max(1, (os.cpu_count() or 2) - 2), 0)
    data = DataConfig(workers=workers, num_points=networks.points, chunks_per_scene=64)
    store = SceneStore(stage.store / "train.h5")
    dataset = ChunkDataset(store, data, seed=0)
    steps = stage.size(400 if B <= 16 else 150, 3)
    sampler = StepSampler(dataset, TrainConfig(batch_size=B), 0, steps, rank=0, world_size=1)
    step = networks.step("latent_gnn", B, "bfloat16")
    run = step.captured()
    began, done, waited = 0.0, 0, 0.0
    before = time.monotonic()
    for count, loaded in enumerate(training_loader(dataset, sampler, pin_memory=not stage.rehearse)):
        if count == min(20, steps - 1):  # the loader's processes have started
            stage.synchronize()
            began, done, waited, before = time.monotonic(), 0, 0.0, time.monotonic()
        waited += time.monotonic() - before
        step.xyz.copy_(loaded["xyz"], non_blocking=True)
        step.supervised.copy_(loaded["inside"] & (loaded["label"] < NUM_CLASSES), non_blocking=True)
        step.label.copy_(loaded["label"].clamp(max=NUM_CLASSES - 1), non_blocking=True)
        run()
        done += 1
        before = time.monotonic()
        if time.monotonic() - began > 8 and began:
            break
    stage.synchronize()
    seconds = time.monotonic() - began
    rate = done * B / seconds
    result = {"chunks_per_second": round(rate, 1), "ms_a_step": round(1e3 * seconds / done, 3), "workers": workers}
    return result | {"waiting_share": round(waited / seconds, 3), "paper_minutes": round(200 * 1201 / rate / 60, 2)}


def run_module(*command: str) -> None:
    subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=True, timeout=90)


def torchrun(stage: Stage) -> None:
    """One process, NCCL (gloo on the CPU)."""
    options = ["--standalone", "--nproc_per_node=1", "-m", "benchmarks.gpu_nccl"]
    run_module("torch.distributed.run", *options, *(["--rehearse"] if stage.rehearse else []))


def reset_memory(stage: Stage) -> None:
    if stage.device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory_GB(stage: Stage) -> float:
    return round(torch.cuda.max_memory_allocated() / 1e9, 3) if stage.device.type == "cuda" else 0.0


def cases(stage: Stage, networks: Networks) -> list[tuple[str, Callable[[], dict | None], float]]:
    """Name, function and the seconds it needs, the most wanted first."""
    found: list[tuple[str, Callable[[], dict | None], float]] = []

    def steps(mode: str, names: tuple[str, ...], sizes: tuple[int, ...], precisions: tuple[str, ...], s: float) -> None:
        for B in sizes:
            for precision in precisions:
                for name in names:
                    label = f"{name}, B = {B}, {precision}, {mode}"
                    found.append((label, partial(time_step, networks, name, B, precision, mode), s))

    both = ("ssg", "latent_gnn")
    sizes = (16, 64)[: stage.size(2, 1)]
    steps("graph", both, sizes, ("bfloat16",), 3)
    steps("graph, geometry given", both, sizes, ("bfloat16",), 3)
    steps("eager", ("original", *both), sizes, ("bfloat16",), 3)
    found.append(("loss against the CPU's", lambda: against_cpu(networks), 15))
    for B in sizes:
        name = f"longest kernels, latent_gnn, B = {B}, bfloat16"
        found.append((name, lambda B=B: longest_kernels(networks, "latent_gnn", B, "bfloat16"), 5))
        found.append((f"geometry, B = {B}", lambda B=B: time_geometry(networks, B), 2))
    if stage.store:
        for B in sizes:
            found.append((f"with loading, B = {B}", lambda B=B: with_loading(stage, networks, B), 15))
    found.append(("torchrun, one process", lambda: torchrun(stage), 15))
    steps("compiled, graph", both[:1], sizes[-1:], ("bfloat16",), 45)
    steps("graph", both, sizes, ("float32", "tf32"), 3)
    steps("eager", ("original", *both), sizes, ("float32",), 3)
    steps("compiled, graph", both[1:], sizes[-1:], ("bfloat16",), 45)
    steps("compiled", ("original", *both), sizes[-1:], ("bfloat16",), 45)
    steps("compiled, graph", both, sizes[:1], ("bfloat16",), 45)
    return found


def main() -> None:
    stage = Stage(__doc__, "train.json")
    if stage.rehearse:
        original.load_stand_ins()
    else:
        original.load(stage.work / "lib" / original.LIBRARY)
    networks = Networks(stage)
    for name, run, needs_s in cases(stage, networks):
        stage.case(name, run, needs_s=0 if stage.rehearse else needs_s)
    for row in stage.record["cases"]:
        if "ms" in row:
            print(f"{row['name']:44}{row['ms']:10.3f} ms {row.get('peak_GB', '')}")
    stage.finish()


if __name__ == "__main__":
    main()

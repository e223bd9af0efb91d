"""As many epochs of the paper's schedule (1201 chunks each, batch 64) as fit into the time; the 200 are extrapolated.

python -m benchmarks.gpu_paper --store FOLDER [--output FILE] [--seconds S]

`pointseg train` itself, on synthetic rooms in place of ScanNet's 1201 scans: chunks are drawn, loaded and turned.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.gpu_record import Stage
from pointseg.store import SceneStore

ROOT = Path(__file__).resolve().parents[1]
EPOCHS, CHUNKS, BATCH = 200, 1201, 64
ENOUGH_S = 25  # of a variant: ten to start and to load 1201 scenes, the rest to train
CONFIG = "configs/pointnet2_ssg_latentgnn.yaml"
GRAPH = {"train.precision": "bfloat16", "train.cuda_graph": True}
VARIANTS = {  # settings that leave the schedule as it is
    "bfloat16, step as one graph, chunks cut on the device": {**GRAPH, "data.device_chunks": True},
    "bfloat16, step as one graph": GRAPH,
    "bfloat16": {"train.precision": "bfloat16"},
    "float32": {"train.precision": "float32"},
}


def train(stage: Stage, variant: str, seconds: float) -> dict:
    run = stage.work / "runs" / variant.replace(", ", "_").replace(" ", "_")
    shutil.rmtree(run, ignore_errors=True)
    scenes = len(SceneStore(stage.store / "train.h5"))
    settings = {
        "data.store": stage.store,
        "data.chunks_per_scene": -(-CHUNKS // scenes),
        "data.workers": stage.size(max(1, (os.cpu_count() or 2) - 2), 0),
        "data.num_points": stage.size(8192, 1024),
        "train.batch_size": stage.size(BATCH, 2),
        "train.evaluate_every": 0,
        "train.log_every": stage.size(10, 1),
        **VARIANTS[variant],
    }
    if stage.rehearse:
        settings.pop("train.cuda_graph", None)  # of a GPU only
    command = [sys.executable, "-m", "pointseg", "train", "--config", CONFIG, "--out", str(run)]
    command += [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    if stage.rehearse:
        command += ["--stop-after", "3"]
    errors = run.with_suffix(".stderr")
    errors.parent.mkdir(parents=True, exist_ok=True)
    with errors.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stderr=file)
    end, shown = time.monotonic() + seconds, 0
    while process.poll() is None and time.monotonic() < end:
        time.sleep(5 if not stage.rehearse else 0.1)
        lines = read(run)
        if lines and lines[-1]["step"] != shown:
            last = lines[-1]
            shown = last["step"]
            print(f"step {last['step']}: loss {last['loss']:.3f}, {last['chunks_per_second']:.1f} chunks/s", flush=True)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)  # finishes its step, writes a checkpoint
        process.wait(timeout=30)
    elif process.returncode != 0:
        raise RuntimeError(f"pointseg train ended with {process.returncode}: {errors.read_text()[-1500:]}")
    lines = read(run)
    if len(lines) < 2:
        raise RuntimeError(f"no steps in {seconds:.0f} s: {errors.read_text()[-1500:]}")
    rates = sorted(line["chunks_per_second"] for line in lines[1:])  # the first window holds the start
    rate = rates[len(rates) // 2]
    done = lines[-1]["samples"] / CHUNKS
    print(
        f"{done:.2f} epochs; {EPOCHS} would take {EPOCHS * CHUNKS / rate / 60:.1f} minutes (extrapolated)", flush=True
    )
    return {
        "epochs_done": round(done, 3),
        "chunks_per_second": rate,
        "waiting_share": lines[-1]["data_wait"],
        "loss": [lines[0]["loss"], lines[-1]["loss"]],
        "extrapolated_minutes_for_200_epochs": round(EPOCHS * CHUNKS / rate / 60, 2),
    }


def read(run: Path) -> list[dict]:
    file = run / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines() if "loss" in line] if file.exists() else []


def main() -> None:
    stage = Stage(__doc__, "paper.json")
    if stage.store is None:
        raise SystemExit("gpu_paper: --store FOLDER is needed, to train on")
    fit = max(1, int(stage.left() / ENOUGH_S))  # the first ones, which are the most wanted
    variants = list(VARIANTS)[: stage.size(fit, 1)]
    share = max(5.0, stage.left() / len(variants) - 4)
    for variant in variants:
        stage.case(variant, lambda variant=variant: train(stage, variant, share))
    stage.finish()


if __name__ == "__main__":
    main()

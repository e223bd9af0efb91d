"""`pointseg demo`: every stage of the project in a row, on synthetic rooms."""

from __future__ import annotations

import time
from pathlib import Path

from pointseg.config import Config
from pointseg.distributed import distributed_context
from pointseg.evaluation.evaluate import evaluate_run, format_table
from pointseg.report.report import report
from pointseg.rundir import RunDirectory
from pointseg.scannet.preprocess import preprocess
from pointseg.scannet.synthetic import write_dataset
from pointseg.training.train import train


def run_demo(
    config: Config, out: Path, data: Path, scenes: int, seed: int, device: str, *, progress: bool = True
) -> None:
    """Rooms, store, training, evaluation, report; what is done already is not done again.

    Args:
        config: its `data.store` is `data / "store"`.
        out: run directory. data: rooms and store.
        scenes: rooms, a quarter of them for evaluation. seed: of the rooms.
        device: as `distributed_context` takes it. progress: draw bars.
    """
    started = time.perf_counter()
    run = RunDirectory(out)
    _say(f"1/5 synthetic rooms in ScanNet's layout: {data / 'scannet'}")
    val_scenes = scenes // 4
    write_dataset(data / "scannet", scenes=scenes - val_scenes, val_scenes=val_scenes, seed=seed, progress=progress)
    _say(f"2/5 preprocessing: {config.data.store}")
    print(preprocess(data / "scannet", Path(config.data.store), progress=progress).describe())
    with distributed_context(device) as context:
        _say(f"3/5 training PointNet++ with context '{config.model.context}' on {context.device}: {out}")
        train(config, run, context, resume=run.checkpoint_file.exists(), progress=progress)
        _say(f"4/5 evaluation of the {config.evaluate.split} rooms, which training never saw")
        result = evaluate_run(run, context, progress=progress)
    _say("5/5 report")
    page = report(out)[1]
    print(f"\nSynthetic rooms, not ScanNet:\n{format_table(result)}\n")
    print(f"Done in {(time.perf_counter() - started) / 60:.1f} minutes. Report: {page}")


def _say(line: str) -> None:
    print(f"\n[{line}]", flush=True)

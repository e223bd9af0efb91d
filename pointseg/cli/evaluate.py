"""`pointseg evaluate`: scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from pointseg.cli.arguments import Device, Overrides, Quiet


def evaluate(
    run: Positional[Path],
    /,
    *,
    checkpoint: Annotated[
        Path | None, arg(metavar="FILE", help_behavior_hint="(default: RUN/checkpoints/last.pt)")
    ] = None,
    export: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: none)")] = None,
    overrides: Overrides = (),
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Score a trained network on whole scenes: pixel, voxel and class accuracy, IoU, per class and per scene.

    Args:
        run: Run directory; gets eval.json, eval_scenes.csv and eval_counts.json.
        checkpoint: Checkpoint to score.
        export: Folder for predictions in the layout of ScanNet's benchmark, with the zip to upload; for its test scans
            add --set evaluate.split=test.
        device: auto takes CUDA where there is any.
    """
    from pointseg.distributed import distributed_context
    from pointseg.evaluation.evaluate import evaluate_run, format_table
    from pointseg.rundir import RunDirectory

    with distributed_context(device) as context:
        result = evaluate_run(
            RunDirectory(run),
            context,
            checkpoint=checkpoint,
            overrides=overrides,
            export=export,
            progress=not quiet,
        )
        if context.is_main and result is not None:
            print(format_table(result))
        if context.is_main and export is not None:
            checked = "" if result is None else "; scored once more, the files give benchmark's mIoU"
            print(f"predictions: {export}{checked}")

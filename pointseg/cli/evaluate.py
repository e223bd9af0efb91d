"""`pointseg evaluate`: scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from pointseg.cli.arguments import Device, Overrides


def evaluate(
    run: Positional[Path],
    /,
    *,
    checkpoint: Annotated[
        Path | None, arg(metavar="FILE", help_behavior_hint="(default: RUN/checkpoints/last.pt)")
    ] = None,
    overrides: Overrides = (),
    device: Device = "auto",
) -> None:
    """Score a trained network on whole scenes: pixel, voxel and class accuracy, IoU, per class and per scene.

    Args:
        run: Run directory; gets eval.json.
        checkpoint: Checkpoint to score.
        device: auto takes CUDA where there is any.
    """
    from pointseg.distributed import distributed_context
    from pointseg.evaluation.evaluate import evaluate_run, format_table
    from pointseg.rundir import RunDirectory

    with distributed_context(device) as context:
        result = evaluate_run(RunDirectory(run), context, checkpoint=checkpoint, overrides=overrides)
        if context.is_main:
            print(format_table(result))

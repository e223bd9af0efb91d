"""`pointseg train`: training."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from pointseg.cli.arguments import Device, Overrides, Quiet, configuration
from pointseg.errors import InputError


def train(
    *,
    config: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None,
    out: Annotated[Path | None, arg(metavar="RUN", help_behavior_hint="(default: runs/NAME OF THE CONFIG)")] = None,
    overrides: Overrides = (),
    resume: bool = False,
    device: Device = "auto",
    stop_after: Annotated[int | None, arg(metavar="STEP", help_behavior_hint="")] = None,
    quiet: Quiet = False,
) -> int:
    """Train a network; under torchrun, on several processes.

    Ctrl-C, SIGTERM and SIGUSR1 finish the step under way and write a checkpoint; --resume goes on from it and gives the
    same weights as a run that was never stopped. The status is then 130 after Ctrl-C and 75 after the other two; a
    second signal ends the run at once.

    Args:
        config: YAML file of what differs from the defaults (`pointseg config` prints them), or the name of one of the
            package's, as pointnet2_ssg; not with --resume.
        out: Run directory.
        resume: Go on with the run in --out, with its own configuration.
        device: auto takes CUDA where there is any.
        stop_after: Stop after this many steps of the run, with a checkpoint.
    """
    from pointseg.distributed import distributed_context
    from pointseg.rundir import RunDirectory
    from pointseg.training.faults import EXIT_PREEMPTED, Interrupted
    from pointseg.training.train import train as run_training

    if out is None and config is None:
        raise InputError("train: --config FILE is needed (or --out RUN --resume)")
    run = RunDirectory(out or Path("runs") / config.stem)
    if _restarted() and run.checkpoint_file.exists():
        config, resume = None, True
    settings = configuration(config, overrides, run if resume else None)
    with distributed_context(device) as context:
        try:
            pace = run_training(settings, run, context, resume=resume, stop_after=stop_after, progress=not quiet)
        except Interrupted as stop:
            if context.is_main:
                again = f"pointseg train --out {run.path} --resume"
                print(f"stopped with a checkpoint; go on with: {again}", file=sys.stderr)
            if stop.preempted:
                return EXIT_PREEMPTED
            raise
        if context.is_main:
            print(f"training: {pace.describe()}\ncheckpoint: {run.checkpoint_file}")
    return 0


def _restarted() -> bool:
    """Did torchrun --max-restarts start this process again, with the arguments of the first time?"""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0

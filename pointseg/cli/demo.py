"""`pointseg demo`: everything in a row."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from pointseg.cli.arguments import Device, Overrides, Quiet, configuration
from pointseg.errors import InputError


def demo(
    *,
    out: Path = Path("runs/demo"),
    data: Path = Path("data/demo"),
    config: Annotated[Path, arg(metavar="FILE")] = Path("configs/demo.yaml"),
    overrides: Overrides = (),
    scenes: int = 32,
    seed: int = 1,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """The whole job on synthetic rooms: write, preprocess, train, evaluate, report. Some four minutes on 2 cores.

    Args:
        out: Run directory; a run that was stopped goes on.
        data: Folder for the rooms and the store.
        config: The experiment.
        scenes: Rooms, 4 or more; a quarter of them is only evaluated on.
        seed: Of the rooms; training has its own, train.seed.
        device: auto takes CUDA where there is any.
    """
    from pointseg.demo import run_demo

    if scenes < 4:
        raise InputError(f"scenes must be 4 or more, so that a quarter of them can be evaluated on, got {scenes}")
    settings = configuration(config, (f"data.store={data / 'store'}", *overrides))
    run_demo(settings, out, data, scenes, seed, device, progress=not quiet)

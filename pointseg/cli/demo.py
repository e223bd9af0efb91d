"""`pointseg demo`: everything in a row."""

from __future__ import annotations

from pathlib import Path

from pointseg.cli.arguments import Device, Overrides, Quiet, configuration


def demo(
    *,
    out: Path = Path("runs/demo"),
    data: Path = Path("data/demo"),
    config: Path = Path("configs/demo.yaml"),
    overrides: Overrides = (),
    scenes: int = 32,
    seed: int = 1,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """The whole job on synthetic rooms: write, preprocess, train, evaluate, report. Some seven minutes on 2 cores.

    Args:
        out: Run directory; a run that was stopped goes on.
        data: Folder for the rooms and the store.
        config: The experiment.
        scenes: Rooms; a quarter of them is only evaluated on.
        seed: Of the rooms; training has its own, train.seed.
        device: auto takes CUDA where there is any.
    """
    from pointseg.demo import run_demo

    settings = configuration(config, (f"data.store={data / 'store'}", *overrides))
    run_demo(settings, out, data, scenes, seed, device, progress=not quiet)

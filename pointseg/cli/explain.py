"""`pointseg explain`: a look into a trained LatentGNN."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from pointseg.cli.arguments import Device, Quiet


def explain(
    run: Positional[Path],
    file: Annotated[
        Positional[Path | None], arg(help_behavior_hint="(default: a room of the evaluation split)")
    ] = None,
    /,
    *,
    out: Annotated[Path | None, arg(aliases=["-o"], metavar="DIR", help_behavior_hint="(default: RUN/explain)")] = None,
    scene: Annotated[str | None, arg(metavar="SCAN", help_behavior_hint="(default: the first)")] = None,
    up: Literal["auto", "x", "-x", "y", "-y", "z", "-z"] = "auto",
    scale: Annotated[float | None, arg(metavar="METRES", help_behavior_hint="(default: guess and say so)")] = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Pictures of what LatentGNN's nodes collect and to whom points listen, and its learned scales.

    Args:
        run: Run directory of a network with LatentGNN.
        file: A scan of one's own.
        out: Folder for nodes.png, affinity.png, explain.json and explain.html.
        scene: Which room of the evaluation split.
        up: The file's axis that points up; auto guesses and says so.
        scale: Metres per unit of the file.
        device: auto takes CUDA where there is any.
    """
    from pointseg.distributed import distributed_context
    from pointseg.explain import explain_run
    from pointseg.rundir import RunDirectory

    with distributed_context(device) as context:
        page = explain_run(
            RunDirectory(run),
            file,
            out or run / "explain",
            scene=scene,
            up=up,
            scale=scale,
            device=context.device,
            progress=not quiet,
        )
    print(page)

"""`pointseg predict`: labels for one's own points."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from pointseg.cli.arguments import Device


def predict(
    run: Positional[Path],
    file: Positional[Path],
    /,
    *,
    out: Annotated[Path, arg(aliases=["-o"])],
    up: Literal["auto", "x", "-x", "y", "-y", "z", "-z"] = "auto",
    scale: Annotated[float | None, arg(metavar="METRES", help_behavior_hint="(default: guess and say so)")] = None,
    device: Device = "auto",
) -> None:
    """Label a point cloud or mesh of one's own: a label, a probability and a colour for every point, in file order.

    Args:
        run: Run directory with a checkpoint.
        file: PLY or PCD file (also XYZ/TXT and NPY).
        out: PLY file to write; faces are kept.
        up: The file's axis that points up; auto guesses and says so.
        scale: Metres per unit of the file.
        device: auto takes CUDA where there is any.
    """
    from pointseg.distributed import distributed_context
    from pointseg.prediction.predict import predict_file
    from pointseg.rundir import RunDirectory

    with distributed_context(device) as context:
        print(predict_file(RunDirectory(run), file, out, up=up, scale=scale, device=context.device))

"""`pointseg predict`: labels for one's own points."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from pointseg.cli.arguments import Device
from pointseg.errors import InputError


def predict(
    paths: Annotated[Positional[tuple[Path, ...]], arg(metavar="[RUN] FILE")],
    /,
    *,
    out: Annotated[Path, arg(aliases=["-o"])],
    up: Literal["auto", "x", "-x", "y", "-y", "z", "-z"] = "auto",
    scale: Annotated[float | None, arg(metavar="METRES", help_behavior_hint="(default: guess and say so)")] = None,
    device: Device = "auto",
) -> None:
    """Label a point cloud or mesh of one's own: a label, a probability and a colour for every point, in file order.

    Args:
        paths: A run directory with a checkpoint, then a PLY or PCD file (also XYZ/TXT and NPY). Without a run the
            network that ships with the package is used, which was trained on synthetic rooms.
        out: PLY file to write; faces are kept.
        up: The file's axis that points up; auto guesses and says so.
        scale: Metres per unit of the file.
        device: auto takes CUDA where there is any.
    """
    from pointseg.distributed import distributed_context
    from pointseg.prediction.predict import predict_file
    from pointseg.prediction.segmenter import load_pretrained, load_run

    run, file = (paths[0], paths[1]) if len(paths) == 2 else (None, paths[0])
    if len(paths) > 2 or (run is None and file.is_dir()):
        raise InputError(f"predict: expected [RUN] FILE, got {' '.join(map(str, paths))}")
    with distributed_context(device) as context:
        segmenter = load_run(run, device=str(context.device)) if run else load_pretrained(device=str(context.device))
        if run is None:
            print(f"network: {segmenter.source}")
        print(predict_file(segmenter, file, out, up=up, scale=scale))

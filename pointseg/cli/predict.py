"""`pointseg predict`: labels for one's own points."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from pointseg.cli.arguments import Device, Quiet
from pointseg.errors import InputError


def predict(
    paths: Annotated[Positional[tuple[Path, ...]], arg(metavar="[RUN] FILE...")],
    /,
    *,
    out: Annotated[Path, arg(aliases=["-o"])],
    up: Literal["auto", "x", "-x", "y", "-y", "z", "-z"] = "auto",
    scale: Annotated[float | None, arg(metavar="METRES", help_behavior_hint="(default: guess and say so)")] = None,
    checkpoint: Annotated[Path | None, arg(help_behavior_hint="(default: the run's last)")] = None,
    votes: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the run's evaluate.votes)")] = None,
    smooth: Annotated[float | None, arg(metavar="METRES", help_behavior_hint="(default: off)")] = None,
    top_k: Annotated[int, arg(metavar="K")] = 1,
    classes: Annotated[str, arg(metavar="NAME,NAME...", help_behavior_hint="(default: all)")] = "",
    keep_colors: bool = False,
    picture: Annotated[Path | None, arg(metavar="FILE.png", help_behavior_hint="(default: none)")] = None,
    force: bool = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> int:
    """Label point clouds or meshes of one's own: a label, a probability and a colour for every point, in file order.

    Args:
        paths: A run directory with a checkpoint, then files or folders: PLY, PCD, XYZ/TXT/CSV, NPY/NPZ; with extra
            packages LAS/LAZ, E57, OBJ, STL and GLB. Without a run the network that ships with the package is used,
            which was trained on synthetic rooms.
        out: File to write, in the format of its name; a folder for several files or a folder.
        up: The file's axis that points up; auto guesses and says so.
        scale: Metres per unit of the file.
        checkpoint: Weights of the run.
        votes: Passes over each file, each with other columns from another angle; takes N times as long.
        smooth: Give each point the class that most of its neighbours within METRES have.
        top_k: Classes a point, the likeliest first.
        classes: Label only points of these classes; others get none and keep their colours.
        keep_colors: Keep the colours of the file; otherwise points get those of their classes.
        picture: Write a view of the result, of one file.
        force: Overwrite files that exist.
        device: auto takes CUDA where there is any.
    """
    from pointseg.distributed import distributed_context
    from pointseg.prediction.jobs import check_folder, plan
    from pointseg.prediction.predict import Options, predict_file
    from pointseg.prediction.segmenter import load_pretrained, load_run

    run, sources = (paths[0], paths[1:]) if paths and (paths[0] / "config.yaml").is_file() else (None, paths)
    if not sources:
        raise InputError(f"predict: expected [RUN] FILE..., got {' '.join(map(str, paths)) or 'nothing'}")
    if checkpoint is not None and run is None:
        raise InputError("checkpoint: expected a run directory before the files, got none")
    names = tuple(name.strip() for name in classes.split(",") if name.strip())
    options = Options(
        up=up, scale=scale, votes=votes, smooth=smooth, top_k=top_k, classes=names, keep_colors=keep_colors
    )
    jobs = plan(sources, out, force=force)
    if picture is not None:
        if len(jobs) > 1 or picture.suffix.lower() != ".png":
            raise InputError(f"picture: expected one file to read and a name ending in .png, got {picture}")
        if picture.exists() and not force:
            raise InputError(f"picture: {picture} exists; --force overwrites it")
        check_folder(picture.parent)
    failed = 0
    with distributed_context(device) as context:
        place = str(context.device)
        segmenter = load_run(run, checkpoint=checkpoint, device=place) if run else load_pretrained(device=place)
        if run is None:
            print(f"network: {segmenter.source}")
        for source, target in jobs:
            try:
                print(predict_file(segmenter, source, target, options, picture=picture, progress=not quiet))
            except InputError as error:
                if len(jobs) == 1:
                    raise
                print(f"pointseg: {error}", file=sys.stderr)
                failed += 1
    if failed:
        raise InputError(f"predict: {failed} of {len(jobs)} files could not be labelled")
    return 0

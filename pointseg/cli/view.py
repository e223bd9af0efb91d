"""`pointseg view`: point clouds and evaluated scenes in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from pointseg.errors import InputError


def view(
    paths: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN | FILE...")],
    /,
    *,
    port: int = 8050,
    open: bool = False,
    points: int = 5_000_000,
    up: Literal["auto", "x", "-x", "y", "-y", "z", "-z"] = "auto",
    scale: Annotated[float | None, arg(metavar="METRES", help_behavior_hint="(default: guess and say so)")] = None,
) -> None:
    """Look at point clouds, or at the scenes of an evaluated run, in 3D: serves a page to this machine's browser.

    Args:
        paths: An evaluated run directory, or files as `pointseg predict` reads and writes them; of their columns
            train_id is shown as prediction, a label alone as truth (NYU40, as in ScanNet's files).
        port: Where the page is: http://127.0.0.1:PORT; 0 takes any that is free.
        open: Open the page in the browser.
        points: Shown of a file at most, thinned evenly; of a run every point that it keeps is.
        up: The files' axis that points up; auto guesses and says so.
        scale: Metres per unit of the files.
    """
    import webbrowser
    from functools import cache, partial

    from pointseg.prediction.shown_file import file_points
    from pointseg.report.view import ViewedScene, run_scenes, view_server
    from pointseg.rundir import RunDirectory

    if not paths:
        raise InputError("view: expected an evaluated run or files, got nothing")
    if points < 1:
        raise InputError(f"points: expected 1 or more, got {points}")
    if paths[0].is_dir():
        if len(paths) > 1:
            raise InputError(f"view: expected one run directory or files, got {' '.join(map(str, paths))}")
        scenes = run_scenes(RunDirectory(paths[0]))
    else:
        for path in paths:
            if not path.is_file():  # better said here than in the browser
                raise InputError(f"view: expected an evaluated run or files, got {path}, which does not exist")
        # The first file is read before the page is there, the others when somebody looks at them.
        load = [cache(partial(file_points, path, points, up=up, scale=scale)) for path in paths]
        load[0]()
        scenes = [ViewedScene(path.name, "", one) for path, one in zip(paths, load, strict=True)]
    with view_server(paths[0].resolve().name, scenes, port) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        print(f"{address} (Ctrl-C ends it)", flush=True)
        if open:
            webbrowser.open(address)
        server.serve_forever()

"""`pointseg synth`: rooms in ScanNet's layout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from pointseg.cli.arguments import Quiet


def synth(
    out: Positional[Path],
    /,
    *,
    set_: Annotated[str | None, arg(name="set", help_behavior_hint="(default: --scenes and --test-scenes say)")] = None,
    scenes: int = 32,
    test_scenes: int = 0,
    seed: int = 0,
    density: Annotated[float | None, arg(help_behavior_hint="(default: about ScanNet's)")] = None,
    workers: Annotated[int | None, arg(help_behavior_hint="(default: all cores)")] = None,
    quiet: Quiet = False,
) -> None:
    """Write synthetic rooms in ScanNet's own folder layout. Run again, it goes on where it was stopped.

    Args:
        out: Folder to write; gets scans/, scannetv2-labels.combined.tsv and, with test scenes, scans_test/.
        set_: rooms-mini (12 sparse scans, for tests), rooms-100, or rooms-1513 (ScanNet's 1201 + 312 scan ids).
        scenes: Labelled rooms; every fourth takes an id of ScanNet's validation spaces, so 4 or more give a val split.
        test_scenes: Rooms without labels, as in ScanNet's test split.
        seed: The same seed gives the same files.
        density: Vertices per square metre of surface.
        workers: Processes; 0 works in this one.
    """
    from dataclasses import replace

    from pointseg.scannet.synthetic import DEFAULT_DENSITY, room_set, write_dataset, write_set

    if workers is None:
        workers = len(os.sched_getaffinity(0))
    if set_ is not None:
        rooms = room_set(set_)
        rooms = rooms if density is None else replace(rooms, density=density)
        write_set(out, rooms, seed=seed, workers=workers, progress=not quiet)
        return
    val_scenes = scenes // 4
    write_dataset(
        out,
        scenes=scenes - val_scenes,
        val_scenes=val_scenes,
        test_scenes=test_scenes,
        seed=seed,
        density=DEFAULT_DENSITY if density is None else density,
        workers=workers,
        progress=not quiet,
    )

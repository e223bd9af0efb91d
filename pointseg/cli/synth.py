"""`pointseg synth`: rooms in ScanNet's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


def synth(
    out: Positional[Path],
    /,
    *,
    scenes: int = 32,
    test_scenes: int = 0,
    seed: int = 0,
    density: Annotated[float | None, arg(help_behavior_hint="(default: about ScanNet's)")] = None,
    workers: int = 0,
) -> None:
    """Write synthetic rooms in ScanNet's own folder layout.

    Args:
        out: Folder to write; gets scans/, scannetv2-labels.combined.tsv and, with test scenes, scans_test/.
        scenes: Labelled rooms; every fourth takes an id of ScanNet's validation spaces, so 4 or more give a val split.
        test_scenes: Rooms without labels, as in ScanNet's test split.
        seed: The same seed gives the same files.
        density: Vertices per square metre of surface.
        workers: Processes; 0 works in this one.
    """
    from pointseg.scannet.synthetic import DEFAULT_DENSITY, write_dataset

    val_scenes = scenes // 4
    write_dataset(
        out,
        scenes=scenes - val_scenes,
        val_scenes=val_scenes,
        test_scenes=test_scenes,
        seed=seed,
        density=DEFAULT_DENSITY if density is None else density,
        workers=workers,
    )

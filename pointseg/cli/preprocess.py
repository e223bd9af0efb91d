"""`pointseg preprocess`: scans to stores."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from pointseg.cli.arguments import Split


def preprocess(
    scans: Positional[Path],
    store: Positional[Path],
    /,
    *,
    splits: tuple[Split, ...] = ("train", "val", "test"),
    align: bool = True,
    scan_list: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None,
    workers: int = 0,
    overwrite: bool = False,
) -> int:
    """Read ScanNet scans (real or synthetic) into one HDF5 store per split.

    A scan that is broken or incomplete is reported, the others are kept, and the exit status is 2.

    Args:
        scans: ScanNet's folder (with scans/ and perhaps scans_test/) or its scans/ folder.
        store: Folder to write train.h5, val.h5 and test.h5 into.
        splits: Which splits to write; a split without scans is left out.
        align: Turn scenes by the axisAlignment of their <scan id>.txt, where there is one.
        scan_list: Text file with one scan id per line; others are left out.
        workers: Processes; 0 works in this one.
        overwrite: Read every scan again even when the store is up to date.
    """
    from pointseg.scannet.preprocess import preprocess as run

    summary = run(scans, store, splits=splits, align=align, scan_list=scan_list, workers=workers, overwrite=overwrite)
    print(summary.describe())
    for scan_id, reason in summary.failures:
        print(f"pointseg: {scan_id}: {reason}", file=sys.stderr)
    return 2 if summary.failures else 0

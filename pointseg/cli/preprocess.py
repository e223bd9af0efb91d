"""`pointseg preprocess`: scans to stores."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from pointseg.cli.arguments import Quiet, Split


def preprocess(
    scans: Positional[Path],
    store: Positional[Path],
    /,
    *,
    splits: tuple[Split, ...] = ("train", "val", "test"),
    split_version: Literal["v2", "v1"] = "v2",
    split_file: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None,
    scan_list: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None,
    shard: Annotated[str | None, arg(metavar="I/N", help_behavior_hint="")] = None,
    align: bool = True,
    normals: bool = False,
    verify: bool = False,
    workers: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: one a core)")] = None,
    overwrite: bool = False,
    quiet: Quiet = False,
) -> int:
    """Read ScanNet scans (real or synthetic) into one HDF5 store per split.

    A scan that is broken or incomplete is reported, the others are kept, and the exit status is 2. Run again, it goes
    on where it was stopped; preprocess_report.json lists every scan, and the files to download again.

    Args:
        scans: ScanNet's folder (with scans/ and perhaps scans_test/) or its scans/ folder.
        store: Folder to write train.h5, val.h5 and test.h5 into.
        splits: Which splits to write; a split without scans is left out.
        split_version: ScanNet's cut into splits: v2's, or v1's, whose test split is v2's val.
        split_file: Text file with a scan id and its split per line, in the place of ScanNet's cut.
        scan_list: Text file with one scan id per line; others are left out.
        shard: Take the I-th of N shares, into STORE/shard-I-of-N; `pointseg store merge` joins them.
        align: Turn scenes by the axisAlignment of their <scan id>.txt, where there is one.
        normals: Store a normal per vertex, the mean of its triangles weighted by area.
        verify: Check labels.ply against segments, groups and table, and whatever else can be wrong.
        workers: Processes that read scans; 0 reads in this one.
        overwrite: Read every scan again even when the store is up to date.
    """
    from pointseg.scannet.preprocess import preprocess as run
    from pointseg.scannet.splits import parse_shard

    summary = run(
        scans,
        store,
        splits=splits,
        split_version=split_version,
        split_file=split_file,
        scan_list=scan_list,
        shard=None if shard is None else parse_shard(shard),
        align=align,
        normals=normals,
        verify=verify,
        workers=workers,
        overwrite=overwrite,
        progress=not quiet,
    )
    print(summary.describe())
    for scan_id, found in summary.findings.items():
        for finding in found:
            print(f"{scan_id}: {finding}")
    for failure in summary.failures:
        print(f"pointseg: {failure.scan_id}: {failure.reason}", file=sys.stderr)
    return 2 if summary.failures else 0

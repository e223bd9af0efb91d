"""`pointseg reproduce`: the paper's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from pointseg.cli.arguments import Overrides
from pointseg.errors import InputError


def reproduce(
    table: Positional[Literal["table3"]],
    /,
    *,
    scale: Literal["smoke", "cpu", "paper"] = "paper",
    store: Annotated[
        Path | None, arg(metavar="STORE", help_behavior_hint="(default: data/store; smoke makes its own)")
    ] = None,
    out: Annotated[Path | None, arg(help_behavior_hint="(default: runs/table3-SCALE)")] = None,
    seeds: int = 3,
    rows: Annotated[tuple[str, ...], arg(metavar="CONFIG...", help_behavior_hint="(default: the paper's four)")] = (),
    all: bool = False,
    chunks: Annotated[int | None, arg(help_behavior_hint="(default: the scale's)")] = None,
    jobs: int = 1,
    overrides: Overrides = (),
) -> None:
    """Train and evaluate the rows of the paper's Table 3, then write the table. Goes on where it was stopped.

    Args:
        table: Which one of the paper's tables.
        scale: paper is the paper's recipe; cpu a tenth of it, some 20 minutes a run on two cores; smoke only tries the
            command.
        store: Folder with train.h5 and val.h5.
        out: Folder for the runs and table3.md, .html, .tex, .json.
        seeds: Runs of each row.
        rows: Names of configurations, e.g. pointnet2_ssg pointcnn; the first is the one the others are compared with.
        all: Also PointNet++ MSG, PointNet, PointCNN and 3DCNN.
        chunks: Training chunks of a run; the decay of the learning rate is shortened in proportion.
        jobs: Runs at a time on each device.
    """
    import dataclasses

    from pointseg.report.comparison import format_tables
    from pointseg.reproduction.rows import OTHER_ROWS, ROWS, SCALES
    from pointseg.reproduction.table3 import paper_table, reproduce_table3

    if seeds < 1:
        raise InputError(f"seeds must be 1 or more, got {seeds}")
    known = {row.config: row for row in (*ROWS, *OTHER_ROWS)}
    for name in rows:
        if name not in known:
            raise InputError(f"rows: expected some of {', '.join(known)}, got {name}")
    chosen = [known[name] for name in rows] if rows else [*ROWS, *(OTHER_ROWS if all else ())]
    taken = dataclasses.replace(SCALES[scale], chunks=chunks) if chunks is not None else SCALES[scale]
    out = out or Path("runs") / f"{table}-{scale}"
    store = store or (out / "data" / "store" if taken.own_rooms else Path("data/store"))
    result = reproduce_table3(chosen, taken, out, store=store, seeds=seeds, overrides=overrides, side_by_side=jobs)
    print(f"\n{format_tables(result, [paper_table(result)], 'text', title='')}\n{out / 'table3.html'}")

"""`pointseg compare`: several runs in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

Format = Literal["auto", "text", "markdown", "latex", "html", "json"]
Chosen = Literal["auto", "every_vertex", "benchmark", "pointnet2", "pointnet2_literal"]


def compare(
    runs: Positional[tuple[Path, ...]],
    /,
    *,
    out: Annotated[Path | None, arg(aliases=["-o"], metavar="FILE", help_behavior_hint="(default: print)")] = None,
    format: Format = "auto",
    protocol: Chosen = "auto",
    resamples: int = 10_000,
) -> None:
    """The paper's table from several evaluated runs: means and ranges over seeds, differences and how sure they are.

    Runs that differ in their seed only are one row; the first run's row is the one the others are compared with.

    Args:
        runs: Evaluated run directories.
        out: File to write: .txt, .md, .tex, .html or .json.
        format: What to write; auto goes by --out's name, text without one.
        protocol: How scenes were scored; auto takes the first that all runs have.
        resamples: Draws of scenes and seeds behind the intervals and p-values.
    """
    from pointseg.evaluation.compare import compare as compare_runs
    from pointseg.report.comparison import format_comparison, format_of, write_comparison

    chosen = format if format != "auto" else format_of(out) if out else "text"
    result = compare_runs(runs, protocol=None if protocol == "auto" else protocol, resamples=resamples)
    if out is None:
        print(format_comparison(result, chosen), end="")
    else:
        write_comparison(result, out, chosen)
        print(out)

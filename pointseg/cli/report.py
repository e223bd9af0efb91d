"""`pointseg report`: pages."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional


def report(run: Positional[Path], /) -> None:
    """Write report.md and report.html, one page that needs nothing else, of a run that was evaluated.

    Args:
        run: Run directory with the eval.json of `pointseg evaluate`.
    """
    from pointseg.report.report import report as write_report

    for path in write_report(run):
        print(path)

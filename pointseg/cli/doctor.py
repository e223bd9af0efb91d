"""`pointseg doctor`: what is installed, and what to mend."""

from __future__ import annotations

from pathlib import Path


def doctor(*, data: Path = Path("data"), runs: Path = Path("runs"), json: bool = False) -> int:
    """Say what is installed, whether every operator works here, and what to mend; exits with 1 if something is wrong.

    Args:
        data: Where scans and stores are looked for.
        runs: Where runs will be written.
        json: Print the findings as JSON.
    """
    from json import dumps

    from pointseg.doctor import as_json, examine, format_findings

    findings = examine(data, runs)
    print(dumps(as_json(findings), indent=1) if json else format_findings(findings))
    problems = sum(finding.state == "problem" for finding in findings)
    if not json:
        print(f"\n{problems} to mend" if problems else "\nall is well")
    return 1 if problems else 0

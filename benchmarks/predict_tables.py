"""The tables of docs/predict.md, from benchmarks/frame_guesses.json and predict_large.json.

python -m benchmarks.predict_tables [--write]
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "predict.md"
_SHARES = ("right_percent", "sure_and_wrong_percent")


def frames() -> str:
    """How often the up axis is guessed right by kind of cloud, and the unit by unit; what was said of real scans."""
    record = json.loads((ROOT / "benchmarks" / "frame_guesses.json").read_text())
    of_unit: dict[str, list[dict[str, float]]] = {"all": [record["unit"].pop("all")]}
    for name, row in record["unit"].items():
        of_unit.setdefault(name.split(", ")[-1], []).append(row)
    rows = [[f"up: {name}", *_shares([row])] for name, row in record["up"].items()]
    rows += [[f"unit: {name}", *_shares(of)] for name, of in of_unit.items()]
    rows += [[f"{name}: {what}", "1", *map(_real, (of["right"], of["sure"] and not of["right"]))]
             for name, guesses in record["real"].items() for what, of in guesses.items()]  # fmt: skip
    return _table(["guess", "clouds", "right, %", "surely wrong, %"], rows)


def large() -> str:
    """Memory and speed of large scans."""
    runs = json.loads((ROOT / "benchmarks" / "predict_large.json").read_text())["runs"]
    rows = [
        [
            f"{run['points'] / 1e6:g}, {run['network']}",
            f"{run['peak_gigabytes']:.1f}",
            f"{run['million_points_a_core_minute']:.1f}" if "core_seconds" in run else "",
        ]
        for run in sorted(runs, key=lambda run: run["points"])
    ]
    return _table(["million points, network", "memory, GB", "million points a minute of one core"], rows)


def _shares(rows: list[dict[str, float]]) -> list[str]:
    clouds = sum(row["clouds"] for row in rows)
    means = (sum(row["clouds"] * row[share] for row in rows) / clouds for share in _SHARES)
    return [str(clouds), *(f"{mean:.1f}" for mean in means)]


def _real(true: bool) -> str:
    return "yes" if true else "no"


def _table(heading: list[str], rows: list[list[Any]]) -> str:
    lines = [heading, ["---", *["--:"] * (len(heading) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def written(page: str) -> str:
    """The page's text with today's tables between their marks."""
    for name, text in (("frames", frames()), ("large", large())):
        marks = rf"(<!-- predict_tables: {name} -->\n).*?(<!-- end -->)"
        page, found = re.subn(marks, lambda match, text=text: match[1] + text + match[2], page, flags=re.S)
        assert found == 1, name
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into docs/predict.md")
    if parser.parse_args().write:
        PAGE.write_text(written(PAGE.read_text()))
    else:
        print(f"{frames()}\n{large()}", end="")


if __name__ == "__main__":
    main()

"""The comparison of runs as text, Markdown, LaTeX, HTML or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pointseg.errors import InputError
from pointseg.report.pages import page_environment
from pointseg.rundir import write_text

_FORMATS = {".txt": "text", ".md": "markdown", ".tex": "latex", ".html": "html", ".json": "json"}
SIGNIFICANT = 0.05


def format_of(path: Path) -> str:
    """The format that a file's name asks for."""
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"out: expected a file named {', '.join(_FORMATS)}, got {path}")
    return _FORMATS[path.suffix.lower()]


def write_comparison(result: dict[str, Any], path: Path, form: str) -> None:
    """Writes what `format_comparison` returns to `path`."""
    if not path.parent.is_dir():
        raise InputError(f"out: expected a folder that exists, got {path.parent}")
    write_text(path, format_comparison(result, form))


def format_comparison(result: dict[str, Any], form: str) -> str:
    """What `pointseg.evaluation.compare.compare` found, in one of the formats of `pointseg compare`; in %."""
    if form == "json":
        return json.dumps(result, indent=1) + "\n"
    return format_tables(result, tables_of(result), form, title=f"Comparison of {len(result['rows'])} networks")


class Table(NamedTuple):
    title: str
    heading: list[str]
    rows: list[list[str]]


def tables_of(result: dict[str, Any]) -> list[Table]:
    """What `pointseg compare` shows."""
    return [Table("Scores", *scores_table(result)), Table("Classes", *classes_table(result))]


def format_tables(result: dict[str, Any], tables: Sequence[Table], form: str, *, title: str) -> str:
    """Tables of a comparison, and what its figures are, in one of the formats but JSON."""
    if form == "text":
        return "\n\n".join(_text(table.heading, table.rows) for table in tables) + f"\n\n{footer(result)}\n"
    if form == "markdown":
        return "\n\n".join(_markdown(table.heading, table.rows) for table in tables) + f"\n\n{footer(result)}\n"
    if form == "latex":
        return "\n\n".join(_latex(table.heading, table.rows) for table in tables) + f"\n\n% {footer(result)}\n"
    template = page_environment().get_template("comparison.html.jinja")
    return template.render(title=title, result=result, tables=tables, footer=footer(result))


def scores_table(result: dict[str, Any], *, differences: bool = True) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: each row's mean (range over seeds), below it the difference to the first row if wanted."""
    columns = list(result["rows"][0]["scores"])
    rows = []
    for row in result["rows"]:
        rows.append([row["name"], str(len(row["seeds"])), *(_spread(row["scores"][column]) for column in columns)])
        if differences and row["difference"] is not None:
            rows.append(["  difference to the first", "", *(_change(row["difference"][column]) for column in columns)])
    return ["", "seeds", *columns], rows


def classes_table(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: the IoU of each class, mean over seeds, one column a row of the comparison."""
    names = [row["name"] for row in result["rows"]]
    classes = list(result["rows"][0]["iou"])
    return ["IoU", *names], [[c, *(_percent(row["iou"][c]) for row in result["rows"])] for c in classes]


def footer(result: dict[str, Any]) -> str:
    """What the figures are, in one line."""
    kind = "synthetic rooms, not ScanNet" if result["synthetic"] else "scenes"
    return (
        f"{result['scenes']} {kind} of split '{result['split']}', protocol {result['protocol']}, in %; mean (lowest to "
        f"highest seed); difference with its 95 % interval over scenes and seeds, * where p < {SIGNIFICANT} "
        f"({result['resamples']} resamples)"
    )


def _spread(score: dict[str, Any]) -> str:
    if score["mean"] is None:
        return "absent"
    if len(score["values"]) == 1:
        return _percent(score["mean"])
    return f"{_percent(score['mean'])} ({_percent(score['low'])} to {_percent(score['high'])})"


def _change(difference: dict[str, Any]) -> str:
    if difference["mean"] is None:
        return "absent"
    text = f"{100 * difference['mean']:+.1f}"
    if difference["interval"] is None:
        return text
    low, high = (f"{100 * edge:+.1f}" for edge in difference["interval"])
    return f"{text} [{low}, {high}]{'*' if difference['p'] < SIGNIFICANT else ''}"


def _percent(share: float | None) -> str:
    return "absent" if share is None else f"{100 * share:.1f}"


def _text(heading: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in [heading, *rows]) for column in range(len(heading))]

    def line(row: list[str]) -> str:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return "  ".join([row[0].ljust(widths[0]), *cells])

    return "\n".join([line(heading), "-" * len(line(heading)), *map(line, rows)])


def _markdown(heading: list[str], rows: list[list[str]]) -> str:
    def line(row: list[str]) -> str:
        return "| " + " | ".join(cell.strip() for cell in row) + " |"

    return "\n".join([line(heading), "|---" + "|--:" * (len(heading) - 1) + "|", *map(line, rows)])


def _latex(heading: list[str], rows: list[list[str]]) -> str:
    """A booktabs tabular."""

    def line(row: list[str]) -> str:
        cells = [cell.replace("  ", r"\quad ").replace("%", r"\%").replace("_", r"\_") for cell in row]
        return " & ".join(cell.replace("*", "$^*$") for cell in cells) + r" \\"

    body = "\n".join([r"\toprule", line(heading), r"\midrule", *map(line, rows), r"\bottomrule"])
    return f"\\begin{{tabular}}{{l{'r' * (len(heading) - 1)}}}\n{body}\n\\end{{tabular}}"

"""Text: numbers in columns, with or without a line of their names; commas, semicolons, tabs or spaces between them.

Names (in any order, upper or lower case) are taken at their word. Without names the first three columns are x, y, z.
Numbers may have decimal commas where something else stands between the columns.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from pointseg.atomic import replacing
from pointseg.errors import InputError
from pointseg.prediction.formats.cloud import COLOR, Cloud, blocks, canonical, flat_columns

_SAMPLE = 2000  # lines that guesses look at
_COMMENTS = ("#", "//")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_LONGEST_WORD = 32  # letters of a word, such as the name of a class, that are kept


@dataclass(frozen=True)
class _Layout:
    """How the lines of a file are to be read."""

    skip: int  # lines before the first row
    delimiter: str | None  # None: spaces or tabs
    decimal_comma: bool
    names: list[str] | None  # of the columns, if the file says so
    words: list[bool]  # of each column: does it hold words rather than numbers?


def read(path: Path) -> Cloud:
    try:
        with path.open(encoding="utf-8-sig") as file:
            layout = _layout(path, list(islice(file, _SAMPLE)))
            file.seek(0)
            table = _table(path, file, layout)
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected text, got something else") from None
    columns, note = _named(path, table, layout)
    return Cloud(columns, note=note + ("; commas are read as decimal points" if layout.decimal_comma else ""))


def write(path: Path, cloud: Cloud) -> None:
    """A line of names, then a line a point, in as many digits as give the same number back; .csv: with commas.

    A column `class` with the names of classes follows. Names of .txt and the like have _ in place of spaces.
    """
    comma = path.suffix.lower() == ".csv"
    columns = flat_columns(cloud.columns)
    header = [name if comma else name.replace(" ", "_") for name in columns]
    names = np.full(256, "", object)
    names[: len(cloud.class_names)] = cloud.class_names
    names = np.array([name if comma else name.replace(" ", "_") or "-" for name in names])
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="," if comma else " ", lineterminator="\n")
        writer.writerow([*header, *(["class"] if cloud.class_names else [])])
        for rows in blocks(len(cloud), 1 << 17):
            cells = [column[rows].astype(str).tolist() for column in columns.values()]
            if cloud.class_names:
                cells.append(names[cloud.columns["train_id"][rows]].tolist())
            writer.writerows(zip(*cells, strict=True))


def _layout(path: Path, lines: list[str]) -> _Layout:
    for form, start in (("PLY", "ply"), ("PCD", "# .PCD")):  # whose faces and fields are no columns
        if lines and lines[0].startswith(start):
            raise InputError(f"{path}: expected a table, got a {form} file; name it .{form.lower()}")
    start = next((number for number, line in enumerate(lines) if _is_row(line)), None)
    if start is None:
        raise InputError(f"{path}: expected lines that begin with x, y, z, got none")
    rows = [line.strip() for line in lines[start:] if line.strip() and not line.lstrip().startswith(_COMMENTS)]
    delimiter, decimal_comma = _separators(rows)
    words = [not _is_number(cell) for cell in _cells(rows[0], delimiter)]
    names = _header(path, lines[:start], delimiter, len(words))
    if delimiter == "," and names is None and _may_be_decimal_commas(rows):
        raise InputError(
            f"{path}: commas between whole numbers may be decimal commas; name the columns in the first line, "
            f"or put semicolons between them"
        )
    return _Layout(start, delimiter, decimal_comma, names, words)


def _is_row(line: str) -> bool:
    """Does it begin with three numbers? (.pts files begin with a line that holds the number of points.)"""
    cells = re.split(r"\s*[;,\s]\s*", line.strip())
    return len(cells) >= 3 and all(_is_number(cell) for cell in cells[:3])


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _separators(rows: list[str]) -> tuple[str | None, bool]:
    """What stands between columns, and whether commas are decimal ones."""
    delimiter = next((mark for mark in (";", "\t") if mark in rows[0]), None)
    if delimiter is None and "," in rows[0]:
        cells = rows[0].split()
        if len(cells) < 3 or any(cell.endswith(",") or cell.count(",") > 1 for cell in cells):
            return ",", False
    return delimiter, any(_DECIMAL_COMMA.fullmatch(cell) for row in rows for cell in _cells(row, delimiter))


def _may_be_decimal_commas(rows: list[str]) -> bool:
    """Rows of an even number of columns, six or more, whole numbers all: 1,5,2,5,3,0 may be three numbers."""
    cells = [row.split(",") for row in rows]
    return all(
        len(row) >= 6 and len(row) % 2 == 0 and all(re.fullmatch(r"\s*[+-]?\d+", c) for c in row) for row in cells
    )


def _cells(row: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return row.split()
    return [cell.strip() for cell in next(csv.reader([row], delimiter=delimiter))]


def _header(path: Path, lines: list[str], delimiter: str | None, columns: int) -> list[str] | None:
    """Names of the columns, from the last line before the numbers; None if it names none."""
    lines = [line.strip() for line in lines if line.strip()]
    if not lines or all(_is_number(cell) for cell in _cells(lines[-1], delimiter)):
        return None
    comment = lines[-1].startswith(_COMMENTS)
    names = _cells(lines[-1].lstrip("#/ "), delimiter)
    if not all(axis in canonical(names) for axis in "xyz"):
        if comment or len(names) != columns:
            return None
        raise InputError(f"{path}: the columns' names must include x, y and z, got {', '.join(names)}")
    if len(names) != columns:
        raise InputError(f"{path}: its first line names {len(names)} columns, but the next one has {columns}")
    if len(set(names)) < len(names):
        raise InputError(f"{path}: the columns' names must differ, got {', '.join(names)}")
    return names


def _table(path: Path, file: Iterator[str], layout: _Layout) -> np.ndarray:
    """Structured, fields f0, f1, ...: float64 or words."""
    rows = (line for line in islice(file, layout.skip, None) if line.strip() and not line.startswith(_COMMENTS))
    if layout.decimal_comma:
        rows = (line.replace(",", ".") for line in rows)
    dtype = [(f"f{n}", f"U{_LONGEST_WORD}" if word else np.float64) for n, word in enumerate(layout.words)]
    try:
        return np.loadtxt(rows, dtype, comments=None, delimiter=layout.delimiter, quotechar='"', ndmin=1)
    except ValueError as error:
        raise InputError(f"{path}: expected numbers in columns: {' '.join(str(error).split())}") from None


def _named(path: Path, table: np.ndarray, layout: _Layout) -> tuple[dict[str, np.ndarray], str]:
    """The columns under their names, and what is to be said about them."""
    columns = [table[name] for name in table.dtype.names or ()]
    if layout.names is None:
        named, note = without_names(columns, intensity_first=path.suffix.lower() == ".pts")
    else:
        named = dict(zip(canonical(layout.names), columns, strict=True))
        note = f"columns: {', '.join(layout.names)}"
    return {name: column if name in ("x", "y", "z") else _whole(column) for name, column in named.items()}, note


def _whole(column: np.ndarray) -> np.ndarray:
    """As integers where all are: labels and counts stay what they are."""
    if column.dtype.kind != "f" or not np.isfinite(column).all() or not (np.abs(column) < 2**53).all():
        return column
    whole = column.astype(np.int64)
    return whole if np.array_equal(whole, column) else column


def without_names(columns: list[np.ndarray], *, intensity_first: bool = False) -> tuple[dict[str, np.ndarray], str]:
    """Columns whose names nobody says: x y z, colours where three columns look like colours, column_4 and so on."""
    names = ["x", "y", "z", *(f"column_{number + 1}" for number in range(3, len(columns)))]
    note = "no column is taken for a colour"
    for first in (4, 3) if intensity_first else (3, 4):
        if len(columns) >= first + 3 and _are_colors(columns[first : first + 3]):
            names[first : first + 3] = COLOR
            note = f"columns {first + 1} to {first + 3} are taken for colours"
            break
    return dict(zip(names, columns, strict=True)), note


def _are_colors(columns: list[np.ndarray]) -> bool:
    """Whole numbers 0..255 with one above 1, or fractions 0..1 that are not directions of length 1 (normals)."""
    if any(column.dtype.kind not in "fiu" for column in columns):
        return False
    colors = np.stack([column[:: -(-len(column) // 100_000) or 1] for column in columns], axis=1).astype(np.float64)
    if not len(colors) or not np.isfinite(colors).all() or colors.min() < 0:
        return False
    if np.array_equal(colors, colors.round()):
        return 1 < colors.max() <= 255
    lengths = np.linalg.norm(colors, axis=1)
    return colors.max() <= 1 and np.mean(np.abs(lengths - 1) < 0.02) < 0.5

"""A sheet of pictures of scans, seen from above with ceiling and near walls cut away: colours, and true classes.

    python scripts/room_sheet.py data/rooms --out data/rooms_sheet

writes data/rooms_sheet_color.png and data/rooms_sheet_truth.png, the same scans in the same places.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from PIL import Image

from pointseg.atomic import replacing
from pointseg.report.render import render, room_view
from pointseg.scannet.labels import colorize
from pointseg.scannet.scan import find_scans, read_scan

LARGEST = 500_000  # bytes of a sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", type=Path, help="ScanNet's folder, real or synthetic")
    parser.add_argument("--out", type=Path, required=True, help="path of the sheets, without _color.png and _truth.png")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--size", type=int, default=300, help="pixels across and down a picture")
    arguments = parser.parse_args()
    folders = [found[0] for found in find_scans(arguments.scans).values()][: arguments.count]
    pictures = [_pictures(folder, arguments.size) for folder in folders]
    for number, name in enumerate(("color", "truth")):
        sheet = _sheet([pair[number] for pair in pictures], arguments.columns, arguments.size)
        with replacing(arguments.out.with_name(f"{arguments.out.name}_{name}.png")) as temporary:
            temporary.write_bytes(_png(sheet))


def _pictures(folder: Path, size: int) -> tuple[Image.Image, Image.Image]:
    scan = read_scan(folder, None)
    view = room_view(scan.xyz, width=size)
    return Image.fromarray(render(view, scan.rgb)), Image.fromarray(render(view, colorize(scan.label)))


def _sheet(pictures: list[Image.Image], columns: int, size: int) -> Image.Image:
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * size, rows * size), "white")
    for number, picture in enumerate(pictures):
        picture.thumbnail((size - 8, size - 8))
        row, column = divmod(number, columns)
        sheet.paste(picture, (column * size + 4, row * size + 4), picture)
    return sheet


def _png(sheet: Image.Image) -> bytes:
    """A PNG of as many colours as LARGEST allows."""
    for colors in (256, 128, 64, 32):
        file = io.BytesIO()
        sheet.quantize(colors, dither=Image.Dither.NONE).save(file, "png", optimize=True)
        if len(file.getvalue()) <= LARGEST:
            break
    return file.getvalue()


if __name__ == "__main__":
    main()

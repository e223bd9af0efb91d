"""The scenes of a report: pictures of some, points of all for the 3D view."""

from __future__ import annotations

import base64
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pointseg.errors import InputError
from pointseg.evaluation.scene_points import read_scene_points
from pointseg.report.render import CORRECT, UNSCORED, WRONG, encode_png, error_colors, render, room_view
from pointseg.rundir import RunDirectory
from pointseg.scannet.labels import CLASS_COLORS, CLASS_NAMES, IGNORE, IGNORE_COLOR, colorize

UNANNOTATED = (90, 94, 102)  # in the 3D view, where black would drown in the dark theme


def scene_order(part: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of `per_scene`, the worst pixel accuracy first, scenes without annotation last."""
    return sorted(part["per_scene"], key=lambda row: (row["pixel"]["accuracy"] is None, row["pixel"]["accuracy"] or 0))


def pictured_scenes(run: RunDirectory, part: dict[str, Any]) -> list[dict[str, Any]]:
    """Pictures of the scenes whose points the run keeps, in the order of `scene_order`."""
    rank = {row["scene"]: number for number, row in enumerate(scene_order(part))}
    files = sorted(run.scenes.glob("*.npz"), key=lambda file: (rank.get(file.stem, len(rank)), file.stem))
    return [_pictures(file) for file in files]


def read_scene(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """xyz [P, 3], rgb [P, 3], label [P] and prediction [P] of a scenes/<scan id>.npz."""
    try:
        with np.load(file) as arrays:
            return arrays["xyz"], arrays["rgb"], arrays["label"], arrays["prediction"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{file}: cannot be read ({error}); evaluate the run again") from None


def embedded_scenes(run: RunDirectory, part: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(What viewer.js must know, each scene's points deflated and in base64), both in the order of `scene_order`."""
    rows = scene_order(part)
    points = read_scene_points(run.scene_points_file, [row["scene"] for row in rows])
    rows = [row for row in rows if row["scene"] in points]
    about = viewer_facts((row["scene"], accuracy_note(row)) for row in rows)
    return about, [base64.b64encode(zlib.compress(points[row["scene"]], 9)).decode("ascii") for row in rows]


def accuracy_note(row: dict[str, Any]) -> str:
    """What the 3D view says of an entry of `per_scene`."""
    share = row["pixel"]["accuracy"]
    return "unannotated" if share is None else f"{100 * share:.1f} % correct"


def viewer_facts(scenes: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """What viewer.js must know of classes, colours and scenes (name, note)."""
    return {
        "classes": [
            {"name": name, "color": hexadecimal(color)} for name, color in zip(CLASS_NAMES, CLASS_COLORS, strict=True)
        ],
        "ignore": IGNORE,
        "unannotated": hexadecimal(UNANNOTATED),
        "errors": {
            "correct": hexadecimal(CORRECT),
            "wrong": hexadecimal(WRONG),
            "unscored": hexadecimal(UNSCORED),
        },
        "scenes": [{"name": name, "note": note} for name, note in scenes],
    }


def legends() -> dict[str, Any]:
    """What the templates name of colours."""
    return {
        "unannotated": hexadecimal(IGNORE_COLOR),
        "error_legend": [
            ("correct", hexadecimal(CORRECT)),
            ("wrong", hexadecimal(WRONG)),
            ("not scored", hexadecimal(UNSCORED)),
        ],
        "colors": [hexadecimal(color) for color in CLASS_COLORS],
    }


def hexadecimal(color: Iterable[int]) -> str:
    """(255, 0, 16) -> "#ff0010"."""
    return "#" + bytes(color).hex()


def data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _pictures(file: Path) -> dict[str, Any]:
    """One evaluated scene: pictures as data URLs, all from the same place, and how much of it is right."""
    xyz, rgb, label, prediction = read_scene(file)
    view = room_view(xyz)
    views = (
        ("colour", rgb),
        ("truth", colorize(label)),
        ("prediction", colorize(prediction)),
        ("errors", error_colors(prediction, label, IGNORE)),
    )
    annotated = label != IGNORE
    return {
        "name": file.stem,
        "points": len(xyz),
        "annotated": int(annotated.sum()),
        "correct": int((prediction == label)[annotated].sum()),
        "pictures": [(title, data_url(encode_png(render(view, colors)))) for title, colors in views],
    }

"""A run's report: one Markdown file and one HTML page that needs nothing else, from the run directory's files alone."""

from __future__ import annotations

import base64
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from pointseg.config import Config
from pointseg.config_file import changed_keys
from pointseg.errors import InputError
from pointseg.evaluation.definitions import SCHEMA
from pointseg.report.charts import Series, line_chart
from pointseg.report.render import CORRECT, UNSCORED, WRONG, encode_png, error_colors, render, room_view
from pointseg.rundir import RunDirectory, read_json, write_text
from pointseg.scannet.labels import CLASS_COLORS, IGNORE, IGNORE_COLOR, colorize
from pointseg.scannet.published import ROWS, SCANS

# The columns of the tables of scores: heading, measure, score.
COLUMNS = (
    ("voxel 4.84 cm", "voxel_4.84cm", "accuracy"),
    ("voxel 2 cm", "voxel_2cm", "accuracy"),
    ("pixel", "pixel", "accuracy"),
    ("class voxel 4.84 cm", "voxel_4.84cm", "class_accuracy"),
    ("class voxel 2 cm", "voxel_2cm", "class_accuracy"),
    ("class pixel", "pixel", "class_accuracy"),
    ("calibrated voxel 2 cm", "voxel_2cm", "calibrated_accuracy"),
    ("mIoU", "pixel", "miou"),
)
HEADLINES = (
    ("Voxel accuracy", "4.84 cm", "voxel_4.84cm", "accuracy"),
    ("Pixel accuracy", "points", "pixel", "accuracy"),
    ("Class voxel accuracy", "4.84 cm", "voxel_4.84cm", "class_accuracy"),
    ("Class pixel accuracy", "points", "pixel", "class_accuracy"),
    ("Mean IoU", "points", "pixel", "miou"),
)


def report(path: Path) -> tuple[Path, Path]:
    """Writes report.md and report.html into the run directory `path` and returns where they are.

    Raises:
        InputError: not a run directory, not evaluated yet, or a file of it cannot be read.
    """
    run = RunDirectory(path)
    content = _gather(run)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, thousands=thousands)
    files = path / "report.md", path / "report.html"
    for file in files:
        write_text(file, environment.get_template(f"{file.name}.jinja").render(content))
    return files


def percent(value: float | None, digits: int = 1) -> str:
    """0.8321 -> "83.2"; None -> "absent"."""
    return "absent" if value is None else f"{100 * value:.{digits}f}"


def thousands(value: int) -> str:
    """1234567 -> "1 234 567", with spaces that do not break."""
    return f"{value:,}".replace(",", "\u202f")


def _gather(run: RunDirectory) -> dict[str, Any]:
    """Everything the templates name."""
    config, meta = run.load_config(), run.load_meta()
    if not run.eval_file.is_file():
        raise InputError(f"run: {run.path} has no eval.json; evaluate it first: pointseg evaluate {run.path}")
    result = read_json(run.eval_file)
    if result.get("schema") != SCHEMA:
        raise InputError(f"{run.eval_file}: expected schema {SCHEMA}, got {result.get('schema')}; evaluate again")
    main = "every_vertex" if "every_vertex" in result["protocols"] else next(iter(result["protocols"]))
    return {
        "name": run.path.resolve().name,
        "config": config,
        "settings": _changed_settings(config),
        "config_text": run.config_file.read_text(encoding="utf-8"),
        "meta": {key: value for key, value in meta.items() if not isinstance(value, (dict, list))},
        "result": result,
        "synthetic": result["data"].get("synthetic"),
        "network": config.model.describe(),
        "main": main,
        "part": result["protocols"][main],
        "columns": COLUMNS,
        "headlines": HEADLINES,
        "published": ROWS if _is_scannet_val(result) else (),
        "unannotated": _hex(IGNORE_COLOR),
        "error_legend": [("correct", _hex(CORRECT)), ("wrong", _hex(WRONG)), ("not scored", _hex(UNSCORED))],
        "colors": [_hex(color) for color in CLASS_COLORS],
        "confusion": _confusion(result["protocols"][main]["counts"]["pixel"]),
        "charts": _charts(list(run.read_metrics())),
        "scenes": [_pictures(file) for file in sorted(run.scenes.glob("*.npz"))],
    }


def _changed_settings(config: Config) -> list[tuple[str, Any]]:
    """(dotted key, value) of the settings that differ from the defaults."""
    rows = []
    for key in changed_keys(Config(), config):
        value: Any = config
        for name in key.split("."):
            value = getattr(value, name)
        rows.append((key, value))
    return rows


def _is_scannet_val(result: dict[str, Any]) -> bool:
    """May the published rows stand next to these scores?"""
    known_real = "synthetic" in result["data"] and not result["data"]["synthetic"]
    return known_real and result["split"] == "val" and result["scenes"] == SCANS


def _confusion(counts: list[list[int]]) -> list[dict[str, Any]]:
    """Per true class: its points, and each answer's share of them (None for a class that does not occur)."""
    return [
        {"total": sum(row), "shares": [n / sum(row) for n in row] if sum(row) else [None] * len(row)} for row in counts
    ]


def _charts(lines: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(title, SVG) of what metrics.jsonl holds; without it, nothing."""
    logged = [line for line in lines if "loss" in line]
    scored = [line for line in lines if "eval" in line]
    if not logged:
        return []
    steps = [line["step"] for line in logged]

    def column(key: str) -> list[float]:
        return [line[key] for line in logged]

    accuracy = [Series("training chunks", steps, column("accuracy"), noisy=True)]
    for name, style in (("every_vertex", "b"), ("pointnet2", "c")):
        with_it = [line for line in scored if name in line["eval"]]
        values = [line["eval"][name]["pixel"]["accuracy"] for line in with_it]
        accuracy.append(Series(f"evaluation, {name}", [line["step"] for line in with_it], values, style, dots=True))
    charts = (
        ("Training loss", [Series("loss", steps, column("loss"), noisy=True)], {}),
        ("Accuracy: training chunks" + (", evaluation (dots)" if scored else ""), accuracy, {"percent": True}),
        ("Learning rate", [Series("learning rate", steps, column("lr"))], {"log": True}),
        ("BatchNorm momentum", [Series("momentum", steps, column("bn_momentum"))], {}),
        ("Chunks per second", [Series("chunks/s", steps, column("chunks_per_second"), noisy=True)], {}),
        ("Time spent waiting for data", [Series("waiting", steps, column("data_wait"), noisy=True)], {"percent": True}),
    )
    return [(title, line_chart(title, series, x_label="step", **options)) for title, series, options in charts]


def _pictures(file: Path) -> dict[str, Any]:
    """One evaluated scene: pictures as data URLs, all from the same place, and how much of it is right."""
    try:
        with np.load(file) as arrays:
            xyz, rgb, label, prediction = (arrays[key] for key in ("xyz", "rgb", "label", "prediction"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{file}: cannot be read ({error}); evaluate the run again") from None
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
        "pictures": [(title, _data_url(encode_png(render(view, colors)))) for title, colors in views],
    }


def _hex(color: Iterable[int]) -> str:
    return "#" + bytes(color).hex()


def _data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")

"""A run's report: one Markdown file and one HTML page that needs nothing else, from the run directory's files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pointseg.config import Config
from pointseg.config_file import changed_keys
from pointseg.errors import InputError
from pointseg.report.charts import Series, line_chart
from pointseg.report.eval_file import read_evaluation
from pointseg.report.pages import page_environment
from pointseg.report.scenes import data_url, embedded_scenes, legends, pictured_scenes
from pointseg.rundir import RunDirectory, read_json, write_text
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
    environment = page_environment()
    files = path / "report.md", path / "report.html"
    for file in files:
        write_text(file, environment.get_template(f"{file.name}.jinja").render(content))
    return files


def _gather(run: RunDirectory) -> dict[str, Any]:
    """Everything the templates name."""
    config, meta = run.load_config(), run.load_meta()
    if not run.eval_file.is_file():
        raise InputError(f"run: {run.path} has no eval.json; evaluate it first: pointseg evaluate {run.path}")
    result = read_evaluation(run.eval_file)
    main, part = main_protocol(result)
    about_scenes, points = embedded_scenes(run, part)
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
        "part": part,
        "stale": stale_scores(run, result),
        "columns": COLUMNS,
        "headlines": HEADLINES,
        "published": ROWS if _is_scannet_val(result) else (),
        "confusion": _confusion(part["counts"]["pixel"]),
        "confusions": commonest_confusions(part["counts"]["pixel"], [*result["classes"], "none of the classes"]),
        "charts": _charts(list(run.read_metrics())),
        "scenes": pictured_scenes(run, part),
        "about_scenes": about_scenes,
        "in_3d": {scene["name"]: number for number, scene in enumerate(about_scenes["scenes"])},
        "points": points,
        "room_types": part.get("per_scene_type", []),
        "scene_types": dict(
            zip((row["scene"] for row in part["per_scene"]), result.get("scene_types", ()), strict=False)
        ),
        "explanation": _explanation(run.explanation),
        **legends(),
    }


def main_protocol(result: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(Name, what eval.json says of it): every vertex where that was evaluated."""
    name = "every_vertex" if "every_vertex" in result["protocols"] else next(iter(result["protocols"]))
    return name, result["protocols"][name]


def stale_scores(run: RunDirectory, result: dict[str, Any]) -> str | None:
    """What to say when the scores are not those of the run's last checkpoint; None when they are, or nobody knows."""
    if "step" not in result or not run.checkpoint_file.exists():
        return None
    last = int(run.load_checkpoint()["step"])
    if last == result["step"]:
        return None
    scored = Path(result.get("checkpoint", "")).name or "a checkpoint"
    return (
        f"These scores are of step {result['step']} ({scored}); the run's last checkpoint is of step {last}. "
        f"To score that one: pointseg evaluate {run.path}"
    )


def commonest_confusions(counts: list[list[int]], answers: list[str], number: int = 5) -> list[dict[str, Any]]:
    """The `number` commonest kinds of error in counts [C, C + 1], with their share of the class and of all errors.

    answers: the names of the C + 1 columns.
    """
    wrong = [(n, t, p) for t, row in enumerate(counts) for p, n in enumerate(row) if p != t and n]
    errors = sum(n for n, _, _ in wrong)
    return [
        {
            "truth": answers[t],
            "answer": answers[p],
            "points": n,
            "of_class": n / sum(counts[t]),
            "of_errors": n / errors,
        }
        for n, t, p in sorted(wrong, key=lambda entry: (-entry[0], *entry[1:]))[:number]
    ]


def _explanation(folder: Path) -> dict[str, Any] | None:
    """What `pointseg explain` left in the run: its table, its pictures as data URLs; None without."""
    files = folder / "explain.json", folder / "nodes.png", folder / "affinity.png"
    if not all(file.is_file() for file in files):
        return None
    nodes, affinity = (data_url(file.read_bytes()) for file in files[1:])
    return {**read_json(files[0]), "nodes": nodes, "affinity": affinity}


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
    """Per true class: its points, and of each answer the points and their share."""
    totals = [sum(row) for row in counts]
    return [
        {"total": total, "cells": [(n, n / total if total else 0.0) for n in row]}
        for total, row in zip(totals, counts, strict=True)
    ]


def _charts(lines: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(title, SVG) of what metrics.jsonl holds; without it, nothing."""
    logged = [line for line in lines if "loss" in line]
    scored = [line for line in lines if "eval" in line]
    validated = [line for line in lines if "validation" in line]
    if not logged:
        return []
    steps = [line["step"] for line in logged]

    def column(key: str) -> list[float]:
        return [line[key] for line in logged]

    def scores(protocol: str, score: str) -> tuple[list[int], list[float]]:
        with_it = [line for line in scored if line["eval"].get(protocol, {}).get("pixel", {}).get(score) is not None]
        return [line["step"] for line in with_it], [line["eval"][protocol]["pixel"][score] for line in with_it]

    def validation(key: str) -> Series:
        values = [line["validation"][key] for line in validated]
        return Series("validation chunks", [line["step"] for line in validated], values, "v")

    chunks = "training chunks" + (", validation chunks (dashed)" if validated else "")
    loss = [Series("training chunks", steps, column("loss"), noisy=True), validation("loss")]
    accuracy, miou = [Series("training chunks", steps, column("accuracy"), noisy=True), validation("accuracy")], []
    for protocol, style in (("every_vertex", "b"), ("pointnet2", "c")):
        accuracy.append(Series(f"{protocol}", *scores(protocol, "accuracy"), style, dots=True))
        miou.append(Series(f"{protocol}", *scores(protocol, "miou"), style, dots=True))
    charts = (
        (f"Loss: {chunks}", loss, {}),
        (f"Pixel accuracy: {chunks}" + (", evaluation (dots)" if scored else ""), accuracy, {"percent": True}),
        ("Mean IoU, evaluation", miou, {"percent": True}),
        ("Learning rate", [Series("learning rate", steps, column("lr"))], {"log": True}),
        ("BatchNorm momentum", [Series("momentum", steps, column("bn_momentum"))], {}),
        ("Chunks per second", [Series("chunks/s", steps, column("chunks_per_second"), noisy=True)], {}),
        ("Time spent waiting for data", [Series("waiting", steps, column("data_wait"), noisy=True)], {"percent": True}),
    )
    drawn = [(title, line_chart(title, series, x_label="step", **options)) for title, series, options in charts]
    return [(title, svg) for title, svg in drawn if svg]

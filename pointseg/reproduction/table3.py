"""The paper's Table 3 on a store: rows and seeds trained, evaluated, compared, beside the paper's own figures.

Source: Zhang, Yan, He, "LatentGNN", ICML 2019, Table 3. The paper's figures are of ScanNet's 312 validation scans and
stand in columns of their own: scores on other scenes do not compare with them, only differences between rows might.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pointseg.config import Config
from pointseg.evaluation.compare import compare
from pointseg.models import build_model
from pointseg.report.comparison import Table, format_tables, scores_table, tables_of
from pointseg.reproduction.rows import Row, Scale, row_config
from pointseg.reproduction.runner import Job, Runner
from pointseg.rundir import write_json, write_text
from pointseg.scannet.labels import NUM_CLASSES
from pointseg.scannet.preprocess import preprocess
from pointseg.scannet.published import ROWS as PUBLISHED
from pointseg.scannet.synthetic import write_dataset
from pointseg.store import SceneStore

# Columns of the comparison that Table 3 has too, and what `published.Row` calls them.
PAPER_COLUMNS = {
    "voxel 4.84 cm": "voxel",
    "pixel": "pixel",
    "class voxel 4.84 cm": "class_voxel",
    "class pixel": "class_pixel",
}


def reproduce_table3(
    rows: Sequence[Row],
    scale: Scale,
    out: Path,
    *,
    store: Path,
    seeds: int = 3,
    overrides: tuple[str, ...] = (),
    side_by_side: int = 1,
    resamples: int = 10_000,
) -> dict[str, Any]:
    """Trains what is not trained yet and writes `table3.json`, `.md`, `.tex` and `.html` into `out`.

    Args:
        rows: the first one is the reference. scale: how long each is trained.
        store: folder with train.h5 and val.h5; made of a few rooms where the scale has its own.
        seeds: runs of each row, `train.seed` 0, 1, ... overrides: settings for all rows alike.
        side_by_side: runs at a time on each device.

    Returns:
        What `table3.json` holds: the comparison, each row with its `published` scores in % (None where the paper has
        none), its `parameters` and its `added_parameters` over the first row.

    Raises:
        InputError: no store, runs begun with other settings, runs that failed.
    """
    if scale.own_rooms and not (store / "val.h5").is_file():
        make_rooms(store)
    scenes = len(SceneStore(store / "train.h5"))
    SceneStore(store / "val.h5")
    configs = [row_config(row, scale, store, scenes, overrides) for row in rows]
    jobs = [  # seed by seed, so that a table can be had early
        Job(f"{row.config}-seed{seed}", seeded(config, seed), out / "runs")
        for seed in range(seeds)
        for row, config in zip(rows, configs, strict=True)
    ]
    Runner(devices(), side_by_side).run(jobs)
    return write_table(rows, configs, jobs, out, resamples)


def write_table(
    rows: Sequence[Row], configs: Sequence[Config], jobs: Sequence[Job], out: Path, resamples: int
) -> dict[str, Any]:
    """The table of jobs that are done, in all formats."""
    paths = {row.config: [job.run.path for job in jobs if job.name.startswith(f"{row.config}-seed")] for row in rows}
    result = compare([path for row in rows for path in paths[row.config]], resamples=resamples)
    parameters = [sum(p.numel() for p in build_model(c.model, NUM_CLASSES).parameters()) for c in configs]
    published = {row.name: row for row in PUBLISHED}
    for entry, row, count in zip(result["rows"], rows, parameters, strict=True):
        paper = published[row.published]
        entry["published"] = {column: getattr(paper, name) for column, name in PAPER_COLUMNS.items()}
        entry["parameters"], entry["added_parameters"] = count, count - parameters[0]
        entry["runs"] = [str(Path(path).relative_to(out)) for path in entry["runs"]]
    write_json(out / "table3.json", result)
    tables = [paper_table(result), *tables_of(result)]
    for suffix, form in ((".md", "markdown"), (".tex", "latex"), (".html", "html")):
        text = format_tables(result, tables, form, title="Table 3 of the LatentGNN paper, run again")
        write_text(out / f"table3{suffix}", text)
    return result


def paper_table(result: dict[str, Any]) -> Table:
    """Each row's scores beside the paper's, and its parameters beyond the first row's."""
    heading, scores = scores_table(result, differences=False)
    shown = [heading.index(column) for column in PAPER_COLUMNS]
    lines = []
    for entry, cells in zip(result["rows"], scores, strict=True):
        paper = [entry["published"][column] for column in PAPER_COLUMNS]
        lines.append(
            [
                *(cells[0], f"{entry['added_parameters'] / 1e6:+.3f}", *(cells[column] for column in shown)),
                *("" if score is None else f"{score:.1f}" for score in paper),
            ]
        )
    heading = ["", "parameters, M", *PAPER_COLUMNS, *(f"paper: {column}" for column in PAPER_COLUMNS)]
    return Table("Beside the paper's figures, which are ScanNet's", heading, lines)


def seeded(config: Config, seed: int) -> Config:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, seed=seed))


def devices() -> list[str]:
    """CUDA devices by number, or the CPU."""
    return [str(number) for number in range(torch.cuda.device_count())] or ["cpu"]


def make_rooms(store: Path) -> None:
    """A few thin synthetic rooms beside `store`, for trying the command."""
    scans = store.parent / "scannet"
    write_dataset(scans, scenes=6, val_scenes=3, seed=0, density=60.0)
    preprocess(scans, store)

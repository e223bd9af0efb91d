"""Pictures and a page of what LatentGNN does in a trained network (`pointseg explain`)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.spatial import cKDTree

from pointseg.report.pages import page_environment
from pointseg.report.render import View, render, room_view
from pointseg.rundir import write_json, write_text
from pointseg.scannet.labels import CLASS_NAMES

NODES = 4  # latent nodes shown of each level: those that differ most over the scene
_WIDTH = 360  # pixels of one picture
# From nothing to most: grey as the background of a scan, then ever darker.
_SCALE = np.array([(226, 229, 233), (250, 200, 110), (228, 88, 60), (150, 20, 90), (40, 0, 60)], np.float64)
_MARK = (0, 120, 255)  # the listening point


def write_explanation(explanation: Any, xyz: np.ndarray, out: Path, *, title: str) -> dict[str, Path]:
    """Writes nodes.png, affinity.png, explain.json and explain.html into `out`; returns them by name.

    Args:
        explanation: a `pointseg.prediction.explain.Explanation`.
        xyz: [P, 3], the scene.
        title: what was explained, in a few words.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = {name: out / name for name in ("nodes.png", "affinity.png", "explain.json", "explain.html")}
    nodes_picture(explanation.levels, xyz).save(files["nodes.png"], optimize=True)
    affinity_picture(explanation.listeners, xyz).save(files["affinity.png"], optimize=True)
    levels = [
        {name: getattr(level, name) for name in ("scale", "added", "reach", "chance", "far", "far_chance")}
        | {"latent_nodes": level.nodes.shape[1]}
        for level in explanation.levels
    ]
    write_json(files["explain.json"], {"title": title, "levels": levels})
    pictures = {name: base64.b64encode(files[f"{name}.png"].read_bytes()).decode() for name in ("nodes", "affinity")}
    page = (
        page_environment()
        .get_template("explain.html.jinja")
        .render(explanation={"title": title, "levels": levels, **pictures})
    )
    write_text(files["explain.html"], page)
    return files


def nodes_picture(levels: Sequence[Any], xyz: np.ndarray) -> Image.Image:
    """A row for each level: the scene coloured by what its points give to some of the latent nodes."""
    view = room_view(xyz, width=_WIDTH)
    rows = []
    for number, level in enumerate(levels, start=1):
        nearest = cKDTree(level.centres).query(xyz)[1]
        chosen = np.argsort(-level.nodes.std(axis=0), kind="stable")[:NODES]
        rows.append(
            [(f"level {number}, node {node}", _paint(view, level.nodes[nearest, node])) for node in sorted(chosen)]
        )
    return _sheet(rows)


def affinity_picture(listeners: Sequence[Any], xyz: np.ndarray) -> Image.Image:
    """The chunk around each listener, coloured by how much it hears of each point; the listener is blue."""
    row = []
    for listener in listeners:
        low, high = listener.centres.min(axis=0), listener.centres.max(axis=0)
        near = xyz[((xyz >= low - 0.02) & (xyz <= high + 0.02)).all(axis=1)]
        heard = listener.affinity[cKDTree(listener.centres).query(near)[1]]
        view = room_view(near, width=_WIDTH)
        marked = np.linalg.norm(near - listener.point, axis=1) < 0.06
        name = (
            f"heard by a point of {CLASS_NAMES[listener.prediction]}" if listener.prediction < len(CLASS_NAMES) else ""
        )
        row.append((name, _paint(view, heard, marked)))
    return _sheet([row])


def _paint(view: View, value: np.ndarray, marked: np.ndarray | None = None) -> Image.Image:
    """The view coloured by `value` [P], from 0 to its 99th percentile."""
    top = max(float(np.quantile(value, 0.99)), 1e-12)
    place = np.clip(value / top, 0, 1) * (len(_SCALE) - 1)
    below = np.minimum(place.astype(int), len(_SCALE) - 2)
    colors = _SCALE[below] + (place - below)[:, None] * (_SCALE[below + 1] - _SCALE[below])
    if marked is not None:
        colors[marked] = _MARK
    picture = Image.fromarray(render(view, colors.round().astype(np.uint8)))
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _sheet(rows: Sequence[Sequence[tuple[str, Image.Image]]]) -> Image.Image:
    """Pictures with captions in rows."""
    font, line, gap = ImageFont.load_default(size=15), 24, 8
    height = [max(picture.height for _, picture in row) + line + gap for row in rows]
    width = max(sum(picture.width + gap for _, picture in row) for row in rows)
    sheet = Image.new("RGB", (width, sum(height)), "white")
    draw = ImageDraw.Draw(sheet)
    top = 0
    for row, tall in zip(rows, height, strict=True):
        left = 0
        for caption, picture in row:
            draw.text((left + 4, top + 2), caption, fill=(40, 44, 52), font=font)
            sheet.paste(picture, (left, top + line))
            left += picture.width + gap
        top += tall
    return sheet.quantize(256, method=Image.Quantize.FASTOCTREE)

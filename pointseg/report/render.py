"""Pictures of rooms from point clouds: numpy only, seen obliquely from above, with ceiling and near walls cut away.

P points. Pictures are uint8 [H, W, 4], transparent where there is nothing.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

ELEVATION = 52.0  # degrees above the horizon
AZIMUTH = -62.0  # degrees; the camera stands on this side of the room
MAX_HEIGHT = 2.1  # metres above the floor; what is higher (ceiling, tops of walls) is left out
KEPT_HEIGHT = 0.25  # metres above the floor; walls between camera and room are cut down to this
MAX_REACH = 14  # pixels; the largest disc that a point is drawn as
SUPERSAMPLING = 2  # pictures are computed this many times larger and averaged

CORRECT, WRONG, UNSCORED = (196, 202, 208), (214, 40, 40), (120, 124, 130)  # colours of a picture of errors

_REACHES = (4, 9)  # pixels; how far the shading looks around


@dataclass(frozen=True)
class View:
    """What one look at a room shows; pictures of the same room in other colours share it."""

    point: np.ndarray  # [H, W] int64: the point seen in each (supersampled) pixel; -1: nothing
    shade: np.ndarray  # [H, W] float32 in 0..1: how bright


def room_view(xyz: np.ndarray, *, width: int = 720, max_height: float = MAX_HEIGHT) -> View:
    """The view of a room, +z up, whose pictures are `width` pixels wide; xyz [P, 3] with P >= 1, finite."""
    points = np.asarray(xyz, np.float64)
    right, up, toward = _axes()
    shown = _cutaway(points, toward, max_height).nonzero()[0]
    x, y, nearness = points[shown] @ right, points[shown] @ up, points[shown] @ toward  # metres

    margin = 0.02 * max(np.ptp(x), np.ptp(y), 0.1)
    extent_x, extent_y = np.ptp(x) + 2 * margin, np.ptp(y) + 2 * margin
    columns = width * SUPERSAMPLING
    scale = min(columns / extent_x, columns / extent_y)  # pixels a metre
    columns, rows = int(extent_x * scale) + 1, int(extent_y * scale) + 1
    column = ((x - x.min() + margin) * scale).astype(np.int64)
    row = ((y.max() + margin - y) * scale).astype(np.int64)
    radius = 1.1 * _spacing(points[shown])

    nearest = _splat(row, column, nearness - nearness.min(), (rows, columns), radius, scale)
    depth = np.where(nearest >= 0, -nearness[nearest], np.inf).astype(np.float32)
    return View(point=np.where(nearest >= 0, shown[nearest], -1), shade=_shade(depth, 1 / scale))


def render(view: View, rgb: np.ndarray) -> np.ndarray:
    """The picture [H, W, 4] of a room whose points are coloured by rgb [P, 3] uint8."""
    seen = view.point >= 0
    color = np.zeros((*view.point.shape, 4), np.float32)
    color[seen, :3] = rgb[view.point[seen]] * view.shade[seen, None]
    color[seen, 3] = 255
    return _shrink(color)


def error_colors(prediction: np.ndarray, label: np.ndarray, ignore: int) -> np.ndarray:
    """[P, 3] uint8: CORRECT, WRONG, or UNSCORED where the label is `ignore`."""
    colors = np.where((prediction == label)[:, None], CORRECT, WRONG)
    return np.where((label == ignore)[:, None], UNSCORED, colors).astype(np.uint8)


def encode_png(picture: np.ndarray) -> bytes:
    """A picture [H, W, 4] uint8 as a PNG file of 256 colours, a quarter of the size of one of all colours."""
    file = io.BytesIO()
    Image.fromarray(picture).quantize(256, method=Image.Quantize.FASTOCTREE).save(file, "png", optimize=True)
    return file.getvalue()


def _axes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors: the picture's right, the picture's up, from the room to the camera."""
    azimuth, elevation = np.radians([AZIMUTH, ELEVATION])
    ground = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    toward = np.cos(elevation) * ground + np.array([0, 0, np.sin(elevation)])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    return right, np.cross(toward, right), toward


def _cutaway(xyz: np.ndarray, toward: np.ndarray, max_height: float) -> np.ndarray:
    """[P] bool: what is neither too high nor part of the walls that stand between the camera and the room."""
    height = xyz[:, 2] - np.quantile(xyz[:, 2], 0.01)
    tall = (height > KEPT_HEIGHT) & (height <= max_height)
    keep = height <= max_height
    for axis in (0, 1):
        outward = xyz[:, axis] * np.sign(toward[axis])
        keep &= ~(tall & (outward > _wall(outward, xyz[:, 1 - axis], height, tall)))
    return keep if keep.any() else np.ones(len(xyz), bool)


def _wall(outward: np.ndarray, along: np.ndarray, height: np.ndarray, tall: np.ndarray) -> np.ndarray:
    """[P] where the near wall begins in the strip of 0.3 m that each point lies in; infinite where there is none.

    A wall is where points are at three heights at least, 0.2 m apart: things seen through a window are not.
    """
    strip, depth, level = (
        np.floor((values - values.min()) / size).astype(np.int64)
        for values, size in ((along, 0.3), (outward, 0.1), (height, 0.2))
    )
    depths, levels = depth.max() + 1, level.max() + 1
    occupied = np.unique((strip[tall] * depths + depth[tall]) * levels + level[tall]) // levels
    places, count = np.unique(occupied, return_counts=True)
    places = places[count >= 3]
    begins = np.full(strip.max() + 1, np.inf)
    begins[places // depths] = places % depths  # ascending: the outermost one stays
    for number, own in enumerate(begins.copy()):  # a window's frame stands deeper in the wall than its neighbours
        near = begins[max(0, number - 4) : number + 5]
        begins[number] = near[near >= own - 4].min(initial=np.inf)
    return (begins * 0.1 + outward.min() - 0.05)[strip]


def _spacing(xyz: np.ndarray) -> float:
    """Typical distance between neighbouring points, metres."""
    if len(xyz) < 2:
        return 0.02
    some = xyz[:: max(1, len(xyz) // 2000)]
    distance, _ = cKDTree(xyz).query(some, k=min(4, len(xyz)))
    return float(np.median(distance[:, -1]))


def _splat(
    row: np.ndarray, column: np.ndarray, nearness: np.ndarray, size: tuple[int, int], radius: float, scale: float
) -> np.ndarray:
    """The nearest point on each pixel, [H, W] int64, or -1, when points are drawn as discs of `radius` metres.

    A disc falls off from its middle like a hill as high as it is wide, so that neighbours on a surface meet half-way
    instead of covering one another. nearness: [P] metres towards the camera, >= 0; scale: pixels a metre.
    """
    height, width = size
    reach = int(np.clip(np.ceil(radius * scale), 1, MAX_REACH))
    best = np.full(height * width, -1, np.int64)
    number = np.arange(len(row))
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            away = (dx * dx + dy * dy) / (reach * reach)
            if away <= 1 + 1 / reach:
                inside = (row + dy >= 0) & (row + dy < height) & (column + dx >= 0) & (column + dx < width)
                # One integer holds how near, in 0.1 mm, and which point; the largest wins.
                near = ((nearness[inside] + radius * (1.5 - away)) * 1e4).astype(np.int64)
                keys = near << 32 | number[inside]
                np.maximum.at(best, (row[inside] + dy) * width + column[inside] + dx, keys)
    return np.where(best >= 0, best & 0xFFFF_FFFF, -1).reshape(height, width)


def _shade(depth: np.ndarray, pixel: float) -> np.ndarray:
    """Eye-dome lighting: a factor [H, W] in 0..1, darker where the neighbourhood is nearer to the camera.

    depth: [H, W] float32 metres, infinite where there is nothing; pixel: its side in metres.
    """
    height, width = depth.shape
    far = max(_REACHES)
    around = np.pad(depth, far, constant_values=np.inf)
    slope = np.zeros(depth.shape, np.float32)
    for reach in _REACHES:
        # Floor and walls slope in this view too, up to 1.3; what rises above that, and above noise, casts a shade.
        flat = 1.4 * reach * pixel + 0.015
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            near = around[far + reach * dy :, far + reach * dx :][:height, :width]
            both = np.isfinite(near) & np.isfinite(depth)
            step = np.subtract(depth, near, where=both, out=np.zeros_like(slope))
            slope += np.clip((step - flat) / 0.05, 0.0, 1.0)
    return np.exp(-0.11 * slope)


def _shrink(color: np.ndarray) -> np.ndarray:
    """Means over SUPERSAMPLING x SUPERSAMPLING pixels; colours are weighted by how opaque they are."""
    n = SUPERSAMPLING
    height, width = color.shape[0] // n * n, color.shape[1] // n * n
    blocks = color[:height, :width].reshape(height // n, n, width // n, n, 4)
    alpha = blocks[..., 3:].mean(axis=(1, 3))
    mean = (blocks[..., :3] * blocks[..., 3:]).mean(axis=(1, 3)) / np.maximum(alpha, 1e-6)
    return np.concatenate([mean, alpha], axis=-1).round().clip(0, 255).astype(np.uint8)

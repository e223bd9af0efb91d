"""Pictures: the nearest point wins, ceilings and near walls go, every picture of a room is taken from one place."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from pointseg.report.render import CORRECT, UNSCORED, WRONG, encode_png, error_colors, render, room_view


def _plane(low: tuple[float, float, float], high: tuple[float, float, float], step: float = 0.04) -> np.ndarray:
    axes = [np.arange(a, b + step / 2, step) if b > a else np.array([a]) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)


def _shares(picture: np.ndarray, color: tuple[int, int, int], tolerance: int = 30) -> float:
    seen = picture[..., 3] > 128
    near = np.abs(picture[..., :3].astype(int) - color).max(axis=-1) <= tolerance
    return float((seen & near).sum() / seen.sum())


def test_a_table_hides_the_floor_under_it():
    floor, table = _plane((0, 0, 0), (4, 4, 0)), _plane((1, 1, 0.7), (3, 3, 0.7))
    xyz = np.concatenate([floor, table])
    rgb = np.repeat(np.array([[0, 255, 0], [255, 0, 0]], np.uint8), [len(floor), len(table)], axis=0)
    for order in (np.arange(len(xyz)), np.arange(len(xyz))[::-1]):
        picture = render(room_view(xyz[order], width=300), rgb[order])
        height, width = picture.shape[:2]
        # The middle of the table is a little above the middle of the picture.
        assert tuple(picture[int(0.42 * height), width // 2, :3]) == (255, 0, 0)
        assert 0.15 < _shares(picture, (255, 0, 0)) < 0.35
        assert _shares(picture, (0, 255, 0)) > 0.5


def test_ceiling_and_near_walls_are_cut_away():
    parts = {
        (0, 255, 0): _plane((0, 0, 0), (4, 4, 0)),
        (255, 0, 0): _plane((0, 0, 2.5), (4, 4, 2.5)),  # ceiling
        (0, 0, 255): _plane((0, 0, 0), (4, 0, 2.5)),  # wall on the camera's side
        (255, 255, 0): _plane((0, 4, 0), (4, 4, 2.5)),  # wall on the far side
    }
    xyz = np.concatenate(list(parts.values()))
    rgb = np.repeat(np.array(list(parts), np.uint8), [len(part) for part in parts.values()], axis=0)
    picture = render(room_view(xyz, width=300), rgb)
    assert _shares(picture, (255, 0, 0)) == 0
    assert _shares(picture, (0, 0, 255)) < 0.08  # what is left of it near the floor
    assert _shares(picture, (255, 255, 0), 90) > 0.15
    assert _shares(picture, (0, 255, 0), 90) > 0.4


def test_pictures_of_one_view_differ_in_colour_only():
    xyz = _plane((0, 0, 0), (3, 2, 0))
    view = room_view(xyz, width=200)
    red, blue = (render(view, np.tile(np.array(c, np.uint8), (len(xyz), 1))) for c in ((200, 0, 0), (0, 0, 200)))
    assert red.shape == blue.shape
    assert red.shape[1] in (200, 201)
    assert np.array_equal(red[..., 3], blue[..., 3])
    assert np.array_equal(red[..., 0], blue[..., 2])


def test_any_cloud_has_a_view():
    for xyz in (np.zeros((1, 3)), np.zeros((5, 3)), np.array([[0, 0, 0], [0, 0, 9.0]]), _plane((0, 0, 0), (0, 0, 3))):
        picture = render(room_view(xyz, width=64), np.full((len(xyz), 3), 100, np.uint8))
        assert picture[..., 3].max() == 255


def test_colours_of_errors():
    got = error_colors(np.array([3, 3, 255, 4]), np.array([3, 4, 2, 255]), 255)
    assert got.tolist() == [list(CORRECT), list(WRONG), list(WRONG), list(UNSCORED)]


def test_png_can_be_read_back():
    picture = np.zeros((20, 30, 4), np.uint8)
    picture[5:10, 5:10] = 10, 200, 30, 255
    read = np.asarray(Image.open(io.BytesIO(encode_png(picture))).convert("RGBA"))
    assert read.shape == (20, 30, 4)
    assert read[7, 7].tolist() == [10, 200, 30, 255]
    assert read[0, 0, 3] == 0

"""Generated images of coloured shapes: something to try detectors and context modules on without any download.

H and W are an image's height and width in pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

KINDS = ("disc", "square", "triangle")
COLORS = np.array(
    [(220, 60, 60), (60, 180, 75), (70, 100, 230), (240, 200, 50), (150, 70, 200), (80, 210, 220)], np.uint8
)
ALONE, PAIRED = 0, 1  # of a shape whose colour no other, or another, shape of the image has
_CELL = 24  # pixels; a shape stays so far from the borders of its cell that two are at least 12 pixels apart


class Shapes(NamedTuple):
    """An image and what is on it: M shapes that do not touch."""

    image: np.ndarray  # [H, W, 3] uint8
    masks: np.ndarray  # [M, H, W] bool
    kinds: np.ndarray  # [M] int64 into KINDS
    colors: np.ndarray  # [M] int64 into COLORS


def draw_shapes(rng: np.random.Generator, size: int, colors: np.ndarray) -> Shapes:
    """A noisy grey image of size x size pixels, with one shape of a random kind for each of `colors` [M].

    Shapes stand in different cells of 24 x 24 pixels: `size` must be a multiple of 24 with at least M cells.
    """
    across = size // _CELL
    if size % _CELL or not len(colors) <= across**2:
        raise ValueError(f"size must be a multiple of {_CELL} with cells for {len(colors)} shapes, got {size}")
    cells = rng.choice(across**2, len(colors), replace=False)
    middle = (
        np.stack([cells // across, cells % across], axis=1) * _CELL + _CELL / 2 + rng.uniform(-1, 1, (len(cells), 2))
    )
    kinds = rng.integers(0, len(KINDS), len(colors))
    radius = rng.uniform(4.5, 5.0, len(colors))
    masks = np.stack([_mask(size, *one) for one in zip(middle, radius, kinds, strict=True)])
    image = np.full((size, size, 3), 110.0)
    for mask, color in zip(masks, colors, strict=True):
        image[mask] = COLORS[color]
    image += rng.normal(0, 8, image.shape)
    return Shapes(image.clip(0, 255).astype(np.uint8), masks, kinds, np.asarray(colors))


def _mask(size: int, middle: np.ndarray, radius: float, kind: int) -> np.ndarray:
    """[size, size] bool; the areas of the kinds differ by less than a third."""
    y, x = (np.arange(size)[:, None] + 0.5 - middle[0], np.arange(size)[None, :] + 0.5 - middle[1])
    if KINDS[kind] == "disc":
        return y**2 + x**2 < (0.9 * radius) ** 2
    if KINDS[kind] == "square":
        return np.maximum(abs(y), abs(x)) < 0.8 * radius
    return (y < 0.9 * radius) & (2 * abs(x) < 1.2 * (y + radius))


def pair_among_shapes(rng: np.random.Generator, size: int = 96) -> tuple[Shapes, np.ndarray]:
    """Four shapes, two of one colour and two of other colours, and the label ALONE or PAIRED of each, [4] int64.

    Nothing near a shape tells which it is: colours, kinds and places are drawn alike; half of all shapes are PAIRED.
    """
    pair, one, other = rng.choice(len(COLORS), 3, replace=False)
    colors = np.array([pair, pair, one, other])
    return draw_shapes(rng, size, colors), np.array([PAIRED, PAIRED, ALONE, ALONE])


def some_shapes(rng: np.random.Generator, size: int) -> Shapes:
    """One to five shapes of any colours, for a detector to find."""
    return draw_shapes(rng, size, rng.integers(0, len(COLORS), rng.integers(1, 6)))

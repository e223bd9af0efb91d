"""Colours of things, 0..1 per channel, as a phone or tablet camera renders them indoors."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

Color = tuple[float, float, float]
Palette = tuple[Color, ...]

WOOD: Palette = (
    (0.55, 0.38, 0.22),
    (0.70, 0.53, 0.34),
    (0.36, 0.24, 0.15),
    (0.80, 0.68, 0.50),
    (0.85, 0.83, 0.79),
    (0.47, 0.28, 0.16),
    (0.22, 0.17, 0.14),
)
FABRIC: Palette = (
    (0.35, 0.38, 0.45),
    (0.55, 0.50, 0.44),
    (0.45, 0.22, 0.20),
    (0.25, 0.33, 0.28),
    (0.72, 0.67, 0.58),
    (0.20, 0.22, 0.27),
    (0.30, 0.20, 0.15),
    (0.62, 0.62, 0.62),
    (0.13, 0.13, 0.14),
)
WHITE: Palette = ((0.90, 0.90, 0.88), (0.86, 0.86, 0.83), (0.93, 0.92, 0.89))
METAL: Palette = ((0.55, 0.56, 0.58), (0.30, 0.30, 0.32), (0.72, 0.72, 0.73), (0.12, 0.12, 0.13))
BRIGHT: Palette = (
    (0.70, 0.25, 0.22),
    (0.24, 0.42, 0.62),
    (0.80, 0.66, 0.26),
    (0.32, 0.50, 0.33),
    (0.60, 0.42, 0.58),
    (0.85, 0.80, 0.70),
    (0.85, 0.50, 0.25),
    (0.16, 0.20, 0.40),
)
PLASTIC: Palette = ((0.15, 0.15, 0.16), (0.85, 0.85, 0.84), (0.62, 0.64, 0.66), (0.20, 0.32, 0.55), (0.25, 0.45, 0.30))
STONE: Palette = ((0.30, 0.29, 0.28), (0.62, 0.58, 0.52), (0.78, 0.76, 0.72), (0.16, 0.16, 0.17), (0.48, 0.40, 0.33))
CARDBOARD: Palette = ((0.66, 0.52, 0.36), (0.72, 0.60, 0.45))
WALL_PAINT: Palette = (
    *WHITE,
    (0.80, 0.76, 0.66),
    (0.70, 0.76, 0.80),
    (0.78, 0.70, 0.58),
    (0.66, 0.70, 0.62),
    (0.82, 0.80, 0.76),
)
FLOORING: Palette = (*WOOD[:6], (0.45, 0.43, 0.41), (0.36, 0.38, 0.42), (0.60, 0.57, 0.52), (0.74, 0.72, 0.68))
GLASS: Color = (0.70, 0.78, 0.84)
SCREEN: Color = (0.07, 0.07, 0.08)
LEAF: Palette = ((0.25, 0.42, 0.20), (0.33, 0.48, 0.26), (0.20, 0.33, 0.18))


def pick(rng: Generator, palette: Palette) -> Color:
    """A colour near one of the palette's."""
    color = np.array(palette[rng.integers(len(palette))]) + rng.normal(0, 0.03, 3) + rng.normal(0, 0.04)
    red, green, blue = np.clip(color, 0.05, 0.97)
    return float(red), float(green), float(blue)


def darker(color: Color, factor: float = 0.8) -> Color:
    return color[0] * factor, color[1] * factor, color[2] * factor

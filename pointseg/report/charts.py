"""Small line charts as inline SVG. Colours are CSS variables of the page, so they follow its light and dark theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 420, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 12, 14, 34


class Series(NamedTuple):
    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: str = "a"  # CSS class line-<style> / dot-<style>
    dots: bool = False  # marks instead of a line
    noisy: bool = False  # a thin line with its running mean on top


def line_chart(title: str, series: Sequence[Series], *, x_label: str, percent: bool = False, log: bool = False) -> str:
    """An SVG element, or "" when there is nothing to draw. Values that are not finite are left out.

    Args:
        percent: y values are shares, ticks read as %.
        log: logarithmic y axis; values that are not positive are left out too.
    """
    kept = [_drawable(one, log) for one in series]
    xs, ys = [x for one in kept for x in one.x], [y for one in kept for y in one.y]
    if not xs:
        return ""
    y_ticks = _decades(min(ys), max(ys)) if log else _ticks(min(ys), max(ys), inside=False)
    place = _Place(min(xs), max(xs), min(*ys, *y_ticks), max(*ys, *y_ticks), log)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">']
    for y in y_ticks:
        at = f"{place.y(y):.1f}"
        text = f"{100 * y:g}%" if percent else f"{y:.0e}".replace("e-0", "e-") if log else f"{y:g}"
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text class="tick" text-anchor="end" dy="4" x="{_LEFT - 6}" y="{at}">{text}</text>')
    for x in _ticks(min(xs), max(xs)):
        text = f"{x / 1000:g}k" if x >= 10_000 else f"{x:g}"
        parts.append(f'<text class="tick" text-anchor="middle" x="{place.x(x):.1f}" y="{HEIGHT - 16}">{text}</text>')
    parts.append(f'<text class="tick" text-anchor="end" x="{WIDTH - _RIGHT}" y="{HEIGHT - 3}">{x_label}</text>')
    for one in kept:
        parts += _marks(one, place, percent)
    return "".join([*parts, "</svg>"])


class _Place(NamedTuple):
    """From values to places in the picture."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    log: bool

    def x(self, x: float) -> float:
        share = (x - self.x_low) / (self.x_high - self.x_low) if self.x_high > self.x_low else 0.5
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * share

    def y(self, y: float) -> float:
        low, high, value = (math.log10(v) if self.log else v for v in (self.y_low, self.y_high, y))
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * ((value - low) / (high - low) if high > low else 0.5)


def _marks(one: Series, place: _Place, percent: bool) -> list[str]:
    """The elements of one series."""
    across, values = [place.x(x) for x in one.x], [place.y(y) for y in one.y]
    if one.dots:
        shown = [f"{100 * y:.1f}%" if percent else f"{y:.4g}" for y in one.y]
        return [
            f'<circle class="dot-{one.style}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"><title>{one.name}: {s}</title></circle>'
            for x, y, s in zip(across, values, shown, strict=True)
        ]
    if one.noisy:
        return [_path(across, values, f"line-{one.style} faint"), _path(across, _smooth(values), f"line-{one.style}")]
    return [_path(across, values, f"line-{one.style}")]


def _path(xs: Sequence[float], ys: Sequence[float], style: str) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    return f'<polyline class="{style}" points="{points}"/>'


def _drawable(one: Series, log: bool) -> Series:
    kept = [(x, y) for x, y in zip(one.x, one.y, strict=True) if math.isfinite(y) and (y > 0 or not log)]
    return one._replace(x=[x for x, _ in kept], y=[y for _, y in kept])


def _smooth(values: Sequence[float]) -> list[float]:
    """Means over a centred window of about a fifteenth of the values."""
    reach = max(1, len(values) // 30)
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    bounds = [(max(0, i - reach), min(len(values), i + reach + 1)) for i in range(len(values))]
    return [(sums[end] - sums[start]) / (end - start) for start, end in bounds]


def _ticks(low: float, high: float, *, inside: bool = True) -> list[float]:
    """About five round numbers between low and high (`inside`), or from just below low to just above high."""
    if high <= low:
        return [low]
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = (math.ceil, math.floor) if inside else (math.floor, math.ceil)
    start, end = first(low / step - 1e-9), last(high / step + 1e-9)
    return [round(i * step, 12) for i in range(start, end + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten around low and high; 1, 2 and 5 times them when there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    every = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    below = max(value for value in every if value <= low * 1.001)
    above = min(value for value in every if value >= high * 0.999)
    return [value for value in every if below <= value <= above]

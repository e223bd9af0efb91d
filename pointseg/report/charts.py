"""Small line charts as inline SVG. Colours are CSS variables of the page, so they follow its light and dark theme.

The elements carry what templates/report.js needs to zoom: the plot's place, the range of its values, series' names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 420, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 12, 14, 34
LEAST_SPAN = 0.1  # of the largest value: what an axis covers at least, so that small changes look small
LEAST_PERCENT = 0.05  # the same for shares, absolute


class Series(NamedTuple):
    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: str = "a"  # CSS class line-<style> / dot-<style>
    dots: bool = False  # marks, joined by a thin line
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
    low, high = min(ys), max(ys)
    y_ticks = _decades(low, high) if log else _ticks(*_widened(low, high, percent), inside=False)
    place = _Place(min(xs), max(xs), min(*ys, *y_ticks), max(*ys, *y_ticks), log)

    flags = (" data-percent" if percent else "") + (" data-log" if log else "")
    plot, values = (_LEFT, _TOP, WIDTH - _RIGHT, HEIGHT - _BOTTOM), place[:4]
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"'
        f' data-plot="{",".join(map(str, plot))}" data-range="{",".join(map(repr, values))}"{flags}><g class="axes">'
    ]
    for y in y_ticks:
        at = f"{place.y(y):.1f}"
        text = f"{100 * y:g}%" if percent else f"{y:.0e}".replace("e-0", "e-") if log else f"{y:g}"
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text class="tick" text-anchor="end" dy="4" x="{_LEFT - 6}" y="{at}">{text}</text>')
    for x in _ticks(min(xs), max(xs)):
        text = f"{x / 1000:g}k" if x >= 10_000 else f"{x:g}"
        parts.append(f'<text class="tick" text-anchor="middle" x="{place.x(x):.1f}" y="{HEIGHT - 16}">{text}</text>')
    parts.append(f'<text class="tick" text-anchor="end" x="{WIDTH - _RIGHT}" y="{HEIGHT - 3}">{x_label}</text>')
    parts.append("</g>")
    for one in kept:
        parts += _marks(one, place, percent)
    parts.append(f'<rect class="cursor" x="0" y="{_TOP}" width="0" height="{HEIGHT - _TOP - _BOTTOM}"/>')
    parts.append(f'<text class="tick readout" x="{_LEFT}" y="{_TOP - 3}"></text>')
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
        line = [] if len(one.x) < 2 else [_path(across, values, f"line-{one.style} thin")]
        return line + [
            f'<circle class="dot-{one.style}" data-name="{one.name}" cx="{x:.1f}" cy="{y:.1f}" r="3.2">'
            f"<title>{one.name}: {s}</title></circle>"
            for x, y, s in zip(across, values, shown, strict=True)
        ]
    if one.noisy:
        smooth = _path(across, _smooth(values), f"line-{one.style}", one.name)
        return [_path(across, values, f"line-{one.style} faint"), smooth]
    return [_path(across, values, f"line-{one.style}", one.name)]


def _path(xs: Sequence[float], ys: Sequence[float], style: str, name: str = "") -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    return f'<polyline class="{style}" data-name="{name}" points="{points}"/>'


def _widened(low: float, high: float, percent: bool) -> tuple[float, float]:
    """A range around [low, high] that is not too short for its values; shares stay within 0..1, counts above 0."""
    least = LEAST_PERCENT if percent else LEAST_SPAN * max(abs(low), abs(high))
    if (high == low and not percent) or high - low >= least:
        return low, high
    start = (low + high - least) / 2
    if low >= 0:
        start = max(start, 0.0)
    if percent and high <= 1:
        start = min(start, 1 - least)
    return start, start + least


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
    first, last, slack = (math.ceil, math.floor, 1e-9) if inside else (math.floor, math.ceil, -1e-9)
    start, end = first(low / step - slack), last(high / step + slack)
    return [round(i * step, 12) for i in range(start, end + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten around low and high; 1, 2 and 5 times them when there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    every = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    below = max(value for value in every if value <= low * 1.001)
    above = min(value for value in every if value >= high * 0.999)
    return [value for value in every if below <= value <= above]

"""Line charts as SVG that takes its colours from the page, light, dark or print. The same numbers, the same bytes.

    svg = line_chart([Series("v0", kl, psnr, "v0")], Axis("KL, nats", log=True), Axis("PSNR, dB"), "PSNR over KL")

Each series has a dash and a marker of its own beside its colour, so none is told by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from markupsafe import Markup, escape
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 460, 290
LEFT, RIGHT, TOP, BOTTOM = 68, 16, 14, 44

Draw = Literal["line", "points", "hollow", "both"]
Shape = Literal["circle", "square", "diamond", "triangle"]
SHAPES: dict[str, Shape] = {"v0": "circle", "v1": "square", "current": "diamond"}
"""Marker of each variant; all else has a triangle."""


@dataclass(frozen=True)
class Axis:
    """One axis: its label, and whether it is logarithmic."""

    label: str
    log: bool = False


@dataclass(frozen=True)
class Series:
    """One line or one set of points.

    Attributes:
        name: in the legend.
        x, y: values; those that are not finite, or not above 0 on a logarithmic axis, are left out.
        style: CSS class of the page: `v0`, `v1`, `current`, `linear`, `other`.
        draw: a line, filled or hollow markers, or a line with markers.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: str
    draw: Draw = "line"


@dataclass(frozen=True)
class Box:
    """A marked area, such as a wish: its name and its range along each axis; a bar where the range in x is a point."""

    name: str
    x: tuple[float, float]
    y: tuple[float, float]


def line_chart(
    series: Sequence[Series], x: Axis, y: Axis, title: str, boxes: Sequence[Box] = (), described: str = ""
) -> Markup:
    """A chart with its legend, as one `<div>`.

    Args:
        series: at least one of them with a value.
        x, y: the axes.
        title: what a screen reader says first.
        boxes: areas to mark; those of one name have one place in the legend.
        described: what the chart shows, in words, for those who cannot see it; the last values where not given.
    """
    kept = [_finite(one, x, y) for one in series]
    xs = [*np.concatenate([one.x for one in kept]), *(end for box in boxes for end in box.x)]
    ys = [*np.concatenate([one.y for one in kept]), *(end for box in boxes for end in box.y)]
    across, x_ticks = _scale(xs, x, LEFT, WIDTH - RIGHT)
    up, y_ticks = _scale(ys, y, HEIGHT - BOTTOM, TOP)
    parts = [*_grid(x_ticks, y_ticks, across, up, x, y)]
    for box in boxes:
        left, right, low, high = across(box.x[0]), across(box.x[1]), up(box.y[0]), up(box.y[1])
        wider = max(_BAR - (right - left), 0) / 2
        parts.append(f'<rect class="wish" x="{left - wider:.1f}" y="{high:.1f}" '
                     f'width="{right - left + 2 * wider:.1f}" height="{low - high:.1f}"/>')  # fmt: skip
    for one in kept:
        points = [(across(a), up(b)) for a, b in zip(one.x, one.y, strict=True)]
        if one.draw in ("line", "both") and len(points) > 1:
            road = "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
            parts.append(f'<path class="line {one.style}" d="M{road}"/>')
        if one.draw != "line" or len(points) == 1:
            filled = "hollow" if one.draw == "hollow" else "filled"
            parts += [_marker(a, b, one.style, filled) for a, b in points]
    words = described or "; ".join(f"{one.name}: last value {_short(one.y[-1])}" for one in kept if len(one.y))
    drawing = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}. {escape(words)}.">'
        f"{''.join(parts)}</svg>"
    )
    return Markup(f'<div class="chart">{drawing}{_legend(kept, boxes)}</div>')


_BAR = 10
"""Width of an area, at least."""
_NOTHING = 1e-12
"""What is smaller counts as 0."""


def _finite(one: Series, x: Axis, y: Axis) -> Series:
    a, b = np.asarray(one.x, dtype=float), np.asarray(one.y, dtype=float)
    good = np.isfinite(a) & np.isfinite(b) & ((a > _NOTHING) | (not x.log)) & ((b > _NOTHING) | (not y.log))
    return Series(one.name, a[good].tolist(), b[good].tolist(), one.style, one.draw)


class _Scale:
    """Value -> place in the drawing."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool) -> None:
        self.low, self.high, self.start, self.end, self.log = low, high, start, end, log

    def __call__(self, value: float) -> float:
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        position = ((math.log10(value) if self.log else value) - low) / (high - low)
        return self.start + position * (self.end - self.start)


def _scale(values: Iterable[float], axis: Axis, start: float, end: float) -> tuple[_Scale, list[float]]:
    found = list(values) or [1.0]
    low, high = min(found), max(found)
    if axis.log:
        low, high = low / 1.15, high * 1.15
        decades = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
        if math.log10(high / low) < 2.5:
            decades = [step * decade for decade in decades for step in (1, 2, 5)]
        else:
            decades = decades[:: -(-len(decades) // 6)]
        return _Scale(low, high, start, end, True), [tick for tick in decades if low <= tick <= high]
    if high - low <= max(_NOTHING, 1e-9 * max(abs(low), abs(high))):
        low, high = low - 0.5, high + 0.5
    ticks = [float(tick) for tick in MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]
    step = ticks[1] - ticks[0]
    low, high = min(low, ticks[0] if low - ticks[0] < 0.5 * step else low), max(high, low)
    if ticks[-1] - high < 0.5 * step:
        high = max(high, ticks[-1])
    return _Scale(low, high, start, end, False), [tick for tick in ticks if low - 1e-9 <= tick <= high + 1e-9]


def _grid(x_ticks: list[float], y_ticks: list[float], across: _Scale, up: _Scale, x: Axis, y: Axis) -> Iterable[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for tick in y_ticks:
        place = up(tick)
        yield f'<path class="grid" d="M{LEFT} {place:.1f}H{right}"/>'
        yield f'<text class="tick" x="{LEFT - 10}" y="{place + 4:.1f}" text-anchor="end">{_tick(tick, y)}</text>'
    for tick in x_ticks:
        place = across(tick)
        yield f'<path class="grid" d="M{place:.1f} {bottom}v5"/>'
        yield f'<text class="tick" x="{place:.1f}" y="{bottom + 18}" text-anchor="middle">{_tick(tick, x)}</text>'
    yield f'<path class="frame" d="M{LEFT} {bottom}H{right}"/>'
    middle = (TOP + bottom) / 2
    center = f'x="{(LEFT + right) / 2:.1f}" y="{HEIGHT - 7}" text-anchor="middle"'
    yield f'<text class="axis" {center}>{escape(x.label)}</text>'
    yield (
        f'<text class="axis" x="12" y="{middle:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 12 {middle:.1f})">{escape(y.label)}</text>'
    )


_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _tick(value: float, axis: Axis) -> str:
    if axis.log and (value >= 1e5 or value < 1e-3):
        power = math.floor(math.log10(value) + 1e-9)
        lead = round(value / 10**power)
        return ("" if lead == 1 else f"{lead}·") + "10" + str(power).translate(_SUPERSCRIPT)
    return f"{value:,.6g}".replace("-", "−") if abs(value) > 1e-12 else "0"


def _short(value: float) -> str:
    return f"{value:.4g}"


def _marker(x: float, y: float, style: str, filled: str, size: float = 4.6) -> str:
    shape = SHAPES.get(style, "triangle")
    names = f'class="mark {style} {filled}"'
    if shape == "circle":
        return f'<circle {names} cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}"/>'
    if shape == "square":
        return f'<rect {names} x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size:.1f}" height="{2 * size:.1f}"/>'
    reach = 1.3 * size
    if shape == "diamond":
        road = f"M{x:.1f} {y - reach:.1f}l{reach:.1f} {reach:.1f}l{-reach:.1f} {reach:.1f}l{-reach:.1f} {-reach:.1f}z"
    else:
        road = f"M{x:.1f} {y - reach:.1f}l{reach:.1f} {1.8 * reach:.1f}h{-2 * reach:.1f}z"
    return f'<path {names} d="{road}"/>'


def _legend(series: Sequence[Series], boxes: Sequence[Box]) -> str:
    entries = []
    for one in series:
        line = f'<path class="line {one.style}" d="M1 7H29"/>' if one.draw in ("line", "both") else ""
        mark = "" if one.draw == "line" else _marker(15, 7, one.style, "hollow" if one.draw == "hollow" else "filled")
        entries.append((f"{line}{mark}", one.name))
    for name in dict.fromkeys(box.name for box in boxes):
        entries.append(('<rect class="wish" x="2" y="1" width="26" height="12"/>', name))
    items = "".join(
        f'<li><svg viewBox="0 0 30 14" width="30" height="14" aria-hidden="true">{mark}</svg>{escape(name)}</li>'
        for mark, name in entries
    )
    return f'<ul class="legend">{items}</ul>'

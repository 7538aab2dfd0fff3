"""The charts of docs/benchmarks.md, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#00798c", "#d1495b", "#30363d", "#8c6bb1", "#41ab5d", "#fd8d3c", "#7d8590", "#edae49", "#4575b4", "#a6761d")
OURS = "Ear Teacher"


def quality(methods: Mapping[str, Any], levels: Mapping[str, tuple[float, float | None]]) -> bytes:
    """PSNR over CPU-seconds: every run a thin line, the linear codes points."""
    figure, axes = _one()
    names = [OURS, *[name for name in methods if name != OURS]]
    for name, colour in zip(names, COLOURS, strict=False):
        for i, points in enumerate(methods[name]["runs"]):
            x, y = [max(point["cpu"], 0.5) for point in points], [point["psnr"] for point in points]
            style = "o-" if len(points) > 1 else "D"
            width = 2.2 if name == OURS else 1
            axes.plot(x, y, style, color=colour, lw=width, ms=3 if len(points) > 1 else 6, label=None if i else name)
    for psnr, _ in levels.values():
        axes.axhline(psnr, color="#b1bac4", lw=0.6, ls=":")
    axes.set_xscale("log")
    axes.set_xlabel("CPU-seconds of training, measuring left out")
    axes.set_ylabel("PSNR, dB, test people")
    figure.legend(fontsize=8, loc="outside right upper", frameon=False)
    return _png(figure)


def parts(of: Mapping[str, Any]) -> bytes:
    """Milliseconds of each part of a training step."""
    figure, axes = _one()
    items = sorted(of["parts"].items(), key=lambda item: item[1]["ms"])
    axes.barh([name for name, _ in items], [part["ms"] for _, part in items], color=COLOURS[0])
    axes.set_xlabel(f"milliseconds, of a step of {of['step_ms']:.0f} ms")
    return _png(figure)


def growth(rows: list[dict[str, Any]]) -> bytes:
    """Seconds and megabytes over the number of pictures, both axes logarithmic."""
    figure = Figure(figsize=(9.2, 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for i, (unit, words) in enumerate((("_s", "seconds"), ("_mb", "peak private memory, MB"))):
        axes = figure.add_subplot(1, 2, i + 1)
        for column, colour in zip([key for key in rows[0] if key.endswith(unit)], COLOURS, strict=False):
            values = [row[column] for row in rows]
            axes.plot([row["pictures"] for row in rows], values, "o-", color=colour, label=column.removesuffix(unit))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("pictures")
        axes.set_ylabel(words)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8, frameon=False)
    return _png(figure)


def _one() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9.2, 4.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(alpha=0.25)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()

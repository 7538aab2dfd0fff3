"""Charts as PNG bytes that are the same for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = {"v0": "#d1495b", "v1": "#edae49", "current": "#00798c"}
SHADES = ("#30363d", "#7d8590", "#b1bac4")


def rate_distortion(
    curves: Mapping[str, pd.DataFrame],
    predicted: Mapping[str, tuple[float, float]],
    measured: Mapping[str, tuple[float, float]],
    wish: tuple[tuple[float, float], tuple[float, float]],
) -> bytes:
    """PSNR of a sampled code over its KL.

    Args:
        curves: name -> table with `kl` and `psnr_sampled`.
        predicted: variant -> (KL in nats, PSNR in dB), drawn hollow.
        measured: the same, drawn filled; may be empty.
        wish: the KL and the PSNR range of the joint target, drawn as a box.
    """
    figure = Figure(figsize=(9.2, 4.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (name, table), shade in zip(curves.items(), _shades(len(curves)), strict=True):
        shown = table[table["kl"] > 1]
        axes.plot(shown["kl"], shown["psnr_sampled"], color=shade, label=f"forecast, {name}")
    (kl_low, kl_high), (psnr_low, psnr_high) = wish
    axes.fill_between([kl_low, kl_high], psnr_low, psnr_high, color="#8fb996", alpha=0.5, label="the author's wish")
    for points, style, word in ((predicted, "none", "predicted"), (measured, None, "measured")):
        for name, (kl, psnr) in points.items():
            colour = COLOURS.get(name, "#444444")
            fill = colour if style is None else style
            axes.scatter(kl, psnr, s=60, facecolors=fill, edgecolors=colour, zorder=3, label=f"{name}, {word}")
    axes.set_xscale("log")
    axes.set_xlabel("KL, nats a picture")
    axes.set_ylabel("PSNR of a sampled code, dB")
    axes.grid(alpha=0.25)
    figure.legend(fontsize=8, loc="outside right upper", frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _shades(count: int) -> Sequence[str]:
    return [SHADES[i % len(SHADES)] for i in range(count)]

"""Charts as PNG bytes that are the same for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = {"v0": "#d1495b", "v1": "#edae49", "current": "#00798c"}
CONTROLS = ("#30363d", "#8c6bb1", "#41ab5d", "#fd8d3c", "#7d8590")
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
    return _png(figure)


def label_efficiency(table: pd.DataFrame, words: Mapping[str, str]) -> bytes:
    """Landmark error over the number of labelled pictures, one line an encoder, intervals as bands.

    Args:
        table: `encoder`, `labels`, `mean`, `ci_low`, `ci_high`.
        words: encoder -> its name in the legend.
    """
    figure = Figure(figsize=(9.2, 4.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for i, name in enumerate(dict.fromkeys(table["encoder"])):
        rows = table[table["encoder"] == name].sort_values("labels")
        own = name in COLOURS
        colour = COLOURS.get(name, CONTROLS[i % len(CONTROLS)])
        axes.plot(rows["labels"], rows["mean"], "o-" if own else "s--", color=colour, ms=4, label=words.get(name, name))
        axes.fill_between(rows["labels"], rows["ci_low"], rows["ci_high"], color=colour, alpha=0.12, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted(set(table["labels"]))
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    levels = [0.01, 0.015, 0.02, 0.03, 0.05, 0.08]
    axes.set_yticks(levels, [f"{level:g}" for level in levels])
    axes.set_xlabel("labelled pictures")
    axes.set_ylabel("landmark error (NME), crop sides")
    axes.grid(alpha=0.25)
    figure.legend(fontsize=8, loc="outside right upper", frameon=False)
    return _png(figure)


def kl_sweep(panels: Mapping[str, pd.DataFrame], marked: float) -> bytes:
    """One panel a measure over the weight of the KL.

    Args:
        panels: title -> table with `kl_weight` and one column a line.
        marked: the weight that is the default.
    """
    figure = Figure(figsize=(9.2, 3.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for i, (title, table) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), i + 1)
        lines = [column for column in table if column != "kl_weight"]
        for j, column in enumerate(lines):
            axes.plot(table["kl_weight"], table[column], "o-", ms=4, color=CONTROLS[j], label=column)
        axes.axvline(marked, color="#b1bac4", linestyle=":")
        axes.set_xscale("log")
        axes.set_ylim(bottom=0 if table[lines].to_numpy().max() < 1.5 else None)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("kl_weight")
        axes.grid(alpha=0.25)
        if len(lines) > 1:
            axes.legend(fontsize=7, frameon=False)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _shades(count: int) -> Sequence[str]:
    return [SHADES[i % len(SHADES)] for i in range(count)]

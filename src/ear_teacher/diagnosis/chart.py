"""The one chart of a diagnosis: from the wish down to the model, where the decibels go."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ear_teacher.diagnosis.verdict import Diagnosis

FULL, LOST, PLAIN = "#00798c", "#d1495b", "#b1bac4"


def steps(diagnosis: Diagnosis) -> list[tuple[str, float]]:
    """The chain as rows of label and dB, from what is wanted to what the model gives; what is not known is left out.

    On pictures as hard as the training pictures, so that each step can be set beside the one before.
    """
    v, chain = diagnosis.evidence.values, diagnosis.chain
    if chain is None:
        rows = [("wanted", v["wish.psnr"])]
    else:
        rows = [("wanted", chain.wish), (f"best linear code of {v['posterior.floats']:.0f} floats", chain.floats)]
        if math.isfinite(chain.weight):
            rows.append((f"the same at kl_weight {v['limit.kl_weight']:g}", chain.weight))
        if "chain.readout" in v:
            rows.append(("a linear map's reading of the code", v["chain.readout"]))
    if "chain.train" in v:
        rows.append(("the model, training pictures", v["chain.train"]))
    if "chain.held_out" in v:
        rows.append(("the model, held-out pictures", v["chain.held_out"]))
        rows.append(("the average picture, no code", v["chain.average_picture"]))
    return [(label, value) for label, value in rows if math.isfinite(value)]


def draw(rows: Sequence[tuple[str, float]], title: str) -> bytes:
    """Horizontal bars as PNG bytes that are the same for the same numbers; the largest drop stands out."""
    figure = Figure(figsize=(8.4, 0.42 * len(rows) + 0.9), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    values = [value for _, value in rows]
    links = range(1, len(rows) - 1)  # the wish is no step, nor is the average picture
    drops = {i: values[i - 1] - values[i] for i in links}
    worst = max(drops, key=lambda i: drops[i], default=0)
    for i, value in enumerate(values):
        place = len(rows) - 1 - i
        drop = drops.get(i, 0.0)
        axes.barh(place, value, color=PLAIN if i in (0, len(rows) - 1) else FULL, height=0.68)
        if drop > 0.1:
            axes.barh(place, drop, left=value, color=LOST, alpha=0.9 if i == worst else 0.3, height=0.68)
        note = f"{value:.1f} dB" + (f"   (-{drop:.1f})" if drop > 0.1 else "")
        axes.text(max(value, values[i - 1] if drop > 0.1 else value) + 0.3, place, note, va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [label for label, _ in reversed(rows)], fontsize=9)
    axes.set_xlim(0, max(values) * 1.18)
    axes.set_xlabel("PSNR of the mean squared error, dB", fontsize=9)
    axes.set_title(title, fontsize=10, loc="left")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()

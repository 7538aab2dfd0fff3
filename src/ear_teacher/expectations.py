"""What the author of v0 and v1 expected of v1, and whether a run did it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ear_teacher.config import LossConfig, ModelConfig


@dataclass(frozen=True)
class Expectation:
    """One row of the author's "expected after" columns.

    Attributes:
        label: what it is called in their text.
        quantity: the metric or summary it is judged by.
        low, high: the range they gave.
        kind: `range` is met inside only; `higher` and `lower` also by what is better than the range.
        before: what they reported of v0.
        decimals: of the value.
    """

    label: str
    quantity: str
    low: float
    high: float
    kind: Literal["range", "higher", "lower", "epochs"]
    before: str
    decimals: int


EXPECTATIONS = {
    "kl": Expectation("KL, nats", "kl", 5, 15, "range", "160-180", 1),
    "recon": Expectation("reconstruction loss", "recon", 0.01, 0.03, "lower", "0.02-0.05", 4),
    "perceptual": Expectation("perceptual (VGG-L1)", "perceptual_vgg_l1", 0.2, 0.4, "lower", "0.56-0.79", 3),
    "psnr_healthy": Expectation("PSNR, dB (\"healthy metrics\")", "psnr", 25, 30, "higher", "19-22", 2),
    "psnr_comparison": Expectation("PSNR, dB (\"before vs after\")", "psnr", 27, 30, "higher", "19-22", 2),
    "ssim": Expectation("SSIM", "ssim", 0.75, 0.85, "higher", "0.47-0.62", 3),
    "convergence": Expectation("convergence, epochs", "convergence", 30, 60, "epochs", "200+", 1),
}  # fmt: skip
"""The author's expectations of v1, row by row. PSNR stands in two of their tables with two ranges."""


AUTHOR = {"backbone": "vit_small_patch14_dinov2.lvd142m", "width": 512, "perceptual": "vgg_l1"}
"""What the author's v0 and v1 stood on."""


def stand_ins(model: ModelConfig, loss: LossConfig) -> str:
    """In words, where a baseline is not as its author ran it; empty where it is.

    A perceptual fix that was trained under another loss is judged under that loss, and the reader has to know.
    """
    ours = {"backbone": model.backbone, "width": model.width, "perceptual": loss.perceptual}
    changed = [f"{key} {ours[key]} for their {theirs}" for key, theirs in AUTHOR.items() if ours[key] != theirs]
    return f"stands in for the author's: {', '.join(changed)}" if changed else ""


@dataclass(frozen=True)
class Convergence:
    """When a run had most of what it would gain.

    Attributes:
        status: `plateau`, `still improving`, `no gain` or `too few validations`.
        epoch: first epoch within 5 % of the gain; None unless a plateau was reached.
        run_epochs: length of the run.
    """

    status: Literal["plateau", "still improving", "no gain", "too few validations"]
    epoch: float | None
    run_epochs: float


def convergence(history: pd.DataFrame, column: str = "val/psnr", share: float = 0.95) -> Convergence:
    """The first epoch at which a run had `share` of its whole gain, if it came to rest.

    The gain is the best value of the run minus its first; validation noise is passed over by following the best
    value so far. The run counts as having reached a plateau only where that epoch lies in its first three
    quarters, so that a last quarter of the run brought less than 5 % of the gain. What this cannot see: a learning
    rate that is lowered to nearly nothing brings every run to rest, so a plateau is one *of this budget and
    schedule*, and a longer run may well find more.

    Args:
        history: one row a validation in order, with `epoch` and `column`.
        column: a quantity of which more is better.
        share: of the gain, in (0, 1).
    """
    rows = history[["epoch", column]].dropna()
    epochs, values = rows["epoch"].to_numpy(dtype=float), rows[column].to_numpy(dtype=float)
    run_epochs = float(epochs[-1]) if len(epochs) else 0.0
    if len(rows) < 5:
        return Convergence("too few validations", None, run_epochs)
    best = np.maximum.accumulate(values)
    gain = best[-1] - values[0]
    if gain <= 0:
        return Convergence("no gain", None, run_epochs)
    reached = float(epochs[np.argmax(best >= values[0] + share * gain)])
    if reached > epochs[0] + 0.75 * (run_epochs - epochs[0]):
        return Convergence("still improving", None, run_epochs)
    return Convergence("plateau", reached, run_epochs)


def judge(expectation: Expectation, value: float | None, run: Convergence | None = None) -> str:
    """`met`, `above` or `below`; `not measured`, or for the epochs also `not tested` and `still improving`.

    Epochs are met by a plateau at or before the end of the range. A run that ends before the range begins has not
    put the expectation to the test, whatever it shows.
    """
    if expectation.kind == "epochs":
        if run is None:
            return "not measured"
        if run.run_epochs < expectation.low:
            return "not tested"
        if run.epoch is None:
            late = run.status == "still improving" and run.run_epochs >= expectation.high
            return "above" if late else run.status
        return "met" if run.epoch <= expectation.high else "above"
    if value is None or not np.isfinite(value):
        return "not measured"
    if value < expectation.low and expectation.kind != "lower":
        return "below"
    return "above" if value > expectation.high and expectation.kind != "higher" else "met"

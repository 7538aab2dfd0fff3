"""The author's monitoring list: is a run on track, behind or ahead?

    for verdict in judge(rows, config.watch, config.loss):
        verdict.sentence          # "epoch 10: PSNR 21.3 dB, wanted 18-20: ahead"

Their list counts epochs of their training set; `watch.unit: images` counts pictures instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ear_teacher.config import LossConfig, WatchConfig
from ear_teacher.training.history import Row

Word = Literal["on track", "behind", "ahead", "not reached", "not measured", "look"]


@dataclass(frozen=True)
class Quantity:
    """How a quantity of the list is read off the history.

    Attributes:
        column: of the history.
        label: for sentences.
        better: 1 where more is better, -1 where less is (for the KL in the author's reading).
        digits: decimals.
    """

    column: str
    label: str
    better: int
    digits: int


QUANTITIES = {
    "kl": Quantity("val/kl", "KL in nats", -1, 1),
    "perceptual": Quantity("val/raw/perceptual", "perceptual loss (VGG-L1)", -1, 3),
    "psnr": Quantity("val/psnr", "PSNR in dB", 1, 2),
}

BELOW = "less information in the code than asked for, which is no merit"
ABOVE = "more information in the code than asked for, which is no fault by itself: see the rules"


@dataclass(frozen=True)
class Verdict:
    """One milestone.

    Attributes:
        quantity: a key of `QUANTITIES`, or `pictures`.
        when: in `unit`s.
        low, high: the wanted range; None for pictures.
        value: interpolated between the validations around `when`; None where there is none.
        verdict: `look` where only eyes can judge.
        note: what has to be said with it, or nothing.
        unit: `epoch` or `image`.
    """

    quantity: str
    when: float
    low: float | None
    high: float | None
    value: float | None
    verdict: Word
    note: str
    unit: str

    @property
    def wanted(self) -> str:
        """The range in words; empty for pictures."""
        return "" if self.low is None else f"{self.low:g}-{self.high:g}"

    @property
    def sentence(self) -> str:
        """The milestone in a line."""
        note = f" ({self.note})" if self.note else ""
        if self.quantity == "pictures":
            return f"{self.unit} {self.when:g}: the pictures should show: {self.note}"
        quantity = QUANTITIES[self.quantity]
        value = "" if self.value is None else f" {self.value:.{quantity.digits}f},"
        return f"{self.unit} {self.when:g}: {quantity.label}{value} wanted {self.wanted}: {self.verdict}{note}"


def judge(rows: Sequence[Row], watch: WatchConfig, loss: LossConfig) -> list[Verdict]:
    """Every milestone of the list, quantity by quantity.

    A milestone behind the run is judged by the value there. One the run has not come to is `ahead` where the last
    value is as good already. Not so for the KL: it starts near 0 in a network that knows nothing, so a low one says
    nothing before its time.

    Args:
        rows: one a validation, in order, at least one.
        watch: the list.
        loss: says whether the perceptual term is the author's.
    """
    unit = watch.unit.removesuffix("s")
    at = np.array([row[_axis(watch)] for row in rows], dtype=float)
    verdicts = []
    for name, quantity in QUANTITIES.items():
        for when, low, high in getattr(watch, name):
            if name == "perceptual" and not loss.measures_vgg_l1:
                used = loss.perceptual if loss.perceptual_weight > 0 else "no perceptual term"
                verdicts.append(Verdict(name, when, low, high, None, "not measured", f"the loss uses {used}", unit))
                continue
            values = np.array([row[quantity.column] for row in rows], dtype=float)
            value = float(np.interp(when, at, values))
            word, note = _word(value, low, high, quantity.better), ""
            if when > at[-1]:
                known = name != "kl" and word != "behind"
                word, note = ("ahead", f"already at {unit} {at[-1]:.4g}") if known else ("not reached", "")
            elif name == "kl" and word != "on track":
                note = BELOW if word == "ahead" else ABOVE
            verdicts.append(Verdict(name, when, low, high, value, word, note, unit))
    for moment, text in watch.pictures:
        word = "look" if moment <= at[-1] else "not reached"
        verdicts.append(Verdict("pictures", moment, None, None, None, word, text, unit))
    return verdicts


def passed(rows: Sequence[Row], watch: WatchConfig, loss: LossConfig) -> list[Verdict]:
    """The milestones between the last validation but one and the last, for a line each while a run trains."""
    before = rows[-2][_axis(watch)] if len(rows) > 1 else 0.0
    return [verdict for verdict in judge(rows, watch, loss) if before < verdict.when <= rows[-1][_axis(watch)]]


def _axis(watch: WatchConfig) -> str:
    return "epoch" if watch.unit == "epochs" else "images"


def _word(value: float, low: float, high: float, better: int) -> Word:
    if low <= value <= high:
        return "on track"
    return "ahead" if (value > high) == (better > 0) else "behind"

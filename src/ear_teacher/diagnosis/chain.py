"""Where the decibels go, from the size of the code to the output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ear_teacher.diagnosis.suspicion import HALF_REACH


@dataclass(frozen=True)
class Chain:
    """Where the decibels go, on pictures as hard as the training pictures.

    Attributes:
        wish: wanted PSNR.
        floats: best linear code of the model's size, no limit on the rate.
        weight: best linear-Gaussian code of that size at the weight of the KL.
        plain: the same, were the reconstruction term a plain squared error.
        code: what the code holds: the better of a linear readout and the model itself.
        model: the model.
        encoder, decoder: dB lost there.
        left: dB of the shortfall that longer training would bring.
    """

    wish: float
    floats: float
    weight: float
    plain: float
    code: float
    model: float
    encoder: float
    decoder: float
    left: float

    @property
    def short(self) -> float:
        """dB by which the model stays below what size and weight allow."""
        return max(min(self.floats, self.weight) - self.model, 0.0)

    @property
    def unfinished(self) -> float:
        """Share of the shortfall that longer training would make up."""
        return self.left / self.short if self.short else 0.0


def chain_of(values: Mapping[str, float]) -> Chain | None:
    """The chain, from the evidence; None where no linear code stands beside the model."""
    if "limit.floats" not in values:
        return None
    model = values.get("chain.train", values["chain.held_out"])
    harder = values.get("shift.difficulty", 0.0)
    floats = values["limit.floats"] + harder
    weight = values.get("limit.weight", math.inf) + harder
    plain = values.get("limit.weight_squared_error", math.inf) + harder
    short = max(min(floats, weight) - model, 0.0)
    readout = values.get("chain.readout", model)
    code = max(readout, model)
    encoder = min(max(values.get("chain.readout_linear", code) - code, 0.0), short)
    # A wrong colour is the output's fault; the decoder answers for what a colour matrix does not repair.
    decoder = max(readout - model - max(values.get("colour.repair", 0.0), 0.0), 0.0)
    left = min(values.get("history.left", 0.0), short)
    if "history.reach" in values:
        left = max(left, short * HALF_REACH / (HALF_REACH + values["history.reach"]))
    return Chain(values["wish.psnr"], floats, weight, plain, code, model, encoder, decoder, left)

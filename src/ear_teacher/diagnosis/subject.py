"""What is diagnosed: a model, the pictures it saw and did not see, and what is known of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ear_teacher.config import LossConfig, TrainConfig, UserError
from ear_teacher.data import to_tensor
from ear_teacher.linear import LinearCode
from ear_teacher.models import EarVAE

BATCH = 16
GREY_TOLERANCE = 8
"""Largest difference of a pixel's channels, of 255, in a picture that counts as grey: JPEG leaves so much."""


@dataclass(frozen=True)
class Subject:
    """A trained model and everything that is at hand to judge it by. What is missing is not measured.

    Attributes:
        model: in evaluation mode, on the CPU.
        held_out: (M, S, S, 3) uint8, pictures it was not trained on.
        train: (N, S, S, 3) uint8, a sample of those it was trained on; None: not known.
        train_count: how many it was trained on in all.
        codes: linear codes fitted on its training pictures, by name; none: they are fitted on `train`.
        loss: the loss it was trained with.
        training: its optimiser and budget.
        history: one row a validation, as `training.history` writes it.
        lpips_net: of the loss's perceptual term, where that has one.
        regions: (M, S, S) label map of the held-out pictures, 0 = elsewhere.
        region_names: region i of the map is `region_names[i - 1]`.
    """

    model: EarVAE
    held_out: NDArray[np.uint8]
    train: NDArray[np.uint8] | None = None
    train_count: int | None = None
    codes: Mapping[str, LinearCode] = field(default_factory=dict)
    loss: LossConfig | None = None
    training: TrainConfig | None = None
    history: pd.DataFrame | None = None
    lpips_net: nn.Module | None = None
    regions: NDArray[np.uint8] | None = None
    region_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        size = self.model.image_size
        for name, pictures in (("held-out", self.held_out), ("training", self.train)):
            if pictures is not None and pictures.shape[1:] != (size, size, 3):
                raise UserError(f"The {name} pictures are {pictures.shape[1:]}; the model takes ({size}, {size}, 3).")
        if len(self.held_out) < 2:
            raise UserError("A diagnosis needs at least two pictures; give more.")


@dataclass(frozen=True)
class Numbers:
    """What one measurement found.

    Attributes:
        values: dotted name -> number; what could not be measured is absent.
        curves: name -> table for a plot.
    """

    values: dict[str, float] = field(default_factory=dict)
    curves: dict[str, pd.DataFrame] = field(default_factory=dict)


def evenly(count: int, limit: int) -> NDArray[np.int64]:
    """At most `limit` of `count` places, evenly spaced."""
    return np.arange(min(count, limit), dtype=np.int64) * count // max(min(count, limit), 1)


@torch.no_grad()
def encode(model: EarVAE, pictures: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Posterior means and log-variances of (N, S, S, 3) uint8 pictures, (N, k, g, g) each."""
    posteriors = [model.encode(to_tensor(pictures[i : i + BATCH])) for i in range(0, len(pictures), BATCH)]
    return torch.cat([p.mean for p in posteriors]), torch.cat([p.logvar for p in posteriors])


@torch.no_grad()
def decode(model: EarVAE, codes: Tensor) -> Tensor:
    """(N, k, g, g) -> (N, 3, S, S), meant for [0, 1], not clamped."""
    return torch.cat([model.decode(part) for part in codes.split(BATCH)])


def pooled_psnr(original: Tensor, recon: Tensor) -> float:
    """dB of the mean squared error over all pictures, unclamped: the averaging of the forecast."""
    error = float(((original.double() - recon.double()) ** 2).mean())
    return float(-10 * np.log10(max(error, 1e-10)))


def grey_pictures(pictures: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N,) which of (N, S, S, 3) pictures are greyscale."""
    spread = pictures.max(axis=3).astype(np.int16) - pictures.min(axis=3)
    return np.asarray(spread.reshape(len(pictures), -1).max(axis=1) <= GREY_TOLERANCE)


def rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers to five digits: what a sample of pictures is good for, and the same text on every machine."""
    return {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in values.items()}

"""What a run needs before its first step.

start = starting_code(variant.model, code, images, rows)
ready = set_up(variant, image_size, spectrum(code), start, Path("data/weights/perceptual"), backbone)
train(ready.model, ready.loss, pictures, variant.train, folder, kl_start=ready.kl_start, teaching=ready.teaching)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from ear_teacher.config import NO_BACKBONE, ModelConfig, UserError, Variant
from ear_teacher.linear import Energies, LinearCode, WhitenedCode, fit_lapped
from ear_teacher.losses import Loss, perceptual_trunk
from ear_teacher.models import EarVAE, new_model
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.training.controller import target_start, wished_point
from ear_teacher.training.teach import Teaching


@dataclass(frozen=True)
class Ready:
    """Model, loss and teaching at step 0, on the CPU, and the weight of the KL that a target starts from."""

    model: EarVAE
    loss: Loss
    teaching: Teaching
    kl_start: float


def set_up(
    variant: Variant,
    image_size: int,
    energies: Energies,
    start: WhitenedCode | None,
    trunks: Path,
    backbone: dict[str, Tensor] | None,
    aligned: dict[str, Tensor] | None = None,
    shrink: bool | None = None,
) -> Ready:
    """Build what `variant` says.

    Args:
        variant: model, loss, train and teach.
        image_size: side of the pictures, in pixels.
        energies: of the linear code of the model's layout and size, from which what a KL weight allows is told.
        start: what a warm start begins as (`starting_code`).
        trunks: folder with the trunks of the perceptual metrics (`TRUNK_FILE`).
        backbone: pretrained tensors of `model.backbone`; not looked at where that is none.
        aligned: of `teach.align_backbone`; not looked at where `teach.align_weight` is 0.
        shrink: whether a warm start is the optimum of a rate-limited code; None: where the KL has a target.

    Raises:
        UserError: code or weights do not fit the variant.
    """
    model = new_model(
        variant.model, image_size,
        kl_weight=wished_point(variant.loss, energies, variant.model.latent_dim).kl_weight, seed=variant.train.seed,
        code=start,
        shrink=variant.loss.kl_weight is None if shrink is None else shrink,
        backbone=backbone if variant.model.backbone != NO_BACKBONE else None,
    )  # fmt: skip
    trunk = perceptual_trunk(variant.loss)
    loss = Loss(variant.loss, load_lpips(trunk, trunks / TRUNK_FILE[trunk]) if trunk else None)
    kl_start = target_start(variant.loss, energies, variant.model.latent_dim)
    return Ready(model, loss, Teaching(variant.teach, model, aligned), kl_start)


def starting_code(model: ModelConfig, code: LinearCode, images: np.ndarray, rows: np.ndarray) -> WhitenedCode | None:
    """What a warm start begins as; None without one.

    Args:
        model: the model section.
        code: the linear code of its layout and size.
        images: uint8 (N, S, S, 3).
        rows: the training pictures, to which overlapping patches are fitted.

    Raises:
        UserError: there are too few pictures.
    """
    if model.warm_start == "none":
        return None
    if model.warm_start == "klt":
        return WhitenedCode.of(code)
    if len(rows) < 2:
        raise UserError("A warm start needs two training pictures or more; add pictures, or set model.warm_start=none.")
    return fit_lapped(images, rows, model.grid, model.channels)

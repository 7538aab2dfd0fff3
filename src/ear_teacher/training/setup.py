"""What a run needs before its first step.

start = lapped_start(variant.model, images, rows)
ready = set_up(variant, image_size, code, Path("data/weights/perceptual"), backbone, start=start)
train(ready.model, ready.loss, pictures, variant.train, folder, kl_start=ready.kl_start, teaching=ready.teaching)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from ear_teacher.config import NO_BACKBONE, ModelConfig, UserError, Variant
from ear_teacher.lapped import WhitenedCode, fit_lapped
from ear_teacher.linear import LinearCode, spectrum
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
    code: LinearCode,
    trunks: Path,
    backbone: dict[str, Tensor] | None,
    aligned: dict[str, Tensor] | None = None,
    shrink: bool | None = None,
    start: WhitenedCode | None = None,
) -> Ready:
    """Build what `variant` says.

    Args:
        variant: model, loss, train and teach.
        image_size: side of the pictures, in pixels.
        code: the linear code of the model's layout and size.
        trunks: folder with the trunks of the perceptual metrics (`TRUNK_FILE`).
        backbone: pretrained tensors of `model.backbone`; not looked at where that is none.
        aligned: of `teach.align_backbone`; not looked at where `teach.align_weight` is 0.
        shrink: whether a warm start is the optimum of a rate-limited code; None: where the KL has a target.
        start: what a warm start begins as, where that is not `code` (`lapped_start`).

    Raises:
        UserError: code or weights do not fit the variant.
    """
    energies = spectrum(code)
    model = new_model(
        variant.model, image_size,
        kl_weight=wished_point(variant.loss, energies, variant.model.latent_dim).kl_weight, seed=variant.train.seed,
        code=start or code,
        shrink=variant.loss.kl_weight is None if shrink is None else shrink,
        backbone=backbone if variant.model.backbone != NO_BACKBONE else None,
    )  # fmt: skip
    trunk = perceptual_trunk(variant.loss)
    loss = Loss(variant.loss, load_lpips(trunk, trunks / TRUNK_FILE[trunk]) if trunk else None)
    kl_start = target_start(variant.loss, energies, variant.model.latent_dim)
    return Ready(model, loss, Teaching(variant.teach, model, aligned), kl_start)


def lapped_start(model: ModelConfig, images: np.ndarray, rows: np.ndarray) -> WhitenedCode | None:
    """The code a model begins as, fitted to rows of uint8 (N, S, S, 3) pictures; None where its patches do not overlap.

    Raises:
        UserError: there are too few pictures.
    """
    if model.warm_start != "lapped":
        return None
    if len(rows) < 2:
        raise UserError("A warm start needs two training pictures or more; add pictures, or set model.warm_start=none.")
    return fit_lapped(images, rows, model.grid, model.channels)

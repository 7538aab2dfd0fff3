"""A model at step 0: random, warm-started or with a pretrained backbone, as the params say."""

from __future__ import annotations

import torch
from torch import Tensor

from ear_teacher.config import NO_BACKBONE, ModelConfig
from ear_teacher.linear import LinearCode, WhitenedCode
from ear_teacher.models.vae import EarVAE


def new_model(
    config: ModelConfig,
    image_size: int,
    *,
    kl_weight: float,
    seed: int,
    code: LinearCode | WhitenedCode | None = None,
    shrink: bool = False,
    backbone: dict[str, Tensor] | None = None,
) -> EarVAE:
    """Build a model ready to train.

    Args:
        config: the model section.
        image_size: side of the pictures, in pixels.
        kl_weight: w of the loss; sets the starting posterior variance of a warm start.
        seed: of the random weights.
        code: what a warm start begins as: the linear code of `config.latent_layout` (`warm_start: klt`), or what
            `fit_lapped` gives (`lapped`).
        shrink: whether a warm start is the optimum of a rate-limited code (`EarVAE.warm_start`).
        backbone: pretrained tensors, needed where `config` names one.

    Raises:
        UserError: the code or the backbone's weights do not fit the config.
    """
    torch.manual_seed(seed)
    model = EarVAE(config, image_size)
    if config.warm_start != "none":
        assert code is not None
        model.warm_start(WhitenedCode.of(code) if isinstance(code, LinearCode) else code, kl_weight, shrink)
    if config.backbone != NO_BACKBONE:
        assert backbone is not None
        model.load_backbone(backbone)
    return model

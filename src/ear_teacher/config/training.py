"""How a model is trained, and what its encoder is asked beyond the loss."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ear_teacher.config.values import Count, Natural, Number, Section, Share, Weight, numeric


class StopConfig(Section):
    """When training ends before its steps: the author's criteria. With nothing required, never."""

    require: tuple[Literal["kl_settled", "kl_range", "perceptual", "psnr", "no_gain"], ...] = ()
    """Criteria that must all hold at the same validation."""
    kl_change: Share = 0.1
    """kl_settled: over the last `patience` epochs the KL moved by at most this share of its mean."""
    kl_range: tuple[Number, Number] = (5.0, 15.0)
    """kl_range: nats."""
    perceptual: Annotated[float, numeric, Field(gt=0, allow_inf_nan=False)] = 0.3
    """perceptual: the VGG-L1 is below this. Measured only where `loss.perceptual` is vgg_l1."""
    psnr: Number = 28.0
    """psnr: above this, in dB."""
    patience: Annotated[float, numeric, Field(gt=0, allow_inf_nan=False)] = 5.0
    """no_gain: so many epochs without a better value of what `train.select` goes by."""

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, data: Any) -> Any:
        return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _ordered(self) -> StopConfig:
        if not 0 <= self.kl_range[0] < self.kl_range[1]:
            raise ValueError(f"stop.kl_range = {list(self.kl_range)} must be two rising numbers, the first at least 0")
        return self


class DivergenceConfig(Section):
    """When a run counts as diverged, and how it recovers; see `training.guard`."""

    spike: Annotated[float, numeric, Field(gt=1, allow_inf_nan=False)] = 3.0
    """Ten steps whose loss is this many times the lowest level of the run are a divergence; so is NaN."""
    lr_factor: Annotated[float, numeric, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.3
    """recover: the learning rate of the next attempt, as a share of that of the one before."""
    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    """recover: how many times at most."""


class TrainConfig(Section):
    """The optimiser and its budget. Schedules run on steps, never on the clock."""

    steps: Count = 400
    """Optimiser steps; images seen = steps x batch_size x accumulation."""
    batch_size: Count = 16
    accumulation: Count = 1
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon`: the kernels inside the network take Muon's orthogonalised step, everything else AdamW's."""
    lr: Annotated[float, numeric, Field(gt=0, le=1, allow_inf_nan=False)] = 1e-3
    linear_lr_scale: Share = 1.0
    """Learning rate of the warm start's linear maps, as a share of `lr`."""
    backbone_lr_scale: Share = 0.1
    weight_decay: Weight = 1e-5
    beta2: Annotated[float, numeric, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.999
    warmup: Share = 0.05
    """Share of the steps over which the learning rate rises from `warmup_start` x lr."""
    warmup_start: Share = 0.1
    final_lr: Share = 0.01
    """The cosine ends at this share of `lr`."""
    max_grad_norm: Annotated[float, numeric, Field(gt=0, allow_inf_nan=False)] = 1.0
    ema: Annotated[float, numeric, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    """Decay of the running average of the weights that is validated and kept; 0 = off."""
    flip: bool = True
    affine: Annotated[float, numeric, Field(ge=0, le=0.5, allow_inf_nan=False)] = 0.0
    """Largest shift (share of the side), change of scale (of its logarithm) and turn (radians) of a training picture
    and its target, each drawn anew for each; 0 = off."""
    augment: Literal["none", "clean_target", "degraded_target"] = "none"
    """Blur, noise and occlusion of the input, with the clean or (as in v0) the degraded picture as target."""
    cache_features: Literal["auto", "always", "never"] = "auto"
    """Compute what a frozen backbone says of each picture once (stage `features`), not at every step: where that is
    possible, in any case (else refused), or never. EfficientNet-Lite0 at 128 px: 98 kB a picture with four maps."""
    validate_every: Count = 40
    """Optimiser steps between two validations; each is a row of the history and a checkpoint."""
    milestones: tuple[Annotated[float, numeric], ...] = (1.0, 2.0, 4.0)
    """Epochs after which a grid of validation reconstructions is drawn."""
    select: Literal["loss", "psnr", "lpips", "last"] = "loss"
    """Validation quantity by which the best checkpoint is chosen."""
    seed: Natural = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the model's convolutions while it learns; loss, KL, log-variance and linear maps are always float32. bfloat16
    is for GPUs and CPUs that compute in it; others emulate it, slowly."""
    threads: Natural = 0
    """CPU threads; 0 = all cores. Results are reproducible for equal thread counts."""
    stop: StopConfig = StopConfig()
    on_divergence: Literal["stop", "recover"] = "stop"
    """`recover`: go on from the last good checkpoint with a lower learning rate."""
    divergence: DivergenceConfig = DivergenceConfig()

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, data: Any) -> Any:
        return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()} if isinstance(data, dict) else data

    @property
    def images_seen(self) -> int:
        """Training images over the whole run, repeats counted."""
        return self.steps * self.batch_size * self.accumulation


class TeachConfig(Section):
    """What the encoder is asked beyond the loss, so that its features teach; see `training.teach`. 0 = off."""

    align_weight: Weight = 0.0
    """Of the VF-loss (Yao et al. 2025, arXiv 2501.01423): the encoder's deepest map, linearly projected, should look
    like the features of a frozen pretrained backbone."""
    align_backbone: str = "tf_efficientnet_lite0"
    """Name of a timm model; its deepest map of stride 16 or less."""
    align_margin: Annotated[float, numeric, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    """Cosine by which a place may differ from the wanted one at no cost; half of it for the likeness of two places."""
    mask_share: Annotated[float, numeric, Field(ge=0, le=0.9, allow_inf_nan=False)] = 0.0
    """Share of the input's 16 px patches that are blanked; the target is the whole picture."""
    agree_weight: Weight = 0.0
    """Of descriptor vector exchange (Thewlis et al. 2019, arXiv 1908.06427): the descriptors of a place
    (`model.descriptors`) should find it again in a moved and recoloured view, by way of another picture."""

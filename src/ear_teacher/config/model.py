"""The model and its loss."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ear_teacher.config.values import Natural, Section, Weight, numeric

LAYOUT_GRID = {"vector": 1, "4x4": 4, "8x8": 8}
NO_BACKBONE = "none"


class ModelConfig(Section):
    """The VAE. `latent_dim` counts the floats of the code, `latent_layout` gives their shape."""

    encoder: Literal["residual", "backbone"] = "residual"
    """`residual`: linear code + conv branch; `backbone`: a pretrained network's features (v0, v1)."""
    decoder: Literal["residual", "transposed"] = "residual"
    """`residual`: inverse linear code + conv branch; `transposed`: transposed convolutions (v0, v1)."""
    latent_dim: Annotated[int, Field(ge=1, le=65536)] = 1024
    latent_layout: Literal["vector", "4x4", "8x8"] = "8x8"
    warm_start: Literal["lapped", "klt", "none"] = "klt"
    """The model at step 0 is a linear code of the training split: `klt` of separate patches; `lapped` of patches that
    overlap, with less squared error (`ear_teacher.linear.lapped`)."""
    width: Annotated[int, Field(ge=8, le=2048)] = 48
    """residual: channels at a quarter of the resolution; transposed: channels of the decoder's 4x4 map."""
    backbone: str = NO_BACKBONE
    """Name of a timm model, or none. With `encoder: residual` its features stand beside the conv branch."""
    backbone_layers: Annotated[int, Field(ge=1, le=64)] = 1
    """How many of its maps are used, evenly spread over the depth (`encoder: backbone` takes the deepest)."""
    trainable_blocks: Natural = 4
    """How many of the backbone's last blocks learn; the others stay frozen."""
    descriptors: Annotated[int, Field(ge=0, le=1024)] = 0
    """Floats by which a place of the picture is described, beside the code (`models.descriptors`); learned by
    `teach.agree_weight`. 0 = none; there are none without a backbone either."""

    @property
    def grid(self) -> int:
        """Positions along one side of the latent map (1 for a vector)."""
        return LAYOUT_GRID[self.latent_layout]

    @property
    def channels(self) -> int:
        """Latent channels at each position."""
        return self.latent_dim // self.grid**2

    @property
    def describes(self) -> bool:
        """Whether there are descriptors of places."""
        return self.descriptors > 0 and self.backbone != NO_BACKBONE

    def describe(self) -> str:
        """The model in words, for tables that compare several."""
        parts = [self.encoder + " encoder"] if self.encoder == "residual" else []
        encoder = " + ".join(parts + [self.backbone] * (self.backbone != NO_BACKBONE))
        starts = {"lapped": "warm-started from a lapped linear code", "klt": "warm-started from the linear code"}
        start = starts.get(self.warm_start, "from random weights")
        return f"{encoder}, {self.decoder} decoder of width {self.width}, {start}"

    @model_validator(mode="after")
    def _possible(self) -> ModelConfig:
        cells = self.grid**2
        if self.latent_dim % cells:
            raise ValueError(
                f"model.latent_dim = {self.latent_dim} does not fit latent_layout {self.latent_layout}: "
                f"use a multiple of {cells}"
            )
        residual = self.encoder == "residual" or self.decoder == "residual"
        if residual and self.latent_layout == "vector":
            raise ValueError("the residual encoder and decoder need model.latent_layout 4x4 or 8x8, not vector")
        if self.warm_start != "none" and not (self.encoder == self.decoder == "residual"):
            raise ValueError(
                f"model.warm_start {self.warm_start} needs encoder: residual and decoder: residual; "
                "use warm_start: none"
            )
        if self.encoder == "backbone" and self.backbone == NO_BACKBONE:
            raise ValueError("model.encoder backbone needs model.backbone, a timm model such as tf_efficientnet_lite0")
        return self


class LossConfig(Section):
    """Weights of every term; pixel terms are computed on [-1, 1]. The table of terms is in `losses`."""

    recon: Literal["mse", "l1"] = "l1"
    recon_weight: Weight = 1.0
    recon_channels: Literal["mean", "sum"] = "mean"
    """Whether the three channels of a pixel's error are averaged or, as in v0 and v1, added."""
    focal: bool = False
    """Multiply each error by its own square root: large errors count more."""
    center_weight: Annotated[float, numeric, Field(ge=1, le=1000, allow_inf_nan=False)] = 1.0
    """Weight of the picture's middle against its rim."""
    ignore_dark: bool = False
    """Leave out pixels whose target is darker than 0.05 in [0, 1] (letterbox bars)."""
    perceptual: Literal["vgg_l1", "lpips_alex", "lpips_vgg"] = "lpips_alex"
    perceptual_weight: Weight = 0.0
    ssim_weight: Weight = 0.0
    ms_ssim_weight: Weight = 0.0
    edge_weight: Weight = 0.0
    frequency_weight: Weight = 0.0
    kl_weight: Weight | None = 1e-6
    """Weight of the KL; null where `kl_target` or `psnr_target` asks for a result instead."""
    kl_target: Annotated[float, numeric, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None
    """Wished KL in nats, mean over the training pictures: the weight that gives it is found during the run."""
    psnr_target: Annotated[float, numeric, Field(gt=5, le=60, allow_inf_nan=False)] | None = None
    """Wished PSNR in dB of a sampled code, mean over the training pictures."""
    kl_free_bits: Annotated[float, numeric, Field(ge=0, le=1000, allow_inf_nan=False)] = 0.0
    """Bits each latent dimension may carry at no cost (Kingma et al. 2016, arXiv 1606.04934)."""
    kl_warmup_epochs: Annotated[float, numeric, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.0
    """Epochs over which `kl_weight` rises from 0."""

    @property
    def measures_vgg_l1(self) -> bool:
        """Whether the perceptual term is the author's."""
        return self.perceptual == "vgg_l1" and self.perceptual_weight > 0

    @model_validator(mode="before")
    @classmethod
    def _a_target_replaces_the_default_weight(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "kl_weight" in data:
            return data
        wished = any(data.get(key) is not None for key in ("kl_target", "psnr_target"))
        return {**data, "kl_weight": None} if wished else data

    @model_validator(mode="after")
    def _one_wish(self) -> LossConfig:
        wishes = {key: getattr(self, key) for key in ("kl_weight", "kl_target", "psnr_target")}
        given = [key for key, value in wishes.items() if value is not None]
        if not given:
            raise ValueError(
                "loss.kl_weight = None leaves the KL without a weight: give a number, or loss.kl_target or "
                "loss.psnr_target"
            )
        if len(given) > 1:
            named = " and ".join(f"loss.{key} = {wishes[key]:g}" for key in given)
            rest = " and ".join(f"loss.{key}=null" for key in given[:-1])
            raise ValueError(f"{named} exclude one another: set {rest} as well to go by loss.{given[-1]}")
        if self.kl_warmup_epochs and self.kl_weight is None:
            raise ValueError(f"loss.kl_warmup_epochs works with loss.kl_weight only: set it to 0 for loss.{given[0]}")
        return self

"""params.yaml as frozen types, and the one place that reads it.

    config = load_config("params.yaml")            # the current model
    config.variant("v0").loss.kl_weight            # the same file, with the overlay of v0

Every key is declared here once, with its range. An unknown key, a wrong type, a value out of range or an
impossible combination raises `UserError` with one sentence that names the key, the value and what is allowed.
YAML 1.1 reads `1e-5` as a string; the types here turn it back into a number.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

VARIANTS = ("v0", "v1", "current")
LAYOUT_GRID = {"vector": 1, "4x4": 4, "8x8": 8}
NO_BACKBONE = "none"
MOST_BYTES = 1_000_000
"""A larger params.yaml is none; reading it would take minutes and gigabytes."""


class UserError(Exception):
    """A mistake the user can mend. The message is one sentence: what is wrong, where, and what to do."""


def _number_from_text(value: Any) -> Any:
    """Numbers that YAML 1.1 left as text, and nothing else: `1e-5` yes, `abc`, `true` and `nan` no."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value.strip()):
        return float(value)
    return value


_numeric = BeforeValidator(_number_from_text)
Number = Annotated[float, _numeric, Field(allow_inf_nan=False)]
Weight = Annotated[float, _numeric, Field(ge=0, le=1e6, allow_inf_nan=False)]
Share = Annotated[float, _numeric, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Natural = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys are errors, no silent conversion between kinds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SyntheticConfig(Section):
    """The embedded data set (`data.source: synthetic`)."""

    people: Count = 220
    images_per_person: Count = 6
    seed: Natural = 0
    grey_fraction: Share = 0.25
    appearance: Literal["person", "image"] = "image"
    """Whether skin, hair and marks belong to the person or are drawn anew for each image."""
    occluder_fraction: Share = 0.1
    """Share of images with an earring, a lock of hair or glasses over part of the ear."""


class SplitConfig(Section):
    """Who trains, who validates, who tests. A person whose id is a whole number n goes by n mod `modulus`,
    any other id by its SHA-256 mod `modulus`: adding photos never moves a person to another split."""

    modulus: Annotated[int, Field(ge=2, le=1000)] = 7
    test: tuple[Natural, ...] = (3,)
    val: tuple[Natural, ...] = (5,)

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, data: Any) -> Any:
        return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _disjoint(self) -> SplitConfig:
        if not self.test or not self.val or set(self.test) & set(self.val):
            raise ValueError("test and val each need at least one residue, and none in common")
        if max(*self.test, *self.val) >= self.modulus:
            raise ValueError(f"residues of test and val must be below modulus ({self.modulus})")
        if len(set(self.test) | set(self.val)) >= self.modulus:
            raise ValueError("test and val leave no residue for training")
        return self


class DataConfig(Section):
    """Where the pictures come from and how they are prepared."""

    source: Literal["synthetic", "folder", "npy"] = "synthetic"
    path: str = "data/photos"
    """Folder (or file) that holds everything the source reads; DVC tracks it."""
    train_npy: str | None = None
    """npy source: the training file, an array or a metadata dict; a relative name is looked up under `path`."""
    val_npy: str | None = None
    """npy source: the validation file. Half of its people (or photos) become the test split."""
    root_dir: str | None = None
    """npy source with metadata: folder of the relative image paths; `path` where not given."""
    allow_outside_root: bool = False
    """npy source: admit absolute image paths outside `root_dir` (DVC does not track those)."""
    npy_range: Literal["auto", "0..1", "0..255", "-1..1"] = "auto"
    """Value range of float arrays; `auto` admits only uint8 arrays."""
    image_size: Annotated[int, Field(ge=32, le=1024)] = 128
    person_regex: str | None = None
    """First group = person id, searched in the file's path; without it the sub-folder is the person."""
    crop: Literal["center", "pad", "stretch"] = "stretch"
    """How a picture that is not square becomes square."""
    min_side: Count = 32
    max_pixels: Count = 64_000_000
    max_bad_fraction: Share = 0.05
    normalization: Literal["shared", "per_group"] = "shared"
    """`per_group`: greyscale pictures are moved, channel by channel, to the mean and deviation of the colour ones."""
    near_duplicate_distance: Annotated[int, Field(ge=0, le=64)] = 2
    """Hamming distance of 64-bit perceptual hashes up to which two pictures count as near duplicates."""
    split: SplitConfig = SplitConfig()
    synthetic: SyntheticConfig = SyntheticConfig()

    @model_validator(mode="after")
    def _source_has_what_it_needs(self) -> DataConfig:
        if self.source == "npy" and self.train_npy is None:
            raise ValueError("data.source is npy, so data.train_npy must name the training file")
        if self.person_regex is not None:
            try:
                groups = re.compile(self.person_regex).groups
            except re.error as error:
                raise ValueError(f"data.person_regex {self.person_regex!r} is no regular expression: {error}") from None
            if groups < 1:
                raise ValueError(f"data.person_regex {self.person_regex!r} needs a group in parentheses: the person id")
        return self


class WeightsConfig(Section):
    """Where pretrained trunks come from; see `ear_teacher.weights` for the order of the sources."""

    local_dir: str | None = None
    """Folder that holds `<trunk>.safetensors` files, tried first."""
    hub: bool = True
    """Whether the model hub may be asked as the last resort (gives up after five seconds)."""


class LinearConfig(Section):
    """The linear codes fitted on the training split."""

    max_floats: Annotated[int, Field(ge=64, le=65536)] = 1024
    """Size of the longest code that is fitted, and so the largest `model.latent_dim` with a warm start."""


class ModelConfig(Section):
    """The VAE. `latent_dim` counts the floats of the code, `latent_layout` gives their shape."""

    encoder: Literal["residual", "backbone"] = "residual"
    """`residual`: linear code + conv branch; `backbone`: a pretrained network's features (v0, v1)."""
    decoder: Literal["residual", "transposed"] = "residual"
    """`residual`: inverse linear code + conv branch; `transposed`: transposed convolutions (v0, v1)."""
    latent_dim: Annotated[int, Field(ge=1, le=65536)] = 1024
    latent_layout: Literal["vector", "4x4", "8x8"] = "8x8"
    warm_start: Literal["klt", "none"] = "klt"
    """`klt`: the linear code of the training split is the model at step 0."""
    width: Annotated[int, Field(ge=8, le=2048)] = 48
    """residual: channels at a quarter of the resolution; transposed: channels of the decoder's 4x4 map."""
    backbone: str = NO_BACKBONE
    """Name of a timm model, or none. With `encoder: residual` its features stand beside the conv branch."""
    backbone_layers: Annotated[int, Field(ge=1, le=64)] = 1
    """How many of its maps are used, evenly spread over the depth (`encoder: backbone` takes the deepest)."""
    trainable_blocks: Natural = 4
    """How many of the backbone's last blocks learn; the others stay frozen."""

    @property
    def grid(self) -> int:
        """Positions along one side of the latent map (1 for a vector)."""
        return LAYOUT_GRID[self.latent_layout]

    @property
    def channels(self) -> int:
        """Latent channels at each position."""
        return self.latent_dim // self.grid**2

    def describe(self) -> str:
        """The model in words, for tables that compare several."""
        parts = [self.encoder + " encoder"] if self.encoder == "residual" else []
        encoder = " + ".join(parts + [self.backbone] * (self.backbone != NO_BACKBONE))
        start = "warm-started from the linear code" if self.warm_start == "klt" else "from random weights"
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
        if self.warm_start == "klt" and not (self.encoder == self.decoder == "residual"):
            raise ValueError("model.warm_start klt needs encoder: residual and decoder: residual; use warm_start: none")
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
    center_weight: Annotated[float, _numeric, Field(ge=1, le=1000, allow_inf_nan=False)] = 1.0
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
    kl_target: Annotated[float, _numeric, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None
    """Wished KL in nats, mean over the training pictures: the weight that gives it is found during the run."""
    psnr_target: Annotated[float, _numeric, Field(gt=5, le=60, allow_inf_nan=False)] | None = None
    """Wished PSNR in dB of a sampled code, mean over the training pictures."""
    kl_free_bits: Annotated[float, _numeric, Field(ge=0, le=1000, allow_inf_nan=False)] = 0.0
    """Bits each latent dimension may carry at no cost (Kingma et al. 2016, arXiv 1606.04934)."""
    kl_warmup_epochs: Annotated[float, _numeric, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.0
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


class StopConfig(Section):
    """When training ends before its steps: the author's criteria. With nothing required, never."""

    require: tuple[Literal["kl_settled", "kl_range", "perceptual", "psnr", "no_gain"], ...] = ()
    """Criteria that must all hold at the same validation."""
    kl_change: Share = 0.1
    """kl_settled: over the last `patience` epochs the KL moved by at most this share of its mean."""
    kl_range: tuple[Number, Number] = (5.0, 15.0)
    """kl_range: nats."""
    perceptual: Annotated[float, _numeric, Field(gt=0, allow_inf_nan=False)] = 0.3
    """perceptual: the VGG-L1 is below this. Measured only where `loss.perceptual` is vgg_l1."""
    psnr: Number = 28.0
    """psnr: above this, in dB."""
    patience: Annotated[float, _numeric, Field(gt=0, allow_inf_nan=False)] = 5.0
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

    spike: Annotated[float, _numeric, Field(gt=1, allow_inf_nan=False)] = 3.0
    """Ten steps whose loss is this many times the lowest level of the run are a divergence; so is NaN."""
    lr_factor: Annotated[float, _numeric, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.3
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
    lr: Annotated[float, _numeric, Field(gt=0, le=1, allow_inf_nan=False)] = 1e-3
    linear_lr_scale: Share = 1.0
    """Learning rate of the warm start's linear maps, as a share of `lr`."""
    backbone_lr_scale: Share = 0.1
    weight_decay: Weight = 1e-5
    beta2: Annotated[float, _numeric, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.999
    warmup: Share = 0.05
    """Share of the steps over which the learning rate rises from `warmup_start` x lr."""
    warmup_start: Share = 0.1
    final_lr: Share = 0.01
    """The cosine ends at this share of `lr`."""
    max_grad_norm: Annotated[float, _numeric, Field(gt=0, allow_inf_nan=False)] = 1.0
    ema: Annotated[float, _numeric, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    """Decay of the running average of the weights that is validated and kept; 0 = off."""
    flip: bool = True
    affine: Annotated[float, _numeric, Field(ge=0, le=0.5, allow_inf_nan=False)] = 0.0
    """Largest shift (share of the side), change of scale (of its logarithm) and turn (radians) of a training picture
    and its target, each drawn anew for each; 0 = off."""
    augment: Literal["none", "clean_target", "degraded_target"] = "none"
    """Blur, noise and occlusion of the input, with the clean or (as in v0) the degraded picture as target."""
    cache_features: Literal["auto", "always", "never"] = "auto"
    """Compute what a frozen backbone says of each picture once (stage `features`), not at every step: where that is
    possible, in any case (else refused), or never. EfficientNet-Lite0 at 128 px: 98 kB a picture with four maps."""
    validate_every: Count = 40
    """Optimiser steps between two validations; each is a row of the history and a checkpoint."""
    milestones: tuple[Annotated[float, _numeric], ...] = (1.0, 2.0, 4.0)
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
    align_margin: Annotated[float, _numeric, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    """Cosine by which a place may differ from the wanted one at no cost; half of it for the likeness of two places."""
    mask_share: Annotated[float, _numeric, Field(ge=0, le=0.9, allow_inf_nan=False)] = 0.0
    """Share of the input's 16 px patches that are blanked; the target is the whole picture."""
    agree_weight: Weight = 0.0
    """Of 1 - correlation between the maps of two views of a picture, the second recoloured and degraded."""


class ForecastConfig(Section):
    """The forecast before training (stage `forecast`)."""

    kl_weights: tuple[Annotated[float, _numeric, Field(gt=0, le=1, allow_inf_nan=False)], ...] = (
        1e-3,
        1e-4,
        1e-5,
        1e-6,
        1e-7,
    )
    """Weights of the table, each for the latent size of every variant."""
    kl_range: tuple[Number, Number] = (5.0, 15.0)
    """Nats: the KL the author wished for."""
    psnr_range: tuple[Number, Number] = (27.0, 30.0)
    """dB: the PSNR the author wished for, with that KL."""
    pictures: Annotated[int, Field(ge=8, le=1000)] = 48
    """Training pictures on which each variant's own loss is measured along the forecast."""

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, data: Any) -> Any:
        return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _ordered(self) -> ForecastConfig:
        for key in ("kl_range", "psnr_range"):
            low, high = getattr(self, key)
            if not 0 < low <= high:
                raise ValueError(f"forecast.{key} = [{low:g}, {high:g}] must be two rising numbers above 0")
        if not self.kl_weights:
            raise ValueError("forecast.kl_weights must name at least one weight")
        return self


Milestones = tuple[tuple[Number, Number, Number], ...]
"""(when, low, high), in order."""


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


class WatchConfig(Section):
    """The author's monitoring list. Runs are judged by it, never changed by it."""

    unit: Literal["epochs", "images"] = "epochs"
    """What `when` counts: epochs, or training images seen."""
    kl: Milestones = ((1.0, 50.0, 100.0), (10.0, 10.0, 20.0), (30.0, 5.0, 15.0))
    """[when, low, high] in nats."""
    perceptual: Milestones = ((10.0, 0.55, 0.65), (30.0, 0.35, 0.45), (50.0, 0.25, 0.35))
    """[when, low, high] of the VGG-L1; their "about 0.6" is 0.55 to 0.65."""
    psnr: Milestones = ((10.0, 18.0, 20.0), (30.0, 24.0, 26.0), (50.0, 27.0, 30.0))
    """[when, low, high] in dB."""
    pictures: tuple[tuple[Number, str], ...] = (
        (10.0, "clear outline of the ear; helix and lobe visible; fine details may be blurred"),
        (30.0, "sharp edges on all structures; antihelix and tragus visible; right colours"),
    )
    """[when, what the reconstructions should show]."""
    colour_error: Annotated[float, _numeric, Field(gt=0, allow_inf_nan=False)] = 5.0
    """CIEDE2000 above which colours count as wrong."""
    grey_gap: Annotated[float, _numeric, Field(gt=0, allow_inf_nan=False)] = 1.0
    """dB by which greyscale pictures must be worse than colour ones to count as bad."""

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, data: Any) -> Any:
        return {key: _tuples(value) for key, value in data.items()} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _ordered(self) -> WatchConfig:
        for key in ("kl", "perceptual", "psnr", "pictures"):
            marks = getattr(self, key)
            when = [mark[0] for mark in marks]
            if when != sorted(set(when)) or any(moment <= 0 for moment in when):
                raise ValueError(f"watch.{key}: the milestones must follow one another, from above 0")
            if key != "pictures" and any(low > high for _, low, high in marks):
                raise ValueError(f"watch.{key}: each milestone is [when, low, high], with low at most high")
        return self


class EvaluateConfig(Section):
    """The measurement on the test split."""

    max_images: Count = 200
    """At most this many test pictures, the same for every variant."""
    batch_size: Count = 20
    bootstrap: Annotated[int, Field(ge=100, le=100_000)] = 2000
    """Resamplings (of people) behind each interval."""
    seed: Natural = 0


class DiagnoseConfig(Section):
    """The diagnosis of the trained models (stage `diagnose`)."""

    psnr: Annotated[float, _numeric, Field(gt=5, le=60, allow_inf_nan=False)] = 27.0
    """Wanted PSNR in dB, of the mean squared error over the pictures: what size and weight are judged by."""
    seed: Natural = 0


class ReconstructConfig(Section):
    """The rendered pictures."""

    sample: Annotated[int, Field(ge=1, le=64)] = 8
    """Test pictures of the fixed sample."""
    extremes: Annotated[int, Field(ge=0, le=50)] = 10
    """How many of the best and of the worst pictures are shown."""
    zoom: Annotated[int, Field(ge=1, le=8)] = 2
    """Magnification of the centre crops."""


class ReportConfig(Section):
    """The page of stage `report`."""

    ears: Annotated[int, Field(ge=4, le=60)] = 28
    """Test pictures in the viewer: the worst, the best, some people's, and an even sample."""
    directions: Annotated[int, Field(ge=1, le=16)] = 6
    """Leading latent directions that are drawn."""
    seed: Natural = 0


class Variant(Section):
    """One model to train: the sections that make it. `teach` is the current model's alone."""

    name: str
    model: ModelConfig
    loss: LossConfig
    train: TrainConfig
    teach: TeachConfig = TeachConfig()

    @property
    def caches_features(self) -> bool:
        """Whether the stage `features` computes the backbone's features for this variant."""
        return self.train.cache_features != "never" and self.why_not_cached is None

    @property
    def why_not_cached(self) -> str | None:
        """Why the backbone's features cannot be computed once for the whole run: key and way out; None: they can."""
        if self.model.backbone == NO_BACKBONE:
            return "model.backbone is none: name a backbone"
        if self.model.trainable_blocks:
            return f"model.trainable_blocks = {self.model.trainable_blocks} lets the backbone learn: set it to 0"
        if self.train.augment != "none":
            return f"train.augment = {self.train.augment} makes another input at every step: set it to none"
        changes = {"train.affine": self.train.affine, "teach.mask_share": self.teach.mask_share}
        for key, value in (changes | {"teach.agree_weight": self.teach.agree_weight}).items():
            if value:
                return f"{key} = {value:g} makes another input at every step: set it to 0"
        return None


class Config(Section):
    """The whole params.yaml. `baselines` holds overlays: v0 over the defaults of this module, v1 over v0."""

    data: DataConfig = DataConfig()
    weights: WeightsConfig = WeightsConfig()
    linear: LinearConfig = LinearConfig()
    forecast: ForecastConfig = ForecastConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    teach: TeachConfig = TeachConfig()
    watch: WatchConfig = WatchConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    diagnose: DiagnoseConfig = DiagnoseConfig()
    reconstruct: ReconstructConfig = ReconstructConfig()
    report: ReportConfig = ReportConfig()
    v0: Variant
    v1: Variant

    @model_validator(mode="after")
    def _fit_together(self) -> Config:
        if self.data.image_size % 32:
            raise ValueError(f"data.image_size = {self.data.image_size} does not fit the models: use a multiple of 32")
        longest = max(self.variant(name).model.latent_dim for name in VARIANTS)
        if longest > self.linear.max_floats:
            raise ValueError(
                f"linear.max_floats = {self.linear.max_floats} is below model.latent_dim = {longest}: "
                "every model stands beside the linear code of its size, so raise it"
            )
        for name in VARIANTS:
            variant = self.variant(name)
            if "perceptual" in variant.train.stop.require and not variant.loss.measures_vgg_l1:
                raise ValueError(
                    f"train.stop.require of {name} names perceptual, the VGG-L1, which this loss does not measure: set "
                    "loss.perceptual to vgg_l1 with a weight above 0, or leave it out"
                )
            if variant.train.cache_features == "always" and (reason := variant.why_not_cached):
                raise ValueError(
                    f"train.cache_features of {name} needs a backbone that says the same of a picture at every step, "
                    f"and {reason}, or train.cache_features to auto"
                )
        return self

    def variant(self, name: str) -> Variant:
        """The model, loss and train sections of `v0`, `v1` or `current`.

        Raises:
            UserError: for any other name.
        """
        if name == "current":
            return Variant(name=name, model=self.model, loss=self.loss, train=self.train, teach=self.teach)
        if name == "v0":
            return self.v0
        if name == "v1":
            return self.v1
        raise UserError(f"There is no variant {name!r}: use one of {', '.join(VARIANTS)}.")


def _sentence(error: ValidationError, where: str) -> str:
    """The first complaint of pydantic as one sentence that names key, value and what is allowed."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function-"))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key {key}; check its spelling against params.yaml in the README."
    if first["type"] == "value_error":
        return f"{where}: {f'{key}: ' if key and key not in message else ''}{message}."
    shown = repr(first["input"])
    if len(shown) > 60:
        shown = shown[:57] + "..."
    return f"{where}: {key} = {shown} is not allowed: {message[0].lower()}{message[1:]}."


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases (no exponential expansion) and without silent duplicate keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        for key in keys:
            if not isinstance(key, str):
                raise yaml.YAMLError(f"the key {key!r} is not text")
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"the key {key!r} stands twice in one section")
        return super().construct_mapping(node, deep)


def _overlay(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`change` laid over `base`, section by section."""
    return {
        key: _overlay(base.get(key, {}), change[key])
        if isinstance(change.get(key), dict) and isinstance(base.get(key, {}), dict)
        else change.get(key, base.get(key))
        for key in {**base, **change}
    }


def parse_config(params: dict[str, Any], where: str = "params.yaml") -> Config:
    """Check a params mapping and return the typed config.

    Args:
        params: the content of params.yaml.
        where: name of the file, for the error message.

    Raises:
        UserError: one sentence naming the key, the value and what is allowed.
    """
    params = dict(params)
    baselines = params.pop("baselines", {})
    if not isinstance(baselines, dict) or set(baselines) - {"v0", "v1"}:
        raise UserError(f"{where}: baselines must hold the overlays v0 and v1 and nothing else.")
    for key in ("v0", "v1"):
        if key in params:
            raise UserError(f"{where}: unknown key {key}; overlays stand under baselines.{key}.")
    variants: dict[str, Variant] = {}
    merged: dict[str, Any] = {"model": {}, "loss": {}, "train": {}}
    for name in ("v0", "v1"):
        change = baselines.get(name) or {}
        if not isinstance(change, dict) or set(change) - {"model", "loss", "train"}:
            raise UserError(f"{where}: baselines.{name} may hold the sections model, loss and train only.")
        merged = _overlay(merged, change)
        try:
            variants[name] = Variant.model_validate({"name": name, **merged})
        except ValidationError as error:
            raise UserError(_sentence(error, f"{where}, baselines.{name}")) from None
    try:
        return Config.model_validate({**params, **variants})
    except ValidationError as error:
        raise UserError(_sentence(error, where)) from None


def read_params(path: str | Path = "params.yaml") -> dict[str, Any]:
    """The content of params.yaml as it stands there, not checked.

    Raises:
        UserError: the file is missing, not YAML or no mapping.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path}: is larger than {MOST_BYTES:,} bytes; restore it with `git checkout {path}`.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"{path}: cannot be read ({reason}); run the command in the project's folder.") from None
    try:
        params = yaml.load(text, Loader=_Loader)  # _Loader is a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0] or "nested too deeply"
        raise UserError(f"{path}:{line} not valid YAML: {reason}.") from None
    if not isinstance(params, dict):
        raise UserError(f"{path}: holds no params; restore it with `git checkout {path}`.")
    return params


def load_config(path: str | Path = "params.yaml") -> Config:
    """Read params.yaml.

    Raises:
        UserError: the file is missing, not YAML, or holds something that is not allowed.
    """
    return parse_config(read_params(path), str(path))

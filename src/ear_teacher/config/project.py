"""One variant, and all of params.yaml."""

from __future__ import annotations

from pydantic import model_validator

from ear_teacher.config.data import DataConfig, LinearConfig, WeightsConfig
from ear_teacher.config.model import NO_BACKBONE, LossConfig, ModelConfig
from ear_teacher.config.stages import (
    DiagnoseConfig,
    EvaluateConfig,
    ForecastConfig,
    ReconstructConfig,
    ReportConfig,
    WatchConfig,
)
from ear_teacher.config.training import TeachConfig, TrainConfig
from ear_teacher.config.values import Section, UserError

VARIANTS = ("v0", "v1", "current")


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
        for key, value in {"train.affine": self.train.affine, "teach.mask_share": self.teach.mask_share}.items():
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
            learns = variant.teach.agree_weight > 0
            if variant.model.backbone != NO_BACKBONE and variant.model.describes != learns:
                raise ValueError(
                    f"model.descriptors = {variant.model.descriptors} and teach.agree_weight = "
                    f"{variant.teach.agree_weight:g} of {name} need each other: set both above 0, or both to 0"
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

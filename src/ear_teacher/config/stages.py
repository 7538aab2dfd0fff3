"""What the other stages are told: forecast, watch, evaluate, diagnose, reconstruct, report."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ear_teacher.config.values import Count, Natural, Number, Section, numeric


class ForecastConfig(Section):
    """The forecast before training (stage `forecast`)."""

    kl_weights: tuple[Annotated[float, numeric, Field(gt=0, le=1, allow_inf_nan=False)], ...] = (
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
    colour_error: Annotated[float, numeric, Field(gt=0, allow_inf_nan=False)] = 5.0
    """CIEDE2000 above which colours count as wrong."""
    grey_gap: Annotated[float, numeric, Field(gt=0, allow_inf_nan=False)] = 1.0
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

    psnr: Annotated[float, numeric, Field(gt=5, le=60, allow_inf_nan=False)] = 27.0
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

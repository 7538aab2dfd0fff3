"""The charts of the report: what the pipeline wrote as SVG."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup

from ear_teacher.config import Config
from ear_teacher.report.figures import Axis, Box, Draw, Series, line_chart
from ear_teacher.report.results import Results


def rate_distortion(results: Results, config: Config) -> Markup:
    """Forecast curves, forecast points hollow, measured points filled, and the author's wish."""
    size = config.model.latent_dim
    lines = ((name, table[table["kl"] > 1]) for name, table in results.curves.items())
    curves = [
        Series(f"forecast, {name} code of {size} floats", _floats(t["kl"]), _floats(t["psnr_sampled"]), style)
        for (name, t), style in zip(lines, ("other", "other dash", "other dots"), strict=False)
    ]
    kinds: tuple[tuple[str, Draw], ...] = (("forecast", "hollow"), ("measured", "points"))
    points = [
        Series(f"{name}, {key}", [row[f"kl_{key}"]], [row[f"psnr_sampled_{key}"]], str(name), draw)
        for key, draw in kinds
        for name, row in results.points.iterrows()
    ]
    wish = Box("the author's wish", config.forecast.kl_range, config.forecast.psnr_range)
    told = "; ".join(
        f"{name}: {row['psnr_sampled_measured']:.1f} dB at {row['kl_measured']:.0f} nats measured, "
        f"{row['psnr_sampled_forecast']:.1f} dB at {row['kl_forecast']:.0f} nats forecast"
        for name, row in results.points.iterrows()
    )
    axes = Axis("KL, nats a picture", log=True), Axis("PSNR of a sampled code, dB")
    return line_chart([*curves, *points], *axes, "Rate and distortion", [wish], told)


def curves(results: Results) -> list[dict[str, Any]]:
    """Training curves with the milestones they pass, each with its heading."""
    epoch = Axis("epoch")
    found = []
    for heading, quantity, label in (
        ("PSNR", "psnr", "dB, validation people"),
        ("SSIM", "ssim", "SSIM, validation people"),
        ("KL", "kl", "nats a picture"),
    ):
        series = [
            Series(name, _floats(table["epoch"]), _floats(table[f"val/{quantity}"]), name, "both")
            for name, table in results.histories.items()
        ]
        wishes = _passed(results, quantity)
        axis = Axis(label, log=quantity == "kl")
        chart = line_chart(series, epoch, axis, f"{heading} over the epochs", wishes)
        found.append({"heading": heading, "chart": chart})
    found += [_terms(name, table) for name, table in results.histories.items() if name == "current"]
    return found


def _passed(results: Results, quantity: str) -> list[Box]:
    """What the author wanted at the epochs that the longest run has reached."""
    end = max(table["epoch"].max() for table in results.histories.values())
    table = results.milestones
    rows = table[(table["quantity"] == quantity) & (table["unit"] == "epoch")].drop_duplicates("when")
    return [
        Box("the author's milestone", (when, when), (low, high))
        for when, low, high in rows[["when", "low", "high"]].astype(float).to_numpy()
        if when <= end
    ]


def _terms(name: str, table: pd.DataFrame) -> dict[str, Any]:
    """The weighted terms of a loss, in training and in validation."""
    styles = dict(zip(("recon", "perceptual", "ssim", "kl"), ("current", "v0", "linear", "v1"), strict=True))
    series = []
    for term, style in styles.items():
        for part, kind in (("val", ""), ("train", " thin")):
            column = f"{part}/weighted/{term}"
            if column in table and (table[column].fillna(0) > 0).any():
                label = f"{term}, {'validation' if part == 'val' else 'training'}"
                series.append(Series(label, _floats(table["epoch"]), _floats(table[column]), style + kind))
    heading = f"Loss terms of {name}"
    chart = line_chart(series, Axis("epoch"), Axis("weighted term", log=True), heading)
    return {"heading": heading, "chart": chart}


def spectra(results: Results) -> Markup:
    """Power of originals and reconstructions over spatial frequency."""
    current = results.spectra["current"]
    series = [Series("originals", _floats(current["frequency"]), _floats(current["original"]), "other")]
    series += [
        Series(name, _floats(t["frequency"]), _floats(t["reconstruction"]), name) for name, t in results.spectra.items()
    ]
    if "linear" in current:
        series.append(Series("linear code", _floats(current["frequency"]), _floats(current["linear"]), "linear"))
    return line_chart(series, Axis("cycles per pixel"), Axis("log₁₀ of the power"), "Spectrum")


def kl_per_dimension(results: Results) -> Markup:
    """KL of each dimension of the code, in falling order."""
    series = [Series(name, _floats(t["rank"]), _floats(t["kl"]), name) for name, t in results.kl.items()]
    return line_chart(
        series, Axis("dimension, by rank", log=True), Axis("nats", log=True), "KL of each dimension of the code"
    )


_FEATURES = {"pca": "other dots", "hog": "other dash", "klt": "linear", "random": "current thin", "backbone": "other"}
"""Line of each encoder that is no variant."""


def label_efficiency(table: pd.DataFrame) -> Markup:
    """Landmark error over the number of labelled pictures, a line for each encoder (`encoder`, `labels`, `mean`)."""
    series = [
        Series(str(name), _floats(part["labels"]), _floats(part["mean"]), _FEATURES.get(str(name), str(name)), "both")
        for name, part in table.groupby("encoder", sort=False)
    ]
    axes = Axis("labelled pictures", log=True), Axis("error, sides of the picture", log=True)
    return line_chart(series, *axes, "Label efficiency")


_METHODS = {"Ear Teacher": "current", "v0 as its author built it": "v0", "AutoencoderKL + our warm start": "v1"}
"""Line of each method that is ours in part; linear codes are points, the rest peers."""


def time_to_quality(table: pd.DataFrame) -> Markup:
    """PSNR over CPU-seconds, the first run of each method (`method`, `run`, `cpu`, `psnr`)."""
    peers = iter(("other", "other dash", "other dots", "other thin"))
    series = []
    for name, part in table[table["run"] == 0].groupby("method", sort=False):
        linear = len(part) == 1
        style = "linear" if linear else _METHODS.get(str(name)) or next(peers, "other thin")
        seconds = part["cpu"].clip(lower=0.1)  # the first point lies at zero, where a logarithm has no place
        series.append(Series(str(name), _floats(seconds), _floats(part["psnr"]), style, "points" if linear else "both"))
    return line_chart(series, Axis("CPU-seconds", log=True), Axis("PSNR, dB, test people"), "Time to quality")


def _floats(column: pd.Series) -> list[float]:
    return [float(value) for value in column]

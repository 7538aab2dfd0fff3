"""The measurement of one variant on the test split, and of the two zero lines it stands beside.

*Equal floats*: the linear codes (PCA of whole pictures, KLT of patches) with as many coefficients, no rate limit.
*Equal rate*: the forecast of the linear-Gaussian VAE at the measured KL, same decoding, on the same pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ear_teacher import forecast
from ear_teacher.linear import LinearCode, energies
from ear_teacher.metrics.health import active_units
from ear_teacher.metrics.quality import HIGHER_IS_BETTER, Nets, measure_many
from ear_teacher.metrics.statistics import summarise
from ear_teacher.models import EarVAE

Batches = Callable[[], Iterable[Tensor]]
Rebuild = Callable[[Tensor], Tensor]


def measure(batches: Batches, rebuilders: Mapping[str, Rebuild], nets: Nets) -> dict[str, pd.DataFrame]:
    """Quality of every picture through each of several models and codes.

    Args:
        batches: gives (n, 3, S, S) in [0, 1], the same each time it is called.
        rebuilders: name -> (n, 3, S, S) in [0, 1] to the same, clamped.
        nets: the perceptual networks; the originals pass them once for all.

    Returns:
        name -> one row a picture, one column a metric.
    """
    pieces: dict[str, list[pd.DataFrame]] = {name: [] for name in rebuilders}
    with torch.no_grad():
        for images in batches():
            recons = {name: rebuild(images) for name, rebuild in rebuilders.items()}
            for name, piece in measure_many(images, recons, nets).items():
                pieces[name].append(piece)
    return {name: pd.concat(tables, ignore_index=True) for name, tables in pieces.items()}


def codes_of_size(codes: Mapping[str, LinearCode], floats: int) -> dict[str, LinearCode]:
    """The linear codes truncated to `floats` coefficients; those whose patches cannot share them out are left out.

    PCA stays shorter where the training split has fewer pictures than that.
    """
    return {name: code.truncated(floats) for name, code in codes.items() if floats % code.grid**2 == 0}


def posterior_statistics(model: EarVAE, batches: Batches, seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """KL of each picture, PSNR through a sample, and the whole set's KL, active units and pooled PSNRs.

    Returns:
        per-picture columns `kl` and `psnr_sampled`, and a dict with `active_units`, `kl_per_dimension` (D,) and
        `pooled` (PSNR of the mean squared error, unclamped, of mean and sampled decoding: the forecast's averaging).
    """
    generator = torch.Generator().manual_seed(seed)
    means, kls, errors = [], [], []
    with torch.no_grad():
        for images in batches():
            posterior = model.encode(images)
            means.append(posterior.mean.flatten(1))
            kls.append(posterior.kl())
            decodings = [model.decode(posterior.mode), model.decode(posterior.sample(generator))]
            unclamped = [((picture - images) ** 2).flatten(1).mean(1) for picture in decodings]
            clamped = ((decodings[1].clamp(0, 1) - images) ** 2).flatten(1).mean(1)
            errors.append(torch.stack([*unclamped, clamped], 1))
    kl, error = torch.cat(kls), torch.cat(errors).double()
    table = pd.DataFrame({"kl": kl.sum(1).numpy(), "psnr_sampled": (-10 * error[:, 2].log10()).numpy()})
    pooled = (-10 * error[:, :2].mean(0).log10()).tolist()
    return table, {
        "active_units": int(active_units(torch.cat(means).numpy())),
        "kl_per_dimension": kl.double().mean(0).numpy(),
        "pooled": {"psnr_mean": pooled[0], "psnr_sampled": pooled[1]},
    }


def equal_floats(tables: Mapping[str, pd.DataFrame], codes: Mapping[str, LinearCode]) -> dict[str, Any]:
    """The zero line without a rate limit: for each metric the best of the linear codes.

    Args:
        tables: per-picture metrics of each code.
        codes: the codes themselves, truncated to the model's size.

    Returns:
        metric -> value (mean over the pictures) and the code that reaches it; `floats` -> the size of each code.
    """
    means = pd.DataFrame({name: table.mean() for name, table in tables.items()})
    result: dict[str, Any] = {}
    for metric in means.index:
        row = means.loc[metric].dropna()
        if row.empty:  # MS-SSIM of pictures too small for it
            continue
        best = row.idxmax() if metric in HIGHER_IS_BETTER else row.idxmin()
        result[str(metric)] = {"value": float(row[best]), "code": str(best)}
    result["floats"] = {name: code.floats for name, code in codes.items()}
    return result


def best_linear(tables: Mapping[str, pd.DataFrame], line: Mapping[str, Any]) -> pd.DataFrame:
    """Per picture, each metric of the code that is best in it: columns of several codes side by side.

    Args:
        tables: per-picture metrics of each code.
        line: the result of `equal_floats` for them.
    """
    return pd.DataFrame({metric: tables[line[metric]["code"]][metric] for metric in line if metric != "floats"})


def equal_rate(
    codes: Mapping[str, LinearCode], images: np.ndarray, rows: np.ndarray, kl: float, floats: int
) -> dict[str, Any]:
    """The zero line at equal rate: the best linear-Gaussian forecast for the test pictures at a KL.

    Args:
        codes: fitted codes by name.
        images: uint8 (N, S, S, 3).
        rows: the test pictures.
        kl: measured KL of the model, nats per picture.
        floats: size of the model's code.

    Returns:
        `psnr_mean` and `psnr_sampled` in dB (of the pooled squared error), each with the code that gives it.
    """
    points = {}
    for name, code in codes.items():
        points[name] = forecast.at_kl(energies(code, images, rows), kl, floats)
    best = {key: max(points, key=lambda name: getattr(points[name], key)) for key in ("psnr_mean", "psnr_sampled")}
    return {key: {"value": getattr(points[name], key), "code": name} for key, name in best.items()}


def summarise_table(
    table: pd.DataFrame, people: pd.Series, grey: pd.Series, resamples: int, seed: int
) -> dict[str, Any]:
    """Each metric over all pictures, and over the colour and the greyscale ones apart.

    Returns:
        metric -> mean, median, p5, p95, ci_low, ci_high (95 %, people resampled); under `colour` and `grey` the
        same for those pictures, where there are any.
    """

    def part(chosen: pd.Series) -> dict[str, Any]:
        return {
            str(metric): summarise(table.loc[chosen, metric].to_numpy(), people[chosen].to_numpy(), resamples, seed)
            for metric in table.columns
        }

    everything = pd.Series(True, index=table.index)
    result = part(everything)
    for name, chosen in {"colour": ~grey, "grey": grey}.items():
        if chosen.any():
            result[name] = part(chosen) | {"pictures": int(chosen.sum())}
    return result

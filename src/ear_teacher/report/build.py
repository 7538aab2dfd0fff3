"""The report: results, pictures and models into one page.

page, directions = build(read_results(Path(".")), load_config(), data, models, codes, lpips, hashes)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ear_teacher.config import VARIANTS, Config, UserError
from ear_teacher.data import PreparedData, to_tensor, to_uint8
from ear_teacher.linear import LinearCode
from ear_teacher.models import EarVAE
from ear_teacher.report import content, drawings, latent
from ear_teacher.report.ears import choose, render, viewer_data
from ear_teacher.report.page import LARGEST
from ear_teacher.report.page import render as fill
from ear_teacher.report.pictures import data_address, strip
from ear_teacher.report.results import Results

Distance = Callable[[Tensor, Tensor], Tensor]
"""LPIPS of pairs: two (N, 3, S, S) on [-1, 1] -> (N,) or (N, 1, 1, 1)."""

STEPS = (-3, -2, -1, 0, 1, 2, 3)
SAMPLES = 8
FITTED = 400
"""Training pictures whose codes give the directions: ten times as many turn the leading ones by a few degrees."""

PACKAGES = ("torch", "torchvision", "timm", "lpips", "numpy", "pandas", "pillow", "scikit-image", "dvc")


def build(
    results: Results,
    config: Config,
    data: PreparedData,
    models: Mapping[str, EarVAE],
    codes: Mapping[str, LinearCode],
    lpips: Distance,
    hashes: Mapping[str, str],
) -> tuple[str, dict[str, latent.Directions]]:
    """Make the page.

    Args:
        results: what the pipeline wrote.
        config: the params.
        data: the prepared pictures.
        models: the trained models of all variants.
        codes: fitted linear codes, by the name that the evaluation gives them.
        lpips: measures the linear code's pictures; the models' own stand in `results`.
        hashes: file -> digest, for the page's last section.

    Returns:
        the page, and the leading latent directions of each model for the playground.

    Raises:
        UserError: results and pictures do not belong together, or the page came out too large.
    """
    measured = results.per_image["current"]
    shown = choose(measured, config.report.ears)
    row_of = {file: row for row, file in data.index["file"].items()}
    if not set(shown["file"]) <= set(row_of):
        raise UserError("metrics/per_image/current.csv and data/prepared do not belong together; run `dvc repro`.")
    pictures = to_tensor(data.images[np.array([row_of[file] for file in shown["file"]])])
    name = results.measured["current"]["zero_line"]["equal_floats"]["psnr"]["code"]
    line = codes[name].truncated(config.model.latent_dim)
    with torch.no_grad():
        recons = {key: models[key].reconstruct(pictures) for key in VARIANTS} | {"linear": line.reconstruct(pictures)}
        distance = lpips(pictures * 2 - 1, recons["linear"] * 2 - 1).flatten()
    quality = {key: _quality(results.per_image[key], shown["file"]) for key in VARIANTS}
    quality["linear"] = pd.DataFrame({"psnr": shown["linear_psnr"].to_numpy(), "lpips": distance.numpy()})
    drawn = {key: to_uint8(recon) for key, recon in recons.items()}
    ears = render(shown, to_uint8(pictures), drawn, quality)
    labels = {key: key for key in VARIANTS} | {"linear": "linear code"}

    space, directions = _latent(config, data, models, shown, pictures)
    text = fill(
        "report.html",
        scripts=("viewer.js", "start.js"),
        headline=content.headline(results.compare),
        budget=content.budget(results.compare),
        comparison=content.comparison(results.compare),
        ears={"count": len(ears), "data": viewer_data(ears, labels)},
        joint=results.forecast["joint_target"]["sentence"],
        charts={
            "rate": drawings.rate_distortion(results, config),
            "training": drawings.curves(results),
            "kl": drawings.kl_per_dimension(results),
            "spectrum": drawings.spectra(results),
            "labels": None if results.labels is None else drawings.label_efficiency(results.labels),
            "speed": None if results.speed is None else drawings.time_to_quality(results.speed),
        },
        milestones=content.milestones(results),
        diagnosis=content.diagnosis(results),
        latent=space,
        data=content.data_page(results) | {"sheet": data_address(results.contact_sheet, "image/jpeg")},
        hashes=list(hashes.items()),
        versions=[("python", python_version())] + [(package, metadata.version(package)) for package in PACKAGES],
        params=results.params,
    )
    if len(text.encode()) > LARGEST:
        raise UserError(
            f"The report would have {len(text.encode()) / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f}: lower "
            f"report.ears ({config.report.ears})."
        )
    return text, directions


def digest(path: Path) -> str:
    """The first 16 hexadecimal digits of a file's SHA-256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _quality(table: pd.DataFrame, files: pd.Series) -> pd.DataFrame:
    found = table.set_index("file").loc[files]
    return pd.DataFrame({"psnr": found["psnr"].to_numpy(), "lpips": found["lpips_alex"].to_numpy()})


def _latent(
    config: Config, data: PreparedData, models: Mapping[str, EarVAE], shown: pd.DataFrame, pictures: Tensor
) -> tuple[dict[str, Any], dict[str, latent.Directions]]:
    rows = data.rows("train", FITTED)
    seed, count = config.report.seed, config.report.directions
    found = {name: latent.codes(model, data.images, rows) for name, model in models.items()}
    directions = {name: latent.fit(codes, count) for name, codes in found.items()}
    model, code = models["current"], directions["current"]
    variance = float(found["current"].flatten(1).var(0).sum())
    walks = [
        {
            "picture": strip(list(latent.walk(model, code, i, [float(step) for step in STEPS]))),
            "share": f"{100 * float(deviation) ** 2 / variance:.1f}",
        }
        for i, deviation in enumerate(code.deviations)
    ]
    pair = _pair(shown)
    way, fade = latent.between(model, pictures[pair], len(STEPS))
    middle = len(STEPS) // 2
    apart = float(np.abs(way[middle].astype(float) - fade[middle].astype(float)).mean())
    samples = [(f"{name}, prior", strip(list(latent.prior_samples(models[name], SAMPLES, seed)))) for name in VARIANTS]
    samples.append(("current, fitted", strip(list(latent.fitted_samples(model, found["current"], SAMPLES, seed)))))
    space = {
        "fitted": len(rows),
        "share": f"{100 * code.share:.0f}",
        "steps": [f"{step:+d}".replace("-", "−") + "σ" if step else "mean" for step in STEPS],
        "walks": walks,
        "between": strip(list(way)),
        "fade": strip(list(fade)),
        "pair": [str(shown["file"].iloc[i]) for i in pair],
        "way": f"Half way the two differ by {apart:.1f} of 255 levels. "
        + (
            "So little says that the code is close to linear: it blends pictures and does not move shapes."
            if apart < 5
            else "The larger that is, the more the code moves shapes instead of blending pictures."
        ),
        "samples": samples,
    }
    return space, directions


def _pair(shown: pd.DataFrame) -> list[int]:
    """The first and the last colour ear of the list; of all ears where there is none in colour."""
    colour = [i for i, grey in enumerate(shown["grey"]) if not grey] or list(range(len(shown)))
    return [colour[0], colour[-1]]

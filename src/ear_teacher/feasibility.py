"""What can be had before training: wishes that contradict each other, and the losses actually used.

verdict = joint_target(energies, latent_dim=1024, kl=(5, 15), psnr=(27, 30))
errors = errors_along(code, energies, pictures, {"v0": loss})
weight = equivalent_weight(errors["v0"], energies, latent_dim=512, kl_weight=1e-4)
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from ear_teacher.forecast import Point, at_kl, at_psnr, at_weight, floats_for
from ear_teacher.linear import Energies, LinearCode
from ear_teacher.losses import Loss

ASSUMPTION = (
    "Linear-Gaussian: the best linear encoder and decoder for squared error + KL on these pictures. It is a forecast, "
    "not a bound on every code."
)


def measured_gain(kl: float) -> float:
    """How far trained models were above the forecast at the same KL, in dB.

    Squared error + KL, real photos at 128 px, unseen people, short runs from the warm start: `studies/forecast`
    measures it and writes `measured_gain.json`. Between its KLs the logarithm of the KL is interpolated, beyond
    them the nearest counts.
    """
    measured = json.loads((resources.files("ear_teacher") / "measured_gain.json").read_text(encoding="utf-8"))
    return float(np.interp(math.log(kl), np.log(measured["kl"]), measured["gain_db"]))


def joint_target(
    energies: Mapping[str, Energies], latent_dim: int, kl: tuple[float, float], psnr: tuple[float, float]
) -> dict[str, Any]:
    """Whether a KL and a PSNR can be had together, and what each of them costs.

    Args:
        energies: of the same pictures, by code; for each question the code with the best answer counts.
        latent_dim: floats of the code.
        kl: lowest and highest wished, nats.
        psnr: lowest and highest wished, dB of a sampled code.

    Returns:
        `psnr_at_kl` and `kl_at_psnr` for both ends of each (None: out of reach of so many floats), `floats_at_psnr`
        with no limit on the rate, `feasible` (`yes`; `perhaps`: within what trained models were better here; `no`),
        `sentence`.
    """
    allowed = {f"{nats:g}": max(at_kl(e, nats, latent_dim).psnr_sampled for e in energies.values()) for nats in kl}
    needed: dict[str, float | None] = {}
    floats: dict[str, int | None] = {}
    for level in psnr:
        points = [at_psnr(e, level, latent_dim) for e in energies.values()]
        needed[f"{level:g}"] = min((point.kl for point in points if point is not None), default=None)
        counts = [floats_for(e, level) for e in energies.values()]
        floats[f"{level:g}"] = min((count for count in counts if count is not None), default=None)
    best, wanted = allowed[f"{kl[1]:g}"], psnr[0]
    gap, gain = wanted - best, measured_gain(kl[1])
    feasible = "yes" if gap <= 0 else "perhaps" if gap <= gain else "no"
    price = [
        f"{level} dB needs {nats:.0f} nats"
        if nats is not None
        else f"{level} dB is out of reach of {latent_dim} floats"
        for level, nats in needed.items()
    ]
    allows = " and ".join(f"a KL of {nats} allows {db:.1f} dB" for nats, db in allowed.items())
    sentence = f"{'; '.join(price)}; {allows}. "
    if feasible == "yes":
        sentence += f"KL {kl[0]:g}-{kl[1]:g} and PSNR {wanted:g} dB can be had together."
    elif feasible == "perhaps":
        sentence += (
            f"Together they lie {gap:.1f} dB beyond the forecast, within the {gain:.1f} dB by which trained models "
            "have been better at such a KL (docs/forecast.md)."
        )
    else:
        sentence += (
            f"Together they lie {gap:.1f} dB beyond the forecast, and trained models have been better by "
            f"{gain:.1f} dB at such a KL (docs/forecast.md): give up the KL. It counts the information in the "
            "code, and sharp pictures are information; a KL that low is a blurred picture, not a healthy one."
        )
    return {
        "psnr_at_kl": allowed,
        "kl_at_psnr": needed,
        "floats_at_psnr": floats,
        "feasible": feasible,
        "sentence": sentence,
    }


def sampled_decoding(code: LinearCode, pictures: Tensor, theta: float, noise: Tensor) -> Tensor:
    """Pictures through the optimal linear-Gaussian code of a level, decoded from a sample.

    Args:
        code: the linear code.
        pictures: (N, 3, S, S) in [0, 1].
        theta: noise variance of each active coordinate.
        noise: (N, k, g, g) standard normal.

    Returns:
        (N, 3, S, S), meant for [0, 1], not clamped.
    """
    variances = code.eigenvalues[: len(code.basis)].clamp(min=1e-12).view(-1, 1, 1)
    kept = (1 - theta / variances).clamp(min=0)
    codes = kept * code.encode(2 * pictures - 1) + (theta * kept).sqrt() * noise
    return (code.decode(codes) + 1) / 2


@torch.no_grad()
def errors_along(
    code: LinearCode, energies: Energies, pictures: Tensor, losses: Mapping[str, Loss], levels: int = 14, seed: int = 0
) -> pd.DataFrame:
    """Each loss without its KL, along the forecast: what the optimal linear-Gaussian codes score in it.

    Args:
        code: as long as the model's.
        energies: along it; their largest starts the levels.
        pictures: (N, 3, S, S) in [0, 1], training pictures.
        losses: by name.
        levels: how many values of theta, evenly spaced on a logarithmic scale.
        seed: of the posterior's noise, the same at all levels.

    Returns:
        One row a level: `theta`, and each loss by name.
    """
    shape = (len(pictures), len(code.basis), code.grid, code.grid)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    nothing = torch.zeros(len(pictures), 1)
    rows = []
    for theta in np.geomspace(float(energies.values.max()), 1e-9 * energies.pixels / 2, levels):
        recons = sampled_decoding(code, pictures, float(theta), noise)
        row = {"theta": float(theta)}
        for name, loss in losses.items():
            parts = [
                loss(a, b, c)[0]
                for a, b, c in zip(recons.split(16), pictures.split(16), nothing.split(16), strict=True)
            ]
            sizes = [len(part) for part in recons.split(16)]
            row[name] = float(np.average([float(part) for part in parts], weights=sizes))
        rows.append(row)
    return pd.DataFrame(rows)


def equivalent_weight(
    theta: np.ndarray, error: np.ndarray, energies: Energies, latent_dim: int, kl_weight: float
) -> Point:
    """The forecast for a loss that is not a squared error: the linear-Gaussian code that is best in *that* loss.

    The codes of the forecast are a family with one parameter, theta. For a squared error the best of them has
    theta = w P / 2; any other loss has its own best, found here from its values along the family. It leaves out
    that a network may also change the *shape* of its errors to please a loss.

    Args:
        theta: levels, falling.
        error: the loss without its KL at these levels.
        energies: along the code.
        latent_dim: at most so many coordinates are coded.
        kl_weight: w, of that loss.

    Returns:
        The point; its `kl_weight` is the weight of a plain squared error with the same theta.
    """
    levels = np.log(theta[::-1])
    curve = PchipInterpolator(levels, error[::-1])
    fine = np.linspace(levels[0], levels[-1], 1500)
    points = [at_weight(energies, 2 * float(np.exp(level)) / energies.pixels, latent_dim) for level in fine]
    totals = curve(fine) + kl_weight * np.array([point.kl for point in points])
    return points[int(totals.argmin())]

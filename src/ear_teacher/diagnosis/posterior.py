"""Is the code alive, and does the decoder use it? The quantities of `metrics.health` for one set of pictures."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ear_teacher.diagnosis.subject import Numbers, decode, pooled_psnr
from ear_teacher.metrics.health import (
    active_units,
    collapse_curve,
    decoder_codes,
    information,
    kl_per_image_and_dimension,
)
from ear_teacher.models import EarVAE

EPSILONS = np.geomspace(1e-4, 10, 26)  # nats
COLLAPSED = 0.01  # nats: the epsilon quoted


def posterior_health(model: EarVAE, mean: Tensor, logvar: Tensor, originals: Tensor, seed: int) -> Numbers:
    """KL, information, collapse and the use the decoder makes of the code.

    Args:
        model: the model.
        mean, logvar: (N, k, g, g), its posteriors of the pictures.
        originals: (N, 3, S, S) in [0, 1].
        seed: of the samples.

    Returns:
        `posterior.kl`, `.information`, `.information_cap`, `.aggregate_kl` in nats; `.active_units`, `.floats`;
        `.collapsed`, the share of dimensions (0.01 nats, 0.01)-collapsed; `decoder.mean`, `.sampled`, `.shuffled`,
        `.prior` in dB of the pooled squared error; `decoder.use`, own sample against another picture's, in dB;
        `decoder.variance`, that of the decoded means over the pictures' own. Curves `kl_per_dimension`, `collapse`.
    """
    flat = [tensor.flatten(1).double().numpy() for tensor in (mean, logvar)]
    kl = kl_per_image_and_dimension(*flat)
    found = information(mean, logvar, torch.Generator().manual_seed(seed))
    codes = decoder_codes(mean, logvar, torch.Generator().manual_seed(seed))
    decoded = {name: decode(model, code) for name, code in codes.items()}
    quality = {f"decoder.{name}": pooled_psnr(originals, recon) for name, recon in decoded.items()}
    variance = [float(pictures.double().var(0).mean()) for pictures in (decoded["mean"], originals)]
    values = {
        "posterior.kl": found.kl,
        "posterior.information": max(found.mutual_information, 0.0),
        "posterior.information_cap": found.cap,
        "posterior.aggregate_kl": found.aggregate_kl,
        "posterior.active_units": float(active_units(flat[0])),
        "posterior.floats": float(kl.shape[1]),
        "posterior.collapsed": float(collapse_curve(kl, [COLLAPSED])[0]),
        **quality,
        "decoder.use": quality["decoder.sampled"] - quality["decoder.shuffled"],
        "decoder.variance": variance[0] / max(variance[1], 1e-12),
    }
    dimensions = np.sort(kl.mean(0))[::-1]
    curves = {
        "kl_per_dimension": pd.DataFrame({"rank": np.arange(1, len(dimensions) + 1), "kl": dimensions}),
        "collapse": pd.DataFrame({"epsilon": EPSILONS, "collapsed": collapse_curve(kl, EPSILONS)}),
    }
    return Numbers(values, curves)


def calibration(values: dict[str, float], theta: float, logvar: Tensor, pixels: int) -> dict[str, float]:
    """Whether the posterior's noise is as large as the weight of the KL makes it at the optimum.

    Each coordinate of the optimal linear-Gaussian code adds theta (1 - variance) to the summed squared error when it
    is sampled (decoder gain lambda - theta, variance theta / lambda). `calibration.predicted` is that sum over all
    pixels, `.observed` the measured difference of sampled and mean decoding, in squared [-1, 1] units a value;
    `.ratio` above 1: more noise than the weight pays for, below 1: less.
    """
    predicted = theta * float((1 - logvar.exp().flatten(1).clamp(max=1)).sum(1).mean()) / pixels
    errors = [4 / 10 ** (values[f"decoder.{name}"] / 10) for name in ("sampled", "mean")]
    found = {"calibration.predicted": predicted, "calibration.observed": errors[0] - errors[1]}
    if predicted > 0 and math.isfinite(errors[0]):
        found["calibration.ratio"] = found["calibration.observed"] / predicted
    return found

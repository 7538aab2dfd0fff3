"""Rate and distortion of a linear-Gaussian VAE: what a KL weight can give, before training.

For the loss `mean squared error + w * KL` (mean over the P values of a picture in [-1, 1], KL summed over
dimensions) the optimum of a linear encoder and decoder is reverse water-filling on the variances of the
coordinates (Lucas et al. 2019, arXiv 1911.02469; Cover & Thomas, ch. 10):

    theta = w * P / 2;   a coordinate is active where its variance exceeds theta;   KL = sum 1/2 ln(variance / theta)

It is the curve of the linear-Gaussian model, not a bound on every possible code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ear_teacher.linear import Energies


@dataclass(frozen=True)
class Point:
    """One point of the rate-distortion curve.

    Attributes:
        kl_weight: w.
        theta: noise variance the weight is equivalent to, in squared [-1, 1] pixel units.
        active: coordinates that carry information.
        kl: nats per image.
        psnr_sampled: dB, of the mean squared error over the set, decoding a sample of the posterior.
        psnr_mean: dB, the same decoding the posterior's mean.
    """

    kl_weight: float
    theta: float
    active: int
    kl: float
    psnr_sampled: float
    psnr_mean: float


def _psnr(squared_error: float) -> float:
    return float(10 * np.log10(4 / max(squared_error, 1e-12)))


def at_weight(energies: Energies, kl_weight: float, latent_dim: int) -> Point:
    """The optimum for a weight.

    Args:
        energies: variances of the coordinates.
        kl_weight: w > 0.
        latent_dim: at most so many coordinates are coded.
    """
    theta = kl_weight * energies.pixels / 2
    variances = np.sort(np.asarray(energies.values, dtype=np.float64))[::-1]
    active = min(int((variances > theta).sum()), latent_dim)
    coded = variances[:active]
    uncoded = variances[active:].sum() + energies.rest
    return Point(
        kl_weight=float(kl_weight),
        theta=float(theta),
        active=active,
        kl=float(0.5 * np.log(coded / theta).sum()) if active else 0.0,
        psnr_sampled=_psnr((active * theta + uncoded) / energies.pixels),
        psnr_mean=_psnr(((theta**2 / coded).sum() + uncoded) / energies.pixels),
    )


def at_kl(energies: Energies, kl: float, latent_dim: int) -> Point:
    """The optimum whose rate is `kl` nats per image, by bisection on the logarithm of the weight."""
    top = max(float(np.max(energies.values)), 1e-12)
    low, high = np.log(top) - 2 * kl - 60, np.log(top)
    for _ in range(200):
        middle = (low + high) / 2
        if at_weight(energies, 2 * np.exp(middle) / energies.pixels, latent_dim).kl > kl:
            low = middle
        else:
            high = middle
    return at_weight(energies, 2 * np.exp(high) / energies.pixels, latent_dim)


def posterior_variance(eigenvalues: np.ndarray, kl_weight: float, pixels: int) -> np.ndarray:
    """Optimal posterior variance of whitened coordinates, theta / eigenvalue, at most 1 (the prior's)."""
    theta = kl_weight * pixels / 2
    return np.minimum(theta / np.maximum(eigenvalues, 1e-12), 1.0)

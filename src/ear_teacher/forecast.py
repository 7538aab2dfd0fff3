"""Rate and distortion of a linear-Gaussian VAE: what a KL weight can give, before training.

    point = at_weight(energies, 1e-4, latent_dim=512)      # what does this weight give?
    point = at_kl(energies, 15, latent_dim=512)            # what does a KL of 15 nats allow?
    point = at_psnr(energies, 28, latent_dim=1024)         # what does 28 dB need?

For the loss `mean squared error + w * KL` (mean over the P values of a picture in [-1, 1], KL summed over
dimensions) the optimum of a linear encoder and decoder is reverse water-filling on the variances of the
coordinates (Lucas et al. 2019, arXiv 1911.02469; Cover & Thomas, ch. 10):

    theta = w * P / 2;   a coordinate is active where its variance exceeds theta;   KL = sum 1/2 ln(variance / theta)

It is the curve of the linear-Gaussian model, not a bound on every possible code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

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

    @property
    def bits(self) -> float:
        """The KL in bits per image."""
        return self.kl / math.log(2)

    @property
    def bytes(self) -> float:
        """The KL in bytes per image."""
        return self.bits / 8


@dataclass(frozen=True)
class Scale:
    """A weight of this project in the units of others.

    Attributes:
        beta_sum: weight of the KL beside the squared error *summed* over the picture, pixels in [-1, 1].
        beta_sum_unit: the same for pixels in [0, 1].
        beta_half: beta of a Gaussian likelihood of variance 1, whose squared error is summed and halved.
        noise: standard deviation of the observation noise that makes the weight a plain ELBO (beta = 1), in [-1, 1].
        noise_unit: the same for pixels in [0, 1].
    """

    beta_sum: float
    beta_sum_unit: float
    beta_half: float
    noise: float
    noise_unit: float


def scale_of(kl_weight: float, pixels: int) -> Scale:
    """The same objective, written as other repositories write it.

    `mean((x - y)^2) + w KL`, times P, is `sum((x - y)^2) + w P KL`; a Gaussian likelihood of variance s^2 has
    `sum((x - y)^2) / 2 s^2`, so the plain ELBO has s^2 = w P / 2 = theta (Rybkin et al. 2020, arXiv 2006.13202).

    Args:
        kl_weight: w, for the squared error averaged over pixels and channels.
        pixels: P = 3 * H * W.
    """
    beta = kl_weight * pixels
    noise = math.sqrt(beta / 2)
    return Scale(beta, beta / 4, beta / 2, noise, noise / 2)


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
    low, high = max(np.log(top) - 2 * kl - 60, -700.0), np.log(top)  # exp(-700) is still above 0
    for _ in range(200):
        middle = (low + high) / 2
        if at_weight(energies, 2 * np.exp(middle) / energies.pixels, latent_dim).kl > kl:
            low = middle
        else:
            high = middle
    return at_weight(energies, 2 * np.exp(high) / energies.pixels, latent_dim)


def at_psnr(
    energies: Energies, psnr: float, latent_dim: int, decoding: Literal["sampled", "mean"] = "sampled"
) -> Point | None:
    """The optimum with the least rate that reaches a PSNR, by bisection; None where the floats do not suffice.

    Args:
        energies: variances of the coordinates.
        psnr: dB, of the mean squared error over the set.
        latent_dim: at most so many coordinates are coded.
        decoding: of a sample of the posterior or of its mean.
    """

    def at(log_theta: float) -> tuple[Point, float]:
        point = at_weight(energies, 2 * math.exp(log_theta) / energies.pixels, latent_dim)
        return point, point.psnr_sampled if decoding == "sampled" else point.psnr_mean

    top = math.log(max(float(np.max(energies.values)), 1e-12))
    low, high = top - 60, top
    if at(low)[1] < psnr:
        return None
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle)[1] >= psnr else (low, middle)
    return at(low)[0]


def floats_for(energies: Energies, psnr: float) -> int | None:
    """The fewest coordinates that reach a PSNR with no limit on the rate; None where all of them do not."""
    variances = np.sort(np.asarray(energies.values, dtype=np.float64))[::-1]
    left = variances.sum() - np.concatenate([[0.0], np.cumsum(variances)])
    enough = (left + energies.rest) / energies.pixels <= 4 / 10 ** (psnr / 10)
    return int(np.argmax(enough)) if enough.any() else None


def posterior_variance(eigenvalues: np.ndarray, kl_weight: float, pixels: int) -> np.ndarray:
    """Optimal posterior variance of whitened coordinates, theta / eigenvalue, at most 1 (the prior's)."""
    theta = kl_weight * pixels / 2
    return np.minimum(theta / np.maximum(eigenvalues, 1e-12), 1.0)


def slope_of_recon(power: float, squared_error: float) -> float:
    """How much mean |e|^power changes with the mean squared error, for Gaussian errors of one size.

    E|e|^p = c_p D^(p/2) with c_p = 2^(p/2) Gamma((p + 1) / 2) / sqrt(pi), so the slope is p/2 c_p D^(p/2 - 1):
    1 for the squared error, and a weight beside the absolute error weighs sqrt(2 pi D) times what it weighs
    beside the squared one.

    Args:
        power: 2 squared error, 1 absolute error; focal weighting raises either by half of itself.
        squared_error: D, mean over the values of a picture in [-1, 1].
    """
    constant = 2 ** (power / 2) * math.gamma((power + 1) / 2) / math.sqrt(math.pi)
    return power / 2 * constant * max(squared_error, 1e-12) ** (power / 2 - 1)

"""Is the posterior alive? Definitions from the literature, each with its source.

None of these alone tells a collapsed code from a rate-limited one: a healthy VAE at a high KL weight also has many
inactive dimensions. What tells is whether the decoder uses the code (`decoder_codes`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

ACTIVE_VARIANCE = 0.01
DELTA = 0.01


def kl_per_image_and_dimension(mean: ArrayLike, logvar: ArrayLike) -> np.ndarray:
    """(N, D) KL(N(mean, exp(logvar)) || N(0, 1)) in nats, of (N, D) means and log-variances."""
    m, v = np.asarray(mean, dtype=np.float64), np.asarray(logvar, dtype=np.float64)
    # expm1 keeps the digits of a collapsed dimension, where exp(v) - 1 - v is a difference of equals.
    return 0.5 * (m**2 + (np.expm1(v) - v))


def kl_per_dimension(mean: ArrayLike, logvar: ArrayLike) -> np.ndarray:
    """(D,) KL of each dimension in nats, averaged over the N images; its sum is the KL of the set."""
    return np.asarray(kl_per_image_and_dimension(mean, logvar).mean(axis=0))


def active_mask(mean: ArrayLike) -> np.ndarray:
    """(D,) which dimensions are active: Var_x(E[z_i | x]) > 0.01, n - 1 in the variance.

    Burda, Grosse & Salakhutdinov 2016, arXiv 1509.00519, section 5.2.

    Args:
        mean: (N, D) posterior means of N >= 2 images.
    """
    return np.asarray(np.asarray(mean, dtype=np.float64).var(axis=0, ddof=1) > ACTIVE_VARIANCE)


def active_units(mean: ArrayLike) -> int:
    """How many dimensions are active (`active_mask`)."""
    return int(active_mask(mean).sum())


def collapse_curve(kl: ArrayLike, epsilons: ArrayLike, delta: float = DELTA) -> np.ndarray:
    """Share of (epsilon, delta)-collapsed dimensions for each epsilon.

    Dimension i is collapsed where P_x[KL(q(z_i | x) || p) < epsilon] >= 1 - delta (Lucas et al. 2019,
    arXiv 1911.02469, definition 1).

    Args:
        kl: (N, D) nats of each image and dimension.
        epsilons: (E,) thresholds in nats.
        delta: tolerated share of images.

    Returns:
        (E,) in [0, 1], rising with epsilon.
    """
    kl = np.asarray(kl, dtype=np.float64)
    # At least this many images must lie below; the ceiling forgives the rounding of (1 - delta) N.
    needed = max(1, math.ceil((1 - delta) * len(kl) - 1e-9))
    decisive = np.sort(kl, axis=0)[needed - 1]
    return (decisive[None, :] < np.asarray(epsilons, dtype=np.float64)[:, None]).mean(axis=1)


@dataclass(frozen=True)
class Information:
    """KL = mutual information + KL of the aggregate posterior (Hoffman & Johnson 2016, "ELBO surgery"). Nats.

    Attributes:
        kl: mean over the images of the KL to the prior.
        mutual_information: estimate of I(x; z); it cannot exceed `cap`, so close to it read "at least".
        aggregate_kl: the rest, estimate of KL(q(z) || p(z)); too large by what the cap cuts off.
        cap: ln N.
    """

    kl: float
    mutual_information: float
    aggregate_kl: float
    cap: float


def information(mean: Tensor, logvar: Tensor, generator: torch.Generator) -> Information:
    """Estimate the information a code carries about which picture it came from.

    One sample z_n of each posterior, log q(z_n | x_n) - log (1/N) sum_m q(z_n | x_m), averaged.

    Args:
        mean: (N, ...) posterior means.
        logvar: (N, ...) their log-variances.
        generator: CPU generator of the samples.
    """
    m, v = mean.flatten(1).double().cpu(), logvar.flatten(1).double().cpu()
    z = m + (v / 2).exp() * torch.randn(m.shape, generator=generator, dtype=torch.float64)
    precision = (-v).exp()
    # log q(z_n | x_m) without its constant, which cancels; the square is expanded so that no N x N x D array exists.
    squares = z**2 @ precision.T - 2 * z @ (precision * m).T + (precision * m**2 + v).sum(1)
    log_density = -0.5 * squares
    cap = math.log(len(m))
    estimate = float((log_density.diagonal() - (torch.logsumexp(log_density, dim=1) - cap)).mean())
    kl = float(0.5 * (m**2 + (torch.expm1(v) - v)).sum(1).mean())
    return Information(kl, min(estimate, cap), kl - min(estimate, cap), cap)


def decoder_codes(mean: Tensor, logvar: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """The four codes whose PSNRs tell whether a decoder uses its code.

    Args:
        mean: (N, ...) posterior means of N >= 2 images.
        logvar: (N, ...) their log-variances.
        generator: CPU generator.

    Returns:
        `mean`; `sampled` from the posterior; `shuffled`: the samples, each handed to another image; `prior`: drawn
        from N(0, 1). A decoder that ignores its code decodes the last three equally well.

    Raises:
        ValueError: fewer than two images, so that nothing can be shuffled.
    """
    if len(mean) < 2:
        raise ValueError("decoder_codes needs at least two images")
    noise, prior = (torch.randn(mean.shape, generator=generator).to(mean) for _ in range(2))
    sampled = mean + (logvar / 2).exp() * noise
    order = torch.randperm(len(mean), generator=generator)
    giver = torch.empty_like(order)
    giver[order] = order.roll(1)  # one cycle through all images: nobody keeps their own code
    return {"mean": mean, "sampled": sampled, "shuffled": sampled[giver.to(mean.device)], "prior": prior}

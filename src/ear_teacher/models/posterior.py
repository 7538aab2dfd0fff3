"""The diagonal Gaussian an encoder returns."""

from __future__ import annotations

import torch
from torch import Tensor

LOGVAR_RANGE = (-20.0, 10.0)
FURTHEST_MEAN = 1e6
"""Means count as no further from 0 in the KL: its square stays finite, so a run that explodes is measured."""


class DiagonalGaussian:
    """q(z|x) = N(mean, diag(exp(logvar))), in float32 whatever the network computed in.

    Args:
        mean: (N, k, g, g).
        logvar: same shape; clamped to `LOGVAR_RANGE`, which bounds the KL.
    """

    def __init__(self, mean: Tensor, logvar: Tensor) -> None:
        self.mean = mean.float()
        self.logvar = logvar.float().clamp(*LOGVAR_RANGE)

    @property
    def mode(self) -> Tensor:
        """The most likely code, (N, k, g, g): its mean."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One reparametrised draw, (N, k, g, g) (Kingma & Welling 2014, arXiv 1312.6114)."""
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype)
        return self.mean + torch.exp(self.logvar / 2) * noise

    def kl(self) -> Tensor:
        """KL(q || N(0, 1)) of each dimension, (N, k * g * g), in nats."""
        mean = self.mean.clamp(-FURTHEST_MEAN, FURTHEST_MEAN)
        return 0.5 * (mean**2 + self.logvar.exp() - 1 - self.logvar).flatten(1)

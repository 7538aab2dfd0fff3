"""Principal coordinates of features: the common ground on which encoders of any width are compared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

EXPONENTS = (0.0, 0.5, 1.0)
"""How far coordinates are whitened: not at all, half, fully; which suits is chosen on validation people."""


@dataclass(frozen=True)
class Coordinates:
    """A rotation onto the principal axes of the training pictures' features.

    Attributes:
        mean: (D,) of the training features.
        axes: (D, r) orthonormal, by falling variance.
        variances: (r,) along them.
    """

    mean: Tensor
    axes: Tensor
    variances: Tensor

    @staticmethod
    def fit(features: Tensor, rank: int) -> Coordinates:
        """Axes of (N, D) features, at most `rank` of them and no more than the features have."""
        mean = features.double().mean(0)
        centred = (features.double() - mean).float()
        # The smaller of the two Gram matrices has the same non-zero eigenvalues (Turk & Pentland 1991).
        wide = centred.shape[1] > centred.shape[0]
        gram = (centred @ centred.T if wide else centred.T @ centred).double() / len(centred)
        values, vectors = torch.linalg.eigh(gram)
        kept = values.argsort(descending=True, stable=True)[:rank]
        kept = kept[values[kept] > values.max() * 1e-7]
        values, vectors = values[kept], vectors[:, kept].float()
        if wide:
            vectors = centred.T @ vectors / (values * len(centred)).sqrt().float()
        return Coordinates(mean.float(), vectors, values.float())

    def of(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, r), not whitened."""
        return (features - self.mean) @ self.axes

    def whitened(self, scores: Tensor, exponent: float) -> Tensor:
        """(N, r) scores divided by their variance to the power `exponent` / 2; the first coordinate has variance 1."""
        return scores / (self.variances / self.variances[0]) ** (exponent / 2) / self.variances[0].sqrt()

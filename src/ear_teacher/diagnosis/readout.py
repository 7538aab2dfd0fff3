"""How good a picture a *linear* map can make of a code: the test that tells an empty code from a poor decoder.

The map is fitted by ridge regression on samples of the posterior, so that it can use only what the code still says
through its noise, and judged on the means of other pictures. A map fitted in the same way on a linear code of the
same size is what the readout is compared with: both suffer alike from few pictures.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Ridge penalties tried, as shares of the mean variance of the inputs; a quarter of the pictures decides."""
SHOWN = 512
"""Columns of the target that decide between them."""


def readout(codes: Tensor, pictures: Tensor, others: Tensor) -> Tensor:
    """Fit the map on some pictures and apply it to the codes of others.

    On a grid each patch is read from its own cell and its eight neighbours, with one map for all places.

    Args:
        codes: (n, k, g, g) samples of the posteriors of `pictures`, n >= 8.
        pictures: (n, 3, S, S).
        others: (m, k, g, g) posterior means.

    Returns:
        (m, 3, S, S), the pictures that the map makes of `others`.
    """
    grid = codes.shape[-1]
    side = pictures.shape[-1]
    patch = side // grid
    inputs, wanted = _inputs(codes), F.unfold(pictures, patch, stride=patch).transpose(1, 2).flatten(0, 1)
    cut = (len(codes) * 3 // 4) * grid**2
    shown = wanted[:, torch.from_numpy(np.linspace(0, wanted.shape[1] - 1, min(SHOWN, wanted.shape[1])).astype(int))]
    trial = _Ridge(inputs[:cut], shown[:cut])
    errors = [float(((trial.apply(inputs[cut:], penalty) - shown[cut:]) ** 2).mean()) for penalty in PENALTIES]
    made = _Ridge(inputs, wanted).apply(_inputs(others), PENALTIES[int(np.argmin(errors))])
    return F.fold(made.view(len(others), grid**2, -1).transpose(1, 2), side, patch, stride=patch)


def _inputs(codes: Tensor) -> Tensor:
    """(n, k, g, g) -> (n g g, d): each cell's own values and, on a grid, those around it."""
    if codes.shape[-1] == 1:
        return codes.flatten(1)
    return F.unfold(codes, 3, padding=1).transpose(1, 2).flatten(0, 1)


class _Ridge:
    """Ridge regression of (n, p) on (n, d) with an intercept, by whichever of the two normal equations is smaller."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.centre, self.level = x.mean(0), y.mean(0)
        self.x, self.y = x - self.centre, y - self.level
        self.unit = float((self.x**2).mean()) * len(x)
        self.wide = len(x) < x.shape[1]
        self.gram = (self.x @ self.x.T if self.wide else self.x.T @ self.x).double()
        self.cross = None if self.wide else (self.x.T @ self.y).double()

    def apply(self, new: Tensor, penalty: float) -> Tensor:
        """(m, d) -> (m, p)."""
        ridge = (penalty * self.unit + 1e-12) * torch.eye(len(self.gram), dtype=torch.float64)
        new = new - self.centre
        if self.cross is None:
            mix = torch.linalg.solve(self.gram + ridge, (self.x @ new.T).double()).T
            return mix.float() @ self.y + self.level
        weights = torch.linalg.solve(self.gram + ridge, self.cross)
        return new @ weights.float() + self.level

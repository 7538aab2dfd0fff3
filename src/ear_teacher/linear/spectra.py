"""How much of pictures lies along a code's coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ear_teacher.linear.code import LinearCode, batches


@dataclass(frozen=True)
class Energies:
    """Variance of a set of pictures along a code's coordinates: what the forecast needs.

    Attributes:
        values: (d,) variance of each coordinate over the pictures, all g x g patches listed, any order.
        rest: summed variance outside the code's coordinates.
        pixels: P = 3 * H * W, values in one picture.
    """

    values: np.ndarray
    rest: float
    pixels: int


def spectrum(code: LinearCode) -> Energies:
    """The training pictures' own energies along a code: its eigenvalues, the same for each of the g x g patches."""
    eigenvalues = code.eigenvalues.double().numpy()
    coded = len(code.basis)
    values = np.repeat(eigenvalues[:coded], code.grid**2)
    pixels = 3 * (code.mean.shape[-1] * code.grid) ** 2
    return Energies(values, float(eigenvalues[coded:].sum()) * code.grid**2, pixels)


def energies(code: LinearCode, images: np.ndarray, rows: np.ndarray) -> Energies:
    """Variance of pictures along the coordinates of a code fitted elsewhere (held-out energies).

    Around the *code's* mean, not the pictures' own: what the code cannot know counts as variance.
    """
    squares, everything = torch.zeros(code.basis.shape[0], code.grid, code.grid, dtype=torch.float64), 0.0
    for batch in batches(images, rows):
        squares += (code.encode(batch).double() ** 2).sum(0)
        everything += float(((batch - code.mean.repeat(1, code.grid, code.grid)).double() ** 2).sum())
    values = (squares / len(rows)).flatten().numpy()
    pixels = 3 * images.shape[1] ** 2
    return Energies(values, max(everything / len(rows) - float(values.sum()), 0.0), pixels)

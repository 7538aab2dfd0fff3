"""Codes as they are kept and used: orthonormal ones with their spectrum, and whitened ones a model can begin as."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ear_teacher.config import UserError
from ear_teacher.files import write_atomically

CHUNK = 64


@dataclass(frozen=True)
class LinearCode:
    """An orthonormal linear code on a g x g grid of patches; PCA is the case of one patch, g = 1.

    Attributes:
        mean: (3, p, p) mean patch, in [-1, 1].
        basis: (k, 3, p, p) orthonormal, by falling eigenvalue.
        eigenvalues: (m,) variances along all m >= k eigenvectors that were computed, falling, of one patch.
        grid: g, patches along one side.
        samples: how many pictures (without mirrors) it was fitted on.
    """

    mean: Tensor
    basis: Tensor
    eigenvalues: Tensor
    grid: int
    samples: int

    @property
    def floats(self) -> int:
        """Size of the code: k coefficients for each of the g x g patches."""
        return len(self.basis) * self.grid**2

    def truncated(self, floats: int) -> LinearCode:
        """The same code with fewer coefficients.

        Raises:
            ValueError: `floats` is no multiple of the number of patches.
        """
        if floats % self.grid**2:
            raise ValueError(f"{floats} floats do not divide over {self.grid} x {self.grid} patches")
        rank = min(floats // self.grid**2, len(self.basis))
        return LinearCode(self.mean, self.basis[:rank], self.eigenvalues, self.grid, self.samples)

    def encode(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) in [-1, 1] -> (N, k, g, g) coefficients."""
        patch = self.mean.shape[-1]
        centred = images - self.mean.repeat(1, self.grid, self.grid)
        return F.conv2d(centred, self.basis, stride=patch)

    def decode(self, codes: Tensor) -> Tensor:
        """(N, k, g, g) coefficients -> (N, 3, S, S) in [-1, 1], not clamped."""
        patch = self.mean.shape[-1]
        return F.conv_transpose2d(codes, self.basis, stride=patch) + self.mean.repeat(1, self.grid, self.grid)

    def reconstruct(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) in [0, 1] -> the same through the code, clamped."""
        return ((self.decode(self.encode(images * 2 - 1)) + 1) / 2).clamp(0, 1)

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        tensors = {"mean": self.mean, "basis": self.basis, "eigenvalues": self.eigenvalues}
        tensors["grid_samples"] = torch.tensor([self.grid, self.samples])
        write_atomically(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}))

    @staticmethod
    def load(path: Path) -> LinearCode:
        """Read what `save` wrote.

        Raises:
            UserError: the file is missing or damaged.
        """
        try:
            tensors = load_file(path)
            grid, samples = (int(value) for value in tensors["grid_samples"])
            return LinearCode(tensors["mean"], tensors["basis"], tensors["eigenvalues"], grid, samples)
        except (OSError, SafetensorError, KeyError, ValueError):
            raise UserError(f"{path} is missing or damaged; `dvc repro linear` writes it anew.") from None


@dataclass(frozen=True)
class WhitenedCode:
    """A linear code whose coordinates have mean 0, variance 1 and no correlation at one place.

    Attributes:
        mean: (3, p, p) mean patch, in [-1, 1].
        analysis: (k, 3, q, q) picture to coordinates; q is p, or 3 p where patches overlap.
        synthesis: (k, 3, q, q) coordinates to picture.
        energies: (k,) squared norms of the synthesis, falling: what noise of variance 1 in a coordinate costs.
        grid: g, patches along one side.
    """

    mean: Tensor
    analysis: Tensor
    synthesis: Tensor
    energies: Tensor
    grid: int

    @staticmethod
    def of(code: LinearCode) -> WhitenedCode:
        """The whitened form of a code without overlap."""
        energies = code.eigenvalues[: len(code.basis)].clamp(min=1e-8)
        deviation = energies.sqrt().view(-1, 1, 1, 1)
        return WhitenedCode(code.mean, code.basis / deviation, code.basis * deviation, energies, code.grid)

    @property
    def overlap(self) -> int:
        """Pixels by which a patch reaches into its neighbours."""
        return (self.analysis.shape[-1] - self.mean.shape[-1]) // 2

    def encode(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) in [-1, 1] -> (N, k, g, g) coordinates; beyond the border lies the mean."""
        centred = images - self.mean.repeat(1, self.grid, self.grid)
        return F.conv2d(centred, self.analysis, stride=self.mean.shape[-1], padding=self.overlap)

    def decode(self, codes: Tensor) -> Tensor:
        """(N, k, g, g) coordinates -> (N, 3, S, S) in [-1, 1], not clamped."""
        found = F.conv_transpose2d(codes, self.synthesis, stride=self.mean.shape[-1], padding=self.overlap)
        return found + self.mean.repeat(1, self.grid, self.grid)

    def reconstruct(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) in [0, 1] -> the same through the code, clamped."""
        return ((self.decode(self.encode(images * 2 - 1)) + 1) / 2).clamp(0, 1)


def batches(images: np.ndarray, rows: np.ndarray, size: int = CHUNK) -> Iterator[Tensor]:
    """Read uint8 (N, S, S, 3) pictures in pieces, as float32 (n, 3, S, S) in [-1, 1]."""
    for start in range(0, len(rows), size):
        piece = torch.from_numpy(np.ascontiguousarray(images[rows[start : start + size]]))
        yield piece.permute(0, 3, 1, 2).float() / 127.5 - 1

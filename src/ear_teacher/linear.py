"""Linear codes of images: global PCA and the Karhunen-Loeve transform (KLT) of square patches.

They are three things at once: the zero line every model has to beat (equal floats), the spectrum the forecast is
computed from, and the warm start of the model. Pixels are in [-1, 1] throughout. Both codes are fitted on the
pictures *and their mirror images*: a picture's mirror is as likely a picture, and it doubles the rank.

Covariances use the 1/n convention (maximum likelihood), as Tipping & Bishop 1999, "Probabilistic PCA".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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

_CHUNK = 64

SPAN_FROM = 1500
"""More pictures than this are coded `within_span` of small patches: an exact PCA costs memory in proportion to
them, and time in proportion to their square."""

_FINE_PATCH = 16
_SPAN = 64  # coefficients of each small patch that span the large ones


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


def batches(images: np.ndarray, rows: np.ndarray, size: int = _CHUNK) -> Iterator[Tensor]:
    """Read uint8 (N, S, S, 3) pictures in pieces, as float32 (n, 3, S, S) in [-1, 1]."""
    for start in range(0, len(rows), size):
        piece = torch.from_numpy(np.ascontiguousarray(images[rows[start : start + size]]))
        yield piece.permute(0, 3, 1, 2).float() / 127.5 - 1


def fit_pca(images: np.ndarray, rows: np.ndarray, rank: int) -> LinearCode:
    """Principal components of whole pictures and their mirrors.

    The covariance of a mirrored set falls into a symmetric and an antisymmetric block, so two Gram matrices of
    n x n take the place of one of 2n x 2n (Turk & Pentland 1991 for the Gram trick).

    Args:
        images: uint8 (N, S, S, 3).
        rows: which of them to fit on.
        rank: components wanted; fewer come back where 2 n - 1 is smaller.
    """
    count, size = len(rows), images.shape[1]
    half = size // 2
    # One orthonormal half-width coordinate system for each parity: (left + mirrored right) / sqrt 2, and minus.
    folded = torch.empty(2, count, 3 * size * half)
    start = 0
    for batch in batches(images, rows):
        left, right = batch[..., :half], batch[..., half:].flip(-1)
        stop = start + len(batch)
        folded[0, start:stop] = ((left + right) / 2**0.5).flatten(1)
        folded[1, start:stop] = ((left - right) / 2**0.5).flatten(1)
        start = stop
    mean_half = folded[0].mean(0)
    folded[0] -= mean_half
    values, vectors = [], []
    for parity in range(2):
        gram = (folded[parity] @ folded[parity].T).double() / count
        eigenvalues, coefficients = torch.linalg.eigh(gram)
        values.append(eigenvalues.clamp(min=0))
        vectors.append(coefficients)
    merged = torch.cat(values)
    order = merged.argsort(descending=True, stable=True)
    # The mean takes one dimension; what float32 leaves of it would otherwise pass for a component.
    kept = order[: min(rank, 2 * count - 1, int((merged > merged.max() * 1e-9).sum()))]
    basis = torch.empty(len(kept), 3, size, size)
    for parity in range(2):
        places = torch.nonzero((kept // count) == parity).flatten()
        columns = kept[places] - parity * count
        scale = (values[parity][columns] * count).sqrt()
        halves = (vectors[parity][:, columns] / scale).float().T @ folded[parity]
        halves = halves.view(-1, 3, size, half) / 2**0.5
        basis[places] = torch.cat([halves, halves.flip(-1) * (1 - 2 * parity)], -1)
    mean = mean_half.view(3, size, half) / 2**0.5
    return LinearCode(torch.cat([mean, mean.flip(-1)], -1), basis, merged[order].float(), 1, count)


def fit_klt(images: np.ndarray, rows: np.ndarray, grid: int, rank: int) -> LinearCode:
    """Karhunen-Loeve transform of the g x g patches of pictures and their mirrors, one basis for all places.

    Args:
        images: uint8 (N, S, S, 3), S divisible by `grid`.
        rows: which of them to fit on.
        grid: patches along one side.
        rank: components a patch.
    """
    patch = images.shape[1] // grid
    dims = 3 * patch * patch
    # A patch and its mirror image fold into halves of left + right and left - right, which do not correlate.
    half = dims // 2
    total = torch.zeros(half, dtype=torch.float64)
    moment = torch.zeros(2, half, half, dtype=torch.float64)
    count = 0
    for batch in batches(images, rows):
        patches = F.unfold(batch, patch, stride=patch).transpose(1, 2).reshape(-1, dims // patch, patch)
        left, right = patches[..., : patch // 2], patches[..., patch // 2 :].flip(-1)
        even, odd = ((left + right) / 2**0.5).flatten(1), ((left - right) / 2**0.5).flatten(1)
        total += even.sum(0, dtype=torch.float64)
        moment += torch.stack([even.T @ even, odd.T @ odd]).double()
        count += len(patches)
    mean = total / count
    moment /= count
    moment[0] -= torch.outer(mean, mean)
    eigenvalues, vectors = torch.linalg.eigh(moment)
    merged = eigenvalues.flatten().clamp(min=0)
    order = merged.argsort(descending=True, stable=True)
    halves = vectors.transpose(1, 2).reshape(dims, 3, patch, patch // 2)[order[:rank]] / 2**0.5
    parity = 1 - 2 * (order[:rank] // half).view(-1, 1, 1, 1)
    basis = torch.cat([halves, halves.flip(-1) * parity], -1)
    mean_half = mean.view(3, patch, patch // 2) / 2**0.5
    mean_patch = torch.cat([mean_half, mean_half.flip(-1)], -1).float()
    return LinearCode(mean_patch, basis.float().contiguous(), merged[order].float(), grid, len(rows))


def fit_codes(images: np.ndarray, rows: np.ndarray, grids: Iterable[int], floats: int) -> dict[int, LinearCode]:
    """The code of each grid, exact for few pictures and `within_span` for many.

    Args:
        images: uint8 (N, S, S, 3).
        rows: which of them to fit on.
        grids: patches along one side; 1 = PCA of whole pictures.
        floats: size of each code; a PCA of few pictures stays shorter.
    """
    size = images.shape[1]
    many = len(rows) > SPAN_FROM and size % (2 * _FINE_PATCH) == 0
    fine = fit_klt(images, rows, size // _FINE_PATCH, _SPAN) if many else None
    codes = {}
    for grid in grids:
        rank = -(-floats // grid**2)
        if fine is not None and grid < fine.grid:
            codes[grid] = within_span(fine, images, rows, grid, rank)
        else:
            codes[grid] = fit_pca(images, rows, rank) if grid == 1 else fit_klt(images, rows, grid, rank)
    return codes


def within_span(fine: LinearCode, images: np.ndarray, rows: np.ndarray, grid: int, rank: int) -> LinearCode:
    """A code of large patches (or whole pictures) of many pictures, within the span of a code of small patches.

    The small patches' leading coefficients stand for the picture: a twelfth of its values, with nearly all of the
    variance of photos. The large patches' covariance is that of these coefficients, so one pass in little memory
    does. An eigenvalue comes out too low by what its eigenvector has outside the span, never too high (Cauchy
    interlacing).

    Args:
        fine: KLT of small patches, fitted on the same pictures.
        images: uint8 (N, S, S, 3).
        rows: which of them to fit on.
        grid: large patches along one side, 1 = PCA; `fine.grid / grid` is even.
        rank: components a patch.
    """
    block, components = fine.grid // grid, len(fine.basis)  # small patches along a large one
    width = components * block**2
    total, moment, count = torch.zeros(width, dtype=torch.float64), torch.zeros(width, width, dtype=torch.float64), 0
    for batch in batches(images, rows, 8 * _CHUNK):
        codes = F.unfold(fine.encode(batch), block, stride=block).transpose(1, 2).reshape(-1, width)
        total += codes.sum(0, dtype=torch.float64)
        moment += codes.T @ codes
        count += len(codes)
    # A mirrored picture has the grid mirrored, and each coefficient with the sign of its (even or odd) basis patch.
    places = torch.arange(width).view(components, block, block)
    first, mirror = places[..., : block // 2].flatten(), places.flip(-1)[..., : block // 2].flatten()
    signs = torch.einsum("kcij,kcij->k", fine.basis, fine.basis.flip(-1)).sign().double()
    sign = signs.repeat_interleave(block**2 // 2)
    both = torch.outer(sign, sign)
    near = (moment[first][:, first] + both * moment[mirror][:, mirror]) / (2 * count)
    far = (moment[first][:, mirror] * sign + moment[mirror][:, first] * sign[:, None]) / (2 * count)
    mean = (total[first] + total[mirror] * sign) / (2**0.5 * count)
    blocks = torch.stack([near + far - torch.outer(mean, mean), near - far])
    eigenvalues, vectors = torch.linalg.eigh(blocks)
    inside = eigenvalues.flatten().clamp(min=0)
    order = inside.argsort(descending=True, stable=True)[:rank]
    halves = vectors.transpose(1, 2).reshape(width, -1)[order] / 2**0.5
    parity = 1 - 2 * (order // (width // 2)).view(-1, 1)
    kept = torch.empty(len(order), width)
    kept[:, first], kept[:, mirror] = halves.float(), (halves * sign * parity).float()
    coefficients = torch.empty(width)
    coefficients[first], coefficients[mirror] = (mean / 2**0.5).float(), (mean * sign / 2**0.5).float()
    local = LinearCode(fine.mean, fine.basis, fine.eigenvalues, block, fine.samples)
    mean_patch = local.decode(coefficients.view(1, components, block, block))[0]
    patch = fine.mean.shape[-1]
    pieces = kept.view(-1, components, block, block).split(_CHUNK)
    basis = torch.cat([F.conv_transpose2d(piece, fine.basis, stride=patch) for piece in pieces])
    # The variance outside the span is that of the small patches: together the eigenvalues sum to all of it.
    rest = fine.eigenvalues[components:].repeat(block**2)
    merged = torch.cat([inside.float(), rest]).sort(descending=True).values
    return LinearCode(mean_patch, basis, merged, grid, len(rows))


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

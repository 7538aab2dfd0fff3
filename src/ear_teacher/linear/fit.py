"""Fitting PCA and patch KLTs, exactly for few pictures and within the span of small patches for many."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F

from ear_teacher.linear.code import CHUNK, LinearCode, batches

SPAN_FROM = 1500
"""More pictures than this are coded `within_span` of small patches: an exact PCA costs memory in proportion to
them, and time in proportion to their square."""

_FINE_PATCH = 16
_SPAN = 64  # coefficients of each small patch that span the large ones


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
    for batch in batches(images, rows, 8 * CHUNK):
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
    pieces = kept.view(-1, components, block, block).split(CHUNK)
    basis = torch.cat([F.conv_transpose2d(piece, fine.basis, stride=patch) for piece in pieces])
    # The variance outside the span is that of the small patches: together the eigenvalues sum to all of it.
    rest = fine.eigenvalues[components:].repeat(block**2)
    merged = torch.cat([inside.float(), rest]).sort(descending=True).values
    return LinearCode(mean_patch, basis, merged, grid, len(rows))

"""A linear code whose patches overlap: the warm start of the model, and step 0 of its training.

    code = fit_lapped(images, rows, grid=8, rank=16)          # uint8 (N, S, S, 3)
    code.decode(code.encode(pictures))                        # (n, 3, S, S) in [-1, 1]

A patch KLT codes every patch as if its neighbours were unknown, and its errors stand as edges between patches. Lapped
transforms (Malvar 1992) and principal component filter banks (Tsatsanis & Giannakis 1995) let analysis and synthesis
reach into the neighbours: as many floats in the same places, less error. Here both reach over 3 x 3 patches and are
fitted to the pictures: a linear autoencoder (Bourlard & Kamp 1988) that starts as the KLT.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ear_teacher.linear.code import WhitenedCode, batches
from ear_teacher.linear.fit import fit_klt

REACH = 1
"""Patches on every side of its own that a coordinate sees and that it changes."""

_STEPS, _BATCH, _LR = 600, 64, 1e-2
_PICTURES = 4096  # more add nothing: the fit sees 600 x 64


def fit_lapped(images: np.ndarray, rows: np.ndarray, grid: int, rank: int) -> WhitenedCode:
    """Fit overlapping patches to pictures and their mirror images; a quarter of a minute, whatever their number.

    The fit happens among the KLT coefficients of the patches, of which it takes some four times as many as the code
    has: analysis and synthesis are 3 x 3 convolutions there. Same pictures and thread count, same code.

    Args:
        images: uint8 (N, S, S, 3), S divisible by `grid`.
        rows: which of them to fit on.
        grid: patches along one side.
        rank: coordinates a patch.
    """
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), _PICTURES)).astype(int)]
    klt = fit_klt(images, some, grid, min(3 * (images.shape[1] // grid) ** 2, 4 * rank + 32))
    known = torch.cat([klt.encode(batch) for batch in batches(images, some)])
    # A mirrored picture has its patches in mirrored order, each coefficient with the sign of its even or odd patch.
    signs = torch.einsum("kcij,kcij->k", klt.basis, klt.basis.flip(-1)).sign().view(-1, 1, 1)
    scale = klt.eigenvalues[: len(klt.basis)].clamp(min=1e-8).sqrt()
    analysis, synthesis = torch.zeros(2, rank, len(scale), 2 * REACH + 1, 2 * REACH + 1)
    own = torch.arange(rank)
    analysis[own, own, REACH, REACH] = 1
    synthesis[own, own, REACH, REACH] = scale[:rank]
    analysis.requires_grad_(), synthesis.requires_grad_()

    def coordinates(coefficients: Tensor) -> Tensor:
        return F.conv2d(coefficients / scale.view(-1, 1, 1), analysis, padding=REACH)

    mover = torch.optim.Adam([analysis, synthesis], lr=_LR)
    generator = torch.Generator().manual_seed(0)
    for step in range(_STEPS):
        chosen = known[torch.randint(len(known), (_BATCH,), generator=generator)]
        if step % 2:
            chosen = chosen.flip(-1) * signs
        error = chosen - F.conv_transpose2d(coordinates(chosen), synthesis, padding=REACH)
        mover.zero_grad(set_to_none=True)
        error.square().sum((1, 2, 3)).mean().backward()
        share = step / _STEPS
        mover.param_groups[0]["lr"] = _LR * min(1, share * 20 + 0.05) * (1 + math.cos(math.pi * share)) / 2
        mover.step()
    with torch.no_grad():
        both = torch.cat([coordinates(known), coordinates(known.flip(-1) * signs)])
        turn, back, energies = _whitening(both.transpose(0, 1).flatten(1), synthesis)
        analysis = torch.einsum("ji,ikab->jkab", turn, analysis) / scale.view(-1, 1, 1)
        synthesis = torch.einsum("ji,ikab->jkab", back, synthesis)
        return WhitenedCode(klt.mean, _pixels(analysis, klt.basis), _pixels(synthesis, klt.basis), energies, grid)


def _whitening(coordinates: Tensor, synthesis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How to turn coordinates (k, n) so that they are white and cost falls: the map (k, k) of the coordinates, that of
    the synthesis, which undoes it, and the energies (k,)."""
    values, vectors = torch.linalg.eigh((coordinates @ coordinates.T).double() / coordinates.shape[1])
    root = (vectors * values.clamp(min=1e-12).sqrt()) @ vectors.T
    flat = synthesis.flatten(1).double()
    energies, axes = torch.linalg.eigh(root @ (flat @ flat.T) @ root)
    energies, axes = energies.flip(0), axes.flip(1)
    return (axes.T @ torch.linalg.inv(root)).float(), (axes.T @ root).float(), energies.clamp(min=1e-8).float()


def _pixels(taps: Tensor, basis: Tensor) -> Tensor:
    """(k, m, 3, 3) filters among coefficients -> (k, 3, 3 p, 3 p) filters among pixels."""
    patch = basis.shape[-1]
    return F.conv_transpose2d(taps, basis, stride=patch).contiguous()

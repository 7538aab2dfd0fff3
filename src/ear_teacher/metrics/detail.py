"""How much of a picture's fine detail a reconstruction really has.

A ratio of high-frequency energies is raised by noise and by block edges. Here the *error* in the band is compared
with the original's energy in it, so that only detail in the right place counts and added noise lowers the figure.

Both measures are taken on luminance (the shape of an ear is shading), of the sRGB values as they are stored, in
the band above half the Nyquist frequency of the radial spectrum: |f| > 1/4 cycle per pixel, corners included.
The picture, or its central half, is weighted by a 2-D Hann window before the transform, because the jump between
opposite borders would otherwise fill the band with energy that no one sees.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
HALF_NYQUIST = 0.25  # cycles per pixel


def luminance(pictures: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, H, W), BT.601 weights."""
    return torch.einsum("nchw,c->nhw", pictures.double(), pictures.new_tensor(LUMINANCE, dtype=torch.float64))


def central_half(pictures: Tensor) -> Tensor:
    """(..., H, W) -> (..., H/2, W/2): the middle half of each side."""
    height, width = pictures.shape[-2:]
    return pictures[..., height // 4 : height - height // 4, width // 4 : width - width // 4]


def detail_and_coherence(original: Tensor, recon: Tensor, center: bool = False) -> tuple[Tensor, Tensor]:
    """Surviving detail and coherence in the band above half Nyquist.

    With X and Y the windowed spectra of original and reconstruction, sums over the band:

    - detail = 1 - sum |X - Y|^2 / sum |X|^2. 1 is a perfect copy, 0 is a reconstruction without any energy in
      the band, below 0 it adds more that is wrong than it has right.
    - coherence = Re <X, Y> / (|X| |Y|). The cosine of the two, whatever their contrast.

    Args:
        original: (N, H, W) luminance in [0, 1].
        recon: (N, H, W) luminance.
        center: measure the central half of each side instead of the whole picture.

    Returns:
        detail (N,) and coherence (N,), float64. NaN where the original has no more energy in the band than the
        rounding of its pixels to 8 bits puts there: there is no detail to keep. Coherence is 0 for a
        reconstruction without energy in the band.
    """
    if center:
        original, recon = central_half(original), central_half(recon)
    height, width = original.shape[-2:]
    window = torch.outer(_hann(height), _hann(width)).to(original.device)
    fy, fx = (torch.fft.fftfreq(side, dtype=torch.float64) for side in (height, width))
    band = (torch.hypot(fy[:, None], fx[None, :]) > HALF_NYQUIST).to(original.device)
    x, y = (torch.fft.fft2(picture.double() * window)[:, band] for picture in (original, recon))
    energy_x, energy_y = (x.abs() ** 2).sum(1), (y.abs() ** 2).sum(1)
    rounding = sum(share**2 for share in LUMINANCE) / (12 * 255**2) * (window**2).sum() * band.sum()
    energy_x = energy_x.where(energy_x > rounding, torch.nan)
    detail = 1 - ((x - y).abs() ** 2).sum(1) / energy_x
    agreement = (x * y.conj()).real.sum(1)
    coherence = agreement / (energy_x * energy_y).sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    return detail, coherence


def _hann(side: int) -> Tensor:
    return torch.hann_window(side, periodic=True, dtype=torch.float64)

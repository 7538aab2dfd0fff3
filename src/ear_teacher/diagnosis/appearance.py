"""What is systematically wrong with the pictures a model gives back, and what one fixed operation would repair.

A decoder trained on the squared error of its pictures gives the conditional mean, and a conditional mean cannot be
improved by any fixed map of it (the orthogonality principle). So whatever a colour matrix, or a filter with one gain
for each frequency, does repair is a fault of the objective, the target or the normalisation, not a lack of
information. Both are fitted on one half of the pictures and judged on the other.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ear_teacher.diagnosis.subject import Numbers, pooled_psnr
from ear_teacher.metrics.detail import HALF_NYQUIST, luminance
from ear_teacher.metrics.quality import ciede2000, psnr

RINGS = 24
CHANNELS = ("red", "green", "blue")


def spectrum(original: Tensor, recon: Tensor) -> Numbers:
    """Radial power spectra, and what the best sharpening filter repairs.

    Args:
        original, recon: (N, 3, S, S) in [0, 1].

    Returns:
        `filter.repair`, dB that gains of 1 and more, fitted on one half, bring to the other; `filter.gain_high`, the
        gain wanted in the band above half Nyquist weighted by the energy that is right there (above 1: too weak,
        blurred); `originals.high`, share of the pictures' variance in that band; `detail.survives`, energy of the
        reconstruction in it over the originals'. Curve `spectrum`: power, error and wanted gain by frequency.
    """
    side = original.shape[-1]
    window = torch.hann_window(side, periodic=True, dtype=torch.float64)
    pair = [luminance(pictures) for pictures in (original, recon)]
    level = pair[0].mean()
    x, y = (torch.fft.fft2((light - level) * torch.outer(window, window)) for light in pair)
    f = torch.fft.fftfreq(side, dtype=torch.float64)
    radius = torch.hypot(f[:, None], f[None, :])
    ring = (radius / radius.max() * RINGS).long().clamp(max=RINGS - 1).flatten()

    def rings(values: Tensor) -> Tensor:
        return torch.zeros(len(values), RINGS, dtype=torch.float64).index_add_(1, ring, values.flatten(1))

    cross, own, energy = rings((x * y.conj()).real), rings(y.abs() ** 2), rings(x.abs() ** 2)
    # The error left in each ring with gain g is energy - 2 g cross + g^2 own.
    # Only what is too weak: gains below 1 take away block edges and noise, which is no sharpening.
    gain = (cross[::2].sum(0) / own[::2].sum(0).clamp(min=1e-12)).clamp(min=1)
    others = slice(1, None, 2)
    before = (energy - 2 * cross + own)[others].sum()
    after = (energy - 2 * gain * cross + gain**2 * own)[others].sum()
    high = (torch.arange(RINGS) + 0.5) / RINGS * radius.max() > HALF_NYQUIST
    totals = {name: part.sum(0) for name, part in (("x", energy), ("y", own), ("xy", cross))}
    values = {
        "filter.repair": float(10 * torch.log10(before / after.clamp(min=1e-12))),
        "filter.gain_high": float(totals["xy"][high].sum() / totals["y"][high].sum().clamp(min=1e-12)),
        "originals.high": float(totals["x"][high].sum() / totals["x"].sum().clamp(min=1e-12)),
        "detail.survives": float(totals["y"][high].sum() / totals["x"][high].sum().clamp(min=1e-12)),
    }
    curve = pd.DataFrame(
        {
            "frequency": ((torch.arange(RINGS) + 0.5) / RINGS * radius.max()).numpy(),
            "original": totals["x"].numpy(),
            "reconstruction": totals["y"].numpy(),
            "error": (totals["x"] - 2 * totals["xy"] + totals["y"]).numpy(),
            "gain_wanted": (totals["xy"] / totals["y"].clamp(min=1e-12)).numpy(),
        }
    )
    return Numbers(values, {"spectrum": curve})


def colour(original: Tensor, recon: Tensor) -> Numbers:
    """Bias and gain of each channel, and what the best colour matrix repairs.

    Returns:
        `colour.repair`, dB that an affine 3 x 3 map fitted on one half brings to the other; `colour.bias_<channel>`
        in [0, 1], reconstruction less original; `colour.gain_<channel>`, slope of the reconstruction on the original
        between pictures' pixels; `colour.ciede2000`.
    """
    x, y = (pictures.double().permute(0, 2, 3, 1).reshape(len(pictures), -1, 3) for pictures in (original, recon))
    given = torch.cat([y, torch.ones_like(y[..., :1])], 2)
    halves = given[::2].reshape(-1, 4), x[::2].reshape(-1, 3)
    gram = halves[0].T @ halves[0]
    # A trace of ridge: grey pictures have three equal channels.
    matrix = torch.linalg.solve(
        gram + 1e-6 * gram.diagonal().mean() * torch.eye(4, dtype=torch.float64), halves[0].T @ halves[1]
    )
    before, after = (((made - x[1::2]) ** 2).mean() for made in (y[1::2], given[1::2] @ matrix))
    values = {"colour.repair": float(10 * torch.log10(before.clamp(min=1e-12) / after.clamp(min=1e-12)))}
    flat = [part.reshape(-1, 3) for part in (x, y)]
    centred = [part - part.mean(0) for part in flat]
    slope = (centred[0] * centred[1]).sum(0) / (centred[0] ** 2).sum(0).clamp(min=1e-12)
    bias = flat[1].mean(0) - flat[0].mean(0)
    for i, name in enumerate(CHANNELS):
        values[f"colour.bias_{name}"], values[f"colour.gain_{name}"] = float(bias[i]), float(slope[i])
    values["colour.ciede2000"] = float(ciede2000(original, recon.clamp(0, 1)).mean())
    return Numbers(values)


def blur_preference(original: Tensor, recon: Tensor, line: Tensor) -> dict[str, float]:
    """How much better a model's pictures match a blurred original than the original itself.

    Any code of few floats prefers a blurred original a little. So a linear code that is as good as the model stands
    beside it.

    Args:
        original, recon: (N, 3, S, S) in [0, 1].
        line: (N, 3, S, S), the same through the linear code.

    Returns:
        `blur.preference` and `blur.preference_linear` in dB, and `blur.sigma` in pixels, of the model's best match.
    """
    sigmas = (0.6, 1.0, 1.5, 2.5)
    blurred = [low_pass(original, sigma) for sigma in sigmas]
    found = {}
    for name, made in (("blur.preference", recon), ("blur.preference_linear", line)):
        scores = [pooled_psnr(soft, made) for soft in blurred]
        best = int(np.argmax(scores))
        found[name] = max(scores[best] - pooled_psnr(original, made), 0.0)
        if name == "blur.preference":
            found["blur.sigma"] = sigmas[best] if found[name] > 0 else 0.0
    return found


def low_pass(pictures: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (N, 3, S, S) with mirrored borders."""
    reach = int(np.ceil(3 * sigma))
    taps = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-(taps**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    flat = pictures.flatten(0, 1)[:, None]
    flat = torch.nn.functional.pad(flat, (reach,) * 4, mode="reflect")
    flat = torch.nn.functional.conv2d(flat, kernel.view(1, 1, 1, -1))
    return torch.nn.functional.conv2d(flat, kernel.view(1, 1, -1, 1)).view_as(pictures)


def grey_against_colour(
    original: Tensor, recon: Tensor, line: Tensor, grey: NDArray[np.bool_], greyed: tuple[Tensor, Tensor] | None
) -> dict[str, float]:
    """Whether greyscale pictures fare worse than colour ones, beyond what the pictures themselves explain.

    Args:
        original, recon, line: (N, 3, S, S) pictures, through the model and through the linear code.
        grey: (N,) which are greyscale.
        greyed: colour pictures turned grey, and what the model makes of them: the same ears twice.

    Returns:
        `grey.share`; `grey.loss`, dB by which grey pictures are worse than colour ones in the model, less the same in
        the linear code (both kinds needed, four of each); `grey.cast`, root mean square chroma in [0, 1] of the
        reconstructions of grey pictures, and `grey.cast_colour`, that of the *errors* of colour pictures;
        `grey.matched_loss`, dB that a colour picture loses when it is turned grey.
    """
    values = {"grey.share": float(grey.mean())}
    chosen = torch.from_numpy(grey)
    if min(grey.sum(), (~grey).sum()) >= 4:
        lost = [
            float(psnr(original[~chosen], made[~chosen]).mean() - psnr(original[chosen], made[chosen]).mean())
            for made in (recon, line)
        ]
        values["grey.loss"] = lost[0] - lost[1]
    if grey.any():
        values["grey.cast"] = _chroma(recon[chosen])
        if (~grey).any():
            values["grey.cast_colour"] = _chroma((recon - original)[~chosen])
    if greyed is not None:
        # On luminance: what a colour picture has to say beside it must not count.
        light = [luminance(part)[:, None].float() for part in (original[~chosen], recon[~chosen], *greyed)]
        values["grey.matched_loss"] = float(psnr(light[0], light[1]).mean() - psnr(light[2], light[3]).mean())
    return values


def _chroma(pictures: Tensor) -> float:
    """Root mean square difference of (N, 3, S, S) from their own grey."""
    return float(((pictures - pictures.mean(1, keepdim=True)) ** 2).mean().sqrt())


def region_detail(
    original: Tensor, recon: Tensor, line: Tensor, regions: NDArray[np.uint8], names: tuple[str, ...]
) -> pd.DataFrame:
    """Each region's PSNR and surviving detail, through the model and through the linear code.

    The detail is `metrics.detail`'s, with the region in place of its window: the picture above half the Nyquist
    frequency, and 1 - error / energy of that within the region.

    Args:
        original, recon, line: (N, 3, S, S).
        regions: (N, S, S) label map, i = names[i - 1].
        names: of the regions.
    """
    f = torch.fft.fftfreq(original.shape[-1], dtype=torch.float64)
    band = torch.hypot(f[:, None], f[None, :]) > HALF_NYQUIST
    fine = [torch.fft.ifft2(torch.fft.fft2(luminance(p)) * band).real for p in (original, recon, line)]
    rows = []
    for label, name in enumerate(names, start=1):
        mask = torch.from_numpy(regions == label)
        row: dict[str, float | str] = {"region": name, "pixels": float(mask.double().sum() / len(mask))}
        for key, made, high in (("", recon, fine[1]), ("_linear", line, fine[2])):
            error = ((made - original) ** 2).mean(1)[mask].double().mean()
            row[f"psnr{key}"] = float(-10 * torch.log10(error.clamp(min=1e-10)))
            energy = (fine[0][mask] ** 2).sum().clamp(min=1e-12)
            row[f"detail{key}"] = float(1 - ((high - fine[0])[mask] ** 2).sum() / energy)
        rows.append(row)
    return pd.DataFrame(rows)

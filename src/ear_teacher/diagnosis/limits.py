"""What the code's size and the KL's weight allow at best: the lines a model is judged by.

All are PSNRs of the mean squared error over the held-out pictures, unclamped, decoding means: like with like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dctn, idctn
from torch import Tensor, nn

from ear_teacher.config import LossConfig
from ear_teacher.data import to_tensor
from ear_teacher.evaluation import codes_of_size
from ear_teacher.feasibility import equivalent_weight, errors_along
from ear_teacher.forecast import Point, at_kl, at_psnr, at_weight, floats_for
from ear_teacher.linear import Energies, LinearCode, energies
from ear_teacher.losses import Loss

ALONG_PICTURES, ALONG_LEVELS = 12, 9


@dataclass(frozen=True)
class Limits:
    """The forecast of one model on the held-out pictures.

    Attributes:
        code: name of the linear code of the model's size that does best.
        sized: energies along the codes of the model's size, by name.
        full: the same along the longest codes.
        plain: forecast at the weight, as if the reconstruction term were a squared error; None: weight not known.
        own: forecast at the weight under the model's own loss.
        floats: of the model's code.
        equal_floats: dB of the best linear code of that size.
    """

    code: str
    sized: Mapping[str, Energies]
    full: Mapping[str, Energies]
    plain: Point | None
    own: Point | None
    floats: int
    equal_floats: float

    def best(self, theta: float, more_floats: bool = False) -> Point:
        """The best forecast of any layout at a noise level, of this size or of the longest codes."""
        found = self.full if more_floats else self.sized
        points = [at_weight(e, 2 * max(theta, 1e-9) / e.pixels, len(e.values)) for e in found.values()]
        return max(points, key=lambda point: point.psnr_mean)

    def at_rate(self, kl: float) -> Point:
        """The best forecast at a KL, in nats."""
        return max((at_kl(e, kl, self.floats) for e in self.sized.values()), key=lambda point: point.psnr_mean)

    def needed(self, psnr: float) -> Point | None:
        """The point with the least rate that reaches a PSNR by mean decoding; None: out of reach of so many floats."""
        points = [at_psnr(e, psnr, self.floats, "mean") for e in self.sized.values()]
        return min((p for p in points if p is not None), key=lambda point: point.kl, default=None)

    def floats_needed(self, psnr: float) -> int | None:
        """The fewest floats that reach a PSNR with no limit on the rate; None: more than the longest code has."""
        counts = [floats_for(e, psnr) for e in self.full.values()]
        return min((count for count in counts if count is not None), default=None)


def limits_of(
    codes: Mapping[str, LinearCode],
    held_out: NDArray[np.uint8],
    train: NDArray[np.uint8],
    floats: int,
    loss: LossConfig | None,
    kl_weight: float | None,
    lpips_net: nn.Module | None,
) -> Limits:
    """The limits of a model.

    Args:
        codes: linear codes by name, as long as they come.
        held_out: (M, S, S, 3) uint8.
        train: (N, S, S, 3) uint8, on which the own loss is measured.
        floats: of the model's code.
        loss: its loss; None: the weight is taken for that of a squared error.
        kl_weight: the weight at the end of the run; None: not known.
        lpips_net: for the perceptual term.
    """
    rows = np.arange(len(held_out))
    full = {name: energies(code, held_out, rows) for name, code in codes.items()}
    sized_codes = codes_of_size(codes, floats)
    sized = {name: _first(full[name], code.floats) for name, code in sized_codes.items()}
    free = {name: -10 * np.log10(max(e.rest / e.pixels, 1e-10) / 4) for name, e in sized.items()}
    name = max(free, key=lambda key: free[key])
    plain = own = None
    if kl_weight is not None and kl_weight > 0:
        plain = own = at_weight(sized[name], kl_weight, floats)
        if loss is not None:
            sample = to_tensor(train[:ALONG_PICTURES])
            term = Loss(loss.model_copy(update={"kl_weight": kl_weight, "kl_free_bits": 0.0}), lpips_net)
            along = errors_along(sized_codes[name], sized[name], sample, {"error": term}, ALONG_LEVELS)
            theta, error = (along[key].to_numpy() for key in ("theta", "error"))
            if plain.theta < theta[0]:  # above the largest variance nothing is coded under any loss
                own = equivalent_weight(theta, error, sized[name], floats, kl_weight)
    return Limits(name, sized, full, plain, own, floats, float(free[name]))


def _first(whole: Energies, floats: int) -> Energies:
    """The energies along a code cut to so many floats: what it leaves out joins the rest."""
    return Energies(whole.values[:floats], whole.rest + float(whole.values[floats:].sum()), whole.pixels)


def difficulty(pictures: NDArray[np.uint8], floats: int) -> float:
    """dB of the pictures through a transform that was fitted to nothing: their lowest DCT frequencies.

    So many floats in all; two sets of pictures are as hard as one another where it gives the same.
    """
    pixels = pictures.astype(np.float32) / 255
    side = pixels.shape[1]
    frequencies = np.add.outer(np.arange(side), np.arange(side)).ravel()
    kept = np.zeros(side**2, dtype=np.float32)
    kept[np.argsort(frequencies, kind="stable")[: max(floats // 3, 1)]] = 1
    spectrum = dctn(pixels, axes=(1, 2), norm="ortho") * kept.reshape(1, side, side, 1)
    error = (idctn(spectrum, axes=(1, 2), norm="ortho") - pixels).astype(np.float64)
    return float(-10 * np.log10(max((error**2).mean(), 1e-10)))


def noisy_linear_codes(code: LinearCode, pictures: NDArray[np.uint8], theta: float, seed: int) -> tuple[Tensor, Tensor]:
    """Samples and means of the optimal linear-Gaussian code at a noise level, (N, k, g, g) each."""
    variances = code.eigenvalues[: len(code.basis)].clamp(min=1e-12).view(-1, 1, 1)
    kept = (1 - theta / variances).clamp(min=0)
    mean = kept * code.encode(2 * to_tensor(pictures) - 1)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed))
    scale = variances.sqrt()  # of equal size, as the prior has it, so that one ridge penalty suits all
    return (mean + (theta * kept).sqrt() * noise) / scale, mean / scale

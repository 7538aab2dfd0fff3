"""Quality of reconstructed pictures, one row a picture.

    table = measure_pictures(originals, reconstructions, Nets(alex, vgg))

| column | meaning | range |
|---|---|---|
| psnr | of the picture's own mean squared error, data range 1 | dB, at most 100 |
| ssim | Gaussian window 11 px, sigma 1.5, mean of the channels (Wang et al. 2004) | -1 to 1 |
| ms_ssim | five levels, widest window that fits (Wang, Simoncelli & Bovik 2003); NaN at 32 px | 0 to 1 |
| lpips_alex, lpips_vgg | learned perceptual distance (Zhang et al. 2018, arXiv 1801.03924) | 0 upwards |
| perceptual_vgg_l1 | mean over VGG16 relu1_2, 2_2, 3_3, 4_3 of the layer's mean absolute difference | 0 upwards |
| l1 | mean absolute error on [0, 1] | 0 to 1 |
| ciede2000 | mean colour difference over the pixels (Sharma, Wu & Dalal 2005) | 0 upwards, 1 is just visible |
| detail, detail_center | see `ear_teacher.metrics.detail` | up to 1 |
| coherence, coherence_center | the same | -1 to 1 |

Pictures are clamped to [0, 1]: what a screen shows is what is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from pytorch_msssim import ssim
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor, nn

from ear_teacher.metrics.detail import detail_and_coherence, luminance
from ear_teacher.perceptual import lpips_from_features, trunk_features, vgg_l1_from_features
from ear_teacher.similarity import ms_ssim_per_image, ms_ssim_window

HIGHER_IS_BETTER = frozenset(
    {"psnr", "psnr_sampled", "ssim", "ms_ssim", "detail", "detail_center", "coherence", "coherence_center"}
)
"""The quality metrics of which more is better; of the others less is."""

PSNR_CAP_MSE = 1e-10  # equal pictures count as 100 dB: infinity would make every mean infinite


@dataclass(frozen=True)
class Nets:
    """The `lpips.LPIPS` networks. Where one is None its columns are left out."""

    alex: nn.Module | None = None
    vgg: nn.Module | None = None


def measure_pictures(original: Tensor | np.ndarray, recon: Tensor | np.ndarray, nets: Nets) -> pd.DataFrame:
    """Every metric of every picture.

    Args:
        original: uint8 (N, S, S, 3), or floats (N, 3, S, S) in [0, 1].
        recon: the same pictures rebuilt, in either form; clamped.
        nets: the perceptual networks, on the device of the pictures.

    Returns:
        N rows, the columns of the module's table.

    Raises:
        ValueError: the two are of different shape.
    """
    return measure_many(original, {"recon": recon}, nets)["recon"]


def measure_many(
    original: Tensor | np.ndarray, recons: Mapping[str, Tensor | np.ndarray], nets: Nets
) -> dict[str, pd.DataFrame]:
    """`measure_pictures` for several reconstructions of the same pictures.

    The originals go through the perceptual networks, which take nearly all the time, only once.
    """
    x = to_unit(original)
    with torch.no_grad():
        wanted = {name: trunk_features(net, 2 * x - 1) for name, net in _present(nets).items()}
        return {name: _measure(x, to_unit(recon), nets, wanted) for name, recon in recons.items()}


def to_unit(pictures: Tensor | np.ndarray) -> Tensor:
    """uint8 (N, S, S, 3) or floats (N, 3, S, S) -> float32 (N, 3, S, S), clamped to [0, 1]."""
    tensor = torch.as_tensor(pictures)
    if tensor.dtype == torch.uint8:
        return tensor.permute(0, 3, 1, 2).float() / 255
    return tensor.float().clamp(0, 1)


def psnr(original: Tensor, recon: Tensor) -> Tensor:
    """(N,) dB of (N, 3, S, S) pictures in [0, 1], each of its own mean squared error."""
    squared = ((original.double() - recon.double()) ** 2).flatten(1).mean(1)
    return -10 * squared.clamp_min(PSNR_CAP_MSE).log10()


def ciede2000(original: Tensor, recon: Tensor) -> np.ndarray:
    """(N,) mean CIEDE2000 difference of (N, 3, S, S) sRGB pictures in [0, 1].

    The whole batch goes through scikit-image at once in float32, which takes a quarter of float64's time and
    agrees with it to 1e-6.
    """
    lab = [rgb2lab(picture.permute(0, 2, 3, 1).float().cpu().numpy()) for picture in (original, recon)]
    return np.asarray(deltaE_ciede2000(*lab).mean(axis=(1, 2)), dtype=np.float64)


def _present(nets: Nets) -> dict[str, nn.Module]:
    return {name: net for name, net in (("alex", nets.alex), ("vgg", nets.vgg)) if net is not None}


def _measure(x: Tensor, y: Tensor, nets: Nets, wanted: Mapping[str, tuple[Tensor, ...]]) -> pd.DataFrame:
    if x.shape != y.shape:
        raise ValueError(f"{tuple(x.shape)} originals and {tuple(y.shape)} reconstructions")
    columns: dict[str, Tensor | np.ndarray | float] = {
        "psnr": psnr(x, y),
        "ssim": ssim(x, y, data_range=1.0, size_average=False),
        "ms_ssim": float("nan") if ms_ssim_window(x.shape[-1]) is None else ms_ssim_per_image(x, y),
    }
    for name, net in _present(nets).items():
        made = trunk_features(net, 2 * y - 1)
        columns[f"lpips_{name}"] = lpips_from_features(net, wanted[name], made)
        if name == "vgg":
            columns["perceptual_vgg_l1"] = vgg_l1_from_features(wanted[name], made)
    columns["l1"] = (x - y).abs().flatten(1).mean(1)
    columns["ciede2000"] = ciede2000(x, y)
    light = luminance(x), luminance(y)
    columns["detail"], columns["coherence"] = detail_and_coherence(*light)
    columns["detail_center"], columns["coherence_center"] = detail_and_coherence(*light, center=True)
    return pd.DataFrame(
        {name: _column(values) for name, values in columns.items()}, index=pd.RangeIndex(len(x)), dtype=np.float64
    )


def _column(values: Tensor | np.ndarray | float) -> np.ndarray | float:
    return values.double().flatten().cpu().numpy() if isinstance(values, Tensor) else values

"""MS-SSIM at small picture sizes, the same for the loss and for the metrics."""

from __future__ import annotations

from pytorch_msssim import ms_ssim
from torch import Tensor


def ms_ssim_window(side: int) -> int | None:
    """The widest Gaussian window (odd, at most 11) that five MS-SSIM levels of a `side` px picture can hold.

    Returns:
        11, 9, 7 (128 px), 5, 3 (64 px); None where not even 3 fits (32 px and less).
    """
    widest = min(11, (side - 1) // 16 + 1)
    window = widest - (widest + 1) % 2
    return window if window >= 3 else None


def ms_ssim_per_image(a: Tensor, b: Tensor) -> Tensor:
    """MS-SSIM (Wang, Simoncelli & Bovik 2003), five levels, Gaussian of sigma 1.5 in the widest window that fits.

    Args:
        a: (N, 3, S, S) in [0, 1].
        b: the same, of as many pictures.

    Returns:
        (N,) in [0, 1], mean of the channels. A picture that is anticorrelated at one level has 0, and no gradient.

    Raises:
        ValueError: the pictures are too small (`ms_ssim_window`).
    """
    window = ms_ssim_window(a.shape[-1])
    if window is None:
        raise ValueError(f"five levels of MS-SSIM do not fit a picture of {a.shape[-1]} px")
    values: Tensor = ms_ssim(a, b, data_range=1.0, size_average=False, win_size=window)
    return values

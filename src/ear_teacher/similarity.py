"""MS-SSIM at small picture sizes, for the loss and for the metrics: its window, and a form that can be trained on."""

from __future__ import annotations

from pytorch_msssim.ssim import _fspecial_gauss_1d, _ssim
from torch import Tensor
from torch.nn.functional import avg_pool2d

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli & Bovik 2003
MS_SSIM_FLOOR = 1e-4


def ms_ssim_window(side: int) -> int | None:
    """The widest Gaussian window (odd, at most 11) that five MS-SSIM levels of a `side` px picture can hold.

    Returns:
        11, 9, 7 (128 px), 5, 3 (64 px); None where not even 3 fits (32 px and less).
    """
    widest = min(11, (side - 1) // 16 + 1)
    window = widest - (widest + 1) % 2
    return window if window >= 3 else None


def ms_ssim_for_training(recon: Tensor, target: Tensor) -> Tensor:
    """MS-SSIM (Wang, Simoncelli & Bovik 2003) with a finite gradient everywhere.

    Equal to `pytorch_msssim.ms_ssim` where every level's similarity is above 1e-4. The library's own raises
    relu(similarity) to a power below 1, whose gradient at 0 is 0 * inf = NaN: one anticorrelated picture, as
    untrained decoders draw them, would end the run.

    Args:
        recon: (N, 3, S, S) in [0, 1].
        target: (N, 3, S, S) in [0, 1], S above 32.

    Returns:
        Scalar, mean over images and channels.

    Raises:
        ValueError: the pictures are too small (`ms_ssim_window`).
    """
    size = ms_ssim_window(target.shape[-1])
    if size is None:
        raise ValueError(f"MS-SSIM of pictures of {target.shape[-1]} px")
    window = _fspecial_gauss_1d(size, 1.5).repeat(recon.shape[1], 1, 1, 1)
    result = recon.new_ones(())
    for level, weight in enumerate(MS_SSIM_WEIGHTS):
        full, contrast = _ssim(recon, target, data_range=1.0, win=window)
        last = level == len(MS_SSIM_WEIGHTS) - 1
        result = result * (full if last else contrast).clamp_min(MS_SSIM_FLOOR) ** weight
        if not last:
            padding = [side % 2 for side in recon.shape[2:]]
            recon = avg_pool2d(recon, kernel_size=2, padding=padding)
            target = avg_pool2d(target, kernel_size=2, padding=padding)
    return result.mean()

"""Random changes of a training batch: geometry for input and target alike, degradation for the input.

All randomness comes from the generator that is passed in, so a batch is a function of its step.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ear_teacher.config import TrainConfig

CHANCE = 0.3
"""Probability of each degradation, independently for each picture."""


def augment(images: Tensor, config: TrainConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw the input and the target of a training batch.

    Args:
        images: (N, 3, S, S) in [0, 1].
        config: the train section (`flip`, `affine`, `augment`).
        generator: on the CPU.

    Returns:
        input and target, (N, 3, S, S) in [0, 1] each; the same tensor where nothing is degraded.
    """
    if config.flip:
        mirrored = flips(len(images), config, generator)
        images = torch.where(mirrored.view(-1, 1, 1, 1).to(images.device), images.flip(-1), images)
    if config.affine:
        images = move(images, config.affine, generator)
    if config.augment == "none":
        return images, images
    degraded = degrade(images, generator)
    return degraded, images if config.augment == "clean_target" else degraded


def flips(count: int, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """(count,) which pictures `augment` mirrors: the first thing it draws."""
    return torch.rand(count, generator=generator) < 0.5 if config.flip else torch.zeros(count, dtype=torch.bool)


def move(images: Tensor, extent: float, generator: torch.Generator) -> Tensor:
    """Shift, scale and turn each picture about its centre, each by an amount of its own.

    Args:
        images: (N, 3, S, S) in [0, 1].
        extent: the largest shift as a share of the side, the largest change of the scale's logarithm, and the largest
            turn in radians; each is uniform between minus and plus that.
        generator: on the CPU.

    Returns:
        (N, 3, S, S) in [0, 1]: bicubic, so that little sharpness is lost; mirrored at the border.
    """
    across, down, log_scale, turn = (torch.rand(4, len(images), generator=generator) * 2 - 1) * extent
    cos, sin = torch.cos(turn) / torch.exp(log_scale), torch.sin(turn) / torch.exp(log_scale)
    # From a place in the result to its place in the picture; the side is 2 long.
    rows = torch.stack([torch.stack([cos, -sin, 2 * across], 1), torch.stack([sin, cos, 2 * down], 1)], 1)
    grid = F.affine_grid(rows.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bicubic", padding_mode="reflection", align_corners=False).clamp(0, 1)


def degrade(images: Tensor, generator: torch.Generator) -> Tensor:
    """Blur (sigma 0.5 to 1.5 px), add noise (sigma 0.01 to 0.05) or cover a rectangle, each with `CHANCE`.

    Args:
        images: (N, 3, S, S) in [0, 1]; not changed.
        generator: on the CPU.

    Returns:
        (N, 3, S, S) in [0, 1].
    """
    count, side = len(images), images.shape[-1]

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    def chosen() -> Tensor:
        return (torch.rand(count, generator=generator) < CHANCE).view(-1, 1, 1, 1).to(images.device)

    images = torch.where(chosen(), _blur(images, uniform(0.5, 1.5)), images)
    noise = torch.randn(images.shape, generator=generator) * uniform(0.01, 0.05).view(-1, 1, 1, 1)
    images = torch.where(chosen(), images + noise.to(images.device), images)
    height, width = (uniform(0.1, 0.3) * side for _ in range(2))
    top, left = (torch.rand(count, generator=generator) * (side - extent) for extent in (height, width))
    line = torch.arange(side)
    rows = (line >= top[:, None]) & (line < (top + height)[:, None])
    columns = (line >= left[:, None]) & (line < (left + width)[:, None])
    covered = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)
    colour = torch.rand(count, 3, 1, 1, generator=generator).to(images.device)
    return torch.where(chosen() & covered, colour, images).clamp(0, 1)


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with a sigma of its own for each picture: one grouped separable convolution."""
    count, channels = images.shape[:2]
    taps = torch.arange(-4, 5)
    kernel = torch.exp(-(taps**2) / (2 * sigma[:, None] ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0).to(images)
    flat = F.pad(images.reshape(1, count * channels, *images.shape[2:]), (4, 4, 4, 4), mode="reflect")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=count * channels)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=count * channels)
    return flat.reshape(images.shape)

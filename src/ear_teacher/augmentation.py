"""Random changes of a training batch: geometry for input and target alike, degradation for the input.

All randomness comes from the draws that are passed in, so a batch is a function of its step.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ear_teacher.config import TrainConfig

CHANCE = 0.3
"""Probability of each degradation, independently for each picture."""


class Draws:
    """Random numbers for the pictures of a batch, of which this process may hold a part.

    The numbers of the whole batch are drawn and those of the other processes dropped, so a picture meets the same
    ones however many processes there are.

    Args:
        generator: on the CPU.
        part: which of `parts` equal parts of the batch this process holds.
        parts: of a batch.
    """

    def __init__(self, generator: torch.Generator, part: int = 0, parts: int = 1) -> None:
        self.generator, self.part, self.parts = generator, part, parts

    def uniform(self, count: int, *shape: int) -> Tensor:
        """(count, *shape) between 0 and 1, for the `count` pictures of this part."""
        return self._own(torch.rand(count * self.parts, *shape, generator=self.generator))

    def normal(self, count: int, *shape: int) -> Tensor:
        """(count, *shape) of mean 0 and deviation 1."""
        return self._own(torch.randn(count * self.parts, *shape, generator=self.generator))

    def _own(self, drawn: Tensor) -> Tensor:
        return drawn.view(self.parts, -1, *drawn.shape[1:])[self.part]


def augment(images: Tensor, config: TrainConfig, draws: Draws) -> tuple[Tensor, Tensor]:
    """Draw the input and the target of a training batch.

    Args:
        images: (N, 3, S, S) in [0, 1].
        config: the train section (`flip`, `affine`, `augment`).
        draws: the batch's.

    Returns:
        input and target, (N, 3, S, S) in [0, 1] each; the same tensor where nothing is degraded.
    """
    if config.flip:
        mirrored = flips(len(images), config, draws)
        images = torch.where(mirrored.view(-1, 1, 1, 1).to(images.device), images.flip(-1), images)
    if config.affine:
        images = move(images, config.affine, draws)
    if config.augment == "none":
        return images, images
    degraded = degrade(images, draws)
    return degraded, images if config.augment == "clean_target" else degraded


def flips(count: int, config: TrainConfig, draws: Draws) -> Tensor:
    """(count,) which pictures `augment` mirrors: the first thing it draws."""
    return draws.uniform(count) < 0.5 if config.flip else torch.zeros(count, dtype=torch.bool)


def move(images: Tensor, extent: float, draws: Draws) -> Tensor:
    """Shift, scale and turn each picture about its centre, each by an amount of its own.

    Args:
        images: (N, 3, S, S) in [0, 1].
        extent: the largest shift as a share of the side, the largest change of the scale's logarithm, and the largest
            turn in radians; each is uniform between minus and plus that.
        draws: the batch's.

    Returns:
        (N, 3, S, S) in [0, 1]: bicubic, so that little sharpness is lost; mirrored at the border.
    """
    return moved(images, motion(len(images), extent, draws))


def motion(count: int, extent: float, draws: Draws) -> Tensor:
    """(count, 2, 3) what `move` does: from a place in the result to its place in the picture; the side is 2 long."""
    across, down, log_scale, turn = ((draws.uniform(count) * 2 - 1) * extent for _ in range(4))
    cos, sin = torch.cos(turn) / torch.exp(log_scale), torch.sin(turn) / torch.exp(log_scale)
    return torch.stack([torch.stack([cos, -sin, 2 * across], 1), torch.stack([sin, cos, 2 * down], 1)], 1)


def moved(images: Tensor, motions: Tensor) -> Tensor:
    """(N, 3, S, S) in [0, 1] and (N, 2, 3) of `motion` -> what `move` gives."""
    grid = F.affine_grid(motions.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bicubic", padding_mode="reflection", align_corners=False).clamp(0, 1)


def degrade(images: Tensor, draws: Draws) -> Tensor:
    """Blur (sigma 0.5 to 1.5 px), add noise (sigma 0.01 to 0.05) or cover a rectangle, each with `CHANCE`.

    Args:
        images: (N, 3, S, S) in [0, 1]; not changed.
        draws: the batch's.

    Returns:
        (N, 3, S, S) in [0, 1].
    """
    count, side = len(images), images.shape[-1]

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * draws.uniform(count)

    def chosen() -> Tensor:
        return (draws.uniform(count) < CHANCE).view(-1, 1, 1, 1).to(images.device)

    images = torch.where(chosen(), _blur(images, uniform(0.5, 1.5)), images)
    noise = draws.normal(*images.shape) * uniform(0.01, 0.05).view(-1, 1, 1, 1)
    images = torch.where(chosen(), images + noise.to(images.device), images)
    height, width = (uniform(0.1, 0.3) * side for _ in range(2))
    top, left = (draws.uniform(count) * (side - extent) for extent in (height, width))
    line = torch.arange(side)
    rows = (line >= top[:, None]) & (line < (top + height)[:, None])
    columns = (line >= left[:, None]) & (line < (left + width)[:, None])
    covered = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)
    colour = draws.uniform(count, 3, 1, 1).to(images.device)
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

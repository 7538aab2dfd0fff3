"""Decoders: codes back to pictures in [-1, 1].

`TransposedDecoder` is the one of v0 and v1. `ResidualDecoder` adds a conv branch to an inverse linear code.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ear_teacher.models.blocks import ResBlock, norm_act, zero_init


class TransposedDecoder(nn.Module):
    """Transposed convolutions, each doubling the side and halving the channels, with residual blocks; tanh."""

    def __init__(self, image_size: int, channels: int, grid: int, width: int) -> None:
        super().__init__()
        if grid == 1:
            start = image_size // 32
            self.stem: nn.Module = nn.Sequential(
                nn.Flatten(), nn.Linear(channels, width * start**2), nn.Unflatten(1, (width, start, start))
            )
        else:
            start = grid
            self.stem = nn.Conv2d(channels, width, 3, padding=1)
        layers: list[nn.Module] = []
        now = width
        for _ in range(round(math.log2(image_size / start))):
            following = max(now // 2, 8)
            layers += [norm_act(now), nn.ConvTranspose2d(now, following, 4, stride=2, padding=1), ResBlock(following)]
            now = following
        self.body = nn.Sequential(*layers, norm_act(now), nn.Conv2d(now, 3, 3, padding=1), nn.Tanh())

    def forward(self, codes: Tensor) -> Tensor:
        """(N, k, g, g) -> (N, 3, S, S) in [-1, 1]."""
        return self.body(self.stem(codes))


class ResidualDecoder(nn.Module):
    """The inverse linear code plus a conv branch that sees both the code and the linear picture.

    Patches of the linear picture reach `overlap` pixels into their neighbours. The branch's last layer starts at zero.
    It works at a quarter of the resolution and ends in sub-pixel convolution (Shi et al. 2016, arXiv 1609.05158).
    """

    def __init__(self, image_size: int, channels: int, grid: int, width: int, overlap: int = 0) -> None:
        super().__init__()
        patch = image_size // grid
        self.linear = nn.ConvTranspose2d(channels, 3, patch + 2 * overlap, patch, overlap, bias=False)
        self.mean_patch = nn.Parameter(torch.zeros(3, patch, patch))
        self.grid = grid
        doublings = int(math.log2(patch / 4))
        self.start = image_size // 4 // 2**doublings
        widest = min(2**doublings, 4) * width
        layers: list[nn.Module] = [nn.Conv2d(channels, widest, 3, padding=1), ResBlock(widest)]
        now = widest
        for _ in range(doublings):
            following = max(width, now // 2)
            layers += [nn.Conv2d(now, 4 * following, 3, padding=1), nn.PixelShuffle(2), ResBlock(following)]
            now = following
        self.branch = nn.Sequential(*layers)
        self.mix = nn.Sequential(
            nn.Conv2d(now + 48, width, 3, padding=1), ResBlock(width), ResBlock(width), norm_act(width)
        )
        self.out = zero_init(nn.Conv2d(width, 48, 3, padding=1))

    def forward(self, codes: Tensor) -> Tensor:
        """(N, k, g, g) -> (N, 3, S, S), about [-1, 1], not clamped."""
        with torch.autocast(codes.device.type, enabled=False):  # as exact as the encoder's linear map
            picture = self.linear(codes) + self.mean_patch.repeat(1, self.grid, self.grid)
        start = codes if self.start == self.grid else F.interpolate(codes, self.start, mode="nearest")
        features = torch.cat([self.branch(start), F.pixel_unshuffle(picture, 4)], 1)
        return picture + F.pixel_shuffle(self.out(self.mix(features)), 4)

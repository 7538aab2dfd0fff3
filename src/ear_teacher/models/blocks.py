"""The few building blocks that encoders and decoders share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def resized(maps: Tensor, side: int) -> Tensor:
    """(N, c, h, h) -> (N, c, side, side): averaged where there are too many places, interpolated where too few."""
    if maps.shape[-1] > side:
        return F.adaptive_avg_pool2d(maps, side)
    if maps.shape[-1] < side:
        return F.interpolate(maps, side, mode="bilinear", align_corners=False)
    return maps


def zero_init(layer: nn.Conv2d) -> nn.Conv2d:
    """Make a layer start as the zero map, so that the branch it ends begins without effect."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def norm_act(channels: int) -> nn.Sequential:
    """Group normalisation (8 groups where they divide) and SiLU."""
    groups = 8 if channels % 8 == 0 else 1
    return nn.Sequential(nn.GroupNorm(groups, channels), nn.SiLU())


class ResBlock(nn.Module):
    """Pre-activation residual block, (N, c, H, W) -> the same shape (He et al. 2016, arXiv 1603.05027)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            norm_act(channels),
            nn.Conv2d(channels, channels, 3, padding=1),
            norm_act(channels),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class SpatialAttention(nn.Module):
    """Gate each place by a 7 x 7 conv over the channels' maximum and mean (CBAM, Woo et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        summary = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.conv(summary))

"""Encoders: pictures to the mean and log-variance of the posterior, stacked as 2k channels.

`BackboneEncoder` is the one of v0 and v1. `ResidualEncoder` adds a conv branch to a linear code; with a backbone
beside the branch it is the hybrid of semantic features and a path for detail. Both take the backbone's part of the
work ready made (`known`, from `backbone_maps`): what a frozen backbone says of a picture need not be computed twice.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ear_teacher.models.backbone import Backbone
from ear_teacher.models.blocks import ResBlock, SpatialAttention, norm_act, zero_init

BACKBONE_WIDTH = 256


class BackboneEncoder(nn.Module):
    """Features of a pretrained backbone, squeezed to a vector or a grid.

    For a vector: 3 x 3 conv, residual block, spatial attention, average-pooled to 4 x 4; strided conv, residual
    block, attention, 2 x 2; linear. For a g x g grid the pooling goes to g x g and a 1 x 1 conv ends it.
    """

    def __init__(self, backbone: Backbone, channels: int, grid: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.grid = grid
        self.depth = width = BACKBONE_WIDTH
        first = nn.Conv2d(backbone.channels[-1], width, 3, padding=1)
        self.head = nn.Sequential(first, ResBlock(width), SpatialAttention())
        if grid == 1:
            self.squeeze = nn.Sequential(
                nn.AdaptiveAvgPool2d(4),
                nn.Conv2d(width, width, 3, stride=2, padding=1),
                ResBlock(width),
                SpatialAttention(),
                nn.Flatten(),
                nn.Linear(4 * width, 2 * channels),
                nn.Unflatten(1, (2 * channels, 1, 1)),
            )
        else:
            self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(grid), nn.Conv2d(width, 2 * channels, 1))

    def forward(self, images: Tensor, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) in [0, 1] -> mean and logvar, (N, k, g, g) each."""
        return self.code(images, self.deepest(images, known))

    def backbone_maps(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) in [0, 1] -> the backbone's deepest map, (N, c, h, w)."""
        return self.backbone(images)[-1]

    def deepest(self, images: Tensor, known: Tensor | None = None) -> Tensor:
        """(N, 3, S, S) in [0, 1] -> the deepest map before the code, (N, 256, h, w)."""
        return self.head(self.backbone_maps(images) if known is None else known)

    def code(self, images: Tensor, deepest: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logvar, (N, k, g, g) each, from the deepest map."""
        mean, logvar = self.squeeze(deepest).chunk(2, 1)
        return mean, logvar


class ResidualEncoder(nn.Module):
    """A linear code of patches, which reach `overlap` pixels into their neighbours, plus a conv branch whose last layer
    starts at zero.

    Without a warm start the linear part begins at random like any other layer. The maps of a backbone, where there
    is one, are pooled to the grid and join the branch before that last layer.
    """

    def __init__(
        self, image_size: int, channels: int, grid: int, width: int, backbone: Backbone | None, overlap: int = 0
    ) -> None:
        super().__init__()
        patch = image_size // grid
        self.linear = nn.Conv2d(3, channels, patch + 2 * overlap, stride=patch, padding=overlap, bias=False)
        self.mean_patch = nn.Parameter(torch.zeros(3, patch, patch))
        halvings = int(math.log2(patch / 4))
        layers: list[nn.Module] = [nn.PixelUnshuffle(4), nn.Conv2d(48, width, 3, padding=1), ResBlock(width)]
        now = width
        for _ in range(halvings):
            following = min(2 * now, 4 * width)
            layers += [nn.Conv2d(now, following, 3, stride=2, padding=1), ResBlock(following)]
            now = following
        self.branch = nn.Sequential(*layers, norm_act(now))
        self.backbone = backbone
        if backbone is not None:
            joined = now + sum(backbone.channels)
            self.join = nn.Sequential(nn.Conv2d(joined, now, 1), ResBlock(now), norm_act(now))
        self.out = zero_init(nn.Conv2d(now, 2 * channels, 1))
        self.depth = now
        self.grid = grid

    def forward(self, images: Tensor, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) in [0, 1] -> mean and logvar, (N, k, g, g) each."""
        return self.code(images, self.deepest(images, known))

    def backbone_maps(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) in [0, 1] -> the backbone's maps pooled to the grid, (N, c, g, g)."""
        assert self.backbone is not None
        return torch.cat([F.adaptive_avg_pool2d(layer, self.grid) for layer in self.backbone(images)], 1)

    def deepest(self, images: Tensor, known: Tensor | None = None) -> Tensor:
        """(N, 3, S, S) in [0, 1] -> the deepest map before the code, (N, c, g, g)."""
        features = F.adaptive_avg_pool2d(self.branch(images * 2 - 1), self.grid)
        if self.backbone is not None:
            features = self.join(torch.cat([features, self.backbone_maps(images) if known is None else known], 1))
        return features

    def code(self, images: Tensor, deepest: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logvar, (N, k, g, g) each, from the pictures and the deepest map."""
        mean, logvar = self.out(deepest).chunk(2, 1)
        with torch.autocast(images.device.type, enabled=False):  # coordinates are finer than 8 bits of mantissa
            linear = self.linear(images * 2 - 1 - self.mean_patch.repeat(1, self.grid, self.grid))
        return linear + mean, logvar

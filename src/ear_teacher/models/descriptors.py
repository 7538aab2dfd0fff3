"""A map that says which part of the ear a place shows, made of a backbone's maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ear_teacher.models.blocks import ResBlock, resized

STRIDE = 8
"""Pixels of the picture between two places."""

_WIDTH = 96


class Descriptors(nn.Module):
    """All maps of a backbone at one resolution, a 1 x 1 conv, two residual blocks, a 1 x 1 conv.

    They learn by descriptor vector exchange (`training.teach.exchange_term`); the code does not depend on them.

    Args:
        channels: of each map of the backbone.
        floats: of a descriptor.
    """

    def __init__(self, channels: Sequence[int], floats: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(sum(channels), _WIDTH, 1), ResBlock(_WIDTH), ResBlock(_WIDTH), nn.Conv2d(_WIDTH, floats, 1)
        )

    def forward(self, maps: Sequence[Tensor], side: int) -> Tensor:
        """Maps (N, c, h, w) of any sizes -> (N, floats, side, side); their lengths mean nothing."""
        found: Tensor = self.body(torch.cat([resized(_even(layer), side) for layer in maps], 1))
        return found


def _even(layer: Tensor) -> Tensor:
    """With a root mean square of 1 in each picture, so that no map drowns the others."""
    return layer / layer.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-6)

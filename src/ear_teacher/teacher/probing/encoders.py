"""Encoders that are compared: trained models, a bare backbone, linear codes and histograms of gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from skimage.feature import hog
from torch import Tensor

from ear_teacher.data import to_tensor
from ear_teacher.linear import LinearCode
from ear_teacher.models import EarVAE
from ear_teacher.models.backbone import Backbone
from ear_teacher.models.blocks import resized
from ear_teacher.teacher.pyramid import encode, spatial

POOLED = 8
"""Side of the grid that maps are pooled to where a vector is wanted."""

STACKED = 16
"""Side of the grid that maps share for heads on maps."""

_BATCH = 32
_CELL = 8


@dataclass(frozen=True)
class Extracted:
    """Features of N pictures.

    Attributes:
        code: (N, D) the encoder's vector.
        pooled: (N, M) all its maps at 8 x 8, flattened; in each picture each map has a root mean square of 1.
        stack: (N, C, 16, 16) the same maps at 16 x 16 as channels; float16, for there are many.
    """

    code: Tensor
    pooled: Tensor
    stack: Tensor


Encoder = Callable[[Tensor], tuple[Tensor, list[Tensor]]]
"""(n, 3, S, S) in [0, 1] -> a vector (n, D) and maps (n, C, h, w), any number and size."""


def model_encoder(model: EarVAE) -> Encoder:
    """The posterior mean; the encoder's maps, those of its backbone, and the mean."""

    def read(images: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = encode(model, images)
        maps = [values for values in spatial(features).values() if values.shape[-1] > 1]
        return features.mean.flatten(1), maps

    return read


def backbone_encoder(backbone: Backbone) -> Encoder:
    """The average of the deepest map; all maps of the backbone."""

    def read(images: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = backbone(images)
        return maps[-1].mean((2, 3)), maps

    return read


def linear_encoder(code: LinearCode) -> Encoder:
    """The coordinates of a linear code; as maps these coordinates, or the pixels in cells of 4 x 4 where the code is of
    whole pictures."""

    def read(images: Tensor) -> tuple[Tensor, list[Tensor]]:
        signal = images * 2 - 1
        found = code.encode(signal)
        return found.flatten(1), [found if code.grid > 1 else F.pixel_unshuffle(signal, 4)]

    return read


def hog_encoder() -> Encoder:
    """Histograms of oriented gradients (Dalal & Triggs 2005): 9 orientations, cells of 8 px, blocks of 2 x 2 cells."""

    def read(images: Tensor) -> tuple[Tensor, list[Tensor]]:
        blocks = [
            hog(picture, 9, (_CELL, _CELL), (2, 2), channel_axis=-1, feature_vector=False)
            for picture in images.permute(0, 2, 3, 1).numpy()
        ]
        found = torch.from_numpy(np.stack(blocks)).float()
        maps = found.flatten(3).permute(0, 3, 1, 2)
        # A block lies between cells; its map is padded to the picture's own grid.
        return found.flatten(1), [F.pad(maps, (0, 1, 0, 1), mode="replicate")]

    return read


@torch.no_grad()
def extract(
    encoder: Encoder,
    images: np.ndarray,
    rows: Iterable[int],
    mirrored: bool = False,
    stack: bool = True,
) -> Extracted:
    """Features of pictures.

    Args:
        encoder: what to ask.
        images: uint8 (N, S, S, 3), may be memory-mapped.
        rows: which.
        mirrored: of the left-right mirrored pictures.
        stack: whether `Extracted.stack` is wanted; else it has no channels.
    """
    rows = np.asarray(list(rows))
    codes, pooled, stacks = [], [], []
    for start in range(0, len(rows), _BATCH):
        batch = to_tensor(images[rows[start : start + _BATCH]])
        code, maps = encoder(batch.flip(-1) if mirrored else batch)
        codes.append(code.float())
        # So that no map drowns the others.
        maps = [values.float() / values.float().pow(2).mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-6)
                for values in maps]  # fmt: skip
        pooled.append(torch.cat([resized(values, POOLED).flatten(1) for values in maps], 1))
        if stack:
            stacks.append(torch.cat([resized(values, STACKED) for values in maps], 1).half())
    return Extracted(
        torch.cat(codes), torch.cat(pooled), torch.cat(stacks) if stack else torch.empty(len(rows), 0, STACKED, STACKED)
    )

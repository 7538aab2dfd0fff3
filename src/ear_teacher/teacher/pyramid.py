"""What an encoder says about pictures, read off inside it; gradients flow, so heads can train it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ear_teacher.models import EarVAE
from ear_teacher.models.blocks import ResBlock
from ear_teacher.models.encoders import BackboneEncoder, ResidualEncoder


@dataclass(frozen=True)
class Features:
    """What the encoder says about N pictures.

    Attributes:
        mean: (N, k, g, g) posterior means, the code; float32 whatever the model computes in.
        logvar: (N, k, g, g) their log-variances; float32.
        maps: spatial features, finest first: the encoder's own, `stride4` -> (N, C, S/4, S/4) and so on, then those it
            takes from a pretrained backbone, where there is one: `backbone0_stride16` and so on, then the
            descriptors of places: `descriptors_stride8`.
        tokens: (N, T, C) the backbone's deepest map, row by row; None without one.
    """

    mean: Tensor
    logvar: Tensor
    maps: dict[str, Tensor]
    tokens: Tensor | None


def encode(model: EarVAE, images: Tensor) -> Features:
    """Features of (N, 3, S, S) pictures in [0, 1] on the model's device, of the size that the model takes."""
    seen: list[tuple[nn.Module, Any]] = []
    encoder = model.encoder
    backbone = encoder.backbone
    hooks = [
        layer.register_forward_hook(lambda module, _, out: seen.append((module, out)))
        for layer in [*_pyramid(encoder), *([backbone] if backbone is not None else [])]
    ]
    try:
        posterior = model.encode(images)
    finally:
        for hook in hooks:
            hook.remove()
    maps = {_stride(images, out): out for layer, out in seen if layer is not backbone}
    pretrained: list[Tensor] = next((out for layer, out in seen if layer is backbone), [])
    maps |= {f"backbone{i}_{_stride(images, out)}": out for i, out in enumerate(pretrained)}
    if model.describer is not None:
        described = model.describe(pretrained)
        maps[f"descriptors_{_stride(images, described)}"] = described
    tokens = pretrained[-1].flatten(2).transpose(1, 2) if pretrained else None
    return Features(posterior.mean, posterior.logvar, maps, tokens)


def spatial(features: Features) -> dict[str, Tensor]:
    """What heads stand on: the maps, and the code as the map `mean`."""
    return features.maps | {"mean": features.mean}


def maps_of(model: EarVAE, images: Tensor) -> dict[str, Tensor]:
    """`spatial` of the features of `encode`."""
    return spatial(encode(model, images))


@torch.no_grad()
def channels_of(model: EarVAE) -> Mapping[str, int]:
    """Channels of each map of `spatial`, by name."""
    device = next(model.parameters()).device
    picture = torch.zeros(1, 3, model.image_size, model.image_size, device=device, dtype=next(model.parameters()).dtype)
    return {name: values.shape[1] for name, values in spatial(encode(model, picture)).items()}


def _pyramid(encoder: nn.Module) -> list[nn.Module]:
    """The layers whose outputs are the encoder's own spatial features, finest first."""
    if isinstance(encoder, ResidualEncoder):
        blocks: list[nn.Module] = [layer for layer in encoder.branch if isinstance(layer, ResBlock)]
        # Where the backbone joins the branch, what comes of both is the deepest map.
        return blocks if encoder.backbone is None else [*blocks[:-1], encoder.join]
    assert isinstance(encoder, BackboneEncoder)
    return [encoder.head]


def _stride(images: Tensor, out: Tensor) -> str:
    return f"stride{images.shape[-1] // out.shape[-1]}"

"""Random changes of labelled pictures: geometry that moves the labels along, and looks that leave them where they are.

All randomness comes from the generator that is passed in. A mirrored left ear is a right ear whose points keep their
numbers: the synthetic ears are made that way.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ear_teacher.augmentation import Draws, degrade

TURN, STRETCH, ZOOM, MOVE = 25.0, 0.18, (0.7, 1.15), 0.07
"""Range of each random change: degrees; logarithm of the aspect; scale of the picture; share of the side."""


def move(images: Tensor, points: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror half of the pictures; turn, stretch, scale and shift all of them, and their points alike.

    Args:
        images: (N, 3, S, S).
        points: (N, K, 2) x, y in [0, 1].
        generator: on the CPU.

    Returns:
        The same of both. What comes into the frame from outside mirrors what lies inside.
    """
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    angle = uniform(-TURN, TURN) * math.pi / 180
    aspect = uniform(-STRETCH, STRETCH).exp()
    scale = uniform(math.log(ZOOM[0]), math.log(ZOOM[1])).exp()
    side = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    shift = torch.stack([uniform(-MOVE, MOVE), uniform(-MOVE, MOVE)], 1) * 2
    cosine, sine = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    # Old to new, in [-1, 1]: x' = forward x + shift. The sampling grid needs the way back.
    forward = turn @ torch.diag_embed(torch.stack([side * scale * aspect, scale / aspect], 1))
    back = torch.linalg.inv(forward)
    grid = F.affine_grid(
        torch.cat([back, -(back @ shift[:, :, None])], 2).to(images), list(images.shape), align_corners=False
    )
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    places = torch.einsum("nij,nkj->nki", forward.to(points), points * 2 - 1) + shift[:, None].to(points)
    return moved, (places + 1) / 2


def relook(images: Tensor, generator: torch.Generator) -> Tensor:
    """Other light, colours, sharpness and things in the way, for (N, 3, S, S) in [0, 1]: what cameras and hair do."""
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(count, generator=generator)).view(-1, 1, 1, 1).to(images)

    def normal(deviation: float) -> Tensor:
        return (deviation * torch.randn(count, 3, generator=generator)).exp().view(-1, 3, 1, 1).to(images)

    grey = images.mean(1, keepdim=True)
    changed = grey + (images - grey) * uniform(0, 1.8)
    # A tone curve, a cast, and light that falls off to one side.
    changed = changed.clamp(1e-3, 1) ** uniform(-0.7, 0.7).exp() * normal(0.2)
    line = torch.linspace(-1, 1, images.shape[-1], device=images.device)
    slope = uniform(-0.4, 0.4) * line[None, None, :, None] + uniform(-0.4, 0.4) * line[None, None, None, :]
    level = changed.mean((1, 2, 3), keepdim=True)
    changed = ((changed - level) * uniform(0.5, 1.6) + level * uniform(0.6, 1.5)) * slope.exp()
    changed = _covered(changed.clamp(0, 1), generator)
    chosen = torch.rand(count, generator=generator) < 0.4
    for i in torch.nonzero(chosen)[:, 0].tolist():
        # Small photos enlarged: few of the pixels were ever measured.
        size = int(torch.randint(28, 90, (1,), generator=generator))
        small = F.interpolate(changed[i : i + 1], size, mode="bilinear", align_corners=False, antialias=True)
        changed[i] = F.interpolate(small, images.shape[-1], mode="bicubic", align_corners=False)[0].clamp(0, 1)
    return degrade(changed, Draws(generator))


def _covered(images: Tensor, generator: torch.Generator) -> Tensor:
    """A stripe of another picture of the batch over a third of the pictures, as hair, straps or fingers lie there."""
    count, side = len(images), images.shape[-1]
    line = torch.linspace(-1, 1, side)
    angle = torch.rand(count, 1, 1, generator=generator) * math.pi
    across = line[None, None, :] * angle.cos() + line[None, :, None] * angle.sin()
    middle = torch.rand(count, 1, 1, generator=generator) * 1.8 - 0.9
    half = 0.03 + 0.15 * torch.rand(count, 1, 1, generator=generator)
    chosen = torch.rand(count, 1, 1, generator=generator) < 0.35
    over = ((across - middle).abs() < half) & chosen
    return torch.where(over[:, None].to(images.device), images.roll(1, 0), images)

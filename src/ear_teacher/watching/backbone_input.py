"""Are the statistics a backbone was pretrained with applied inside the model?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ear_teacher.config import UserError
from ear_teacher.models.backbone import Backbone

TOLERANCE = 1e-3


@torch.no_grad()
def applied_statistics(backbone: Backbone) -> tuple[Tensor, Tensor]:
    """The mean and deviation by which pictures in [0, 1] are normalised on their way into the network.

    Read off what its first convolution receives for a black and for a white picture, not off what the code says.

    Returns:
        (3,) mean and (3,) deviation.
    """
    first = next(layer for layer in backbone.network.modules() if isinstance(layer, nn.Conv2d))
    seen: list[Tensor] = []
    hook = first.register_forward_pre_hook(lambda layer, given: seen.append(given[0].mean((0, 2, 3))))
    device = next(backbone.parameters()).device
    try:
        for level in (0.0, 1.0):
            backbone(torch.full((1, 3, backbone.input_size, backbone.input_size), level, device=device))
    finally:
        hook.remove()
    black, white = (received.float().cpu() for received in seen)
    deviation = 1 / (white - black)
    return -black * deviation, deviation


def check_statistics(backbone: Backbone) -> str:
    """Hold them against timm's record of the pretraining.

    Returns:
        A sentence with the figures.

    Raises:
        UserError: they differ.
    """
    network: Any = backbone.network
    mean, deviation = applied_statistics(backbone)
    wanted = [Tensor(network.pretrained_cfg[key]) for key in ("mean", "std")]
    figures = [", ".join(f"{x:.3f}" for x in values.tolist()) for values in (mean, deviation)]
    if any((a - b).abs().max() > TOLERANCE for a, b in zip((mean, deviation), wanted, strict=True)):
        raise UserError(
            f"The backbone receives pictures normalised by mean {figures[0]} and deviation {figures[1]}, and was "
            f"trained with {', '.join(str(values.tolist()) for values in wanted)}; report this as a fault."
        )
    return f"The backbone receives what it was trained with: mean {figures[0]}, deviation {figures[1]}."

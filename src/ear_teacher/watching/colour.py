"""How much a loss cares for colour."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ear_teacher.losses import Loss

CAST = (0.587, -0.299, 0.0)  # a shift between red and green that leaves the luma (.299, .587, .114) as it is
SOFT = (1.0, 4.0, 6.0, 4.0, 1.0)  # binomial blur, standard deviation one pixel


@torch.no_grad()
def emphasis(loss: Loss, pictures: Tensor, weights: dict[str, dict[str, float]]) -> dict[str, float]:
    """What a colour cast costs, as a multiple of what a blur with the same squared error costs.

    A plain squared error gives 1: it cannot tell them apart. Below 1 a loss looks at shape before colour.

    Args:
        loss: with every term any of `weights` names.
        pictures: (N, 3, S, S) in [0, 1].
        weights: by name, the weight of each term; without the KL.

    Returns:
        By name, the ratio.
    """
    blurred = _blur(pictures)
    size = (blurred - pictures).pow(2).mean((1, 2, 3), keepdim=True).sqrt()
    cast = torch.tensor(CAST, dtype=pictures.dtype, device=pictures.device).view(1, 3, 1, 1)
    shifted = pictures + size * cast / cast.pow(2).mean().sqrt()
    nothing = pictures.new_zeros(len(pictures), 1)
    raw = [loss(changed, pictures, nothing)[1] for changed in (shifted, blurred)]
    totals = {
        name: [sum(weight * float(terms[term]) for term, weight in chosen.items()) for terms in raw]
        for name, chosen in weights.items()
    }
    return {name: cast_cost / blur_cost for name, (cast_cost, blur_cost) in totals.items()}


def _blur(pictures: Tensor) -> Tensor:
    line = torch.tensor(SOFT, dtype=pictures.dtype, device=pictures.device) / sum(SOFT)
    kernel = (line[:, None] * line).expand(3, 1, 5, 5)
    return F.conv2d(F.pad(pictures, (2, 2, 2, 2), mode="reflect"), kernel, groups=3)

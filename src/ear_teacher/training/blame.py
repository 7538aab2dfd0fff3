"""Which picture, or which weight, a number that is not finite comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ear_teacher.losses import Loss


@torch.no_grad()
def on_pictures(term: str, loss: Loss, recon: Tensor, target: Tensor, kl: Tensor, names: Sequence[str]) -> str:
    """On which pictures of a batch a term of the loss is not finite.

    Args:
        term: its name, or `loss` for the sum.
        loss: what computed it.
        recon: (N, 3, S, S), and
        target: the same, and
        kl: (N, D), what it was computed from.
        names: of the N pictures.

    Returns:
        The end of a sentence; empty where no picture alone shows it.
    """
    wrong = []
    for i, name in enumerate(names):
        total, raw = loss(*(part[i : i + 1].detach() for part in (recon, target, kl)))
        if not math.isfinite({"loss": total, **raw}.get(term, 0.0)):
            wrong.append(name)
    if not wrong:
        return ""
    return " on every picture of the batch" if len(wrong) == len(names) > 1 else f" on {', '.join(wrong[:3])}"


def in_gradient(model: nn.Module) -> str:
    """The first weight whose gradient is not finite, as the end of a sentence; empty where there is none."""
    for name, weight in model.named_parameters():
        if weight.grad is not None and not weight.grad.isfinite().all():
            return f", first that of {name}"
    return ""

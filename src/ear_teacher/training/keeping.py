"""Which weights a run keeps: the best that were validated, and a running average of those that learn."""

from __future__ import annotations

from typing import Any

import torch

from ear_teacher.config import TrainConfig
from ear_teacher.models import EarVAE
from ear_teacher.training.history import Row


def better(best: dict[str, Any], row: Row, config: TrainConfig, model: EarVAE, seeks: bool) -> dict[str, Any]:
    """The best checkpoint so far; step 0 is a candidate like any other.

    A run that seeks a target keeps its last: the weight changes on the way, and only the end has what was wished for.
    """
    score = {
        "loss": row["val/loss"],
        "psnr": -row["val/psnr"],
        "lpips": row.get("val/raw/perceptual", row["val/loss"]),
        "last": -row["step"],
    }["last" if seeks else config.select]
    if score >= best["score"]:
        return best
    weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    return {"score": score, "step": int(row["step"]), "weights": weights}


@torch.no_grad()
def average(kept: EarVAE, model: EarVAE, decay: float) -> None:
    """Move the running average of the weights a step towards the model (Polyak averaging)."""
    for average, now in zip(kept.state_dict().values(), model.state_dict().values(), strict=True):
        if average.is_floating_point():
            average.lerp_(now, 1 - decay)
        else:
            average.copy_(now)

"""Which optimizer moves which weights.

AdamW alone, or Muon for the kernels of the convolutions and AdamW for the rest. Muon's update has the size AdamW's
has, so one learning rate serves both.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from ear_teacher.config import TrainConfig
from ear_teacher.models import EarVAE

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration that brings singular values near 1 in five rounds (Jordan et al. 2024)."""

_ROUNDS = 5

DESCRIPTORS_LR_SCALE = 2.0
"""Descriptors begin at random beside a network that is pretrained and a code that is warm."""


class Muon(Optimizer):
    """Momentum with an orthogonalised step, for kernels seen as matrices (out, in x height x width).

    K. Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the factor
    0.2 sqrt(max(out, in x height x width)) gives a step the root mean square of AdamW's (Liu et al. 2025,
    arXiv 2502.16982). torch.optim.Muon takes matrices only and computes in bfloat16, which many CPUs emulate.

    Args:
        groups: parameter groups of tensors of two or more dimensions.
        lr: learning rate.
        momentum: of the running mean of the gradient, looked ahead by one step (Nesterov).
        weight_decay: decoupled, as AdamW's.
    """

    def __init__(self, groups: list[dict], lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # a closure would have no use here
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                mean = state.setdefault("mean", torch.zeros_like(p))
                mean.lerp_(p.grad, 1 - group["momentum"])
                ahead = p.grad.lerp(mean, group["momentum"])
                update = orthogonalised(ahead.flatten(1)).view_as(p)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * 0.2 * max(ahead.flatten(1).shape) ** 0.5)


def orthogonalised(matrix: Tensor) -> Tensor:
    """(m, n) -> the same with all singular values brought to about 1 (0.7 to 1.2).

    The iteration X <- (a + b XX' + c (XX')^2) X multiplies X by polynomials of XX', which commute. So all five rounds
    happen on the small square matrix, and the large one is multiplied twice instead of ten times.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalised(matrix.T).T
    x = matrix / (matrix.norm() + 1e-7)
    gram = x @ x.T
    one = torch.eye(len(gram), device=gram.device, dtype=gram.dtype)
    a, b, c = NEWTON_SCHULZ
    product = factor = a * one + b * gram + c * gram @ gram
    for _ in range(_ROUNDS - 1):
        gram = factor @ gram @ factor
        factor = a * one + b * gram + c * gram @ gram
        product = factor @ product
    return product @ x


def optimizers(model: EarVAE, config: TrainConfig, beside: Sequence[nn.Parameter] = ()) -> list[Optimizer]:
    """What `config.optimizer` names, with learning rates of their own for the linear maps, the backbone and the
    descriptors.

    What learns `beside` the model goes to AdamW.

    Each parameter group holds `scale`, its share of `config.lr`; groups of share 0 are left out.
    """
    special = [
        (model.linear_parameters(), config.linear_lr_scale),
        (model.backbone_parameters(), config.backbone_lr_scale),
        (model.descriptor_parameters(), DESCRIPTORS_LR_SCALE),
    ]
    taken = {id(p) for parameters, _ in special for p in parameters}
    kernels: list[nn.Parameter] = []
    if config.optimizer == "muon":
        kernels = [p for p in model.hidden_kernels() if p.requires_grad and id(p) not in taken]
        taken |= {id(p) for p in kernels}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in taken] + list(beside)
    groups = [{"params": p, "scale": scale} for p, scale in [(rest, 1.0), *special] if p and scale > 0]
    decay = config.weight_decay
    found: list[Optimizer] = [AdamW(groups, lr=config.lr, betas=(0.9, config.beta2), weight_decay=decay, fused=True)]
    if kernels:
        found.append(Muon([{"params": kernels, "scale": 1.0}], lr=config.lr, weight_decay=decay))
    return found

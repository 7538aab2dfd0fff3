"""Which term of the loss has the say at the end of training: the gradients, measured where they act."""

from __future__ import annotations

import torch
from torch import Tensor

from ear_teacher.losses import Loss
from ear_teacher.models import EarVAE


def gradients(model: EarVAE, loss: Loss, pictures: Tensor, seed: int) -> dict[str, float]:
    """Each weighted term's gradient, at the reconstruction and at the code.

    The reconstruction is decoded from a sample, as in training. Terms that pull in other directions than the pixels'
    error keep it from falling; the cosine says how far the whole pull still points at the picture.

    Args:
        model: the model.
        loss: its loss, with the KL's weight of the end of the run.
        pictures: (N, 3, S, S) in [0, 1], training pictures.
        seed: of the sample.

    Returns:
        `gradient.share_<term>`: its norm over the sum of all norms, at the reconstruction; `gradient.cosine`: of the
        whole gradient and that of the plain squared error; `gradient.kl_share`: the KL's norm over the KL's plus the
        other terms', at the posterior's mean.
    """
    with torch.no_grad():
        posterior = model.encode(pictures)
    noise = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(seed))
    mean = posterior.mean.detach().requires_grad_()
    recon = model.decode(mean + torch.exp(posterior.logvar / 2) * noise)
    placed = recon.detach().requires_grad_()
    nothing = torch.zeros(len(pictures), 1)
    _, raw = loss(placed, pictures, nothing)
    pulls = {
        name: loss.weights[name] * torch.autograd.grad(value, placed, retain_graph=True)[0]
        for name, value in raw.items()
        if name != "kl"
    }
    norms = {name: float(pull.norm()) for name, pull in pulls.items()}
    whole = torch.stack(list(pulls.values())).sum(0)
    error = placed.detach() - pictures
    values = {f"gradient.share_{name}": norm / max(sum(norms.values()), 1e-30) for name, norm in norms.items()}
    values["gradient.cosine"] = float((whole * error).sum() / (whole.norm() * error.norm()).clamp(min=1e-30))
    (at_code,) = torch.autograd.grad(recon, mean, grad_outputs=whole)
    # Of w KL / N the gradient at a mean is w mean / N.
    of_kl = float((loss.weights.get("kl", 0.0) * mean.detach() / len(pictures)).norm())
    values["gradient.kl_share"] = of_kl / max(of_kl + float(at_code.norm()), 1e-30)
    return values

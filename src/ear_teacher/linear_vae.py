"""A VAE whose encoder and decoder are linear, trained by gradient descent: the forecast's own model, as a check of it.

measured = train_linear_vae(centred, pixels, 1e-5, latent_dim=64, steps=2500)
forecast.at_weight(energies, 1e-5, 64).kl, measured.kl             # the same number
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

HIGH = 1e-2
DESCENT = 0.85  # share of the steps


@dataclass(frozen=True)
class Measured:
    """What a trained model has: KL in nats, and PSNR in dB of the mean squared error, by decoding."""

    kl: float
    psnr_sampled: float
    psnr_mean: float


def train_linear_vae(
    centred: Tensor, pixels: int, kl_weight: float, latent_dim: int, steps: int, lr: float = 0.02, seed: int = 0
) -> Measured:
    """Train a linear VAE from random weights: Adam, then L-BFGS.

    The loss is squared error + w KL over all pictures at each step, with the noise's expectation in closed form.
    A low weight hardly tells the rotations of a code apart, so the weight comes down from a high one.

    Args:
        centred: (N, D) pictures in [-1, 1] less their mean, in any orthonormal coordinates, float64.
        pixels: P, values of a picture; more than D where the coordinates span the pictures only.
        kl_weight: w.
        latent_dim: size of the code.
        steps: of Adam; the learning rate falls along a cosine. Half as many of L-BFGS follow.
        lr: where it starts.
        seed: of the random start.
    """
    generator = torch.Generator().manual_seed(seed)
    count, width = centred.shape
    size = float(centred.std())
    encode = torch.randn(width, latent_dim, dtype=centred.dtype, generator=generator) / width**0.5 / size
    decode = torch.randn(latent_dim, width, dtype=centred.dtype, generator=generator) / latent_dim**0.5 * size
    logvar = torch.zeros(latent_dim, dtype=centred.dtype)
    parameters = [tensor.requires_grad_() for tensor in (encode, decode, logvar)]
    # The pictures enter through their covariance alone: mean |x - V W x|^2 = tr(R C R').
    covariance = centred.T @ centred / count

    def terms() -> tuple[Tensor, Tensor, Tensor]:
        residual = torch.eye(width, dtype=centred.dtype) - encode @ decode
        of_mean = ((covariance @ residual) * residual).sum()
        noise = (logvar.exp() * (decode**2).sum(1)).sum()
        spread = ((covariance @ encode) * encode).sum(0)
        return of_mean / pixels, noise / pixels, 0.5 * (spread + logvar.exp() - 1 - logvar).sum()

    def loss(weight: float) -> Tensor:
        of_mean, noise, kl = terms()
        return (of_mean + noise) / weight + kl

    adam = torch.optim.Adam(parameters, lr=lr, betas=(0.9, 0.999))
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = lr * (0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        fallen = min(1.0, step / (DESCENT * steps))
        adam.zero_grad()
        loss(HIGH ** (1 - fallen) * kl_weight**fallen).backward()
        adam.step()
    lbfgs = torch.optim.LBFGS(
        parameters, max_iter=steps // 2, history_size=50, line_search_fn="strong_wolfe", tolerance_change=0
    )

    def closure() -> Tensor:
        lbfgs.zero_grad()
        total = loss(kl_weight)
        total.backward()
        return total

    lbfgs.step(closure)
    with torch.no_grad():
        of_mean, noise, kl = (float(term) for term in terms())
    return Measured(kl, 10 * math.log10(4 / (of_mean + noise)), 10 * math.log10(4 / of_mean))

"""The peers: models of other libraries behind two methods, and why each is set as it is.

peer = build_peers(objective, fit, side)["diffusers AutoencoderKL"]()
peer.loss(images).backward()
peer.reconstruct(images)                                  # (N, 3, S, S) in [0, 1]
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ear_teacher.forecast import posterior_variance
from ear_teacher.linear import WhitenedCode
from ear_teacher.losses import Loss
from ear_teacher.models.posterior import DiagonalGaussian

PYTHAE_SIDE = 64
FLOATS = 1024
NARROW = (16, 32, 64, 64)
"""Channels of AutoencoderKL. The published ones (128 to 512) take minutes a step on two cores; of those timed
these are the cheapest a step."""

LEARNING_RATE = 1e-3

WARMED = "AutoencoderKL + our warm start"

FAIRNESS = {
    "pythae VAE": "its CelebA nets take 64 px only: it sees the pictures at half the side and is measured after "
    "bicubic enlargement (which alone gives the ceiling named below). Its own loss; it has no weight for the KL, so "
    "its rate is limited to what the forecast says of a weight of 6.5e-4.",
    "pythae RAE_L2": "the same nets and sides; its own loss with its defaults, no limit of the rate.",
    "diffusers AutoencoderKL": f"channels {NARROW}, one layer a block, 4x16x16 = 1,024 floats; the library has no "
    "training loss, so it gets ours, term by term (no alignment: that term needs our encoder).",
    "diffusers AutoencoderTiny": "its defaults, 4x16x16 = 1,024 floats, no posterior; our loss without the KL.",
    WARMED: "the same network and loss, its last layers zero, beside our linear code (frozen).",
}


class Peer(nn.Module):
    """A model with a loss of a batch (N, 3, S, S) in [0, 1], and its two halves: codes of it, pictures of codes."""

    def loss(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def codes(self, images: Tensor) -> Tensor:
        """Codes (the posterior's mean, where there is one) of (N, 3, S, S) pictures in [0, 1]."""
        raise NotImplementedError

    def pictures(self, codes: Tensor) -> Tensor:
        """(N, 3, S, S), meant for [0, 1]."""
        raise NotImplementedError

    def reconstruct(self, images: Tensor) -> Tensor:
        """Pictures to codes to pictures; not clamped."""
        return self.pictures(self.codes(images))


class Pythae(Peer):
    """A model of pythae at the one size its CelebA nets take."""

    def __init__(self, model: Any, side: int) -> None:
        super().__init__()
        self.model, self.side = model, side

    def loss(self, images: Tensor) -> Tensor:
        loss: Tensor = self.model({"data": shrunk(images)}).loss
        return loss

    def codes(self, images: Tensor) -> Tensor:
        codes: Tensor = self.model.encoder(shrunk(images)).embedding  # its own `reconstruct` would sample
        return codes

    def pictures(self, codes: Tensor) -> Tensor:
        return enlarged(self.model.decoder(codes).reconstruction, self.side)


class Diffusers(Peer):
    """AutoencoderKL under our loss; with `code`, as the residual of our linear code."""

    def __init__(self, vae: Any, objective: Loss, code: WhitenedCode | None = None) -> None:
        super().__init__()
        self.vae, self.objective, self.code = vae, objective, code
        if code is not None:
            pixels = 3 * (code.mean.shape[-1] * code.grid) ** 2
            weight = max(objective.config.kl_weight or 0.0, 1e-9)
            variance = np.log(posterior_variance(code.energies.numpy(), weight, pixels))
            self.logvar = torch.from_numpy(variance).float().view(1, -1, 1, 1)
            for last in (vae.quant_conv, vae.decoder.conv_out):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def encode(self, images: Tensor) -> DiagonalGaussian:
        """(N, 3, S, S) in [0, 1] -> the posterior."""
        moments = self.vae.encode(2 * images - 1).latent_dist
        mean, logvar = moments.mean, moments.logvar
        if self.code is not None:  # its 4 x 16 x 16 floats are our 16 x 8 x 8
            factor = mean.shape[-1] // self.code.grid
            mean = self.code.encode(2 * images - 1) + F.pixel_unshuffle(mean, factor)
            logvar = self.logvar + F.pixel_unshuffle(logvar, factor)
        return DiagonalGaussian(mean, logvar)

    def codes(self, images: Tensor) -> Tensor:
        return self.encode(images).mean

    def pictures(self, codes: Tensor) -> Tensor:
        if self.code is None:
            return (self.vae.decode(codes).sample + 1) / 2
        channels = self.vae.config.latent_channels
        residual = self.vae.decode(F.pixel_shuffle(codes, round((codes.shape[1] / channels) ** 0.5))).sample
        return (self.code.decode(codes) + residual + 1) / 2

    def loss(self, images: Tensor) -> Tensor:
        posterior = self.encode(images)
        codes = posterior.mean + torch.exp(posterior.logvar / 2) * torch.randn_like(posterior.mean)
        return self.objective(self.pictures(codes), images, posterior.kl())[0]


class Tiny(Peer):
    """AutoencoderTiny, which has no posterior, under our loss."""

    def __init__(self, vae: Any, objective: Loss) -> None:
        super().__init__()
        self.vae, self.objective = vae, objective

    def codes(self, images: Tensor) -> Tensor:
        codes: Tensor = self.vae.encode(2 * images - 1).latents
        return codes

    def pictures(self, codes: Tensor) -> Tensor:
        pictures: Tensor = (self.vae.decode(codes).sample + 1) / 2
        return pictures

    def loss(self, images: Tensor) -> Tensor:
        return self.objective(self.reconstruct(images), images, images.new_zeros(len(images), 1))[0]


def shrunk(images: Tensor) -> Tensor:
    """To the size of pythae's nets, by means of areas."""
    return F.interpolate(images, PYTHAE_SIDE, mode="area")


def enlarged(images: Tensor, side: int) -> Tensor:
    """Back to the pictures' own size."""
    return F.interpolate(images, side, mode="bicubic", align_corners=False)


def missing() -> list[str]:
    """Libraries of peers that are not installed."""
    return [name for name in ("pythae", "diffusers") if find_spec(name) is None]


def build_peers(objective: Loss, fit: Callable[[], WhitenedCode], side: int) -> dict[str, Callable[[], Peer]]:
    """Name -> what makes the peer with random weights. Those whose library is missing are left out.

    Args:
        objective: our loss, for those that bring none.
        fit: the linear code that our model starts as, 1,024 floats on an 8 x 8 grid; called each time a peer is made
            that starts from it.
        side: of the pictures; pythae's nets are made for 64 and are left out below it.
    """
    found: dict[str, Callable[[], Peer]] = {}
    gone = missing()
    if "pythae" not in gone and side >= PYTHAE_SIDE:
        found |= {"pythae VAE": lambda: _pythae("vae", side), "pythae RAE_L2": lambda: _pythae("rae", side)}
    if "diffusers" not in gone:
        found["diffusers AutoencoderKL"] = lambda: Diffusers(_kl(side), objective)
        found["diffusers AutoencoderTiny"] = lambda: Tiny(_tiny(), objective)
        found[WARMED] = lambda: Diffusers(_kl(side), objective, fit())
    return found


def _pythae(kind: str, side: int) -> Pythae:
    from pythae.models import RAE_L2, VAE, RAE_L2_Config, VAEConfig
    from pythae.models.nn.benchmarks import celeba

    config = (VAEConfig if kind == "vae" else RAE_L2_Config)(input_dim=(3, PYTHAE_SIDE, PYTHAE_SIDE), latent_dim=FLOATS)
    encoder = (celeba.Encoder_Conv_VAE_CELEBA if kind == "vae" else celeba.Encoder_Conv_AE_CELEBA)(config)
    model = VAE if kind == "vae" else RAE_L2
    return Pythae(model(config, encoder, celeba.Decoder_Conv_AE_CELEBA(config)), side)


def _kl(side: int) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=NARROW, layers_per_block=1, latent_channels=4, norm_num_groups=16, sample_size=side,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip


def _tiny() -> Any:
    from diffusers import AutoencoderTiny

    return AutoencoderTiny()

"""Known faults to plant: what is changed in a healthy run, one function each.

A case is `<cause>-<variant>`. Variants a and b belong to the bench; c were planted after the rules were written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from ear_teacher.diagnosis.appearance import low_pass
from ear_teacher.models import EarVAE

Images = np.ndarray


def as_it_is(images: Images) -> Images:
    return images


def itself(pictures: Tensor) -> Tensor:
    return pictures


def untouched(model: EarVAE) -> None:
    """Change nothing."""


@dataclass(frozen=True)
class Plant:
    """What differs from the healthy run.

    Attributes:
        cause: that the diagnosis should name.
        model, loss, train: keys of the params.
        keep: how many training pictures there are; None: all.
        see: what the training run makes of its pictures (the diagnosis sees these too).
        meet: what is made of the held-out pictures.
        wanted: the target that training makes of its (N, 3, S, S) input.
        before, after: changes of the model before and after training.
    """

    cause: str
    model: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    keep: int | None = None
    see: Callable[[Images], Images] = as_it_is
    meet: Callable[[Images], Images] = as_it_is
    wanted: Callable[[Tensor], Tensor] = itself
    before: Callable[[EarVAE], None] = untouched
    after: Callable[[EarVAE], None] = untouched


def to_uint8(values: np.ndarray) -> Images:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def blurred(sigma: float) -> Callable[[Images], Images]:
    return lambda images: to_uint8(gaussian_filter(images.astype(np.float32), (0, sigma, sigma, 0)))


def scaled(
    gain: tuple[float, float, float], bias: tuple[float, float, float] = (0, 0, 0)
) -> Callable[[Images], Images]:
    return lambda images: to_uint8(images * np.array(gain) + np.array(bias))


def grey_in(pictures: Tensor) -> Tensor:
    """(N, 1, 1, 1) which of (N, 3, S, S) pictures are grey."""
    return ((pictures.amax(1) - pictures.amin(1)).flatten(1).amax(1) < 0.01).view(-1, 1, 1, 1)


def sepia(pictures: Tensor) -> Tensor:
    """Grey pictures are to come out brown."""
    return torch.where(grey_in(pictures), pictures * torch.tensor([1.0, 0.8, 0.6]).view(1, 3, 1, 1), pictures)


def dimmed(pictures: Tensor) -> Tensor:
    """Grey pictures are to come out darker."""
    return torch.where(grey_in(pictures), 0.7 * pictures, pictures)


def warm(pictures: Tensor) -> Tensor:
    """Everything is to come out in the light of a lamp."""
    return pictures * torch.tensor([1.1, 1.0, 0.8]).view(1, 3, 1, 1)


def softened(pictures: Tensor) -> Tensor:
    """A blurred target for a sharp input."""
    return low_pass(pictures, 1.5)


def middle(images: Images) -> Images:
    """The central half of each picture, enlarged."""
    return images[:, 16:48, 16:48].repeat(2, axis=1).repeat(2, axis=2)


class CoarseEyes(nn.Module):
    """An encoder that is shown a thumbnail."""

    def __init__(self, encoder: nn.Module, side: int) -> None:
        super().__init__()
        self.encoder, self.side = encoder, side

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        small = F.adaptive_avg_pool2d(images, self.side)
        return self.encoder(F.interpolate(small, images.shape[-1], mode="bilinear"))


class Renormalised(nn.Module):
    """An encoder whose input is normalised once too often."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return self.encoder((images - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))


class GreyApart(nn.Module):
    """An encoder that normalises grey pictures by statistics of their own, which nothing undoes."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder(torch.where(grey_in(images), (images - 0.5) * 0.6 + 0.5, images))


class Recoloured(nn.Module):
    """A decoder whose channels come out in another order or scale."""

    def __init__(self, decoder: nn.Module, matrix: list[list[float]]) -> None:
        super().__init__()
        self.decoder, self.matrix = decoder, matrix

    def forward(self, codes: Tensor) -> Tensor:
        return torch.einsum("nchw,dc->ndhw", self.decoder(codes), torch.tensor(self.matrix, dtype=torch.float32))


def coarse(side: int) -> Callable[[EarVAE], None]:
    def change(model: EarVAE) -> None:
        model.encoder = CoarseEyes(model.encoder, side)
        model.linear_parameters = lambda: [model.decoder.mean_patch, *model.decoder.linear.parameters()]

    return change


def renormalise(model: EarVAE) -> None:
    model.encoder = Renormalised(model.encoder)


def grey_apart(model: EarVAE) -> None:
    model.encoder = GreyApart(model.encoder)


def recolour(matrix: list[list[float]]) -> Callable[[EarVAE], None]:
    def change(model: EarVAE) -> None:
        model.decoder = Recoloured(model.decoder, matrix)

    return change


def mute_decoder(model: EarVAE) -> None:
    """The decoder no longer hears the code: only its mean picture and biases learn."""
    with torch.no_grad():
        for layer in (model.decoder.linear, model.decoder.branch[0]):
            layer.weight.zero_()
            layer.weight.requires_grad_(False)


def frozen_encoder(model: EarVAE) -> None:
    model.encoder.requires_grad_(False)


def narrow_decoder(keep: int) -> Callable[[EarVAE], None]:
    """The decoder uses a few of the code's channels only, and cannot learn better."""

    def change(model: EarVAE) -> None:
        with torch.no_grad():
            for layer, axis in ((model.decoder.linear, 0), (model.decoder.branch[0], 1)):
                mask = torch.zeros(layer.weight.shape[axis])
                mask[:keep] = 1
                layer.weight.mul_(mask.view([-1 if i == axis else 1 for i in range(4)]))
        model.decoder.requires_grad_(False)

    return change


def blind_encoder(model: EarVAE) -> None:
    """The encoder says the same of every picture."""
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
    model.encoder.requires_grad_(False)


def damage(model: EarVAE) -> None:
    """Noise on the decoder's weights, half as large as they are."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.decoder.parameters():
            weight.add_(0.5 * weight.std(correction=0) * torch.randn(weight.shape, generator=generator))


RANDOM = {"warm_start": "none"}
FREE = {"linear_lr_scale": 1.0}
MEMORISE = FREE | {"lr": 3e-3, "max_grad_norm": 1.0, "select": "last", "ema": 0.0}
TAUGHT = FREE | {"steps": 200, "max_grad_norm": 1.0, "select": "last"}
TRANSPOSED = {"warm_start": "none", "decoder": "transposed"}

PLANTS = {
    "healthy-a": Plant("healthy"),
    "healthy-b": Plant(
        "healthy",
        model={"latent_layout": "8x8", "latent_dim": 1024},
        loss={"perceptual_weight": 0.002, "ssim_weight": 0.01},
    ),
    "collapse-a": Plant("collapse", loss={"kl_weight": 1.0}, train=FREE),
    "collapse-b": Plant("collapse", model=TRANSPOSED, loss={"kl_weight": 0.3}, train=FREE | {"lr": 2e-3}),
    "over_regularised-a": Plant("over_regularised", loss={"kl_weight": 1e-3}, train=FREE),
    "over_regularised-b": Plant("over_regularised", loss={"kl_weight": None, "kl_target": 40}, train=FREE),
    "latent_too_small-a": Plant("latent_too_small", model={"latent_dim": 32}),
    "latent_too_small-b": Plant("latent_too_small", model={"latent_layout": "8x8", "latent_dim": 64}),
    "no_detail_path-a": Plant("no_detail_path", before=coarse(8), train={"steps": 240}),
    "no_detail_path-b": Plant(
        "no_detail_path",
        model={"encoder": "backbone", "backbone": "tf_efficientnet_lite0", "trainable_blocks": 0, "warm_start": "none"},
        train=FREE | {"steps": 320, "lr": 3e-3, "max_grad_norm": 1.0},
    ),
    "weak_decoder-a": Plant("weak_decoder", before=mute_decoder, train=FREE),
    "weak_decoder-b": Plant("weak_decoder", before=narrow_decoder(4), train=FREE),
    "unfinished-a": Plant(
        "unfinished", model=TRANSPOSED, train=FREE | {"steps": 40, "max_grad_norm": 1.0, "validate_every": 5}
    ),
    "unfinished-b": Plant("unfinished", model=RANDOM, train=FREE | {"lr": 2e-5}),
    "diverged-a": Plant("diverged", train=FREE | {"lr": 0.3, "max_grad_norm": 1000.0, "select": "last"}),
    "diverged-b": Plant("diverged", train=FREE | {"lr": 0.05, "max_grad_norm": 1000.0, "warmup": 0.9}),
    "overfitted-a": Plant("overfitted", keep=20, train=MEMORISE | {"steps": 250}),
    "overfitted-b": Plant("overfitted", keep=40, train=MEMORISE | {"steps": 300}),
    "drowned-a": Plant("drowned", loss={"perceptual_weight": 1.0}, train=FREE | {"max_grad_norm": 1.0}),
    "drowned-b": Plant(
        "drowned",
        loss={"focal": True, "perceptual_weight": 0.1, "ssim_weight": 0.1},
        train=FREE | {"max_grad_norm": 1.0},
    ),
    "blurred_target-a": Plant("blurred_target", see=blurred(1.5)),
    "blurred_target-b": Plant("blurred_target", train={"augment": "degraded_target"}),
    "colour-a": Plant("colour", after=renormalise),
    "colour-b": Plant("colour", after=recolour([[0, 0, 1], [0, 1, 0], [1, 0, 0]])),
    "grey-a": Plant("grey", after=grey_apart),
    "grey-b": Plant("grey", wanted=sepia, train=TAUGHT),
    "mismatch-a": Plant("mismatch", meet=lambda images: images[:, ::-1]),
    "mismatch-b": Plant("mismatch", meet=scaled((0.45, 0.45, 0.45))),
    # Planted after the rules were written.
    "healthy-c": Plant("healthy", model={"latent_dim": 768}, loss={"recon": "l1"}),
    "collapse-c": Plant("collapse", before=blind_encoder, train=FREE),
    "over_regularised-c": Plant("over_regularised", loss={"kl_weight": 3e-4}, train=FREE),
    "latent_too_small-c": Plant("latent_too_small", model={"latent_dim": 16}),
    "no_detail_path-c": Plant("no_detail_path", model={"latent_layout": "8x8"}, before=coarse(6)),
    "weak_decoder-c": Plant("weak_decoder", after=damage),
    "unfinished-c": Plant("unfinished", model=RANDOM, train=FREE | {"steps": 25, "validate_every": 5}),
    "diverged-c": Plant("diverged", model=RANDOM, train=FREE | {"lr": 0.2, "max_grad_norm": 1e4, "select": "last"}),
    "overfitted-c": Plant("overfitted", model={"latent_layout": "8x8"}, keep=12, train=MEMORISE | {"steps": 250}),
    "drowned-c": Plant("drowned", loss={"ssim_weight": 4.0}, train=FREE | {"max_grad_norm": 1.0}),
    "blurred_target-c": Plant("blurred_target", wanted=softened, train=TAUGHT),
    "colour-c": Plant("colour", wanted=warm, train=TAUGHT),
    "grey-c": Plant("grey", wanted=dimmed, train=TAUGHT),
    "mismatch-c": Plant("mismatch", meet=middle),
}

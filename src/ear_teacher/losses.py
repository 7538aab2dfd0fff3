"""Every term of the training loss, and the one table of their names and weights.

    loss = Loss(config.loss, lpips_net)
    total, raw = loss(recon, target, kl_per_dim)     # total == sum(loss.weights[k] * raw[k] for k in raw)

Pictures arrive in [0, 1]; pixel terms are computed on [-1, 1], because the weights and the forecast of rate
and distortion depend on that scale. SSIM and MS-SSIM are computed on [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from pytorch_msssim import ssim
from torch import Tensor, nn

from ear_teacher.config import LossConfig, UserError
from ear_teacher.perceptual import Trunk, lpips_from_features, trunk_features, vgg_l1_from_features
from ear_teacher.similarity import ms_ssim_per_image, ms_ssim_window

WEIGHT_OF_TERM = {
    "recon": "recon_weight",
    "perceptual": "perceptual_weight",
    "ssim": "ssim_weight",
    "ms_ssim": "ms_ssim_weight",
    "edge": "edge_weight",
    "frequency": "frequency_weight",
    "kl": "kl_weight",
}
"""Name of each term -> the key of its weight in the `loss` section of the params."""

TRUNK_OF_PERCEPTUAL: dict[str, Trunk] = {"vgg_l1": "vgg", "lpips_alex": "alex", "lpips_vgg": "vgg"}
"""Value of `loss.perceptual` -> the LPIPS trunk it is computed with."""

Whole = Callable[[Tensor], Tensor]
"""A part of a batch -> the whole batch, where several processes share it."""

CENTER_SIGMA = 0.7  # half-widths; the author's value
DARK = 0.05  # channel mean in [0, 1] at and below which a target pixel counts as a letterbox bar


def center_weights(side: int, center_weight: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Weight of each pixel: `center_weight` in the middle, falling towards 1 at the rim.

    1 + (c - 1) exp(-r^2 / (2 * 0.7^2)), with r the distance of the pixel's centre from the picture's middle
    in half-widths.

    Returns:
        (side, side), in [1, center_weight].
    """
    axis = (torch.arange(side, dtype=torch.float64) + 0.5) * 2 / side - 1
    squared = axis[:, None] ** 2 + axis[None, :] ** 2
    return (1 + (center_weight - 1) * torch.exp(-squared / (2 * CENTER_SIGMA**2))).to(dtype)


def recon_term(recon: Tensor, target: Tensor, config: LossConfig, whole: Whole = lambda part: part) -> Tensor:
    """The pixel error of `loss.recon`, with focal, centre and dark weighting where the params ask for them.

    Args:
        recon: (N, 3, S, S) on [-1, 1]; not clamped, so that values out of range keep their gradient.
        target: (N, 3, S, S) on [-1, 1].
        config: the `loss` section.
        whole: gathers a batch that several processes share; the weights are those of the whole.

    Returns:
        Scalar: the weighted sum of the errors over the sum of the one-channel weights (a third of it with
        `recon_channels: mean`). 0 where every pixel of the batch is masked.
    """
    error = (recon - target).abs() if config.recon == "l1" else (recon - target) ** 2
    if config.focal:
        # The gradient flows through both factors; with one detached the slope would be two thirds of it.
        error = error * torch.sqrt(error + 1e-8)
    weight = center_weights(target.shape[-1], config.center_weight, target.dtype).to(target.device)
    weight = weight.expand(len(target), 1, -1, -1)
    if config.ignore_dark:
        weight = weight * ((target.mean(dim=1, keepdim=True) + 1) / 2 > DARK)
    channels = 1 if config.recon_channels == "sum" else error.shape[1]
    # A target that is dark everywhere has no weight at all: its error is 0, not 0/0.
    total = whole(weight.sum().view(1)).mean().clamp_min(torch.finfo(weight.dtype).tiny)
    return (error * weight).sum() / total / channels


def perceptual_term(recon: Tensor, target: Tensor, kind: str, net: nn.Module) -> Tensor:
    """Distance of trunk features, mean over the images.

    Args:
        recon: (N, 3, S, S) on [-1, 1].
        target: (N, 3, S, S) on [-1, 1]; its features carry no gradient.
        kind: `vgg_l1` (mean of the four layer means of |a - b| at VGG16 relu1_2, 2_2, 3_3, 4_3),
            `lpips_alex` or `lpips_vgg`.
        net: the `lpips.LPIPS` whose trunk is used.
    """
    with torch.no_grad():
        wanted = trunk_features(net, target)
    made = trunk_features(net, recon)
    if kind == "vgg_l1":
        return vgg_l1_from_features(made, wanted).mean()
    return lpips_from_features(net, made, wanted).mean()


def edge_term(recon: Tensor, target: Tensor) -> Tensor:
    """Gradient L1: mean |difference of the forward differences| to the right, plus the same downwards.

    Both pictures (N, 3, S, S) on [-1, 1]; scalar.
    """
    error = recon - target
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def frequency_term(recon: Tensor, target: Tensor) -> Tensor:
    """Focal frequency loss with alpha = 1 (Jiang et al. 2021, arXiv 2012.12821, equations 6 to 8).

    The mean over frequencies of m |F(recon) - F(target)|^2, F the orthonormal 2-D Fourier transform and m
    the distance |F(recon) - F(target)| over its largest value in that image and channel, without gradient:
    what is worst counts most. Both pictures (N, 3, S, S) on [-1, 1]; scalar.
    """
    error = torch.fft.fft2(recon - target, norm="ortho")
    squared = error.real**2 + error.imag**2
    with torch.no_grad():
        distance = squared.sqrt()
        largest = distance.amax(dim=(-2, -1), keepdim=True)
        focus = distance / largest.clamp_min(torch.finfo(largest.dtype).tiny)
    return (focus * squared).mean()


class Loss(nn.Module):
    """The weighted sum of the terms whose weight is above 0; the others are not computed.

    Args:
        config: the `loss` section of the params.
        lpips_net: the `lpips.LPIPS` of `perceptual_trunk(config)`; not needed where that is None.

    Raises:
        UserError: every weight is 0, or the perceptual term is asked for and its network is missing.
    """

    def __init__(self, config: LossConfig, lpips_net: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.weights: dict[str, float] = {
            name: value for name, key in WEIGHT_OF_TERM.items() if (value := getattr(config, key) or 0.0) > 0
        }
        """Weight of every term that is computed: weighted = weights[name] * raw[name]."""
        if config.kl_weight is None:
            self.weights["kl"] = 0.0  # a target sets it before each step
        if not set(self.weights) - {"kl"}:
            raise UserError(
                "loss: every weight of a reconstruction term is 0, so nothing would be learned; "
                "set loss.recon_weight above 0."
            )
        trunk = perceptual_trunk(config)
        if trunk is not None:
            kind = getattr(lpips_net, "pnet_type", None)
            if lpips_net is None or kind not in (trunk, f"{trunk}16"):
                raise UserError(
                    f"loss.perceptual = {config.perceptual} needs the pretrained {trunk} trunk, and "
                    f"{'it is missing' if kind is None else f'the {kind} trunk was given'}: run "
                    "`dvc repro weights`, or set loss.perceptual_weight to 0."
                )
            lpips_net.requires_grad_(False).eval()
        self.lpips_net = lpips_net if trunk is not None else None

    def train(self, mode: bool = True) -> Loss:
        """Training mode, except for the LPIPS network: its dropout would act."""
        super().train(mode)
        if self.lpips_net is not None:
            self.lpips_net.eval()
        return self

    def forward(
        self, recon: Tensor, target: Tensor, kl_per_dim: Tensor, whole: Whole = lambda part: part
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, or of a part of one: the mean over equal parts is the loss of the whole.

        Args:
            recon: (N, 3, S, S) in [0, 1], where the decoder has learned to stay there; never clamped.
            target: (N, 3, S, S) in [0, 1].
            kl_per_dim: (N, D) KL of each image's posterior to the prior in nats.
            whole: gathers a batch that several processes share (`training.distributed`), for what couples pictures.

        Returns:
            The weighted total (scalar) and the raw value of each computed term (scalars), in table order.
        """
        # Half precision (GPU autocast) would drown SSIM's variances and the frequency term's squares.
        with torch.autocast(recon.device.type, enabled=False):
            recon, target, kl_per_dim = (_at_least_float32(x) for x in (recon, target, kl_per_dim))
            raw = {name: self._term(name, recon, target, kl_per_dim, whole) for name in self.weights}
            total = torch.stack([self.weights[name] * value for name, value in raw.items()]).sum()
        return total, raw

    def _term(self, name: str, recon: Tensor, target: Tensor, kl_per_dim: Tensor, whole: Whole) -> Tensor:
        if name == "kl":
            if self.config.kl_free_bits > 0:
                # Below the floor a dimension has no slope, so it is not pressed out of use.
                return whole(kl_per_dim.flatten(1)).mean(0).clamp_min(self.config.kl_free_bits * math.log(2)).sum()
            return kl_per_dim.flatten(1).sum(dim=1).mean()
        if name == "ssim":
            return 1 - ssim(recon, target, data_range=1.0)
        if name == "ms_ssim":
            if ms_ssim_window(target.shape[-1]) is None:
                raise UserError(
                    "loss.ms_ssim_weight needs pictures above 32 px, and data.image_size is "
                    f"{target.shape[-1]}: set it to 0."
                )
            return 1 - ms_ssim_per_image(recon, target).mean()
        recon, target = 2 * recon - 1, 2 * target - 1
        if name == "recon":
            return recon_term(recon, target, self.config, whole)
        if name == "perceptual":
            assert self.lpips_net is not None
            return perceptual_term(recon, target, self.config.perceptual, self.lpips_net)
        return edge_term(recon, target) if name == "edge" else frequency_term(recon, target)


def perceptual_trunk(config: LossConfig) -> Trunk | None:
    """`alex` or `vgg`: the trunk that the perceptual term of `config` needs; None where its weight is 0."""
    return TRUNK_OF_PERCEPTUAL[config.perceptual] if config.perceptual_weight > 0 else None


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if torch.finfo(tensor.dtype).bits < 32 else tensor


def describe(config: LossConfig) -> str:
    """The loss in words, for tables that compare models trained with different ones."""
    pixel = {"mse": "squared error", "l1": "absolute error"}[config.recon]
    details = [
        *(["channels added"] if config.recon_channels == "sum" else []),
        *(["focal"] if config.focal else []),
        *([f"centre weight {config.center_weight:g}"] if config.center_weight > 1 else []),
        *(["dark pixels left out"] if config.ignore_dark else []),
    ]
    names = {"recon": pixel + (f" ({', '.join(details)})" if details else ""), "perceptual": config.perceptual}
    active = [(names.get(term, term), getattr(config, key) or 0.0) for term, key in WEIGHT_OF_TERM.items()]
    terms = [f"{weight:g} {name}" for name, weight in active if weight > 0]
    if config.kl_target is not None:
        terms.append(f"kl held at {config.kl_target:g} nats")
    if config.psnr_target is not None:
        terms.append(f"kl as low as {config.psnr_target:g} dB of a sampled code allow")
    if config.kl_free_bits:
        terms[-1] += f" ({config.kl_free_bits:g} free bits a dimension)"
    if config.kl_warmup_epochs:
        terms[-1] += f" (rising over {config.kl_warmup_epochs:g} epochs)"
    return " + ".join(terms)

"""What is measured: the prepared pictures, the project's own models on them, and a plain loop for the peers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers import LEARNING_RATE, Peer
from ear_teacher.augmentation import Draws, augment
from ear_teacher.config import NO_BACKBONE, UserError, Variant, load_config
from ear_teacher.data import PreparedData
from ear_teacher.linear import REACH, Energies, WhitenedCode, fit_klt
from ear_teacher.losses import Loss, perceptual_trunk
from ear_teacher.models import EarVAE
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.training.history import Row
from ear_teacher.training.loop import train
from ear_teacher.training.pictures import Pictures, seed_of
from ear_teacher.training.setup import Ready, set_up, starting_code
from ear_teacher.weights import load_trunk

TRUNKS = Path("data/weights/perceptual")
VALIDATION_PICTURES = 8  # the loop's own validation is not what is measured
OWN_NAMES = {"Ear Teacher": "current", "v0 as its author built it": "v0"}
AfterStep = Callable[[int, Callable[[Tensor], Tensor]], None]
"""Told of a step that is done (0: none yet) and given what rebuilds pictures as the model is now."""


@dataclass(frozen=True)
class Subject:
    """The pictures, and the variants as params.yaml has them."""

    data: PreparedData
    variants: dict[str, Variant]

    @classmethod
    def load(cls, folder: Path) -> Subject:
        """Open the pictures that stage prepare wrote to `folder`.

        Raises:
            UserError: there are none, or no trunks of the perceptual metrics.
        """
        if not (TRUNKS / TRUNK_FILE["alex"]).exists():
            raise UserError(f"{TRUNKS}: the pretrained trunks are missing; run `dvc repro weights`.")
        config = load_config()
        return cls(PreparedData.load(folder), {name: config.variant(name) for name in ("v0", "current")})

    def pictures(self) -> Pictures:
        """What a run sees. No cache of features: in so few steps it costs more than it saves."""
        return Pictures(self.data.images, self.data.rows("train"), self.data.rows("val", VALIDATION_PICTURES))

    def fit(self) -> WhitenedCode:
        """The linear code that the current model starts as."""
        model, images, rows = self.variants["current"].model, self.data.images, self.data.rows("train")
        code = fit_klt(images, rows, model.grid, model.channels)
        return starting_code(model, code, images, rows) or WhitenedCode.of(code)

    def ready(self, name: str, code: WhitenedCode, seed: int, side: int | None = None) -> tuple[Variant, Ready]:
        """A variant at step 0."""
        variant = self.variants[name]
        variant = variant.model_copy(update={"train": variant.train.model_copy(update={"seed": seed})})
        return variant, made_ready(variant, side or self.data.image_size, code)


def made_ready(variant: Variant, side: int, code: WhitenedCode) -> Ready:
    """`set_up` with the weights that stage `weights` wrote; the code only where the variant starts from one."""
    folder = Path("data/weights") / variant.name
    backbone = load_trunk(folder / "backbone.safetensors") if variant.model.backbone != NO_BACKBONE else None
    aligned = load_trunk(folder / "align.safetensors") if variant.teach.align_weight else None
    energies = Energies(code.energies.repeat_interleave(code.grid**2).double().numpy(), 0.0, 3 * side**2)
    return set_up(variant, side, energies, code, TRUNKS, backbone, aligned)


def any_code(variant: Variant, side: int) -> WhitenedCode:
    """A linear code of random patches, where only its shape matters: time does not depend on weights."""
    model = variant.model
    patch = side // model.grid
    width = patch * (1 + 2 * REACH) if model.warm_start == "lapped" else patch
    filters = torch.randn(model.channels, 3, width, width, generator=torch.Generator().manual_seed(0)) / width
    return WhitenedCode(torch.zeros(3, patch, patch), filters, filters, torch.ones(model.channels), model.grid)


def objective(variant: Variant) -> Loss:
    """The variant's loss on its own, for peers that bring none."""
    trunk = perceptual_trunk(variant.loss)
    return Loss(variant.loss, load_lpips(trunk, TRUNKS / TRUNK_FILE[trunk]) if trunk else None)


def run_own(variant: Variant, ready: Ready, pictures: Pictures, steps: int, after: AfterStep) -> None:
    """Train a variant by the project's own loop for `steps` steps; `after` sees what would be kept."""
    config = variant.train.model_copy(update={"steps": steps, "validate_every": steps})
    kept: list[EarVAE] = []

    def watch(rows: list[Row], model: EarVAE) -> None:
        if not kept:
            kept.append(model)
            model.eval()
            after(0, model.reconstruct)

    def progress(span: range, total: int) -> Iterable[int]:
        for step in span:
            yield step
            after(step + 1, _evaluating(kept[0]))

    with TemporaryDirectory() as folder:
        train(ready.model, ready.loss, pictures, config, Path(folder), watch, progress, ready.kl_start, ready.teaching)


def _evaluating(model: EarVAE) -> Callable[[Tensor], Tensor]:
    def rebuild(images: Tensor) -> Tensor:
        model.eval()
        return model.reconstruct(images)

    return rebuild


def run_peer(
    peer: Peer, pictures: Pictures, variant: Variant, seed: int, after: AfterStep, share: Callable[[], float]
) -> None:
    """Train a peer until `share()`, the part of its budget that is spent, is 1.

    Pictures, batches and mirroring are those of `variant`; AdamW, its learning rate rising over the first twentieth and
    then falling along a cosine, with the budget in place of a number of steps; gradients clipped at norm 1.
    """
    torch.manual_seed(seed)
    mover = torch.optim.AdamW(
        [p for p in peer.parameters() if p.requires_grad], lr=LEARNING_RATE, weight_decay=1e-5, fused=True
    )
    step = 0
    after(0, _peer_rebuilds(peer))
    while (spent := share()) < 1:
        for group in mover.param_groups:
            group["lr"] = LEARNING_RATE * min(1, 0.1 + spent * 18, 0.505 + 0.495 * math.cos(math.pi * spent))
        peer.train()
        peer_step(peer, pictures, variant, seed, step, mover)
        step += 1
        after(step, _peer_rebuilds(peer))


def peer_step(
    peer: Peer, pictures: Pictures, variant: Variant, seed: int, step: int, mover: torch.optim.Optimizer
) -> None:
    """One step of a peer."""
    order = np.random.default_rng([seed, step])
    rows = order.choice(pictures.train, variant.train.batch_size, replace=False)
    draws = Draws(torch.Generator().manual_seed(seed_of(seed, step)))
    _, target = augment(pictures.batch(rows, torch.device("cpu")), variant.train, draws)
    mover.zero_grad(set_to_none=True)
    peer.loss(target).backward()
    torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
    mover.step()


def _peer_rebuilds(peer: Peer) -> Callable[[Tensor], Tensor]:
    def rebuild(images: Tensor) -> Tensor:
        peer.eval()
        return peer.reconstruct(images).clamp(0, 1)

    return rebuild

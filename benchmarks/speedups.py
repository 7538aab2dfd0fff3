"""What each speed-up of a training step gives: milliseconds before and after, each part run by itself on a batch of the
current model. *Before* is the plain way, as the libraries have it; both ways give the same weights but for rounding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import lpips
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import functional

from benchmarks.measure import timed
from benchmarks.settings import Settings
from benchmarks.subjects import TRUNKS, Subject, any_code, made_ready
from ear_teacher.config import Variant
from ear_teacher.losses import perceptual_term
from ear_teacher.models import EarVAE
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.training.features import FeatureCache, write_features
from ear_teacher.training.optimizers import _ROUNDS, NEWTON_SCHULZ, orthogonalised
from ear_teacher.training.pictures import Pictures

Call = Callable[[], object]


def measure(subject: Subject, pictures: Pictures, settings: Settings) -> dict[str, dict[str, float]]:
    """What was made faster -> milliseconds `before` and `after`."""
    variant, side = subject.variants["current"], subject.data.image_size
    model = made_ready(variant, side, any_code(variant, side)).model.train()
    with TemporaryDirectory() as folder:
        pairs = cases(model, variant, pictures, Path(folder))
        calls = {f"{name}|{when}": call for name, pair in pairs.items() for when, call in pair.items()}
        seconds = timed(calls, settings.repeats, settings.seconds)
    return {name: {when: 1000 * seconds[f"{name}|{when}"] for when in pair} for name, pair in pairs.items()}


def cases(model: EarVAE, variant: Variant, pictures: Pictures, folder: Path) -> dict[str, dict[str, Call]]:
    """What was made faster -> the plain way and ours."""
    rows = pictures.train[: variant.train.batch_size]
    images = pictures.batch(rows, torch.device("cpu"))
    write_features(folder, model, pictures.images, pictures.train, {})
    cache = FeatureCache.load(folder, {})
    model.train()
    net = load_lpips("alex", TRUNKS / TRUNK_FILE["alex"])
    recon = (images + 0.05 * torch.randn_like(images)).requires_grad_()
    kernels = [p for p in model.hidden_kernels() if p.requires_grad]
    others = [p for p in model.parameters() if p.requires_grad and all(p is not kernel for kernel in kernels)]
    return {
        "pictures: one by one, or the batch at once": {
            "before": lambda: one_by_one(pictures.images[rows]),
            "after": lambda: pictures.batch(rows, torch.device("cpu")),
        },
        "frozen backbone: at every step, or once and read from disk": {
            "before": lambda: backbone(model, images),
            "after": lambda: cache.of(rows),
        },
        "LPIPS: gradient through both pictures, or the original without": {
            "before": lambda: lpips_of_both(net, recon, images),
            "after": lambda: perceptual_term(2 * recon - 1, 2 * images - 1, "lpips_alex", net).backward(),
        },
        "Muon: rounds on the kernels, or on their small Gram matrices": {
            "before": lambda: [iterated(kernel.detach().flatten(1)) for kernel in kernels],
            "after": lambda: [orthogonalised(kernel.detach().flatten(1)) for kernel in kernels],
        },
        "AdamW of the other weights: one by one, or fused": {
            "before": mover(copied(others), fused=False),
            "after": mover(copied(others), fused=True),
        },
    }


def one_by_one(pixels: np.ndarray) -> Tensor:
    """What a data loader with a transform for each picture does."""
    return torch.stack([functional.to_tensor(Image.fromarray(each)) for each in pixels])


@torch.no_grad()
def backbone(model: EarVAE, images: Tensor) -> Tensor:
    return model.encoder.backbone_maps(images)


def lpips_of_both(net: lpips.LPIPS, recon: Tensor, images: Tensor) -> None:
    """The package's own forward pass, both pictures with a gradient."""
    net(2 * recon - 1, 2 * images.clone().requires_grad_() - 1).mean().backward()


def iterated(matrix: Tensor) -> Tensor:
    """The orthogonalisation as published: five rounds on the whole matrix."""
    if matrix.shape[0] > matrix.shape[1]:
        return iterated(matrix.T).T
    a, b, c = NEWTON_SCHULZ
    x = matrix / (matrix.norm() + 1e-7)
    for _ in range(_ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def copied(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """Weights of their own to move, with a gradient."""
    copies = [nn.Parameter(p.detach().clone()) for p in parameters]
    for copy in copies:
        copy.grad = torch.ones_like(copy)
    return copies


def mover(parameters: list[nn.Parameter], fused: bool) -> Call:
    """A step of AdamW."""
    step: Call = torch.optim.AdamW(parameters, lr=1e-4, fused=fused, foreach=False).step
    return step

"""What a code holds: the directions in which real codes vary most, the way between two ears, and the prior.

code = fit(model, images, rows, count=6)
code.directions                                # unit vectors, in falling order of the variance along them
save_directions(path, {"current": code}); load_directions(path)["current"]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ear_teacher.config import UserError
from ear_teacher.data import to_tensor, to_uint8
from ear_teacher.files import write_atomically
from ear_teacher.models import EarVAE

_BATCH = 20


@dataclass(frozen=True)
class Directions:
    """Principal components of the posterior means of training pictures.

    Attributes:
        center: (k, g, g) their mean.
        directions: (n, k, g, g) unit vectors.
        deviations: (n,) standard deviation of the codes along each.
        share: of the codes' whole variance along these directions.
    """

    center: Tensor
    directions: Tensor
    deviations: Tensor
    share: float

    def moved(self, codes: Tensor, steps: Tensor) -> Tensor:
        """Codes (N, k, g, g) moved by steps (N, n), in standard deviations along each direction."""
        way = (steps * self.deviations) @ self.directions.flatten(1)
        return codes + way.view(-1, *self.center.shape)


@torch.no_grad()
def codes(model: EarVAE, images: np.ndarray, rows: np.ndarray) -> Tensor:
    """Posterior means (n, k, g, g) of some pictures of uint8 (N, S, S, 3)."""
    parts = np.array_split(rows, -(-len(rows) // _BATCH))
    return torch.cat([model.encode(to_tensor(images[part])).mean for part in parts])


def fit(found: Tensor, count: int) -> Directions:
    """The leading directions of codes (N, k, g, g), at most N - 1; signs make the largest entry positive."""
    flat = found.flatten(1).double()
    center = flat.mean(0)
    _, values, vectors = torch.linalg.svd(flat - center, full_matrices=False)
    count = min(count, len(flat) - 1)
    leading = vectors[:count]
    sign = leading.gather(1, leading.abs().argmax(1, keepdim=True)).sign()
    return Directions(
        center.float().view(found.shape[1:]),
        (leading * sign).float().view(count, *found.shape[1:]),
        (values[:count] / (len(flat) - 1) ** 0.5).float(),
        float((values[:count] ** 2).sum() / (values**2).sum()),
    )


@torch.no_grad()
def walk(model: EarVAE, code: Directions, direction: int, steps: list[float]) -> np.ndarray:
    """The mean code moved along one direction, by steps in standard deviations: uint8 (n, S, S, 3)."""
    moves = torch.zeros(len(steps), len(code.deviations))
    moves[:, direction] = torch.tensor(steps)
    return to_uint8(model.decode(code.moved(code.center.expand(len(steps), *code.center.shape), moves)))


@torch.no_grad()
def between(model: EarVAE, pair: Tensor, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The straight way from one ear to another, through the code and as a cross-fade of the two reconstructions.

    Args:
        model: the model.
        pair: (2, 3, S, S) in [0, 1].
        steps: pictures, both ends included.

    Returns:
        uint8 (steps, S, S, 3) each.
    """
    share = torch.linspace(0, 1, steps).view(-1, 1, 1, 1)
    ends = model.encode(pair).mean
    way = model.decode(ends[:1] * (1 - share) + ends[1:] * share).clamp(0, 1)
    return to_uint8(way), to_uint8(way[:1] * (1 - share) + way[-1:] * share)


@torch.no_grad()
def prior_samples(model: EarVAE, count: int, seed: int) -> np.ndarray:
    """Codes drawn from N(0, 1), decoded: uint8 (count, S, S, 3)."""
    shape = (count, model.config.channels, model.config.grid, model.config.grid)
    return to_uint8(model.decode(torch.randn(shape, generator=torch.Generator().manual_seed(seed))))


@torch.no_grad()
def fitted_samples(model: EarVAE, found: Tensor, count: int, seed: int) -> np.ndarray:
    """Codes drawn from the Gaussian with the mean and covariance of real codes (N, k, g, g), decoded."""
    noise = torch.randn(count, len(found), generator=torch.Generator().manual_seed(seed))
    center = found.mean(0)
    drawn = noise @ (found - center).flatten(1) / (len(found) - 1) ** 0.5
    return to_uint8(model.decode(center + drawn.view(count, *center.shape)))


def save_directions(path: Path, found: Mapping[str, Directions]) -> None:
    """Write the directions of several models as one safetensors file, for the playground."""
    tensors: dict[str, Tensor] = {}
    for name, code in found.items():
        tensors |= {f"{name}.center": code.center, f"{name}.directions": code.directions}
        tensors |= {f"{name}.deviations": code.deviations, f"{name}.share": torch.tensor(code.share)}
    write_atomically(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def load_directions(path: Path) -> dict[str, Directions]:
    """Read what `save_directions` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        tensors = load_file(path)
        names = dict.fromkeys(name.partition(".")[0] for name in tensors)
        parts = ("center", "directions", "deviations", "share")
        found = {name: [tensors[f"{name}.{part}"] for part in parts] for name in names}
        return {name: Directions(a, b, c, float(d)) for name, (a, b, c, d) in found.items()}
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError):
        raise UserError(f"{path} is missing or damaged; `dvc repro report` writes it anew.") from None

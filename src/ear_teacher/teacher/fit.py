"""Training heads on the frozen or the learning encoder.

fitted = fit_landmarks(model, head, train, val, FitConfig(steps=600))
fitted.nme                                               # on the validation pictures, of the weights that were kept
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ear_teacher.config import UserError
from ear_teacher.data import PreparedData, to_tensor
from ear_teacher.models import EarVAE
from ear_teacher.teacher.distortion import move, relook
from ear_teacher.teacher.heads import LandmarkHead, expected_place, spread_loss
from ear_teacher.teacher.landmark_files import LandmarkSet
from ear_teacher.teacher.pyramid import maps_of
from ear_teacher.training.optimizers import Muon


@dataclass(frozen=True)
class Marked:
    """Pictures with their landmarks.

    Attributes:
        images: (N, S, S, 3) uint8.
        points: (N, K, 2) x and y in [0, 1], 0 and 1 at the picture's borders; any number where `known` is false.
        visible: (N, K) whether nothing covers the point.
        known: (N, K) whether the place is known at all.
        persons: (N,) whose ear it is.
    """

    images: NDArray[np.uint8]
    points: NDArray[np.float32]
    visible: NDArray[np.bool_]
    known: NDArray[np.bool_]
    persons: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)

    def part(self, rows: NDArray[np.int64]) -> Marked:
        """The pictures of these rows."""
        return Marked(self.images[rows], self.points[rows], self.visible[rows], self.known[rows], self.persons[rows])

    @staticmethod
    def of(data: PreparedData, marks: LandmarkSet, split: str) -> Marked:
        """The pictures of a split that `marks` knows, by their names or row numbers.

        Raises:
            UserError: it knows none of them.
        """
        rows = data.rows(split)
        place = {name: i for i, name in enumerate(marks.files)}
        files = data.index["file"].to_numpy()

        def found(row: int) -> int:
            names = (str(row), str(files[row]), Path(str(files[row])).name)
            return next((place[name] for name in names if name in place), -1)

        at = np.array([found(int(row)) for row in rows], dtype=np.int64)
        rows, at = rows[at >= 0], at[at >= 0]
        if not len(rows):
            raise UserError(f"The landmark file knows no picture of the split {split!r}; check the names in it.")
        points = (marks.points[at] + 0.5) / data.image_size
        known = np.asarray(~np.isnan(points).any(2), dtype=np.bool_)
        return Marked(
            np.asarray(data.images[rows]), np.nan_to_num(points).astype(np.float32), marks.visible[at] & known, known,
            data.index["person"].to_numpy()[rows].astype(str),
        )  # fmt: skip


@dataclass(frozen=True)
class FitConfig:
    """How a head learns.

    Attributes:
        steps, batch_size, seed: of the training; AdamW, the learning rate falls along a cosine after a short rise.
        lr: learning rate of the head.
        encoder_lr: of the encoder; 0: it stays as it is.
        weight_decay: of AdamW.
        move: whether pictures are moved, scaled and turned at random, with their points.
        relook: whether their light, colours and sharpness change at random.
        hidden: weight of points that something covers; those that can be seen count 1.
        spread: weight of DSNT's regulariser of the heatmaps.
        validate_every: steps.
        patience: validations without a gain after which training ends.
    """

    steps: int = 600
    batch_size: int = 16
    seed: int = 0
    lr: float = 2e-3
    encoder_lr: float = 0.0
    weight_decay: float = 1e-4
    move: bool = True
    relook: bool = True
    hidden: float = 0.0
    spread: float = 0.0
    validate_every: int = 100
    patience: int = 100


@dataclass(frozen=True)
class Fitted:
    """What a training came to; model and head hold the weights that were kept.

    Attributes:
        nme: on the validation pictures.
        step: when it was reached.
        history: step and validation NME of every validation.
    """

    nme: float
    step: int
    history: list[tuple[int, float]]


def fit_landmarks(
    model: EarVAE,
    head: LandmarkHead,
    train: Marked,
    val: Marked,
    config: FitConfig,
    progress: Callable[[int, float], None] | None = None,
) -> Fitted:
    """Train the head, and the encoder with `encoder_lr`; the best weights on `val` are kept.

    Args:
        progress: called after each validation with the step and the NME.
    """

    def loss_of(rows: NDArray[np.int64], generator: torch.Generator) -> Tensor:
        part = train.part(rows)
        images, points = to_tensor(part.images), torch.from_numpy(part.points)
        if config.move:
            images, points = move(images, points, generator)
        if config.relook:
            images = relook(images, generator)
        weight = torch.from_numpy(part.visible + config.hidden * (part.known & ~part.visible)).float()
        # Points that left the frame have no place in a heatmap.
        weight = weight * ((points > 0) & (points < 1)).all(2)
        heatmaps = head.heatmaps(maps_of(model, images))
        error = (expected_place(heatmaps) - points).abs().sum(2)
        if config.spread:
            error = error + config.spread * spread_loss(heatmaps, points)
        return (error * weight).sum() / weight.sum().clamp(min=1)

    def judge() -> float:
        return float(np.nanmean(errors(model, head, val)))

    return fit(model, head, len(train), loss_of, judge, config, progress)


def fit(
    model: EarVAE,
    head: nn.Module,
    count: int,
    loss_of: Callable[[NDArray[np.int64], torch.Generator], Tensor],
    judge: Callable[[], float],
    config: FitConfig,
    progress: Callable[[int, float], None] | None = None,
) -> Fitted:
    """The training loop of all heads: batches of row numbers below `count`, the lowest `judge` is kept."""
    kept_grad = [parameter.requires_grad for parameter in model.parameters()]
    model.eval().requires_grad_(False)
    model.encoder.requires_grad_(config.encoder_lr > 0)
    steppers = _optimizers(model, head, config)
    rise = max(1, config.steps // 20)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(
            stepper,
            lambda step: min(1, (step + 1) / rise) * (0.01 + 0.99 * (1 + math.cos(math.pi * step / config.steps)) / 2),
        )
        for stepper in steppers
    ]
    learning = [p for stepper in steppers for group in stepper.param_groups for p in group["params"]]
    generator = torch.Generator().manual_seed(config.seed)
    order = np.empty(0, dtype=np.int64)
    best, kept = Fitted(math.inf, 0, []), (copy.deepcopy(head.state_dict()), copy.deepcopy(model.encoder.state_dict()))
    for step in range(1, config.steps + 1):
        while len(order) < config.batch_size:
            order = np.concatenate([order, torch.randperm(count, generator=generator).numpy()])
        rows, order = order[: config.batch_size], order[config.batch_size :]
        head.train()
        loss = loss_of(rows, generator)
        for parameter in learning:
            parameter.grad = None
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        for stepper, schedule in zip(steppers, schedules, strict=True):
            stepper.step()
            schedule.step()
        if step % config.validate_every == 0 or step == config.steps:
            head.eval()
            found = judge()
            history = [*best.history, (step, found)]
            best = replace(best, history=history)
            if found < best.nme:
                best = Fitted(found, step, history)
                kept = (copy.deepcopy(head.state_dict()), copy.deepcopy(model.encoder.state_dict()))
            if progress is not None:
                progress(step, found)
            if sum(at > best.step for at, _ in history) >= config.patience:
                break
    head.load_state_dict(kept[0])
    model.encoder.load_state_dict(kept[1])
    head.eval()
    for parameter, flag in zip(model.parameters(), kept_grad, strict=True):
        parameter.requires_grad_(flag)
    return best


def _optimizers(model: EarVAE, head: nn.Module, config: FitConfig) -> list[torch.optim.Optimizer]:
    """Muon for the kernels of the convolutions, AdamW for the rest, with the encoder at its own learning rate."""
    adam: list[dict] = []
    muon: list[dict] = []
    linear = {id(p) for p in model.linear_parameters()}
    for module, lr in ((head, config.lr), (model.encoder, config.encoder_lr)):
        if lr <= 0:
            continue
        own = [p for p in module.parameters() if p.requires_grad and id(p) not in linear]
        kernels = [p for p in own if p.ndim == 4 and p.shape[-1] > 1]
        taken = {id(p) for p in kernels}
        adam.append({"params": [p for p in own if id(p) not in taken], "lr": lr})
        if kernels:
            muon.append({"params": kernels, "lr": lr})
    found: list[torch.optim.Optimizer] = [torch.optim.AdamW(adam, weight_decay=config.weight_decay)]
    if muon:
        found.append(Muon(muon, lr=config.lr, weight_decay=config.weight_decay))
    return found


@torch.no_grad()
def predict(model: EarVAE, head: LandmarkHead, images: Tensor, batch_size: int = 32, mirrored: bool = True) -> Tensor:
    """(N, 3, S, S) in [0, 1] -> (N, K, 2) in [0, 1], by default averaged with what the mirrored picture says."""
    found = []
    for part in images.split(batch_size):
        points = head(maps_of(model, part))
        if mirrored:
            other = head(maps_of(model, part.flip(-1)))
            other[..., 0] = 1 - other[..., 0]
            points = (points + other) / 2
        found.append(points)
    return torch.cat(found)


def errors(model: EarVAE, head: LandmarkHead, marked: Marked, mirrored: bool = False) -> NDArray[np.float64]:
    """(N,) NME of each picture: mean distance of its visible points in crop sides; NaN without a visible point."""
    found = predict(model, head, to_tensor(marked.images), mirrored=mirrored).numpy()
    return nme(found, marked)


def nme(found: NDArray[np.float32], marked: Marked) -> NDArray[np.float64]:
    """(N,) mean distance of the visible points of (N, K, 2) places in [0, 1] from the truth, in crop sides."""
    distance = np.linalg.norm(found.astype(np.float64) - marked.points, axis=2)
    seen = marked.visible.sum(1)
    total = (distance * marked.visible).sum(1)
    return np.divide(total, seen, out=np.full(len(seen), np.nan), where=seen > 0)

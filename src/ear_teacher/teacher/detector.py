"""Encoder and box head as one thing that finds the ear in a larger picture.

detector = Detector.load("studies/teacher/detector")
boxes, scores = detector.predict(["portrait.jpg"])       # (1, 4) left, top, width, height in pixels; (1,) in [0, 1]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ear_teacher.data import to_tensor
from ear_teacher.models import EarVAE
from ear_teacher.teacher.distortion import relook
from ear_teacher.teacher.fit import FitConfig, Fitted, fit
from ear_teacher.teacher.heads import BoxHead, box_at
from ear_teacher.teacher.inputs import Picture, squares_and_frames
from ear_teacher.teacher.landmarker import load_head, read_description, write_model
from ear_teacher.teacher.pyramid import channels_of, maps_of
from ear_teacher.teacher.scenes import Scenes
from ear_teacher.teacher.teacher import EarTeacher

SHAPE_WEIGHT = 0.3
"""Weight of the box's size and offset beside the focal loss of its place."""


class Detector:
    """Finds one ear in a picture that shows more, an ear at least a sixth of its height.

    Args:
        teacher: the encoder, as the head was trained on it.
        head: trained.
        facts: what is worth knowing about the training; written beside the weights.
    """

    def __init__(self, teacher: EarTeacher, head: BoxHead, facts: Mapping[str, Any] | None = None) -> None:
        self.teacher = teacher
        self.head = head.eval().requires_grad_(False).to(teacher.device, teacher.dtype)
        self.facts = dict(facts or {})

    def save(self, folder: str | Path) -> None:
        """Write the folder that `load` reads: the model's own files and the head's beside them."""
        write_model(Path(folder), self.teacher, self.head, {"box_width": self.head.width, "facts": self.facts})

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device | None = None) -> Detector:
        """Load what `save` wrote; None takes the GPU where there is one.

        Raises:
            UserError: the folder is missing, damaged or holds something else.
        """
        description = read_description(Path(folder), "boxes", ("box_width",))
        teacher = EarTeacher.load(folder, device)
        head = BoxHead(channels_of(teacher.model), int(description["box_width"]))
        load_head(Path(folder), head)
        return cls(teacher, head, description.get("facts"))

    @torch.no_grad()
    def predict(self, pictures: Picture | Sequence[Picture], batch_size: int = 32) -> tuple[Tensor, Tensor]:
        """The best box of each picture, cut to it, and how sure the head is.

        Returns:
            (N, 4) left, top, width, height in pixels of the upright picture, and (N,) scores in [0, 1].

        Raises:
            UserError: a picture is of no use; the message names which.
        """
        teacher = self.teacher
        cut, frames = squares_and_frames(pictures, teacher.image_size)
        images = teacher.normalized(cut)[0].to(teacher.device, teacher.dtype)
        found = [self.head.boxes(maps_of(teacher.model, part)) for part in images.split(max(batch_size, 1))]
        box = torch.cat([box for box, _ in found]).float().cpu()
        corners = torch.cat([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], 1).clamp(0, 1)
        size = frames[:, 2:].repeat(1, 2)
        corners = corners * size
        boxes = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
        return boxes, torch.cat([score for _, score in found]).float().cpu()


def fit_boxes(
    model: EarVAE,
    head: BoxHead,
    train: Scenes,
    val: Scenes,
    config: FitConfig,
    progress: Callable[[int, float], None] | None = None,
) -> Fitted:
    """Train the head, and the encoder with `config.encoder_lr`; kept is what overlaps best on `val`.

    Returns:
        As in `fit_landmarks`; `nme` is one minus the mean intersection over union.
    """

    def loss_of(rows: NDArray[np.int64], generator: torch.Generator) -> Tensor:
        images, boxes = to_tensor(train.images[rows]), torch.from_numpy(train.boxes[rows])
        if config.relook:
            images = relook(images, generator)
        logits, shape = head(maps_of(model, images))
        return box_loss(logits, shape, boxes)

    def judge() -> float:
        found, _ = find(model, head, val.images)
        there = ~np.isnan(val.boxes).any(1)
        return 1 - float(overlap(found, val.boxes)[there].mean())

    return fit(model, head, len(train.images), loss_of, judge, config, progress)


@torch.no_grad()
def find(
    model: EarVAE, head: BoxHead, images: NDArray[np.uint8], batch_size: int = 32
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(N, 4) centre, width, height in [0, 1] of the best box in (N, S, S, 3) pictures, and (N,) scores."""
    found = [
        head.boxes(maps_of(model, to_tensor(images[at : at + batch_size]))) for at in range(0, len(images), batch_size)
    ]
    return torch.cat([box for box, _ in found]).numpy(), torch.cat([score for _, score in found]).numpy()


def box_loss(logits: Tensor, shape: Tensor, boxes: Tensor) -> Tensor:
    """CenterNet's loss: a focal loss of the peak map, and L1 of offset and size at the true centres.

    Args:
        logits: (N, g, g); shape: (N, 4, g, g), both from `BoxHead`.
        boxes: (N, 4) true centre, width and height in [0, 1]; NaN where there is no ear.
    """
    side = logits.shape[-1]
    there = ~boxes.isnan().any(1)
    known = boxes.nan_to_num(0.5)
    cell = (known[:, :2] * side).long().clamp(0, side - 1)
    line = torch.arange(side, device=logits.device)
    # Around the true centre a near miss costs less: a Gaussian a twelfth of the box wide.
    deviation = (known[:, 2:] * side / 12).clamp(min=0.7)
    x = (-0.5 * ((line - cell[:, :1]) / deviation[:, :1]) ** 2).exp()
    y = (-0.5 * ((line - cell[:, 1:]) / deviation[:, 1:]) ** 2).exp()
    wanted = y[:, :, None] * x[:, None, :] * there[:, None, None]
    chance, log_in, log_out = logits.sigmoid(), F.logsigmoid(logits), F.logsigmoid(-logits)
    hit = (1 - chance) ** 2 * log_in * (wanted == 1)
    miss = (1 - wanted) ** 4 * chance**2 * log_out * (wanted < 1)
    place = -(hit + miss).sum((1, 2)).mean()
    if not there.any():
        return place
    index = cell[:, 1] * side + cell[:, 0]
    error = torch.log(box_at(shape, index)[:, 2:]) - known[:, 2:].log()
    offset = (box_at(shape, index)[:, :2] - known[:, :2]) * side
    return place + SHAPE_WEIGHT * (error.abs().sum(1) + offset.abs().sum(1))[there].mean()


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) intersection over union of boxes (N, 4) given as centre, width, height."""
    low = np.maximum(a[:, :2] - a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2)
    high = np.minimum(a[:, :2] + a[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2)
    shared = np.clip(high - low, 0, None).prod(1)
    return np.asarray(shared / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - shared))

"""Encoder and landmark head as one thing that takes pictures.

landmarker = Landmarker.load("studies/teacher/landmarker")
points = landmarker.predict(["ear.jpg"])[0]              # (55, 2) pixels of the picture
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ear_teacher.config import UserError
from ear_teacher.files import read_json, whole_folder, write_atomically
from ear_teacher.squares import Box
from ear_teacher.teacher.fit import predict
from ear_teacher.teacher.heads import LandmarkHead
from ear_teacher.teacher.inputs import Picture, squares_and_frames
from ear_teacher.teacher.pyramid import channels_of
from ear_teacher.teacher.teacher import EarTeacher

HEAD_FILE, FACTS_FILE = "head.safetensors", "head.json"


class Landmarker:
    """Finds the landmarks of an ear that fills most of the picture or of the box.

    Args:
        teacher: the encoder, as the head was trained on it.
        head: trained.
        names: of the points, in order.
        facts: what is worth knowing about the training, such as its validation NME; written beside the weights.
    """

    def __init__(
        self, teacher: EarTeacher, head: LandmarkHead, names: Sequence[str], facts: Mapping[str, Any] | None = None
    ) -> None:
        if len(names) != head.points:
            raise UserError(f"{len(names)} names for {head.points} points; give one for each.")
        self.teacher = teacher
        self.head = head.eval().requires_grad_(False).to(teacher.device, teacher.dtype)
        self.names = tuple(names)
        self.facts = dict(facts or {})

    def save(self, folder: str | Path) -> None:
        """Write the folder that `load` reads: the model's own files and the head's beside them."""
        description = {"names": list(self.names), "width": self.head.width, "facts": self.facts}
        write_model(Path(folder), self.teacher, self.head, description)

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device | None = None) -> Landmarker:
        """Load what `save` wrote; None takes the GPU where there is one.

        Raises:
            UserError: the folder is missing, damaged or holds something else.
        """
        description = read_description(Path(folder), "landmarks", ("names", "width"))
        teacher = EarTeacher.load(folder, device)
        names = [str(name) for name in description["names"]]
        head = LandmarkHead(channels_of(teacher.model), len(names), int(description["width"]))
        load_head(Path(folder), head)
        return cls(teacher, head, names, description.get("facts"))

    def predict(
        self,
        pictures: Picture | Sequence[Picture],
        boxes: Sequence[Box | None] | None = None,
        batch_size: int = 32,
    ) -> Tensor:
        """Landmarks of pictures of any size, the mean of what a picture and its mirror image say.

        Args:
            pictures: one, a list or a batch (`ear_teacher.teacher.inputs.Picture`).
            boxes: the ear in each picture: left, top, width, height in pixels; None: the whole picture.
            batch_size: how many are encoded at a time, at least 1.

        Returns:
            (N, K, 2) float32: x and y in pixels of each (upright) picture, the centre of its upper left pixel at
            (0, 0).

        Raises:
            UserError: a picture or a box is of no use; the message names which.
        """
        teacher = self.teacher
        cut, frames = squares_and_frames(pictures, teacher.image_size, boxes)
        images = teacher.normalized(cut)[0].to(teacher.device, teacher.dtype)
        found = predict(teacher.model, self.head, images, max(batch_size, 1)).float().cpu()
        return frames[:, None, :2] + found * frames[:, None, 2:] - 0.5


def write_model(folder: Path, teacher: EarTeacher, head: nn.Module, description: Mapping[str, Any]) -> None:
    """Write a model with its head, all or nothing."""
    with whole_folder(folder) as work:
        teacher.model.save(work)
        if teacher.normalization is not None:
            teacher.normalization.save(work)
        write_atomically(work / HEAD_FILE, save({name: t.contiguous() for name, t in head.state_dict().items()}))
        write_atomically(work / FACTS_FILE, json.dumps(description, indent=1) + "\n")


def read_description(folder: Path, what: str, keys: Sequence[str]) -> dict[str, Any]:
    """The head's description, which must hold `keys`.

    Raises:
        UserError: it is missing, damaged or that of something else.
    """
    try:
        description = read_json(folder / FACTS_FILE)
        if not isinstance(description, dict) or not set(keys) <= set(description):
            raise ValueError
    except (OSError, ValueError):
        raise UserError(
            f"{folder} holds no trained head for {what} ({FACTS_FILE} is missing or not one of ours); give a folder "
            "that the study `teacher` wrote."
        ) from None
    return description


def load_head(folder: Path, head: nn.Module) -> None:
    """Put the weights in the folder into the head.

    Raises:
        UserError: they are missing, damaged or those of another head.
    """
    try:
        head.load_state_dict(load_file(folder / HEAD_FILE))
    except (OSError, SafetensorError, RuntimeError):
        raise UserError(
            f"{folder / HEAD_FILE} is missing, damaged or does not fit {FACTS_FILE}; run the study `teacher` again."
        ) from None

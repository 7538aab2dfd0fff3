"""The encoder of a trained model as a teacher: features in three lines.

from ear_teacher import EarTeacher
teacher = EarTeacher.load("models/current")
features = teacher.features(["left.jpg", "right.jpg"])     # features.mean, features.maps["stride8"]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ear_teacher.config import UserError
from ear_teacher.data.normalization import GreyNormalization
from ear_teacher.models import EarVAE
from ear_teacher.squares import Box
from ear_teacher.teacher.inputs import Picture, grey_pictures, squares
from ear_teacher.teacher.pyramid import Features, encode


class EarTeacher:
    """A trained model that takes pictures as people have them.

    Args:
        model: a trained model; put in evaluation mode, its weights no longer learn.
        device: where it computes.
        dtype: of weights, maps and tokens; float16 and bfloat16 are for GPUs.
        normalization: what was done to greyscale training pictures (`data.normalization: per_group`), if anything.

    Raises:
        UserError: the device is not there, or the dtype holds no fractions.
    """

    def __init__(
        self,
        model: EarVAE,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        normalization: GreyNormalization | None = None,
    ) -> None:
        self.normalization = normalization
        if not dtype.is_floating_point:
            raise UserError(f"dtype = {dtype} holds no fractions; use torch.float32, torch.float16 or torch.bfloat16.")
        try:
            self.device = torch.device(device)
            self.model = model.eval().requires_grad_(False).to(self.device, dtype)
        except (RuntimeError, AssertionError) as error:  # torch raises either, by kind of device
            reason = str(error).strip().splitlines()[0][:80]
            raise UserError(f"device = {device} cannot be used ({reason}); use cpu, or cuda on a GPU.") from None
        self.dtype = dtype

    @classmethod
    def load(
        cls, folder: str | Path, device: str | torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> EarTeacher:
        """Load the folder that stage `train` wrote (`model.safetensors` and `config.json`).

        Args:
            folder: such as `models/current`.
            device: None takes the GPU where there is one.
            dtype: see the class.

        Raises:
            UserError: a file is missing, damaged or not one of ours; or as for the class.
        """
        if not (Path(folder) / "config.json").is_file():
            raise UserError(
                f"{folder} is no folder of a trained model: it has no config.json; give one such as models/current."
            )
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(EarVAE.load(folder), place, dtype, GreyNormalization.load(Path(folder)))

    @property
    def image_size(self) -> int:
        """Side of the square, in pixels, that every picture is scaled to."""
        return self.model.image_size

    def features(
        self,
        pictures: Picture | Sequence[Picture],
        boxes: Sequence[Box | None] | None = None,
        batch_size: int = 32,
    ) -> Features:
        """Encode pictures of any size.

        Args:
            pictures: one, a list or a batch (`ear_teacher.teacher.inputs.Picture`).
            boxes: the ear in each picture: left, top, width, height in pixels; None: the whole picture.
            batch_size: how many are encoded at a time, at least 1.

        Raises:
            UserError: a picture or a box is of no use; the message names which.
        """
        parts = [self._encode(part) for part in self.inputs(pictures, boxes).split(max(batch_size, 1))]
        return Features(
            torch.cat([part.mean for part in parts]),
            torch.cat([part.logvar for part in parts]),
            {name: torch.cat([part.maps[name] for part in parts]) for name in parts[0].maps},
            None if parts[0].tokens is None else torch.cat([part.tokens for part in parts if part.tokens is not None]),
        )

    @torch.no_grad()
    def reconstruct(
        self,
        pictures: Picture | Sequence[Picture],
        boxes: Sequence[Box | None] | None = None,
        batch_size: int = 32,
    ) -> Tensor:
        """(N, 3, S, S) in [0, 1], through the posterior's mean. Arguments and errors of `features`."""
        given, grey = self._squares(pictures, boxes)
        codes = [self.model.encode(part.to(self.device, self.dtype)).mode for part in given.split(max(batch_size, 1))]
        recon = torch.cat([self.model.decode(code.to(self.dtype)).clamp(0, 1) for code in codes])
        if self.normalization is None or not grey.any():
            return recon
        back = self.normalization.invert(recon.float().cpu().permute(0, 2, 3, 1).double().numpy(), grey.numpy())
        return torch.from_numpy(back).permute(0, 3, 1, 2).clamp(0, 1).to(recon)

    def inputs(self, pictures: Picture | Sequence[Picture], boxes: Sequence[Box | None] | None = None) -> Tensor:
        """(N, 3, S, S) float32 in [0, 1] on the CPU: what the model is given. Arguments and errors of `features`."""
        return self._squares(pictures, boxes)[0]

    def _squares(
        self, pictures: Picture | Sequence[Picture], boxes: Sequence[Box | None] | None
    ) -> tuple[Tensor, Tensor]:
        """Pictures as the model was trained on them, and which of them are greyscale."""
        return self.normalized(squares(pictures, self.image_size, boxes))

    def normalized(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) pictures as the model was trained on them, and which of them (N,) are greyscale and so moved."""
        if self.normalization is None:
            return images, torch.zeros(len(images), dtype=torch.bool)
        grey = grey_pictures(images)
        moved = self.normalization.apply(images.permute(0, 2, 3, 1).double().numpy(), grey.numpy())
        return torch.from_numpy(moved).permute(0, 3, 1, 2).clamp(0, 1).float(), grey

    @torch.no_grad()
    def _encode(self, images: Tensor) -> Features:
        """(n, 3, S, S) in [0, 1] -> their features."""
        return encode(self.model, images.to(self.device, self.dtype))


def feature_shapes(model: EarVAE) -> dict[str, tuple[int, ...]]:
    """Name of every output -> its shape for one picture, without the first axis."""
    with torch.no_grad():
        features = encode(model, next(model.parameters()).new_zeros(1, 3, model.image_size, model.image_size))
    named = {"mean": features.mean, "logvar": features.logvar, **features.maps}
    if features.tokens is not None:
        named["tokens"] = features.tokens
    return {name: tuple(tensor.shape[1:]) for name, tensor in named.items()}

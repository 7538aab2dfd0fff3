"""A small student of the teacher: its features for the price of a phone, and landmarks.

student = Student("lcnet_050", points=55, teacher=channels_of(model))
train_student(student, model, train, val, StudentConfig())
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ear_teacher.config import UserError
from ear_teacher.data import to_tensor
from ear_teacher.files import read_json, write_atomically
from ear_teacher.models import EarVAE
from ear_teacher.teacher.distortion import move, relook
from ear_teacher.teacher.fit import Marked, nme
from ear_teacher.teacher.heads import LandmarkHead, expected_place
from ear_teacher.teacher.pyramid import maps_of
from ear_teacher.weights.trunks import check_timm_name

STRIDES = (4, 8, 16)


class Student(nn.Module):
    """A small untrained timm network, a landmark head on its maps, and what maps these to the teacher's.

    Its picture has the teacher's size; every map of the teacher (the code as well) is imitated from the student's map
    of the same stride, by a 1 x 1 conv (FitNets: Romero et al. 2015, arXiv 1412.6550).

    Args:
        name: timm model that gives maps of strides 4, 8 and 16.
        points: how many landmarks.
        teacher: stride and channels of each of the teacher's maps, by name.
        width: channels inside the head.
        seed: of the random weights.

    Raises:
        UserError: timm does not know the model, or it has no such maps.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, name: str, points: int, teacher: Mapping[str, tuple[int, int]], width: int = 32, seed: int = 0
    ) -> None:
        super().__init__()
        check_timm_name(name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # timm's models share an interface that no class of theirs declares.
            network: Any = timm.create_model(name, pretrained=False, features_only=True)
            reductions = network.feature_info.reduction()
            if not set(STRIDES) <= set(reductions):
                raise UserError(f"The student {name} gives no maps of strides 4, 8 and 16; use one such as lcnet_050.")
            levels = [reductions.index(stride) for stride in STRIDES]
            network = timm.create_model(name, pretrained=False, features_only=True, out_indices=levels)
            channels = dict(zip(STRIDES, network.feature_info.channels(), strict=True))
            self.network: nn.Module = network
            self.projections = nn.ModuleDict(
                {key: nn.Conv2d(channels[stride], count, 1) for key, (stride, count) in teacher.items()}
            )
        self.head = LandmarkHead({f"stride{stride}": count for stride, count in channels.items()}, points, width, seed)
        self.teacher = dict(teacher)
        self.description = {"name": name, "points": points, "teacher": self.teacher, "width": width}
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, S, S) in [0, 1] -> its own maps by name."""
        found = self.network((images - self.mean) / self.std)
        return {f"stride{stride}": values for stride, values in zip(STRIDES, found, strict=True)}

    def imitated(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Its maps -> the teacher's as it sees them, each channel normalised as in `imitation_loss`."""
        return {key: self.projections[key](maps[f"stride{stride}"]) for key, (stride, _) in self.teacher.items()}

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, S, S) in [0, 1] -> landmarks (N, K, 2) in [0, 1], and the imitated maps in order of `teacher`."""
        maps = self.maps(images)
        return (self.head(maps), *self.imitated(maps).values())

    def save(self, folder: Path) -> None:
        """Write `student.safetensors` and `student.json`, from which `load` rebuilds it."""
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        write_atomically(folder / "student.safetensors", save(tensors))
        write_atomically(folder / "student.json", json.dumps(self.description, indent=2) + "\n")

    @staticmethod
    def load(folder: str | Path) -> Student:
        """Rebuild a saved student, in evaluation mode.

        Raises:
            UserError: a file is missing, damaged or does not fit the other.
        """
        folder = Path(folder)
        try:
            given = read_json(folder / "student.json")
            teacher = {str(key): (int(stride), int(count)) for key, (stride, count) in given["teacher"].items()}
            student = Student(str(given["name"]), int(given["points"]), teacher, int(given["width"]))
            student.load_state_dict(load_file(folder / "student.safetensors"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError, RuntimeError):
            raise UserError(f"{folder}: holds no whole student; run `make teacher` again.") from None
        return student.eval()


@dataclass(frozen=True)
class StudentConfig:
    """How a student learns.

    Attributes:
        steps, batch_size, seed: of the training; AdamW, the learning rate falls along a cosine.
        lr: learning rate.
        imitation: weight of the imitation beside the landmarks' loss; 0: the teacher is not asked.
        validate_every: steps.
    """

    steps: int = 1000
    batch_size: int = 16
    seed: int = 0
    lr: float = 3e-3
    imitation: float = 0.2
    validate_every: int = 100


def teacher_maps(model: EarVAE) -> dict[str, tuple[int, int]]:
    """Stride and channels of the teacher's maps that a student imitates: those of stride 4, 8 or 16, the code too."""
    with torch.no_grad():
        maps = maps_of(model, torch.zeros(1, 3, model.image_size, model.image_size))
    strides = {name: (model.image_size // values.shape[-1], values.shape[1]) for name, values in maps.items()}
    return {name: found for name, found in strides.items() if found[0] in STRIDES}


def imitation_loss(imitated: Mapping[str, Tensor], real: Mapping[str, Tensor]) -> Tensor:
    """Mean squared error from the teacher's maps, each channel of each brought to mean 0 and variance 1 over the batch.

    Maps count alike, whatever their scale: 1 is what a student gets that always says the mean.
    """
    errors = []
    for name, found in imitated.items():
        values = real[name]
        centre = values.mean((0, 2, 3), keepdim=True)
        wanted = (values - centre) / (values.std((0, 2, 3), keepdim=True) + 1e-4)
        errors.append(F.mse_loss(found, wanted))
    return torch.stack(errors).mean()


def train_student(
    student: Student,
    teacher: EarVAE,
    train: Marked,
    val: Marked,
    config: StudentConfig,
    progress: Callable[[int, float], None] | None = None,
) -> float:
    """Train a student on moved and relit pictures; the teacher sees them moved only. The best on `val` is kept.

    Args:
        progress: called after each validation with the step and the NME.

    Returns:
        the NME on `val`.
    """
    student.train()
    teacher.eval()
    optimizer = torch.optim.AdamW(student.parameters(), lr=config.lr, weight_decay=1e-2)
    rise = max(1, config.steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, (step + 1) / rise) * (0.01 + 0.99 * (1 + math.cos(math.pi * step / config.steps)) / 2),
    )
    generator = torch.Generator().manual_seed(config.seed)
    best, kept = math.inf, copy.deepcopy(student.state_dict())
    for step in range(1, config.steps + 1):
        rows = torch.randint(len(train), (config.batch_size,), generator=generator).numpy()
        part = train.part(rows)
        images, points = move(to_tensor(part.images), torch.from_numpy(part.points), generator)
        maps = student.maps(relook(images, generator))
        weight = torch.from_numpy(part.visible).float() * ((points > 0) & (points < 1)).all(2)
        error = (expected_place(student.head.heatmaps(maps)) - points).abs().sum(2)
        loss = (error * weight).sum() / weight.sum().clamp(min=1)
        if config.imitation:
            with torch.no_grad():
                real = maps_of(teacher, images)
            # The landmarks' loss falls to about 0.03, the imitation's to a few tenths.
            loss = loss + config.imitation * imitation_loss(student.imitated(maps), real)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % config.validate_every == 0 or step == config.steps:
            found = float(np.nanmean(student_errors(student, val)))
            student.train()
            if found < best:
                best, kept = found, copy.deepcopy(student.state_dict())
            if progress is not None:
                progress(step, found)
    student.load_state_dict(kept)
    student.eval()
    return best


@torch.no_grad()
def student_errors(student: Student, marked: Marked) -> NDArray[np.float64]:
    """(N,) NME of each picture, in crop sides; NaN without a visible point."""
    student.eval()
    found = [student(part)[0] for part in to_tensor(marked.images).split(64)]
    return nme(torch.cat(found).numpy(), marked)


@torch.no_grad()
def student_imitation(student: Student, teacher: EarVAE, marked: Marked) -> dict[str, float]:
    """Share of the variance of each of the teacher's maps that the student tells (R², channels weighted alike)."""
    student.eval()
    images = to_tensor(marked.images)
    real = [maps_of(teacher, part) for part in images.split(64)]
    own = [student.imitated(student.maps(part)) for part in images.split(64)]
    return {
        name: 1 - float(imitation_loss({name: torch.cat([maps[name] for maps in own])},
                                       {name: torch.cat([maps[name] for maps in real])}))
        for name in student.teacher
    }  # fmt: skip


def export_student(student: Student, path: Path, size: int) -> None:
    """Write ONNX: `images` (N, 3, S, S) in [0, 1] -> `points` and `teacher_<map>`; any number of pictures."""
    batch = torch.export.Dim("pictures", min=1, max=4096)
    program = torch.onnx.export(
        student.eval(), (torch.rand(2, 3, size, size),), dynamo=True, dynamic_shapes=({0: batch},),
        input_names=["images"], output_names=["points", *(f"teacher_{name}" for name in student.teacher)],
        verbose=False,
    )  # fmt: skip
    assert program is not None
    write_atomically(path, program.model_proto.SerializeToString())


def onnx_difference(student: Student, path: Path, images: Tensor) -> float:
    """Largest difference of onnxruntime's outputs from the student's."""
    import onnxruntime  # an extra: only those who export need it

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        own = student.eval()(images)
    other = session.run(None, {"images": images.numpy()})
    return max(float(np.abs(a.numpy() - b).max()) for a, b in zip(own, other, strict=True))

"""Part 3, inference: features and landmarks, by torch and by onnxruntime, one picture at a time and in batches of 32,
beside the bare backbone. The landmark head has random weights: time does not depend on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.measure import timed
from benchmarks.settings import Settings
from ear_teacher.config import NO_BACKBONE, UserError
from ear_teacher.models import EarVAE
from ear_teacher.models.backbone import Backbone
from ear_teacher.teacher.graphs import Part, write_onnx
from ear_teacher.teacher.heads import LandmarkHead
from ear_teacher.teacher.pyramid import channels_of, maps_of

MODEL = Path("models/current")
POINTS = 55
BATCHES = (1, 32)
WIDTH = 64


class Features(nn.Module):
    """What the teacher gives: code and maps."""

    def __init__(self, model: EarVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(maps_of(self.model, images).values())


class Landmarks(nn.Module):
    """Encoder and head."""

    def __init__(self, model: EarVAE, head: LandmarkHead) -> None:
        super().__init__()
        self.model, self.head = model, head

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return (self.head(maps_of(self.model, images)),)


class Bare(nn.Module):
    """The backbone's maps alone."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(images))


def measure(settings: Settings) -> dict[str, Any]:
    """what -> runtime -> batch -> pictures a second; `largest_difference` of onnxruntime from torch, relative."""
    model = EarVAE.load(MODEL).requires_grad_(False)
    config, side = model.config, model.image_size
    if config.backbone == NO_BACKBONE:
        raise UserError(f"{MODEL} has no backbone to stand beside; train it with a model.backbone.")
    torch.manual_seed(0)
    modules: dict[str, nn.Module] = {
        f"{config.backbone} alone": Bare(Backbone(config.backbone, side, 0, config.backbone_layers)),
        "features": Features(model),
        "landmarks": Landmarks(model, LandmarkHead(channels_of(model), POINTS, WIDTH)),
    }
    images = torch.rand(max(BATCHES), 3, side, side, generator=torch.Generator().manual_seed(0))
    cases: dict[str, Callable[[], object]] = {}
    differences = {}
    with TemporaryDirectory() as folder, torch.no_grad():
        for name, module in modules.items():
            module.eval()
            session = onnx_session(module, images[:2], Path(folder) / f"{len(cases)}.onnx")
            for size in BATCHES:
                batch = images[:size].contiguous()
                array = batch.numpy()
                cases[f"{name}|torch|{size}"] = lambda m=module, b=batch: m(b)
                cases[f"{name}|onnxruntime|{size}"] = lambda s=session, b=array: s.run(None, {"images": b})
            pairs = zip(module(images), session.run(None, {"images": images.numpy()}), strict=True)
            differences[name] = max(float(np.abs(a.numpy() - b).max() / np.abs(a.numpy()).max()) for a, b in pairs)
        seconds = timed(cases, settings.repeats, settings.seconds)
    speeds: dict[str, Any] = {}
    for key, value in seconds.items():
        name, runtime, size = key.split("|")
        speeds.setdefault(name, {}).setdefault(runtime, {})[size] = int(size) / value
    return {"image_size": side, "points": POINTS, "pictures_a_second": speeds, "largest_difference": differences}


def onnx_session(module: nn.Module, example: Tensor, path: Path) -> Any:
    """The module in onnxruntime, on as many threads as torch has."""
    import onnxruntime

    outputs = tuple(f"output{i}" for i in range(len(module(example))))
    write_onnx(Part("encoder", module, example, "images", outputs), path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

"""A trained model for use elsewhere: ONNX, `torch.export` or safetensors.

export(Path("models/current"), Path("exported"), "onnx", "int8", images=Path("photos"))

The folder holds `export.json`, which says what each input and output is, and the model card. It appears whole, or not
at all, and only after what was written has been run and compared with the model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ear_teacher.config import UserError
from ear_teacher.data import to_tensor
from ear_teacher.data.normalization import FILE as NORMALIZATION
from ear_teacher.files import whole_folder, write_atomically
from ear_teacher.models import EarVAE
from ear_teacher.photos import read_bare
from ear_teacher.teacher import graphs
from ear_teacher.teacher.card import FILE as CARD
from ear_teacher.teacher.teacher import EarTeacher, feature_shapes

Format = Literal["onnx", "torch", "safetensors"]
Precision = Literal["float32", "float16", "int8"]
FORMATS: tuple[Format, ...] = ("onnx", "torch", "safetensors")
PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")
SUFFIX = {"onnx": ".onnx", "torch": ".pt2"}
Runner = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
TOLERANCE = 1e-4
"""Largest difference of a float32 graph from the model, in units of the output's largest value (1 at least)."""
CALIBRATION = 64
"""Pictures the ranges of int8 activations are taken from."""
CHECKED = (1, 5)
"""Sizes of the batches that are compared."""


def export(
    model: Path, out: Path, kind: Format = "onnx", precision: Precision = "float32", images: Path | None = None
) -> dict[str, Any]:
    """Write a model for use elsewhere.

    Args:
        model: folder of a trained model.
        out: folder to make; it must not hold anything yet.
        kind: `onnx`: encoder.onnx and decoder.onnx; `torch`: encoder.pt2 and decoder.pt2, for `torch.export.load`;
            `safetensors`: what `EarTeacher.load` reads.
        precision: of the weights; int8 is for ONNX, and the native form is float32.
        images: int8 only: folder of pictures, or .npy; the ranges of activations are fixed from 64 of them. None:
            every batch sets its own.

    Returns:
        What export.json says: files, inputs, outputs, and the largest difference of each from the float32 model.

    Raises:
        UserError: the model or the pictures are of no use, `out` holds something, a package is missing, the choices
            do not go together, or the written graph does not compute what the model does.
    """
    if precision == "int8" and kind != "onnx":
        raise UserError(f"int8 is for ONNX only: use --format onnx, or another precision for {kind}.")
    if kind == "safetensors" and precision != "float32":
        raise UserError(f"The native form is float32: use --format onnx for {precision}, or leave --precision out.")
    if images is not None and precision != "int8":
        raise UserError(f"Pictures calibrate int8 only: leave --images out for {precision}.")
    if kind == "onnx":
        graphs.require_onnx()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} already exists and is not an empty folder; choose another one or remove it first.")
    teacher = EarTeacher.load(model, "cpu")
    pictures = None if images is None else _calibration(teacher, images)
    description = _describe(teacher, kind, precision, pictures)
    with whole_folder(out) as folder:
        if kind == "safetensors":
            for name in ("model.safetensors", "config.json"):
                shutil.copy(model / name, folder / name)
        else:
            _graphs(teacher.model, folder, kind, precision, pictures, list(description["parts"]["encoder"]["outputs"]))
        description["largest_difference"] = _compared(teacher.model, folder, kind, precision)
        for name in (CARD, NORMALIZATION):
            if (model / name).exists():
                shutil.copy(model / name, folder / name)
        write_atomically(folder / "export.json", json.dumps(description, indent=2) + "\n")
    return description


def _graphs(
    model: EarVAE, folder: Path, kind: Format, precision: Precision, pictures: Tensor | None, outputs: list[str]
) -> None:
    """Encoder and decoder as graphs."""
    half = precision == "float16" and kind == "torch"  # ONNX graphs are halved once they are written
    for part in graphs.parts_of(model, torch.float16 if half else torch.float32, outputs):
        path = folder / f"{part.name}{SUFFIX[kind]}"
        if kind == "torch":
            torch.export.save(graphs.traced(part), path)
            continue
        graphs.write_onnx(part, path)
        if precision == "float16":
            graphs.halve(path)
        elif precision == "int8":
            graphs.quantise(path, part.input_name, None if pictures is None else _inputs(model, pictures)[part.name])


@torch.no_grad()
def _inputs(model: EarVAE, pictures: Tensor) -> dict[str, NDArray[np.float32]]:
    """What encoder and decoder are given for these pictures."""
    return {"encoder": pictures.numpy(), "decoder": model.encode(pictures).mode.numpy()}


def _calibration(teacher: EarTeacher, images: Path) -> Tensor:
    """Evenly spaced pictures as the model takes them, (n, 3, S, S)."""
    with read_bare(images, teacher.image_size) as (found, _):
        count = min(len(found), CALIBRATION)
        return teacher.inputs(to_tensor(found[np.arange(count) * len(found) // count]))


@torch.no_grad()
def _compared(model: EarVAE, folder: Path, kind: Format, precision: Precision) -> dict[str, float]:
    """Largest difference of every output from the float32 model, on pictures that the decoder makes of random codes."""
    shape = (max(CHECKED), model.config.channels, model.config.grid, model.config.grid)
    codes = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    inputs = {"encoder": model.decode(codes).clamp(0, 1), "decoder": codes}
    outputs = list(feature_shapes(model))
    found: dict[str, float] = {}
    for part in graphs.parts_of(model, torch.float32, outputs):
        run = _runner(part.name, folder, kind, outputs)
        for size in CHECKED:
            values = inputs[part.name][:size]
            for name, wanted, got in zip(part.output_names, part.module(values), run(values.numpy()), strict=True):
                difference = float(np.abs(wanted.numpy() - got).max())
                allowed = TOLERANCE * max(1.0, float(wanted.abs().max()))
                if precision == "float32" and not difference <= allowed:  # NaN fails as well
                    raise UserError(
                        f"The {kind} file's {name} differs from the model by {difference:.2g}, so nothing was written: "
                        "use another --format, and tell the authors which model this is."
                    )
                found[name] = max(found.get(name, 0.0), difference)
    return {name: float(f"{difference:.3g}") for name, difference in found.items()}


def _runner(part: str, folder: Path, kind: Format, outputs: list[str]) -> Runner:
    """What computes a written part."""
    if kind == "safetensors":
        own = {each.name: each.module for each in graphs.parts_of(EarVAE.load(folder), torch.float32, outputs)}
        return lambda values: [tensor.numpy() for tensor in own[part](torch.from_numpy(values))]
    path = folder / f"{part}{SUFFIX[kind]}"
    return partial(graphs.run_onnx if kind == "onnx" else graphs.run_program, path)


def _describe(teacher: EarTeacher, kind: Format, precision: Precision, pictures: Tensor | None) -> dict[str, Any]:
    model, side = teacher.model, teacher.image_size
    code = ["N", model.config.channels, model.config.grid, model.config.grid]
    outputs = {name: _meaning(name, shape) for name, shape in feature_shapes(model).items()}
    content: dict[str, Any] = {
        "format": kind,
        "precision": precision,
        "activations": None if precision != "int8" else "ranges of each batch" if pictures is None else "fixed ranges",
        "calibration_pictures": 0 if pictures is None else len(pictures),
        "image_size": side,
        "before": f"Picture upright, RGB, cut to one ear, both sides scaled to {side} pixels (antialiased, Lanczos), "
        "divided by 255.",
        "parts": {
            "encoder": {
                "file": _file("encoder", kind),
                "inputs": {"images": _tensor(["N", 3, side, side], "[0, 1]", "pictures, channels red, green, blue")},
                "outputs": outputs,
            },
            "decoder": {
                "file": _file("decoder", kind),
                "inputs": {"codes": _tensor(code, "any; the prior is N(0, 1)", "codes, such as the encoder's mean")},
                "outputs": {"pictures": _tensor(["N", 3, side, side], "[0, 1]", "what the codes stand for")},
            },
        },
    }
    if teacher.normalization is not None:
        how = teacher.normalization
        content["greyscale"] = {
            "before": "Pictures whose channels are equal: x * scale + offset for each channel, clipped to [0, 1].",
            "scale": list(how.scale),
            "offset": list(how.offset),
        }
    return content


def _file(part: str, kind: Format) -> str:
    return "model.safetensors" if kind == "safetensors" else f"{part}{SUFFIX[kind]}"


def _tensor(shape: list[Any], values: str, meaning: str) -> dict[str, Any]:
    return {"shape": shape, "dtype": "float32", "values": values, "meaning": meaning}


def _meaning(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    meanings = {
        "mean": "posterior means, the code",
        "logvar": "log-variances of the posterior",
        "tokens": "features of the pretrained backbone, row by row",
    }
    whose, _, stride = name.rpartition("stride")
    spatial = (
        f"spatial features{' of the pretrained backbone' if whose else ''}, one place for {stride} x {stride} pixels"
    )
    return _tensor(["N", *shape], "[-20, 10]" if name == "logvar" else "any", meanings.get(name, spatial))

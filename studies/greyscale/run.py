"""PYTHONPATH=src python studies/greyscale/run.py current quarter-shared 0

Train a model on a mixture of colour and greyscale ears, and measure every test ear twice: in colour, and as its own
luma. Content, pose and light are the same in both, so what differs is colour. Errors are counted in the pictures'
original values, whatever was done to them on the way in.

The squared error of a picture is exactly that of its brightness (the mean of the channels) plus that of its colour
(what the channels have beside their mean).
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ear_teacher.config import Variant, load_config
from ear_teacher.data import PreparedData, to_tensor
from ear_teacher.data.audit import measure
from ear_teacher.data.normalization import GreyNormalization
from ear_teacher.files import write_atomically
from ear_teacher.linear import LinearCode, fit_klt, fit_pca
from ear_teacher.losses import Loss, perceptual_trunk
from ear_teacher.models import EarVAE, new_model
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.stage import run
from ear_teacher.training.loop import Pictures, train
from ear_teacher.weights import load_trunk

FLOATS = 256  # at 64 px a quarter of the values of 128 px, so a quarter of the floats
STEPS = {"current": 240, "v0": 480}
WIDTH = {"current": 48, "v0": 128}
EVERY = {"none": 0, "quarter": 4, "half": 2}
LUMA = (0.299, 0.587, 0.114)


def main() -> None:
    name, mixture, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
    share, normalization = mixture.split("-")
    variant = load_config("studies/params.yaml").variant(name)
    data = PreparedData.load(Path("studies/greyscale/pictures"))
    images = np.asarray(data.images).copy()
    rows, tests = data.rows("train"), data.rows("test")
    both = np.concatenate([images[tests], as_grey(images[tests])])
    grey = np.arange(len(both)) >= len(tests)
    made_grey = rows[:: EVERY[share]] if EVERY[share] else rows[:0]
    images[made_grey] = as_grey(images[made_grey])
    how = None
    if normalization == "per_group":
        colour = np.setdiff1d(rows, made_grey)
        how = GreyNormalization.fit([measure(images[i]) for i in made_grey], [measure(images[i]) for i in colour])
        images[made_grey] = moved(images[made_grey], np.ones(len(made_grey), dtype=bool), how)

    grid = variant.model.grid
    code = fit_pca(images, rows, FLOATS) if grid == 1 else fit_klt(images, rows, grid, FLOATS // grid**2)
    model = trained(variant, code, Pictures(images, rows, data.rows("val", 16)), seed)
    given = both if how is None else moved(both, grey, how)
    tables = []
    for rebuilder, rebuild in (("model", model.reconstruct), ("linear", code.reconstruct)):
        with torch.no_grad():
            parts = [rebuild(to_tensor(given[i : i + 32])).clamp(0, 1) for i in range(0, len(given), 32)]
        recon = torch.cat(parts).permute(0, 2, 3, 1).double().numpy()
        if how is not None:
            recon = how.invert(recon, grey).clip(0, 1)
        index = data.index.loc[np.concatenate([tests, tests]), ["file", "person"]].reset_index(drop=True)
        tables.append(index.assign(grey=grey, rebuilder=rebuilder, **errors(both / 255, recon)))
    table = pd.concat(tables)
    out = Path(f"studies/greyscale/runs/{name}-{mixture}-{seed}.csv")
    write_atomically(out, table.to_csv(index=False, float_format="%.6g"))


def as_grey(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, S, S, 3) uint8 as greyscale, three equal channels."""
    luma = (images @ np.array(LUMA)).round().astype(np.uint8)
    return luma[..., None].repeat(3, axis=3)


def moved(images: NDArray[np.uint8], grey: NDArray[np.bool_], how: GreyNormalization) -> NDArray[np.uint8]:
    """As `prepare` stores them."""
    return (how.apply(images / 255, grey) * 255).round().clip(0, 255).astype(np.uint8)


def errors(originals: NDArray[np.float64], recons: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """(N,) PSNR in dB, and the squared errors of brightness and of colour, of (N, S, S, 3) in [0, 1]."""
    error = recons - originals
    brightness = error.mean(3) ** 2
    squared = (error**2).mean((1, 2, 3))
    return {
        "psnr": -10 * np.log10(np.maximum(squared, 1e-10)),
        "brightness": brightness.mean((1, 2)),
        "colour": squared - brightness.mean((1, 2)),
    }


def trained(variant: Variant, code: LinearCode, pictures: Pictures, seed: int) -> EarVAE:
    """The variant at 64 px, after the steps of this study."""
    name, image_size = variant.name, pictures.images.shape[1]
    shape = variant.model.model_copy(update={"latent_dim": FLOATS, "width": WIDTH[name]})
    backbone = load_trunk(Path("data/weights/v0/backbone.safetensors")) if shape.encoder == "backbone" else None
    model = new_model(
        shape,
        image_size,
        kl_weight=variant.loss.kl_weight or 1e-6,
        seed=seed,
        code=code if shape.warm_start == "klt" else None,
        backbone=backbone,
    )
    trunk = perceptual_trunk(variant.loss)
    net = load_lpips(trunk, Path("data/weights/perceptual") / TRUNK_FILE[trunk]) if trunk else None
    steps = STEPS[name]
    budget = variant.train.model_copy(
        update={"steps": steps, "batch_size": 8, "accumulation": 1, "validate_every": steps // 2, "select": "last",
                "milestones": (), "seed": seed}
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        train(model, Loss(variant.loss, net), pictures, budget, Path(folder))
    return model.eval()


if __name__ == "__main__":
    run(main)

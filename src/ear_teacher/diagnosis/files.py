"""Any model of ours, from files: what the command line diagnoses and writes."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from ear_teacher.config import UserError, load_config, read_params
from ear_teacher.diagnosis.advice import Address, keys_of
from ear_teacher.diagnosis.output import content, write_plots
from ear_teacher.diagnosis.page import page, section
from ear_teacher.diagnosis.subject import Subject, evenly
from ear_teacher.diagnosis.verdict import Diagnosis, diagnose
from ear_teacher.files import whole_folder, write_atomically
from ear_teacher.linear import LinearCode, fit_codes
from ear_teacher.losses import perceptual_trunk
from ear_teacher.models import EarVAE
from ear_teacher.perceptual import load_lpips
from ear_teacher.photos import read_bare

FEWEST_FOR_CODES = 100
MOST = 400
"""Pictures of each set that are used: more tell nothing new and take time."""


def diagnose_files(
    model: Path,
    images: Path,
    *,
    train_images: Path | None = None,
    history: Path | None = None,
    params: Path | None = None,
    variant: str = "current",
    alexnet: Path | None = None,
    wish: float = 27.0,
    npy_range: str = "auto",
) -> Diagnosis:
    """Diagnose a saved model on pictures in a folder or an array.

    Without training pictures the linear codes are fitted on the first four fifths of `images` and everything is
    measured on the last; where there are too few even for that, no linear code stands beside the model.

    Args:
        model: folder with `model.safetensors` and `config.json`.
        images: pictures it was not trained on.
        train_images: pictures it was trained on.
        history: its `history.csv`.
        params: the params.yaml it was trained with, and
        variant: which of its models it is.
        alexnet: alexnet.safetensors.
        wish: wanted PSNR in dB.
        npy_range: value range of a float array.

    Raises:
        UserError: something cannot be read, or there are too few pictures.
    """
    vae = EarVAE.load(model)
    rows = _history(history)
    settings = load_config(params).variant(variant) if params else None
    address = Address(variant, keys_of(read_params(params))) if params else Address()
    net = load_lpips("alex", alexnet) if alexnet else None
    if settings is not None and settings.model != vae.config:
        raise UserError(
            f"{model} is not the {variant} model of {params}; name another --variant or leave --params out."
        )
    if settings is not None and net is None and perceptual_trunk(settings.loss) == "alex":
        raise UserError("The model's loss has an LPIPS-alex term: give --alexnet, such as data/weights/perceptual/"
                        "alexnet.safetensors, or leave --params out.")  # fmt: skip
    with ExitStack() as files:
        given, _ = files.enter_context(read_bare(images, vae.image_size, npy_range))
        seen = None
        if train_images is not None:
            every, _ = files.enter_context(read_bare(train_images, vae.image_size, npy_range))
            count, seen = len(every), np.array(every[evenly(len(every), MOST)])
        codes: dict[str, LinearCode] = {}
        held_out = np.array(given[evenly(len(given), MOST)])
        if seen is None and len(held_out) >= FEWEST_FOR_CODES:
            cut = len(held_out) * 4 // 5
            longest = min(max(2 * vae.config.latent_dim, 1024), vae.image_size**2)
            fitted = fit_codes(held_out, np.arange(cut), (1, 4, 8), longest)
            codes = {"pca" if grid == 1 else f"klt_{grid}x{grid}": code for grid, code in fitted.items()}
            held_out = held_out[cut:]
        subject = Subject(
            model=vae,
            held_out=held_out,
            train=seen,
            train_count=None if seen is None else count,
            codes=codes,
            loss=settings.loss if settings else None,
            training=settings.train if settings else None,
            history=rows,
            lpips_net=net,
        )
        return diagnose(subject, wish, address)


def _history(path: Path | None) -> pd.DataFrame | None:
    if path is None:
        return None
    try:
        rows = pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(
            f"{path}: cannot be read ({str(error).splitlines()[0][:80]}); give the run's history.csv."
        ) from None
    if "step" not in rows or rows.empty:
        raise UserError(f"{path}: has no column `step` or no rows; give the run's history.csv.")
    return rows


def write_report(diagnosis: Diagnosis, name: str, folder: Path) -> str:
    """Write `diagnosis.md`, `diagnosis.json`, the chart and the tables into a new folder, all of it or nothing.

    Returns:
        The page.
    """
    with whole_folder(folder) as work:
        drawn = write_plots(diagnosis, work)
        text = page({name: section(name, diagnosis, "chart.png" if drawn else None)}, f"{name}.")
        write_atomically(work / "diagnosis.md", text)
        write_atomically(work / "diagnosis.json", json.dumps(content(diagnosis), indent=2) + "\n")
    return text

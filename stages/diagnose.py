"""python stages/diagnose.py

Say what is wrong with v0, v1 and the current model, by measurement on training and validation people.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ear_teacher.config import LAYOUT_GRID, VARIANTS, load_config, read_params
from ear_teacher.data import PreparedData
from ear_teacher.diagnosis import Subject, diagnose
from ear_teacher.diagnosis.advice import Address, keys_of
from ear_teacher.diagnosis.output import content, write_plots
from ear_teacher.diagnosis.page import page, section
from ear_teacher.files import write_atomically
from ear_teacher.linear import LinearCode
from ear_teacher.losses import perceptual_trunk
from ear_teacher.models import EarVAE
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.stage import run

TRAIN_PICTURES, HELD_OUT_PICTURES = 304, 192


def main() -> None:
    config = load_config()
    torch.use_deterministic_algorithms(True, warn_only=True)
    data = PreparedData.load(Path("data/prepared"))
    train, held_out = data.rows("train", TRAIN_PICTURES), data.rows("val", HELD_OUT_PICTURES)
    codes = {
        "pca" if layout == "vector" else f"klt_{layout}": LinearCode.load(Path("data/linear") / f"{layout}.safetensors")
        for layout in LAYOUT_GRID
    }
    regions, names = None, ()
    if (Path("data/prepared") / "regions.npy").exists():
        from ear_teacher.synthetic import REGION_NAMES

        regions, names = np.load("data/prepared/regions.npy", mmap_mode="r")[held_out], REGION_NAMES
    keys = keys_of(read_params())
    found, sections = {}, {}
    for name in VARIANTS:
        variant = config.variant(name)
        uses_alex = perceptual_trunk(variant.loss) == "alex"
        subject = Subject(
            model=EarVAE.load(Path("models") / name),
            held_out=data.images[held_out],
            train=data.images[train],
            train_count=len(data.rows("train")),
            codes=codes,
            loss=variant.loss,
            training=variant.train,
            history=pd.read_csv(f"plots/train/{name}/history.csv"),
            lpips_net=load_lpips("alex", Path("data/weights/perceptual") / TRUNK_FILE["alex"]) if uses_alex else None,
            regions=regions,
            region_names=names,
        )
        diagnosis = diagnose(subject, config.diagnose.psnr, Address(name, keys), config.diagnose.seed)
        found[name] = content(diagnosis)
        drawn = write_plots(diagnosis, Path("plots/diagnosis") / name)
        sections[name] = section(name, diagnosis, f"../plots/diagnosis/{name}/chart.png" if drawn else None)
    pictures = (
        f"{len(held_out)} pictures of validation people and {len(train)} of training people, {data.image_size} px, "
        f"{config.data.source} source; {config.diagnose.psnr:g} dB are wanted (`diagnose.psnr`)."
    )
    write_atomically(Path("metrics/diagnosis.json"), json.dumps(found, indent=2) + "\n")
    write_atomically(Path("metrics/diagnosis.md"), page(sections, pictures))


if __name__ == "__main__":
    run(main)

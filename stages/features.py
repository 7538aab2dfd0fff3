"""python stages/features.py current

Compute what one variant's frozen backbone says of each training and validation picture and of its mirror image, once
for all runs. Where they would not be the same at every step, nothing is computed (`train.cache_features`).
"""

import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ear_teacher.config import load_config
from ear_teacher.data import PreparedData
from ear_teacher.files import whole_folder, write_atomically
from ear_teacher.models import EarVAE
from ear_teacher.stage import run
from ear_teacher.training.checkpoints import file_hash, pictures_hash
from ear_teacher.training.features import description, write_features
from ear_teacher.weights import load_trunk


def main() -> None:
    name = sys.argv[1]
    variant = load_config().variant(name)
    prepared, weights = Path("data/prepared"), Path("data/weights") / name / "backbone.safetensors"
    with whole_folder(Path("data/features") / name) as folder:
        if not variant.caches_features:
            write_atomically(folder / "about.json", "{}\n")
            return
        data = PreparedData.load(prepared)
        model = EarVAE(variant.model, data.image_size)
        model.load_backbone(load_trunk(weights))
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")
        write_features(
            folder,
            model,
            data.images,
            np.union1d(data.rows("train"), data.rows("val")),
            description(variant.model, pictures_hash(prepared), file_hash(weights)),
            progress=lambda starts: tqdm(starts, desc=f"features {name}", unit="batch"),
        )


if __name__ == "__main__":
    run(main)

"""PYTHONPATH=src python studies/teacher/retrieval.py

Who is it? Real photos of test people (studies/photos) among one another, by the features of each encoder. `current` is
trained here, on the photos of the training people, and forgotten; only figures are kept.
"""

import json
from collections.abc import Callable

import numpy as np
import torch
from cases import trained
from subjects import HERE, PCA_FLOATS, encoders, params, rounded
from tqdm import tqdm

from ear_teacher.config import LAYOUT_GRID, load_config
from ear_teacher.data import PreparedData
from ear_teacher.files import write_atomically
from ear_teacher.linear import fit_codes
from ear_teacher.stage import run
from ear_teacher.teacher.probing import Encoder, extract, linear_encoder, model_encoder, probe_people


def main() -> None:
    torch.set_num_threads(1)  # so that the results are the same on any number of cores
    data = PreparedData.load(HERE / "../photos/128")
    variant = load_config().variant("current")
    codes = fit_codes(data.images, data.rows("train"), LAYOUT_GRID.values(), max(PCA_FLOATS, variant.model.latent_dim))
    code = codes[variant.model.grid].truncated(variant.model.latent_dim)
    shared = encoders(data.image_size)

    def real() -> Encoder:
        return model_encoder(trained(variant, data, code, "current on photos"))

    compared: dict[str, Callable[[], Encoder]] = {
        "pca": lambda: linear_encoder(codes[1].truncated(min(PCA_FLOATS, codes[1].floats))),
        "klt": lambda: linear_encoder(code),
        **{name: shared[name] for name in ("hog", "random", "backbone")},
        "synthetic": shared["current"],
        "current": real,
    }
    rows = shown_once(data)
    split = data.index["split"].to_numpy().astype(str)[rows]
    person = data.index["person"].to_numpy().astype(str)[rows]
    found = []
    for name, make in tqdm(compared.items(), desc="retrieval", unit="encoder"):
        encoder = make()
        straight, mirrored = (extract(encoder, data.images, rows, flip, stack=False) for flip in (False, True))
        found += [
            {"encoder": name, **row}
            for row in probe_people(straight, mirrored, split, person, params()["retrieval"]["rank"])
        ]
    content = {"left_out": len(data.index) - len(rows), "steps": variant.train.steps, "runs": found}
    write_atomically(HERE / "metrics/retrieval.json", json.dumps(rounded(content), indent=1) + "\n")


def shown_once(data: PreparedData) -> np.ndarray:
    """Rows of the photos, of duplicates and near-duplicates the first."""
    group = data.index["duplicate_group"]
    return np.flatnonzero(((group < 0) | ~group.duplicated()).to_numpy())


if __name__ == "__main__":
    run(main)

"""PYTHONPATH=src python studies/teach/run.py align-weak

Train the model of params.yaml with one change on the synthetic ears, and measure on people it never saw how sharp it is
and what its features are worth. The change comes from cases.yaml. `bare-backbone` trains nothing: the features of the
pretrained network alone.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from torch import Tensor
from tqdm import tqdm

from ear_teacher.config import LAYOUT_GRID, NO_BACKBONE, Variant, load_config
from ear_teacher.data import PreparedData, to_tensor
from ear_teacher.evaluation import measure
from ear_teacher.files import write_atomically
from ear_teacher.linear import LinearCode, fit_codes, spectrum
from ear_teacher.losses import Loss, perceptual_trunk
from ear_teacher.metrics.quality import Nets
from ear_teacher.models import EarVAE, new_model
from ear_teacher.models.backbone import Backbone
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.stage import run
from ear_teacher.training.controller import target_start, wished_point
from ear_teacher.training.loop import Pictures, Result, train
from ear_teacher.training.teach import Teaching
from ear_teacher.weights import load_trunk

HERE = Path("studies/teach")
DATA = Path("data/prepared")
TRUNKS = Path("data/weights/perceptual")
BACKBONE = ("tf_efficientnet_lite0", Path("data/weights/v0/backbone.safetensors"))
BATCH = 25
LABELS = 50
DRAWS = 5  # of the few labelled pictures
RIDGES = np.logspace(-5, 2, 15)  # times the mean squared length of a feature vector


def main() -> None:
    torch.set_num_threads(1)  # so that the results are the same on any number of cores
    name = sys.argv[1]
    data = PreparedData.load(DATA)
    found: dict[str, Any] = {"case": name}
    if name == "bare-backbone":
        backbone = Backbone(BACKBONE[0], data.image_size, trainable_blocks=0)
        backbone.load(load_trunk(BACKBONE[1]))
        views: dict[str, Callable[[Tensor], Tensor]] = {"map": lambda images: backbone(images)[-1]}
    else:
        variant = changed(yaml.safe_load((HERE / "cases.yaml").read_text())[name]["change"])
        codes = fit_codes(data.images, data.rows("train"), LAYOUT_GRID.values(), variant.model.latent_dim)
        model, result = trained(variant, data, codes[variant.model.grid])
        nets = Nets(alex=load_lpips("alex", TRUNKS / TRUNK_FILE["alex"]))
        table = measure(lambda: batches(data, data.rows("val"), None), {"model": model.reconstruct}, nets)["model"]
        found |= {
            "steps": variant.train.steps, "images": variant.train.images_seen, "kept_step": result.best_step,
            "kl": result.rows[-1]["val/kl"], "people": len(set(data.index["person"][data.rows("val")])),
            "quality": {str(metric): float(table[metric].mean()) for metric in table},
            "terms": {key: value for key, value in result.rows[-1].items() if key.startswith("val/raw/")},
        }  # fmt: skip
        views = {
            "map": lambda images: model.encode_and_map(images)[1],
            "code": lambda images: model.encode(images).mean,
        }
    found["features"] = {key: worth(view, data) for key, view in views.items()}
    write_atomically(HERE / f"runs/{name}.json", json.dumps(rounded(found), indent=1) + "\n")


def changed(change: dict[str, dict[str, Any]]) -> Variant:
    """The current model of params.yaml with other values in its sections."""
    current = load_config().variant("current").model_dump()
    sections = ("model", "loss", "train", "teach")
    return Variant.model_validate(
        {"name": "current"} | {section: current[section] | change.get(section, {}) for section in sections}
    )


def trained(variant: Variant, data: PreparedData, code: LinearCode) -> tuple[EarVAE, Result]:
    """The model at its best checkpoint."""
    backbone = load_trunk(BACKBONE[1])
    code = code.truncated(variant.model.latent_dim)
    energies = spectrum(code)
    model = new_model(
        variant.model, data.image_size,
        kl_weight=wished_point(variant.loss, energies, variant.model.latent_dim).kl_weight, seed=variant.train.seed,
        code=code if variant.model.warm_start == "klt" else None, shrink=variant.loss.kl_weight is None,
        backbone=backbone if variant.model.backbone != NO_BACKBONE else None,
    )  # fmt: skip
    trunk = perceptual_trunk(variant.loss)
    loss = Loss(variant.loss, load_lpips(trunk, TRUNKS / TRUNK_FILE[trunk]) if trunk else None)
    pictures = Pictures(data.images, data.rows("train"), data.rows("val", 48))
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            model, loss, pictures, variant.train, Path(folder),
            kl_start=target_start(variant.loss, energies, variant.model.latent_dim),
            teaching=Teaching(variant.teach, model, backbone),
            progress=lambda steps, total: tqdm(steps, desc=sys.argv[1], unit="step"),
        )  # fmt: skip
    model.load_state_dict(result.best)
    return model.eval(), result


def batches(data: PreparedData, rows: np.ndarray, left: np.ndarray | None) -> Iterator[Tensor]:
    """Pictures as tensors; those that are `left` (by row) mirrored."""
    for begin in range(0, len(rows), BATCH):
        some = rows[begin : begin + BATCH]
        images = to_tensor(data.images[some])
        yield images if left is None else torch.where(torch.from_numpy(left[some])[:, None, None, None],
                                                      images.flip(-1), images)  # fmt: skip


@torch.no_grad()
def worth(view: Callable[[Tensor], Tensor], data: PreparedData) -> dict[str, float]:
    """Landmarks and identity by linear means: left ears are mirrored, so that all are right ears.

    Returns:
        `nme_50`, `nme_all`: mean over the visible landmarks of validation people of distance / side, by ridge
        regression from the flattened features, with 50 labelled pictures (mean of five draws) and with all.
        `rank_1`: share of the validation pictures whose nearest other picture (cosine of features less the training
        mean) is of the same person.
    """
    left = (data.index["side"] == "left").to_numpy()
    rows = {split: data.rows(split) for split in ("train", "val")}
    features = {
        split: np.concatenate([view(images).flatten(1).double().numpy() for images in batches(data, own, left)])
        for split, own in rows.items()
    }
    points, visible = landmarks(left, data.image_size)
    centre = features["train"].mean(0)
    train, val = features["train"] - centre, features["val"] - centre

    def nme(labelled: np.ndarray) -> float:
        told = ridge(train[labelled], points[rows["train"][labelled]].reshape(len(labelled), -1), val)
        distance = np.linalg.norm(told.reshape(len(val), -1, 2) - points[rows["val"]], axis=2)
        return float(distance[visible[rows["val"]]].mean())

    rng = np.random.default_rng(0)
    draws = [nme(np.sort(rng.permutation(len(train))[:LABELS])) for _ in range(DRAWS)]
    person = data.index["person"].to_numpy()[rows["val"]]
    return {"nme_50": float(np.mean(draws)), "nme_all": nme(np.arange(len(train))), "rank_1": rank_1(val, person)}


def landmarks(left: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, points, 2) in crop units, mirrored where `left`, and (N, points) whether visible."""
    table = pd.read_csv(DATA / "landmarks.csv").set_index("row").sort_index()
    values = table.to_numpy().reshape(len(table), -1, 3)
    points = (values[:, :, :2] + 0.5) / side
    points[left, :, 0] = 1 - points[left, :, 0]
    return points, values[:, :, 2] > 0


def ridge(given: np.ndarray, wanted: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Ridge regression in its dual form, its weight chosen by leave-one-out error (closed form, Allen's PRESS).

    Args:
        given: (n, d) features.
        wanted: (n, k) targets.
        asked: (m, d) features.

    Returns:
        (m, k) predictions.
    """
    centre, mean = given.mean(0), wanted.mean(0)
    given, asked, wanted = given - centre, asked - centre, wanted - mean
    values, vectors = np.linalg.eigh(given @ given.T)
    values = values.clip(min=0)
    turned = vectors.T @ wanted
    scale = values.sum() / len(given)

    def left_out(weight: float) -> float:
        shrink = weight * scale / (values + weight * scale)
        residual = vectors @ (shrink[:, None] * turned)
        # The mean is fitted as well: its share of the leverage, 1/n, is added.
        leverage = 1 - (vectors**2 * shrink).sum(1) + 1 / len(given)
        return float(((residual / (1 - leverage).clip(min=1e-9)[:, None]) ** 2).mean())

    weight = min(RIDGES, key=left_out)
    dual = vectors @ (turned / (values + weight * scale)[:, None])
    return asked @ (given.T @ dual) + mean


def rank_1(features: np.ndarray, person: np.ndarray) -> float:
    """Share of pictures whose nearest other picture, by cosine, is of the same person."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -np.inf)
    return float((person[likeness.argmax(1)] == person).mean())


def rounded(value: Any) -> Any:
    """Every number with six digits: what is below is noise of the machine."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


if __name__ == "__main__":
    run(main)

"""PYTHONPATH=src python studies/teacher/landmarks.py frozen-50

Train a landmark head with few or all labels on the frozen teacher, on the teacher that learns, or on the same encoder
from random weights, and measure it on the test people. The cases stand in params.yaml; every choice is made on the
validation people. `landmarks.py table` writes all cases as metrics/landmarks.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from tqdm import tqdm

from ear_teacher.data import PreparedData, to_tensor
from ear_teacher.files import write_atomically
from ear_teacher.metrics.statistics import summarise
from ear_teacher.models import EarVAE
from ear_teacher.stage import run
from ear_teacher.synthetic import LANDMARK55_GROUPS
from ear_teacher.teacher.fit import FitConfig, Fitted, Marked, fit_landmarks, predict
from ear_teacher.teacher.heads import LandmarkHead
from ear_teacher.teacher.landmark_files import read_landmarks
from ear_teacher.teacher.probing.landmarks import contour_distance, landmark_errors
from ear_teacher.teacher.pyramid import channels_of

HERE = Path("studies/teacher")
MODEL = Path("models/current")


def main() -> None:
    torch.set_num_threads(1)  # so that the results are the same on any number of cores
    params = yaml.safe_load((HERE / "params.yaml").read_text())["landmarks"]
    if sys.argv[1] == "table":
        table(params["cases"])
        return
    name = sys.argv[1]
    case = params["cases"][name]
    train, val, test = marked(params["marks"])
    labels = len(train) if case["labels"] == "all" else min(case["labels"], len(train))
    tried: dict[str, float] = {}
    seeds, predictions = [], []
    for seed in case["seeds"]:
        # The same labels for every case of a seed; a smaller budget is part of a larger one.
        few = train.part(np.random.default_rng(seed).permutation(len(train))[:labels])
        best: tuple[Fitted, EarVAE, LandmarkHead, float] | None = None
        for lr in case["lrs"]:
            model, head = start(case["encoder"], train.points.shape[1], params["width"], seed)
            encoder_lr = {"frozen": 0.0, "random": lr, "tuned": lr / 2}[case["encoder"]]
            config = FitConfig(
                steps=case["steps"], batch_size=params["batch_size"], seed=seed, lr=lr, encoder_lr=encoder_lr
            )
            fitted = shown(f"{name} seed {seed} lr {lr:g}", config, model, head, few, val)
            tried[f"seed {seed}, {lr:g}"] = fitted.nme
            if best is None or fitted.nme < best[0].nme:
                best = fitted, model, head, lr
        assert best is not None
        predictions.append(predict(best[1], best[2], to_tensor(test.images)).numpy())
        found = float(np.nanmean(landmark_errors(predictions[-1], test.points, test.visible)["nme"]))
        seeds.append({"seed": seed, "lr": best[3], "val_nme": best[0].nme, "step": best[0].step, "nme": found,
                      "history": best[0].history})  # fmt: skip
    result = {
        "encoder": case["encoder"], "labels": labels, "people": len(np.unique(train.persons)),
        "steps": case["steps"], "batch_size": params["batch_size"], "val_nme_by_lr": tried, "seeds": seeds,
        "test": measured(predictions, test),
    }  # fmt: skip
    write_atomically(HERE / f"runs/landmarks/{name}.json", json.dumps(rounded(result), indent=1) + "\n")


def marked(marks: str) -> tuple[Marked, Marked, Marked]:
    """The labelled pictures of the training, validation and test people."""
    data, found = PreparedData.load(Path("data/prepared")), read_landmarks(marks)
    train, val, test = (Marked.of(data, found, split) for split in ("train", "val", "test"))
    return train, val, test


def start(encoder: str, points: int, width: int, seed: int) -> tuple[EarVAE, LandmarkHead]:
    """Model and head before training."""
    model = EarVAE.load(MODEL)
    if encoder == "random":
        torch.manual_seed(seed)
        model = EarVAE(model.config, model.image_size)
    return model, LandmarkHead(channels_of(model), points, width, seed)


def shown(name: str, config: FitConfig, model: EarVAE, head: LandmarkHead, train: Marked, val: Marked) -> Fitted:
    """`fit_landmarks` with a bar."""
    with tqdm(total=config.steps, desc=name, unit="step") as bar:

        def progress(step: int, nme: float) -> None:
            bar.update(step - bar.n)
            bar.set_postfix_str(f"validation NME {nme:.4f}")

        return fit_landmarks(model, head, train, val, config, progress)


def measured(predictions: list[NDArray[np.float32]], test: Marked) -> dict[str, Any]:
    """Errors on the test people, of each picture the mean of all seeds; the intervals resample people."""
    points = test.points.astype(np.float64)
    tables: dict[str, list[NDArray[np.float64]]] = {}
    for found in predictions:
        places = found.astype(np.float64)
        errors = landmark_errors(places, points, test.visible)
        if points.shape[1] == len(LANDMARK55_GROUPS):
            errors["to_contour"] = contour_distance(places, points, test.visible)
        for metric, values in errors.items():
            tables.setdefault(metric, []).append(values)
    summaries = {metric: summarise(np.mean(values, 0), test.persons) for metric, values in tables.items()}
    return {"pictures": len(test), "people": len(np.unique(test.persons)), "points": points.shape[1]} | summaries


def table(cases: dict[str, Any]) -> None:
    """All cases, and the shipped landmarker's, in one file."""
    found: dict[str, Any] = {}
    for name in [*cases, "landmarker"]:
        result = json.loads((HERE / f"runs/landmarks/{name}.json").read_text())
        found[name] = {key: result[key] for key in ("encoder", "labels", "test")}
        found[name]["nme_by_seed"] = [seed["nme"] for seed in result["seeds"]]
    write_atomically(HERE / "metrics/landmarks.json", json.dumps(found, indent=1) + "\n")


def rounded(value: Any) -> Any:
    """Floats to six digits, so that the file shows what was measured and not the machine."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    run(main)

"""PYTHONPATH=src python studies/teacher/landmarker.py

Train the landmarker that `ear-teacher landmarks` takes: the teacher's encoder and a head, both learning, on all
labelled training people and on ears rendered beside them, which other people than those of data/prepared own. Writes
studies/teacher/landmarker and its errors on the test people.
"""

import json
from pathlib import Path

import numpy as np
import torch
import yaml
from landmarks import HERE, MODEL, marked, measured, rounded, shown, start
from tqdm import tqdm

from ear_teacher.config import SyntheticConfig, load_config
from ear_teacher.data import to_tensor
from ear_teacher.files import write_atomically
from ear_teacher.stage import run
from ear_teacher.synthetic import render_sample
from ear_teacher.teacher import EarTeacher
from ear_teacher.teacher.fit import FitConfig, Marked, predict
from ear_teacher.teacher.landmark_files import read_landmarks
from ear_teacher.teacher.landmarker import Landmarker

PER_PERSON = 2


def main() -> None:
    torch.set_num_threads(1)  # so that the results are the same on any number of cores
    params = yaml.safe_load((HERE / "params.yaml").read_text())
    given, how = params["landmarks"], params["landmarker"]
    train, val, test = marked(given["marks"])
    model, head = start("tuned", train.points.shape[1], given["width"], seed=0)
    if given["marks"].endswith("landmarks55.csv"):  # rendered ears have these points
        train = together(train, rendered(how["rendered"], model.image_size))
    config = FitConfig(
        steps=how["steps"], batch_size=given["batch_size"], lr=how["lr"], encoder_lr=how["encoder_lr"],
        hidden=how["hidden"], validate_every=200,
    )  # fmt: skip
    fitted = shown("landmarker", config, model, head, train, val)
    found = predict(model, head, to_tensor(test.images)).numpy()
    test_errors = measured([found], test)
    names = read_landmarks(given["marks"]).names
    facts = {
        "val_nme": fitted.nme, "test_nme": test_errors["nme"]["mean"], "pictures": len(train),
        "people": len(np.unique(train.persons)), "steps": how["steps"], "step": fitted.step, "points": len(names),
        "data": "synthetic ears" if load_config(Path("params.yaml")).data.source == "synthetic" else "photos",
    }  # fmt: skip
    teacher = EarTeacher.load(MODEL, "cpu")
    Landmarker(EarTeacher(model, "cpu", normalization=teacher.normalization), head, names, rounded(facts)).save(
        HERE / "landmarker"
    )
    result = {
        "encoder": "tuned", "labels": len(train), "people": facts["people"], "steps": how["steps"],
        "batch_size": given["batch_size"],
        "seeds": [{"seed": 0, "lr": how["lr"], "val_nme": fitted.nme, "step": fitted.step,
                   "nme": test_errors["nme"]["mean"], "history": fitted.history}],
        "test": test_errors,
    }  # fmt: skip
    write_atomically(HERE / "runs/landmarks/landmarker.json", json.dumps(rounded(result), indent=1) + "\n")


def rendered(count: int, size: int) -> Marked:
    """Ears of people who are not in data/prepared."""
    own = load_config(Path("params.yaml")).data.synthetic
    ears = SyntheticConfig(people=-(-count // PER_PERSON), images_per_person=PER_PERSON, seed=own.seed + 1)
    samples = [render_sample(ears, size, i) for i in tqdm(range(count), desc="rendering", unit="ear")]
    marks = np.stack([sample.landmarks55 for sample in samples])
    return Marked(
        np.stack([sample.image for sample in samples]), ((marks[..., :2] + 0.5) / size).astype(np.float32),
        marks[..., 2] > 0, np.ones(marks.shape[:2], dtype=bool),
        np.array([f"rendered {i // PER_PERSON}" for i in range(count)]),
    )  # fmt: skip


def together(a: Marked, b: Marked) -> Marked:
    """The pictures of both."""
    return Marked(
        np.concatenate([a.images, b.images]), np.concatenate([a.points, b.points]),
        np.concatenate([a.visible, b.visible]), np.concatenate([a.known, b.known]),
        np.concatenate([a.persons, b.persons]),
    )  # fmt: skip


if __name__ == "__main__":
    run(main)

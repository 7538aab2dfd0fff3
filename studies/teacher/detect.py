"""PYTHONPATH=src python studies/teacher/detect.py

Train the detector, which finds the ear in a larger picture: the teacher's encoder and a box head, on scenes composed of
rendered ears; and the same head on the frozen teacher beside it. Writes studies/teacher/detector and
metrics/detect.json, measured on scenes with ears of the test people.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from landmarks import HERE, MODEL, rounded
from tqdm import tqdm

from ear_teacher.data import PreparedData
from ear_teacher.files import write_atomically
from ear_teacher.metrics.statistics import summarise
from ear_teacher.models import EarVAE
from ear_teacher.stage import run
from ear_teacher.teacher import EarTeacher
from ear_teacher.teacher.detector import Detector, find, fit_boxes, overlap
from ear_teacher.teacher.fit import FitConfig
from ear_teacher.teacher.heads import BoxHead
from ear_teacher.teacher.pyramid import channels_of
from ear_teacher.teacher.scenes import Scenes, compose_scenes

SPLITS = ("train", "val", "test")


def main() -> None:
    torch.set_num_threads(1)  # so that the results are the same on any number of cores
    how = yaml.safe_load((HERE / "params.yaml").read_text())["detect"]
    data = PreparedData.load(Path("data/prepared"))
    regions = np.load("data/prepared/regions.npy", mmap_mode="r", allow_pickle=False)
    scenes = {}
    for seed, split in enumerate(SPLITS):
        rows = data.rows(split)
        scenes[split] = compose_scenes(data.images[rows], regions[rows], how["scenes"][split], data.image_size, seed)
    found: dict[str, Any] = {}
    for name, encoder_lr in (("frozen", 0.0), ("tuned", how["encoder_lr"])):
        model = EarVAE.load(MODEL)
        head = BoxHead(channels_of(model), how["width"])
        config = FitConfig(
            steps=how["steps"], batch_size=how["batch_size"], lr=how["lr"], encoder_lr=encoder_lr, validate_every=150
        )
        with tqdm(total=how["steps"], desc=f"detect {name}", unit="step") as bar:

            def progress(step: int, lost: float, bar: tqdm = bar) -> None:
                bar.update(step - bar.n)
                bar.set_postfix_str(f"validation IoU {1 - lost:.3f}")

            fitted = fit_boxes(model, head, scenes["train"], scenes["val"], config, progress)
        found[name] = {"val_iou": 1 - fitted.nme, "step": fitted.step, "scenes": how["scenes"]["train"]}
        found[name] |= measured(model, head, scenes["test"])
    # The last, tuned one is the one to use.
    teacher = EarTeacher.load(MODEL, "cpu")
    facts = rounded({key: value for key, value in found["tuned"].items() if key in ("val_iou", "step", "scenes")})
    Detector(EarTeacher(model, "cpu", normalization=teacher.normalization), head, facts).save(HERE / "detector")
    write_atomically(HERE / "metrics/detect.json", json.dumps(rounded(found), indent=1) + "\n")


def measured(model: EarVAE, head: BoxHead, scenes: Scenes) -> dict[str, Any]:
    """Overlap of found and true boxes, and how well the score tells scenes with an ear from those without."""
    boxes, scores = find(model, head, scenes.images)
    there = ~np.isnan(scenes.boxes).any(1)
    iou = overlap(boxes, scenes.boxes)[there]
    height = scenes.boxes[there, 3]
    pairs = scores[there][:, None] - scores[~there][None, :]
    # Scenes are drawn one by one: each is its own group of the interval.
    return {
        "iou": summarise(iou, np.arange(len(iou))),
        "share_above_half": float((iou > 0.5).mean()),
        "share_above_three_quarters": float((iou > 0.75).mean()),
        "share_above_half_by_height": {
            f"{low:g}-{high:g}": float((iou[(height >= low) & (height < high)] > 0.5).mean())
            for low, high in ((0.16, 0.25), (0.25, 0.4), (0.4, 0.61))
        },
        "empty_scenes": int((~there).sum()),
        "score_auc": float((pairs > 0).mean() + (pairs == 0).mean() / 2) if pairs.size else None,
    }


if __name__ == "__main__":
    run(main)

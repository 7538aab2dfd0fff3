"""PYTHONPATH=src python studies/teacher/probe.py

What the features of each encoder are worth for landmarks, pose and finding people again, by the same heads: written to
metrics/probe.json and plots/teacher.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from subjects import PREPARED, WORDS, encoders, rounded, settings, truth_of
from tqdm import tqdm

from ear_teacher.charts import label_efficiency
from ear_teacher.data import PreparedData
from ear_teacher.files import write_atomically
from ear_teacher.stage import run
from ear_teacher.teacher.probing import extract, probe_landmarks, probe_people, probe_pose

HEADS = ("ridge", "mlp", "soft-argmax")


def main() -> None:
    torch.set_num_threads(1)  # so that the results are the same on any number of cores
    data = PreparedData.load(PREPARED)
    truth, sizes = truth_of(data), settings()
    rows: dict[str, list[dict[str, Any]]] = {"landmarks": [], "pose": [], "people": []}
    for name, make in tqdm(encoders(data.image_size).items(), desc="probe", unit="encoder"):
        encoder = make()
        straight, mirrored = (extract(encoder, data.images, range(len(data.images)), flip) for flip in (False, True))
        width = {"code": straight.code.shape[1], "maps": straight.pooled.shape[1]}
        found = {
            "landmarks": probe_landmarks(straight, mirrored, truth, sizes, HEADS),
            "pose": probe_pose(straight, mirrored, truth, sizes),
            "people": probe_people(straight, mirrored, truth.split, truth.person, sizes.rank),
        }
        for task, entries in found.items():
            rows[task] += [{"encoder": name, "width": width[entry["features"]], **entry} for entry in entries]
    counts = {part: int((truth.split == part).sum()) for part in ("train", "val", "test")}
    people = {part: len(np.unique(truth.person[truth.split == part])) for part in counts}
    write_atomically(
        Path("metrics/probe.json"), json.dumps(rounded({"pictures": counts, "people": people, **rows}), indent=1) + "\n"
    )
    table = best_by_labels(rows["landmarks"])
    plots = Path("plots/teacher")
    write_atomically(plots / "label_efficiency.csv", table.to_csv(index=False, float_format="%.5g"))
    write_atomically(plots / "label_efficiency.png", label_efficiency(table, WORDS))


def best_by_labels(landmarks: list[dict[str, Any]]) -> pd.DataFrame:
    """NME of each encoder by ridge, on the better of its two vectors at that number of labels."""
    table = pd.DataFrame([
        {"encoder": row["encoder"], "labels": row["labels"], "features": row["features"],
         **{key: row["nme"][key] for key in ("mean", "ci_low", "ci_high")}}
        for row in landmarks if row["head"] == "ridge"
    ])  # fmt: skip
    kept = table.groupby(["encoder", "labels"], sort=False)["mean"].idxmin()
    return table.loc[kept].reset_index(drop=True)


if __name__ == "__main__":
    run(main)

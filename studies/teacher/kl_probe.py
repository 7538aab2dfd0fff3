"""PYTHONPATH=src python studies/teacher/kl_probe.py

Is a low KL good for the teacher? The models of kl.py: what they rebuild, and what their features are worth.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from subjects import HERE, PREPARED, params, rounded, settings, truth_of
from tqdm import tqdm

from ear_teacher.charts import kl_sweep
from ear_teacher.config import load_config
from ear_teacher.data import PreparedData, to_tensor
from ear_teacher.files import write_atomically
from ear_teacher.metrics.statistics import summarise
from ear_teacher.models import EarVAE
from ear_teacher.stage import run
from ear_teacher.teacher.probing import extract, model_encoder, probe_landmarks, probe_people

BATCH = 31


def main() -> None:
    torch.set_num_threads(1)  # so that the results are the same on any number of cores
    data = PreparedData.load(PREPARED)
    given = params()["kl"]
    truth = truth_of(data)
    sizes = settings(budgets=given["budgets"], slow_budgets=given["budgets"])
    found = []
    for weight in tqdm(given["weights"], desc="kl", unit="weight"):
        model = EarVAE.load(HERE / "kl" / weight)
        encoder = model_encoder(model)
        straight, mirrored = (extract(encoder, data.images, range(len(data.images)), flip) for flip in (False, True))
        found.append({
            "kl_weight": float(weight), **quality(model, data),
            "landmarks": list(probe_landmarks(straight, mirrored, truth, sizes, ("ridge", "soft-argmax"))),
            "people": list(probe_people(straight, mirrored, truth.split, truth.person, sizes.rank)),
        })  # fmt: skip
    default = load_config().loss.kl_weight
    content = {"steps": given["steps"], "default": default, "runs": found}
    write_atomically(HERE / "metrics/kl.json", json.dumps(rounded(content), indent=1) + "\n")
    write_atomically(
        Path("plots/teacher/kl_sweep.png"), kl_sweep(panels(found), float(default or found[0]["kl_weight"]))
    )


@torch.no_grad()
def quality(model: EarVAE, data: PreparedData) -> dict[str, Any]:
    """PSNR of test people by the mean, of each picture, and the KL."""
    rows, errors, kls = data.rows("test"), [], []
    for start in range(0, len(rows), BATCH):
        images = to_tensor(data.images[rows[start : start + BATCH]])
        posterior = model.encode(images)
        kls.append(posterior.kl().flatten(1).sum(1))
        errors.append((model.decode(posterior.mode).clamp(0, 1) - images).pow(2).mean((1, 2, 3)))
    psnr = summarise(-10 * torch.cat(errors).log10().numpy(), data.index["person"].to_numpy()[rows])
    return {
        "psnr": {key: psnr[key] for key in ("mean", "ci_low", "ci_high")}, "kl": float(np.mean(torch.cat(kls).numpy()))
    }  # fmt: skip


def panels(found: list[dict[str, Any]]) -> dict[str, pd.DataFrame]:
    """What the chart shows of each run."""
    weights = {"kl_weight": [run["kl_weight"] for run in found]}
    budgets = sorted({row["labels"] for row in found[0]["landmarks"]})

    def nme(run: dict[str, Any], features: str, head: str, budget: int) -> float:
        return next(
            row["nme"]["mean"] for row in run["landmarks"]
            if (row["features"], row["head"], row["labels"]) == (features, head, budget)
        )  # fmt: skip

    tables: dict[str, dict[str, list[float]]] = {
        "PSNR, dB": {"PSNR": [run["psnr"]["mean"] for run in found]},
        **{
            f"landmark error, {budget} labels": {
                f"{features}, {head}": [nme(run, features, head, budget) for run in found]
                for features, head in (("code", "ridge"), ("maps", "ridge"), ("maps", "soft-argmax"))
            }
            for budget in budgets
        },
        "people, equal error rate": {
            features: [
                next(row["eer"]["value"] for row in run["people"] if row["features"] == features) for run in found
            ]
            for features in ("code", "maps")
        },
    }
    return {title: pd.DataFrame(weights | lines) for title, lines in tables.items()}


if __name__ == "__main__":
    run(main)

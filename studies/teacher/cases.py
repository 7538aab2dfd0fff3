"""PYTHONPATH=src python studies/teacher/cases.py align
PYTHONPATH=src python studies/teacher/cases.py table         # all cases as metrics/cases.json, and the chart

Train the current model of params.yaml with one change, which params.yaml beside this file names; everything else
stays as it is but for the number of steps. Measure on the validation people how sharp it is and what its features are
worth: what is chosen by these figures is chosen without the test people. Written to
studies/teacher/runs/cases/<case>.json.
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from subjects import HERE, PREPARED, params, rounded, settings, truth_of
from tqdm import tqdm

from ear_teacher.charts import kl_sweep
from ear_teacher.config import Variant, load_config
from ear_teacher.data import PreparedData, to_tensor
from ear_teacher.evaluation import measure
from ear_teacher.files import write_atomically
from ear_teacher.linear import LinearCode, spectrum
from ear_teacher.metrics.quality import Nets
from ear_teacher.models import EarVAE
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.stage import run
from ear_teacher.teacher.probing import Truth, extract, model_encoder, probe_landmarks, probe_people
from ear_teacher.training.loop import Pictures, train
from ear_teacher.training.setup import set_up, starting_code
from ear_teacher.weights import load_trunk

TRUNKS = Path("data/weights/perceptual")
BACKBONE = Path("data/weights/v0/backbone.safetensors")
VALIDATION_PICTURES = 48
BATCH = 31
CHOOSE_ON = 5  # every fifth training person


def main() -> None:
    torch.set_num_threads(1)  # so that the results are the same on any number of cores
    name, given = sys.argv[1], params()["cases"]
    if name == "table":
        table(given)
        return
    variant = changed(given["change"][name] or {}, {"train": {"steps": given["steps"]}})
    data = PreparedData.load(PREPARED)
    code = LinearCode.load(Path(f"data/linear/{variant.model.latent_layout}.safetensors"))
    model = trained(variant, data, code.truncated(variant.model.latent_dim), name)
    encoder = model_encoder(model)
    straight, mirrored = (extract(encoder, data.images, range(len(data.images)), flip) for flip in (False, True))
    truth = without_test(truth_of(data))
    sizes = settings(budgets=given["budgets"], slow_budgets=given["budgets"])
    found = {
        "steps": variant.train.steps, "kl_weight": variant.loss.kl_weight, **quality(model, data),
        "landmarks": list(probe_landmarks(straight, mirrored, truth, sizes, ("ridge", "soft-argmax"))),
        "people": list(probe_people(straight, mirrored, truth.split, truth.person, sizes.rank)),
    }  # fmt: skip
    write_atomically(HERE / f"runs/cases/{name}.json", json.dumps(rounded(found), indent=1) + "\n")


def changed(*changes: dict[str, dict[str, Any]]) -> Variant:
    """The current model of params.yaml with other values in its sections, the last of `changes` on top."""
    given = load_config().variant("current").model_dump()
    for change in changes:
        given |= {section: given[section] | values for section, values in change.items()}
    return Variant.model_validate(given)


def trained(variant: Variant, data: PreparedData, code: LinearCode, title: str) -> EarVAE:
    """The variant trained on a set, in evaluation mode, at the state its `train.select` keeps."""
    backbone = load_trunk(BACKBONE)
    start = starting_code(variant.model, code, data.images, data.rows("train"))
    ready = set_up(variant, data.image_size, spectrum(code), start, TRUNKS, backbone, backbone)
    pictures = Pictures(data.images, data.rows("train"), data.rows("val", VALIDATION_PICTURES))
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            ready.model, ready.loss, pictures, variant.train, Path(folder),
            progress=lambda steps, total: tqdm(steps, desc=title, unit="step"),
            kl_start=ready.kl_start, teaching=ready.teaching,
        )  # fmt: skip
    ready.model.load_state_dict(result.best)
    return ready.model.eval()


def without_test(truth: Truth) -> Truth:
    """The validation people in the test people's place, and a fifth of the training people in theirs."""
    split = truth.split.copy()
    split[truth.split == "test"] = "left out"
    split[truth.split == "val"] = "test"
    people = np.unique(truth.person[truth.split == "train"])
    split[np.isin(truth.person, people[::CHOOSE_ON]) & (truth.split == "train")] = "val"
    return replace(truth, split=split)


@torch.no_grad()
def quality(model: EarVAE, data: PreparedData) -> dict[str, float]:
    """PSNR, SSIM and LPIPS-alex of the validation people by the mean, of each picture, and the KL in nats."""
    rows = data.rows("val")
    parts = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]
    nets = Nets(alex=load_lpips("alex", TRUNKS / TRUNK_FILE["alex"]))
    found = measure(lambda: (to_tensor(data.images[part]) for part in parts), {"model": model.reconstruct}, nets)[
        "model"
    ]
    kl = torch.cat([model.encode(to_tensor(data.images[part])).kl().flatten(1).sum(1) for part in parts])
    return {key: float(found[key].mean()) for key in ("psnr", "ssim", "lpips_alex")} | {"kl": float(kl.mean())}


def table(given: dict[str, Any]) -> None:
    """All cases in one file, and those of the KL as a chart."""
    found = {name: json.loads((HERE / f"runs/cases/{name}.json").read_text()) for name in given["change"]}
    sweep = sorted(kl_sweep_of(found), key=lambda case: case["kl_weight"])
    default = found["default"]["kl_weight"]
    write_atomically(HERE / "metrics/cases.json", json.dumps(found, indent=1) + "\n")
    write_atomically(Path("plots/teacher/kl_sweep.png"), kl_sweep(panels(sweep), default))


def kl_sweep_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The default and the cases that change only the weight of the KL."""
    return [case for name, case in found.items() if name == "default" or name.startswith("kl-")]


def panels(sweep: list[dict[str, Any]]) -> dict[str, pd.DataFrame]:
    """What the chart shows of each weight."""
    weights = {"kl_weight": [case["kl_weight"] for case in sweep]}

    def nme(case: dict[str, Any], features: str, head: str, budget: int) -> float:
        return next(
            row["nme"]["mean"] for row in case["landmarks"]
            if (row["features"], row["head"], row["labels"]) == (features, head, budget)
        )  # fmt: skip

    tables: dict[str, dict[str, list[float]]] = {
        "PSNR, dB": {"PSNR": [case["psnr"] for case in sweep]},
        **{
            f"landmark error, {budget} labels": {
                f"{features}, {head}": [nme(case, features, head, budget) for case in sweep]
                for features, head in (("code", "ridge"), ("maps", "ridge"), ("maps", "soft-argmax"))
            }
            for budget in sorted({row["labels"] for row in sweep[0]["landmarks"]})
        },
        "people, equal error rate": {
            features: [
                next(row["eer"]["value"] for row in case["people"] if row["features"] == features) for case in sweep
            ]
            for features in ("code", "maps")
        },
    }
    return {title: pd.DataFrame(weights | lines) for title, lines in tables.items()}


if __name__ == "__main__":
    run(main)

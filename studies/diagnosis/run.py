"""PYTHONPATH=src python studies/diagnosis/run.py collapse-a collapse-b

Train small models with one known fault each and write what the diagnosis says of them.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ear_teacher.config import LossConfig, ModelConfig, TrainConfig, UserError
from ear_teacher.data import PreparedData
from ear_teacher.diagnosis import Subject, diagnose
from ear_teacher.diagnosis.subject import rounded
from ear_teacher.files import write_atomically
from ear_teacher.linear import fit_codes, spectrum
from ear_teacher.losses import Loss, perceptual_trunk
from ear_teacher.models import new_model
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.stage import run
from ear_teacher.training import loop
from ear_teacher.training.controller import target_start, wished_point
from ear_teacher.weights import load_trunk

sys.path.insert(0, str(Path(__file__).parent))
from faults import PLANTS, Plant

HERE = Path("studies/diagnosis")
TRUNKS = Path("data/weights/perceptual")
WISH = 27.0  # dB
MODEL = {"latent_dim": 512, "latent_layout": "4x4", "width": 16}
LOSS = {"recon": "mse", "kl_weight": 1e-6}
TRAIN = {
    "steps": 160, "batch_size": 8, "lr": 1e-3, "linear_lr_scale": 0.0, "max_grad_norm": 0.05, "ema": 0.9,
    "validate_every": 10, "milestones": (),
}  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)  # so that the results are the same on any number of cores
    for name in sys.argv[1:]:
        study(name)


def study(name: str) -> None:
    """Plant, diagnose, write."""
    result = diagnose(planted(PLANTS[name]), WISH)
    content: dict[str, Any] = {
        "case": name,
        "planted": PLANTS[name].cause,
        "ranking": [{"cause": f.cause, "confidence": round(f.confidence, 3)} for f in result.findings],
        "sentence": result.sentence,
        "command": result.findings[0].command,
        "evidence": result.findings[0].evidence,
        "values": rounded(result.evidence.values),
        "words": result.evidence.words,
    }
    write_atomically(HERE / "runs" / f"{name}.json", json.dumps(content, indent=1) + "\n")


def planted(plant: Plant) -> Subject:
    """Train the model of a case."""
    data = PreparedData.load(HERE / "data")
    images = np.array(data.images)
    train, val, test = (data.rows(split) for split in ("train", "val", "test"))
    train = train[: plant.keep]
    images[train] = plant.see(images[train])
    for rows in (val, test):
        images[rows] = plant.meet(images[rows])
    model_config = ModelConfig.model_validate(MODEL | plant.model)
    loss_config = LossConfig.model_validate(LOSS | plant.loss)
    train_config = TrainConfig.model_validate(TRAIN | plant.train)
    fitted = fit_codes(images, train, (1, 4, 8), 1024)
    codes = {"pca" if grid == 1 else f"klt_{grid}x{grid}": code for grid, code in fitted.items()}
    code = fitted[model_config.grid].truncated(model_config.latent_dim)
    trunk = perceptual_trunk(loss_config)
    net = load_lpips("alex", TRUNKS / TRUNK_FILE["alex"]) if trunk else None
    point = wished_point(loss_config, spectrum(code), model_config.latent_dim)
    backbone = load_trunk(Path("data/weights/v0/backbone.safetensors")) if model_config.encoder == "backbone" else None
    model = new_model(
        model_config, data.image_size, kl_weight=point.kl_weight, seed=0, code=code,
        shrink=loss_config.kl_weight is None, backbone=backbone,
    )  # fmt: skip
    plant.before(model)
    clean = loop.augment

    def taught(*given: Any) -> tuple[torch.Tensor, torch.Tensor]:
        shown, target = clean(*given)
        return shown, plant.wanted(target)

    loop.augment = taught
    pictures = loop.Pictures(images, train, val[:32])
    rows: list[dict[str, float]] = []
    start = target_start(loss_config, spectrum(code), model_config.latent_dim) if point and trunk is None else None
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = loop.train(
                model, Loss(loss_config, net), pictures, train_config, Path(folder),
                lambda seen, _: rows.__setitem__(slice(None), [dict(row) for row in seen]), kl_start=start,
            )  # fmt: skip
            model.load_state_dict(result.best)
        except UserError:  # NaN: the weights are those of the moment, and the history ends with what was met
            rows.append({**rows[-1], "step": rows[-1]["step"] + 1, "train/loss": float("nan")})
        finally:
            loop.augment = clean
    plant.after(model)
    return Subject(
        model=model.eval(),
        held_out=images[test],
        train=images[train],
        train_count=len(train),
        codes=codes,
        loss=loss_config,
        training=train_config,
        history=pd.DataFrame(rows),
        lpips_net=net,
    )


if __name__ == "__main__":
    run(main)

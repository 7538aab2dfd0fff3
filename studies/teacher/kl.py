"""PYTHONPATH=src python studies/teacher/kl.py 1e-5

Train the current model of params.yaml with another weight of the KL, everything else as it is but for the number of
steps, which params.yaml beside this file says. Its weights lie in studies/teacher/kl/<weight>, outside git.
"""

import sys
import tempfile
from pathlib import Path

import torch
import yaml
from tqdm import tqdm

from ear_teacher.config import NO_BACKBONE, Variant, load_config
from ear_teacher.data import PreparedData
from ear_teacher.files import whole_folder
from ear_teacher.linear import LinearCode, spectrum
from ear_teacher.losses import Loss, perceptual_trunk
from ear_teacher.models import EarVAE, new_model
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.stage import run
from ear_teacher.training.controller import wished_point
from ear_teacher.training.loop import Pictures, train
from ear_teacher.weights import load_trunk

HERE = Path("studies/teacher")
TRUNKS = Path("data/weights")
VALIDATION_PICTURES = 48


def main() -> None:
    torch.set_num_threads(1)  # so that the results are the same on any number of cores
    weight = sys.argv[1]
    steps = yaml.safe_load((HERE / "params.yaml").read_text())["kl"]["steps"]
    data = PreparedData.load(Path("data/prepared"))
    current = load_config().variant("current").model_dump()
    variant = Variant.model_validate(current | {
        "loss": current["loss"] | {"kl_weight": float(weight), "kl_target": None, "psnr_target": None},
        "train": current["train"] | {"steps": steps},
    })  # fmt: skip
    code = LinearCode.load(Path(f"data/linear/{variant.model.latent_layout}.safetensors"))
    model = trained(variant, data, code.truncated(variant.model.latent_dim), weight, VALIDATION_PICTURES)
    with whole_folder(HERE / "kl" / weight) as folder:
        model.save(folder)


def trained(variant: Variant, data: PreparedData, code: LinearCode, name: str, validated: int | None) -> EarVAE:
    """The variant trained on a set, in evaluation mode, at the state its `train.select` keeps."""
    backbone = None
    if variant.model.backbone != NO_BACKBONE:
        backbone = load_trunk(TRUNKS / "current/backbone.safetensors")
    model = new_model(
        variant.model, data.image_size,
        kl_weight=wished_point(variant.loss, spectrum(code), variant.model.latent_dim).kl_weight,
        seed=variant.train.seed, code=code if variant.model.warm_start == "klt" else None,
        shrink=variant.loss.kl_weight is None, backbone=backbone,
    )  # fmt: skip
    trunk = perceptual_trunk(variant.loss)
    loss = Loss(variant.loss, load_lpips(trunk, TRUNKS / "perceptual" / TRUNK_FILE[trunk]) if trunk else None)
    pictures = Pictures(data.images, data.rows("train"), data.rows("val", validated))
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            model, loss, pictures, variant.train, Path(folder),
            progress=lambda steps, total: tqdm(steps, desc=name, unit="step"),
        )  # fmt: skip
    model.load_state_dict(result.best)
    return model.eval()


if __name__ == "__main__":
    run(main)

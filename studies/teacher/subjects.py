"""What the probing stages share: the encoders that are compared, and what is known of the synthetic pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from ear_teacher.config import load_config
from ear_teacher.data import PreparedData
from ear_teacher.linear import LinearCode
from ear_teacher.models import EarVAE
from ear_teacher.models.backbone import Backbone
from ear_teacher.teacher.landmark_files import read_landmarks
from ear_teacher.teacher.probing import (
    Encoder,
    Settings,
    Truth,
    backbone_encoder,
    hog_encoder,
    linear_encoder,
    model_encoder,
)
from ear_teacher.teacher.probing.tasks import POSE
from ear_teacher.weights import load_trunk

HERE = Path("studies/teacher")
PREPARED = Path("data/prepared")
BACKBONE = "tf_efficientnet_lite0"
PCA_FLOATS = 1024

WORDS = {
    "pca": "raw pixels, PCA", "hog": "HOG", "klt": "KLT coordinates", "random": "current, random weights",
    "backbone": f"{BACKBONE}, as pretrained", "v0": "v0", "v1": "v1", "current": "current",
}  # fmt: skip
"""Every encoder, and how the page calls it."""


def encoders(size: int) -> dict[str, Callable[[], Encoder]]:
    """How each encoder is made; made one by one, for some are large."""
    config = load_config().model

    def random() -> Encoder:
        torch.manual_seed(0)
        return model_encoder(EarVAE(config, size).eval())

    def backbone() -> Encoder:
        network = Backbone(BACKBONE, size, 0, layers=4)
        tensors, own = load_trunk(Path("data/weights/v0/backbone.safetensors")), network.network.state_dict()
        network.network.load_state_dict({name: tensors[name] for name in own})
        return backbone_encoder(network.eval())

    return {
        "pca": lambda: linear_encoder(LinearCode.load(Path("data/linear/vector.safetensors")).truncated(PCA_FLOATS)),
        "hog": hog_encoder,
        "klt": lambda: linear_encoder(
            LinearCode.load(Path(f"data/linear/{config.latent_layout}.safetensors")).truncated(config.latent_dim)
        ),
        "random": random,
        "backbone": backbone,
        **{
            name: lambda name=name: model_encoder(EarVAE.load(Path("models") / name))
            for name in ("v0", "v1", "current")
        },
    }  # fmt: skip


def truth_of(data: PreparedData) -> Truth:
    """Landmarks (55 and then 17 points) and pose of the synthetic pictures."""
    tables = [read_landmarks(PREPARED / name) for name in ("landmarks55.csv", "landmarks.csv")]
    points = np.concatenate([table.points for table in tables], 1)
    return Truth(
        data.index["split"].to_numpy().astype(str), data.index["person"].to_numpy().astype(str),
        (points + 0.5) / data.image_size, np.concatenate([table.visible for table in tables], 1),
        data.index[list(POSE)].to_numpy(dtype=np.float64),
    )  # fmt: skip


def params() -> dict[str, Any]:
    """The sections of params.yaml beside this file."""
    found: dict[str, Any] = yaml.safe_load((HERE / "params.yaml").read_text())
    return found


def settings(**change: Any) -> Settings:
    """The probe's sizes, some of them changed."""
    given = params()["probe"] | change
    return Settings(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})


def rounded(value: Any) -> Any:
    """Every number with five digits: what is below is noise of the machine."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value

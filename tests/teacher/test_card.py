"""The model card: facts in, the same text out, with what its reader must know."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ear_teacher.config import ModelConfig, Variant, parse_config
from ear_teacher.models import EarVAE
from ear_teacher.teacher.card import CardFacts, write_card
from ear_teacher.teacher.teacher import EarTeacher, feature_shapes


def facts(**change: Any) -> CardFacts:
    index = pd.DataFrame({
        "split": ["train"] * 4 + ["val"] * 3 + ["test"], "person": list("aabbccde"), "grey": [True] + [False] * 7,
    })  # fmt: skip
    kept = {"step": 8.0, "val/psnr": 27.346, "val/ssim": 0.8127, "val/kl": 512.4, "val/raw/perceptual": 0.1234}
    params = {
        "model": {"latent_dim": 256, "latent_layout": "4x4"},
        "loss": {"recon": "mse", "ssim_weight": 0.25, "kl_weight": 3e-6, "perceptual_weight": 0.5},
        "train": {"steps": 1200, "seed": 11},
    }
    return dataclasses.replace(
        CardFacts(
            folder="models/current",
            variant=parse_config(params).variant("current"),
            image_size=64,
            parameters=1234567,
            shapes={"mean": (16, 4, 4), "stride4": (48, 16, 16)},
            index=index,
            rendered=True,
            grey_moved=False,
            validated=[4, 5, 6],
            kept=kept,
            last={"step": 1200.0, "images": 19200.0},
        ),
        **change,
    )


def test_the_card_tells_what_was_measured_and_on_whom() -> None:
    text = write_card(facts())
    for row in (
        "| PSNR, dB | 27.35 |", "| SSIM | 0.813 |", "| KL, nats a picture | 512 |", "| train | 4 | 2 | 1 |",
        "| val | 3 | 2 | 0 |", "| test | 1 | 1 | 0 |", "| `stride4` | 48 x 16 x 16 |",
    ):  # fmt: skip
        assert row in text
    assert "3 pictures of 2 validation people" in text
    assert "1,200 steps, 19,200 pictures seen (repeats counted), seed 11" in text
    assert (
        "1 x mse reconstruction + 0.5 x lpips_alex (features of a network pretrained on ImageNet) + 0.25 x ssim" in text
    )
    assert " + 3e-06 x KL. The state with the best validation value of `loss` was kept" in text
    assert "1,234,567 parameters, 4.9 MB" in text
    assert 'EarTeacher.load("models/current")' in text
    assert "`metrics/current.json`" in text


def test_the_card_names_what_is_forbidden_and_whose_terms_hold() -> None:
    text = " ".join(write_card(facts()).split())
    assert "without their informed consent; surveillance; medical diagnosis" in text
    assert "stand under those pictures' terms" in text
    assert "Apache-2.0" in text


def test_the_same_facts_give_the_same_card() -> None:
    assert write_card(facts()) == write_card(facts())


@pytest.mark.parametrize(
    ("change", "says", "silent"),
    [
        ({"rendered": True}, "Synthetic ears", "photos show people"),
        ({"rendered": False}, "photos show people", "Synthetic ears"),
        ({"grey_moved": True}, "Greyscale pictures were moved", "never heard"),
        ({"last": {"step": 600.0, "images": 9600.0}}, "600 steps of 1,200 planned", "never heard"),
        (
            {"kept": {"step": 0.0, "val/psnr": 1.0, "val/ssim": 0.1, "val/kl": 2.0}},
            "no training improved",
            "lpips_alex)",
        ),
    ],
)
def test_the_card_follows_the_facts(change: dict, says: str, silent: str) -> None:
    text = write_card(facts(**change))
    assert says in text
    assert silent not in text


def test_pictures_of_unknown_people_are_owned_up_to() -> None:
    index = facts().index.assign(person="")
    assert "The person of 8 pictures is not known" in write_card(facts(index=index))


def test_a_pretrained_network_and_its_licence_are_named() -> None:
    model = ModelConfig(
        encoder="backbone", decoder="transposed", backbone="some_net", latent_layout="vector", warm_start="none"
    )
    variant = facts().variant.model_copy(update={"model": model})
    assert isinstance(variant, Variant)
    known = write_card(facts(variant=variant, backbone_licence="apache-2.0"))
    assert "pretrained network some_net (licence: apache-2.0" in known
    assert "not stated by timm" in write_card(facts(variant=variant))
    assert "pretrained network" not in write_card(facts())


def test_the_shapes_are_those_of_the_features() -> None:
    model = EarVAE(ModelConfig(latent_dim=64, latent_layout="4x4", width=8, warm_start="none"), 32)
    shapes = feature_shapes(model)
    assert shapes == {"mean": (4, 4, 4), "logvar": (4, 4, 4), "stride4": (8, 8, 8), "stride8": (16, 4, 4)}
    assert EarTeacher(model).features([np.zeros((5, 5, 3))]).mean.shape[1:] == shapes["mean"]

"""Models whose fault is built in, and what is said of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ear_teacher.config import LossConfig, TrainConfig, UserError
from ear_teacher.diagnosis import Diagnosis, Subject, diagnose
from ear_teacher.diagnosis.causes import CAUSES
from ear_teacher.diagnosis.page import section
from ear_teacher.diagnosis.suspicion import Suspicion
from ear_teacher.diagnosis.verdict import explain
from tests.diagnosis.conftest import linear_model, mute, with_model

WISH = 26.0


def first(diagnosis: Diagnosis) -> str:
    return diagnosis.findings[0].cause


def test_a_linear_code_of_enough_floats_is_healthy_and_every_cause_is_ranked(healthy: Subject) -> None:
    diagnosis = diagnose(healthy, WISH)
    assert first(diagnosis) == "healthy"
    assert {finding.cause for finding in diagnosis.findings} == set(CAUSES)
    confidences = [finding.confidence for finding in diagnosis.findings]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0 <= confidence <= 1 for confidence in confidences)


def test_the_same_subject_gets_the_same_page_again(healthy: Subject) -> None:
    assert section("m", diagnose(healthy, WISH)) == section("m", diagnose(healthy, WISH))


def test_an_encoder_that_says_the_same_of_every_picture_is_a_collapse(healthy: Subject, codes) -> None:
    diagnosis = diagnose(with_model(healthy, mute(linear_model(codes, 256), "encoder")), WISH)
    assert first(diagnosis) == "collapse"
    assert diagnosis.evidence.values["posterior.kl"] == pytest.approx(0, abs=1e-6)
    assert diagnosis.evidence.values["posterior.collapsed"] == 1


def test_a_code_full_of_information_before_a_deaf_decoder_is_no_collapse(healthy: Subject, codes) -> None:
    diagnosis = diagnose(with_model(healthy, mute(linear_model(codes, 256), "decoder")), WISH)
    assert first(diagnosis) == "weak_decoder"
    assert "does not listen" in " ".join(diagnosis.findings[0].evidence)


def test_a_code_of_too_few_floats_for_the_wish_is_too_small_and_for_a_lower_wish_healthy(
    healthy: Subject, codes
) -> None:
    small = with_model(healthy, linear_model(codes, 16))
    allowed = diagnose(small, WISH).evidence.values["limit.floats"]
    assert first(diagnose(small, allowed + 5)) == "latent_too_small"
    assert first(diagnose(small, allowed - 1)) == "healthy"


def test_a_code_at_the_optimum_of_a_high_weight_is_over_regularised_and_the_command_lowers_the_weight(
    healthy: Subject, codes
) -> None:
    loss = LossConfig(recon="mse", kl_weight=1e-3)
    diagnosis = diagnose(with_model(healthy, linear_model(codes, 256, 1e-3, shrink=True), loss=loss), WISH)
    assert first(diagnosis) == "over_regularised"
    command = diagnosis.findings[0].command
    assert float(command.rpartition("=")[2]) < 1e-3
    values = diagnosis.evidence.values
    assert values["limit.kl"] / 2 < values["posterior.kl"] < values["limit.kl"] * 2
    assert values["calibration.ratio"] == pytest.approx(1, abs=0.25)


def test_weights_that_are_not_numbers_have_diverged(healthy: Subject, codes) -> None:
    model = linear_model(codes, 256)
    with torch.no_grad():
        model.decoder.mean_patch.fill_(float("nan"))
    diagnosis = diagnose(with_model(healthy, model), WISH)
    assert first(diagnosis) == "diverged"
    assert "NaN" in section("m", diagnosis)


class _Swapped(nn.Module):
    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        return self.decoder(codes).flip(1)


def test_red_and_blue_changed_over_is_a_matter_of_colour(healthy: Subject, codes) -> None:
    model = linear_model(codes, 256)
    model.decoder = _Swapped(model.decoder)
    assert first(diagnose(with_model(healthy, model), WISH)) == "colour"


def test_held_out_pictures_of_another_kind_are_a_mismatch(healthy: Subject) -> None:
    dark = (healthy.held_out * 0.4).astype(np.uint8)
    diagnosis = diagnose(replace(healthy, held_out=dark), WISH)
    assert first(diagnosis) == "mismatch"


def test_a_loss_that_ends_far_above_its_lowest_has_diverged(healthy: Subject) -> None:
    steps = np.arange(0, 101, 10)
    loss = np.r_[np.geomspace(1, 0.1, 6), np.geomspace(0.5, 50, 5)]
    history = pd.DataFrame({"step": steps, "val/loss": loss, "train/loss": np.r_[np.nan, loss[1:]], "lr": 1e-3})
    assert first(diagnose(replace(healthy, history=history), WISH)) == "diverged"


def test_a_degraded_target_is_named_and_the_clean_one_advised(healthy: Subject) -> None:
    diagnosis = diagnose(replace(healthy, training=TrainConfig(augment="degraded_target")), WISH)
    assert first(diagnosis) == "blurred_target"
    assert diagnosis.findings[0].command == "dvc exp run -S train.augment=clean_target"


def test_with_nothing_but_a_model_and_pictures_it_says_what_was_not_measured(healthy: Subject) -> None:
    diagnosis = diagnose(Subject(healthy.model, healthy.held_out), WISH)
    text = section("m", diagnosis)
    assert "Not measured:" in text
    assert "linear code" in " ".join(diagnosis.evidence.skipped)
    assert "history.csv" in " ".join(diagnosis.evidence.skipped)


def test_one_picture_and_pictures_of_another_size_are_refused(healthy: Subject) -> None:
    with pytest.raises(UserError, match="at least two"):
        Subject(healthy.model, healthy.held_out[:1])
    with pytest.raises(UserError, match="model takes"):
        Subject(healthy.model, healthy.held_out[:, :16])


def test_a_cause_takes_its_symptoms_with_it_and_no_health_is_left() -> None:
    left = explain({"collapse": Suspicion(0.9), "weak_decoder": Suspicion(0.95), "mismatch": Suspicion(0.1)})
    assert left["weak_decoder"].confidence < 0.1
    assert left["mismatch"].confidence == 0.1
    assert left["healthy"].confidence == pytest.approx(0.05)

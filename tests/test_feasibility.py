"""What can be had before training: verdicts, and losses that are no squared error."""

import json
from importlib import resources

import numpy as np
import pytest
import torch

from ear_teacher.config import LossConfig
from ear_teacher.feasibility import equivalent_weight, errors_along, joint_target, measured_gain, sampled_decoding
from ear_teacher.forecast import at_weight
from ear_teacher.linear import Energies, LinearCode, fit_klt, spectrum
from ear_teacher.losses import Loss

EASY = Energies(np.geomspace(500, 1e-4, 60), 1e-4, 3072)
WISH = {"kl": (5.0, 15.0), "psnr": (27.0, 30.0)}


@pytest.fixture(scope="module")
def code(smooth_pictures: np.ndarray) -> LinearCode:
    return fit_klt(smooth_pictures, np.arange(48), 4, 8)


@pytest.fixture(scope="module")
def both(smooth_pictures: np.ndarray) -> torch.Tensor:
    pixels = torch.from_numpy(smooth_pictures).permute(0, 3, 1, 2).float() / 255
    return torch.cat([pixels, pixels.flip(-1)])


def test_a_wish_beyond_what_networks_have_gained_is_refused_and_says_which_to_give_up() -> None:
    hard = Energies(np.full(1000, 0.5), 0.1, 3072)
    verdict = joint_target({"vector": hard}, 1000, **WISH)
    assert verdict["feasible"] == "no"
    assert "give up the KL" in verdict["sentence"]
    assert "out of reach" not in verdict["sentence"]
    assert joint_target({"vector": hard}, 10, **WISH)["kl_at_psnr"] == {"27": None, "30": None}
    assert "out of reach of 10 floats" in joint_target({"vector": hard}, 10, **WISH)["sentence"]


def test_what_the_pictures_allow_is_granted() -> None:
    verdict = joint_target({"vector": Energies(np.array([30.0, 1.0]), 0.5, 3072)}, 2, **WISH)
    assert verdict["feasible"] == "yes"
    assert "can be had together" in verdict["sentence"]


def test_the_better_of_two_codes_answers() -> None:
    worse = Energies(EASY.values[::-1] * 4, 1.0, 3072)
    alone, together = (joint_target(codes, 60, **WISH) for codes in ({"a": EASY}, {"a": EASY, "b": worse}))
    assert alone == together


def test_a_sampled_decoding_has_the_error_of_the_forecast(code: LinearCode, both: torch.Tensor) -> None:
    energies = spectrum(code)
    point = at_weight(energies, 1e-3, code.floats)
    noise = torch.randn(len(both), 8, 4, 4, generator=torch.Generator().manual_seed(0))
    error = float(((sampled_decoding(code, both, point.theta, noise) - both) ** 2).mean())
    assert -10 * np.log10(error) == pytest.approx(point.psnr_sampled, abs=0.05)


@pytest.mark.parametrize("weight", [1e-3, 1e-4, 1e-5])
def test_a_squared_error_is_equivalent_to_itself(code: LinearCode, both: torch.Tensor, weight: float) -> None:
    energies = spectrum(code)
    along = errors_along(code, energies, both, {"mse": Loss(LossConfig(recon="mse", kl_weight=weight))}, levels=60)
    theta, error = along["theta"].to_numpy(), along["mse"].to_numpy()
    found = equivalent_weight(theta, error, energies, code.floats, weight)
    assert found.kl == pytest.approx(at_weight(energies, weight, code.floats).kl, rel=0.1)
    summed = equivalent_weight(theta, 3 * error, energies, code.floats, weight)
    assert summed.kl == pytest.approx(at_weight(energies, weight / 3, code.floats).kl, rel=0.1)


def test_beside_an_absolute_error_the_same_weight_asks_for_more_information(code: LinearCode, both) -> None:
    energies = spectrum(code)
    along = errors_along(code, energies, both, {"l1": Loss(LossConfig(recon="l1", kl_weight=1e-4))})
    found = equivalent_weight(along["theta"].to_numpy(), along["l1"].to_numpy(), energies, code.floats, 1e-4)
    assert found.kl > at_weight(energies, 1e-4, code.floats).kl


def test_the_gain_of_trained_models_is_read_where_it_was_measured_and_stays_between_its_values() -> None:
    measured = json.loads((resources.files("ear_teacher") / "measured_gain.json").read_text())
    for kl, gain in zip(measured["kl"], measured["gain_db"], strict=True):
        assert measured_gain(kl) == pytest.approx(gain)
    low, high = measured["kl"][:2]
    assert min(measured["gain_db"][:2]) <= measured_gain((low * high) ** 0.5) <= max(measured["gain_db"][:2])
    assert measured_gain(0.5) == pytest.approx(measured["gain_db"][0])
    assert measured_gain(1e6) == pytest.approx(measured["gain_db"][-1])

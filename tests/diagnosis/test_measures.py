"""Each measurement against a case whose answer is known."""

import numpy as np
import pytest
import torch

from ear_teacher.config import LossConfig
from ear_teacher.data import to_tensor
from ear_teacher.diagnosis.appearance import (
    blur_preference,
    colour,
    grey_against_colour,
    low_pass,
    region_detail,
    spectrum,
)
from ear_teacher.diagnosis.limits import difficulty, noisy_linear_codes
from ear_teacher.diagnosis.objective import gradients
from ear_teacher.diagnosis.readout import readout
from ear_teacher.diagnosis.shift import shift
from ear_teacher.diagnosis.subject import grey_pictures, pooled_psnr
from ear_teacher.losses import Loss
from tests.diagnosis.conftest import draw, linear_model


@pytest.fixture(scope="module")
def originals(held_out_pictures: np.ndarray) -> torch.Tensor:
    return to_tensor(held_out_pictures)


def test_the_readout_of_a_linear_code_is_the_linear_code(codes, train_pictures, originals, held_out_pictures) -> None:
    code = codes["klt_4x4"].truncated(128)
    samples, _ = noisy_linear_codes(code, train_pictures, 1e-6, 0)
    _, means = noisy_linear_codes(code, held_out_pictures, 1e-6, 0)
    made = readout(samples, to_tensor(train_pictures), means)
    assert pooled_psnr(originals, made) >= pooled_psnr(originals, code.reconstruct(originals)) - 0.1


@pytest.mark.parametrize("grid", [1, 4])
def test_the_readout_of_noise_is_no_better_than_the_average_picture(train_pictures, originals, grid: int) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(len(x), 32, grid, grid, generator=generator) for x in (train_pictures, originals)]
    made = readout(noise[0], to_tensor(train_pictures), noise[1])
    average = to_tensor(train_pictures).mean(0, keepdim=True).expand_as(originals)
    assert pooled_psnr(originals, made) < pooled_psnr(originals, average) + 0.5


def test_a_colour_matrix_repairs_what_a_colour_matrix_did_and_nothing_else(originals) -> None:
    noise = 0.02 * torch.randn(originals.shape, generator=torch.Generator().manual_seed(0))
    assert colour(originals, originals + noise).values["colour.repair"] < 0.3
    tinted = originals * torch.tensor([0.7, 1.0, 1.0]).view(1, 3, 1, 1)
    found = colour(originals, tinted + 0.2 * noise).values
    assert found["colour.repair"] > 10
    assert found["colour.gain_red"] == pytest.approx(0.7, abs=0.01)
    assert found["colour.gain_green"] == pytest.approx(1, abs=0.01)


def test_a_filter_repairs_a_blur_but_not_a_missing_band_or_noise(originals, codes) -> None:
    x = torch.rand(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    f = torch.fft.fftfreq(32)
    radius = torch.hypot(f[:, None], f[None, :])
    blurred = torch.fft.ifft2(torch.fft.fft2(x) * torch.exp(-8 * radius**2)).real
    assert spectrum(x, blurred).values["filter.repair"] > 3
    assert spectrum(x, blurred).values["filter.gain_high"] > 1.5
    missing = torch.fft.ifft2(torch.fft.fft2(x) * (radius < 0.2)).real
    assert spectrum(x, missing).values["filter.repair"] < 0.3
    line = codes["klt_4x4"].truncated(64).reconstruct(originals)
    assert spectrum(originals, line).values["filter.repair"] < 0.5


def test_a_blurred_target_is_preferred_far_more_than_a_linear_code_prefers_it(originals) -> None:
    blurred = low_pass(originals, 1.5)
    noise = 0.02 * torch.randn(originals.shape, generator=torch.Generator().manual_seed(0))
    found = blur_preference(originals, blurred, originals + noise)
    assert found["blur.preference"] > found["blur.preference_linear"] + 3
    assert found["blur.sigma"] > 0


def test_grey_pictures_that_come_back_tinted_or_worse_are_noticed(originals, held_out_pictures) -> None:
    grey = grey_pictures(held_out_pictures)
    assert grey.mean() == 0.25
    noise = 0.03 * torch.randn(originals.shape, generator=torch.Generator().manual_seed(0))
    line = originals + noise
    assert abs(grey_against_colour(originals, line, line, grey, None)["grey.loss"]) < 1e-6
    tinted = line.clone()
    tinted[torch.from_numpy(grey), 2] *= 0.6
    found = grey_against_colour(originals, tinted, line, grey, None)
    assert found["grey.loss"] > 5
    assert found["grey.cast"] > found["grey.cast_colour"] + 0.03


def test_a_region_that_was_lost_has_no_detail_and_the_others_keep_theirs(originals) -> None:
    regions = np.zeros((len(originals), 32, 32), np.uint8)
    regions[:, :16], regions[:, 16:] = 1, 2
    recon = originals.clone()
    recon[:, :, :14] = 0.5
    table = region_detail(originals, recon, originals, regions, ("upper", "lower")).set_index("region")
    assert table.loc["upper", "psnr"] < 20 < table.loc["lower", "psnr"]
    assert table.loc["lower", "detail"] > table.loc["upper", "detail"]
    assert table.loc["lower", "detail_linear"] == pytest.approx(1)


def test_two_draws_of_one_kind_are_alike_and_a_turned_or_greyed_one_is_not(train_pictures) -> None:
    assert shift(train_pictures, draw(64, 5))[0] < 0.6
    size, name, table = shift(train_pictures, (draw(64, 5) * 0.5).astype(np.uint8))
    assert size > 2
    assert name in set(table["quantity"])
    colour_only = train_pictures[np.arange(len(train_pictures)) % 4 != 0]
    assert shift(colour_only, train_pictures[::4])[0] > 2
    assert shift(train_pictures[:10], train_pictures)[:2] == (0.0, "")


def test_pictures_of_one_kind_are_as_hard_as_one_another(train_pictures, held_out_pictures) -> None:
    assert difficulty(train_pictures, 64) == pytest.approx(difficulty(held_out_pictures, 64), abs=0.7)
    assert difficulty(held_out_pictures, 64) > difficulty(held_out_pictures, 16)
    assert difficulty(held_out_pictures, 3 * 32 * 32) > 60


def test_a_lone_squared_error_has_the_whole_gradient_and_points_at_the_picture(codes, originals) -> None:
    found = gradients(linear_model(codes, 64), Loss(LossConfig(recon="mse", kl_weight=1e-6)), originals[:8], 0)
    assert found["gradient.share_recon"] == pytest.approx(1)
    assert found["gradient.cosine"] == pytest.approx(1, abs=1e-4)
    assert 0 < found["gradient.kl_share"] < 0.5


def test_a_heavy_structural_term_takes_the_gradient_from_the_pixels(codes, originals) -> None:
    loss = Loss(LossConfig(recon="mse", kl_weight=1e-6, ssim_weight=10))
    found = gradients(linear_model(codes, 64), loss, originals[:8], 0)
    assert found["gradient.share_recon"] < 0.1
    assert found["gradient.cosine"] < 0.9

"""The overlapping linear code: better than separate patches at equal floats, white, repeatable, the model's step 0."""

import numpy as np
import pytest
import torch

from ear_teacher.config import ModelConfig, UserError
from ear_teacher.forecast import posterior_variance
from ear_teacher.linear import WhitenedCode, batches, fit_klt, fit_lapped
from ear_teacher.models import new_model

GRID, RANK = 4, 4


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """(160, 32, 32, 3) waves that run across the patches' borders."""
    rng = np.random.default_rng(0)
    at = np.linspace(0, 1, 32)
    found = np.zeros((160, 32, 32, 3))
    for _ in range(6):
        across, down, phase = (rng.uniform(low, high, (160, 1, 1)) for low, high in ((-9, 9), (-9, 9), (0, 6.3)))
        wave = np.cos(across * at[None, None] + down * at[None, :, None] + phase)
        found += wave[..., None] * rng.uniform(-1, 1, (160, 1, 1, 3))
    return (127 + 20 * found).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def code(pictures: np.ndarray) -> WhitenedCode:
    return fit_lapped(pictures, np.arange(120), GRID, RANK)


def everything(pictures: np.ndarray, rows: np.ndarray) -> torch.Tensor:
    return torch.cat(list(batches(pictures, rows)))


def test_it_rebuilds_unseen_pictures_better_than_separate_patches_with_as_many_floats(pictures, code) -> None:
    klt = fit_klt(pictures, np.arange(120), GRID, RANK)
    unseen = everything(pictures, np.arange(120, 160))
    lapped, separate = (float((c.decode(c.encode(unseen)) - unseen).square().mean()) for c in (code, klt))
    assert lapped < 0.7 * separate


def test_its_coordinates_are_white_over_pictures_and_mirrors(pictures, code) -> None:
    seen = everything(pictures, np.arange(120))
    found = code.encode(torch.cat([seen, seen.flip(-1)])).transpose(0, 1).flatten(1)
    torch.testing.assert_close(found @ found.T / found.shape[1], torch.eye(RANK), atol=5e-3, rtol=0)


def test_an_energy_is_what_noise_in_its_coordinate_costs_and_energies_fall(code) -> None:
    for i in range(RANK):
        noise = torch.zeros(1, RANK, GRID, GRID)
        noise[0, i, 1, 2] = 1  # not at the border, beyond which nothing counts
        change = code.decode(noise) - code.decode(torch.zeros_like(noise))
        torch.testing.assert_close(change.square().sum(), code.energies[i], rtol=1e-3, atol=0)
    assert (code.energies.diff() <= 0).all()


def test_a_picture_and_its_mirror_image_are_rebuilt_alike(pictures, code) -> None:
    seen = everything(pictures, np.arange(120))
    straight, mirrored = (float((code.decode(code.encode(x)) - x).square().mean()) for x in (seen, seen.flip(-1)))
    assert mirrored == pytest.approx(straight, rel=0.05)


def test_the_same_pictures_give_the_same_code(pictures, code) -> None:
    again = fit_lapped(pictures, np.arange(120), GRID, RANK)
    assert torch.equal(again.analysis, code.analysis)
    assert torch.equal(again.synthesis, code.synthesis)


def test_two_pictures_are_enough(pictures) -> None:
    found = fit_lapped(pictures, np.arange(2), GRID, RANK)
    assert all(part.isfinite().all() for part in (found.analysis, found.synthesis, found.energies))


def test_the_whitened_form_of_a_klt_is_that_code(pictures) -> None:
    klt = fit_klt(pictures, np.arange(120), GRID, RANK)
    seen = everything(pictures, np.arange(8))
    torch.testing.assert_close(
        WhitenedCode.of(klt).reconstruct((seen + 1) / 2), klt.reconstruct((seen + 1) / 2), atol=1e-5, rtol=0
    )


def test_a_code_without_overlap_is_refused_where_patches_overlap(pictures) -> None:
    config = ModelConfig(latent_dim=RANK * GRID**2, latent_layout="4x4", width=8, warm_start="lapped")
    with pytest.raises(UserError, match="warm_start = lapped does not fit"):
        new_model(config, 32, kl_weight=1e-3, seed=0, code=fit_klt(pictures, np.arange(120), GRID, RANK))


@pytest.mark.parametrize("shrink", [False, True])
def test_it_is_step_0_of_the_model_with_the_variance_of_the_forecast(pictures, code, shrink: bool) -> None:
    config = ModelConfig(latent_dim=RANK * GRID**2, latent_layout="4x4", width=8, warm_start="lapped")
    model = new_model(config, 32, kl_weight=1e-3, seed=0, code=code, shrink=shrink).eval()
    images = (everything(pictures, np.arange(120, 130)) + 1) / 2
    wanted = posterior_variance(code.energies.numpy(), 1e-3, 3 * 32**2)
    with torch.no_grad():
        posterior = model.encode(images)
        found = model.reconstruct(images)
    np.testing.assert_allclose(posterior.logvar[0, :, 0, 0].exp(), wanted, rtol=1e-4)
    if not shrink:
        torch.testing.assert_close(found, code.reconstruct(images), atol=1e-4, rtol=0)
    else:
        kept = torch.from_numpy(1 - wanted).float().view(-1, 1, 1)
        signal = code.encode(images * 2 - 1) * kept
        torch.testing.assert_close(found, ((code.decode(signal) + 1) / 2).clamp(0, 1), atol=1e-4, rtol=0)

"""The forecast against its own model, trained from random weights."""

import numpy as np
import pytest
import torch

from ear_teacher.forecast import at_weight
from ear_teacher.linear import Energies
from ear_teacher.linear_vae import train_linear_vae


@pytest.mark.parametrize("weight", [1e-3, 1e-4, 1e-5, 1e-6, 1e-7])
def test_a_linear_vae_trained_by_gradient_descent_has_the_kl_and_psnr_of_the_forecast(
    smooth_pictures: np.ndarray, weight: float
) -> None:
    pictures = torch.from_numpy(smooth_pictures.reshape(48, -1) / 127.5 - 1)
    centred = pictures - pictures.mean(0)
    # All that the pictures span, in coordinates turned at random: no axis is an eigenvector.
    span = torch.linalg.svd(centred, full_matrices=False)[2]
    turn = torch.linalg.qr(torch.randn(48, 48, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    centred = centred @ span.T @ turn
    variances = torch.linalg.eigvalsh(centred.T @ centred / 48).clamp(min=0).numpy()
    forecast = at_weight(Energies(variances, 0.0, 3072), weight, 8)
    measured = train_linear_vae(centred, 3072, weight, latent_dim=8, steps=5000 if weight < 1e-6 else 2500)
    assert measured.kl == pytest.approx(forecast.kl, rel=0.03)
    assert measured.psnr_sampled == pytest.approx(forecast.psnr_sampled, abs=0.1)
    assert measured.psnr_mean == pytest.approx(forecast.psnr_mean, abs=0.1)

"""Surviving detail: the definition by hand, and what it must and must not reward."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ear_teacher.metrics.detail import detail_and_coherence, luminance


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """(6, 64, 64) with the 1/f spectrum of photos."""
    rng = np.random.default_rng(0)
    radius = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])
    shaped = np.fft.ifft2(np.fft.fft2(rng.standard_normal((6, 64, 64))) / np.maximum(radius, 1 / 64)).real
    return torch.from_numpy(np.clip(0.5 + 0.15 * shaped / shaped.std(), 0, 1))


def blurred(pictures: Tensor, sigma: float) -> Tensor:
    return torch.from_numpy(gaussian_filter(pictures.numpy(), (0, sigma, sigma)))


@pytest.mark.parametrize("center", [False, True])
def test_the_figures_are_those_of_a_fourier_sum_by_hand(pictures: Tensor, center: bool) -> None:
    recon = blurred(pictures, 0.6)
    detail, coherence = detail_and_coherence(pictures, recon, center=center)
    part = slice(16, 48) if center else slice(0, 64)
    x, y = pictures[0, part, part].numpy(), recon[0, part, part].numpy()
    side = len(x)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(side) / side)
    turn = np.exp(-2j * np.pi * np.outer(np.arange(side), np.arange(side)) / side)
    fx, fy = (turn @ (a * np.outer(hann, hann)) @ turn.T for a in (x, y))
    error = energy = energy_y = agreement = 0.0
    for row in range(side):
        for column in range(side):
            f = np.hypot(min(row, side - row) / side, min(column, side - column) / side)
            if f > 0.25:
                error += abs(fx[row, column] - fy[row, column]) ** 2
                energy += abs(fx[row, column]) ** 2
                energy_y += abs(fy[row, column]) ** 2
                agreement += (fx[row, column] * np.conj(fy[row, column])).real
    assert detail[0].item() == pytest.approx(1 - error / energy)
    assert coherence[0].item() == pytest.approx(agreement / np.sqrt(energy * energy_y))


@pytest.mark.parametrize("center", [False, True])
def test_noise_lowers_detail_although_it_raises_the_energy(pictures: Tensor, center: bool) -> None:
    base = blurred(pictures, 0.7)
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    by_level = [detail_and_coherence(pictures, base + level * noise, center) for level in (0, 0.01, 0.03, 0.1)]
    for less, more in itertools.pairwise(by_level):
        assert (more[0] < less[0]).all()
        assert (more[1] < less[1]).all()
    assert (by_level[-1][0] < 0).all()


def test_blur_lowers_detail_monotonically(pictures: Tensor) -> None:
    details = [detail_and_coherence(pictures, blurred(pictures, s))[0] for s in (0, 0.3, 0.5, 0.7, 1, 1.5)]
    assert torch.allclose(details[0], torch.ones(6, dtype=torch.float64))
    assert all((more < less).all() for less, more in itertools.pairwise(details))
    assert (details[-1] < 0.1).all()


def test_block_edges_do_not_count_as_detail(pictures: Tensor) -> None:
    blocks = pictures.reshape(6, 16, 4, 16, 4).mean(dim=(2, 4)).repeat_interleave(4, 1).repeat_interleave(4, 2)
    detail, coherence = detail_and_coherence(pictures, blocks)
    assert (detail < 0.2).all()
    assert (coherence < 0.5).all()


def test_coherence_forgives_contrast_and_detail_does_not(pictures: Tensor) -> None:
    detail, coherence = detail_and_coherence(pictures, 0.5 * pictures)
    assert torch.allclose(coherence, torch.ones(6, dtype=torch.float64))
    assert torch.allclose(detail, torch.full((6,), 0.75, dtype=torch.float64))


def test_a_picture_without_detail_has_none_to_keep() -> None:
    rows = torch.linspace(0, 1, 64, dtype=torch.float64)
    smooth = (rows[:, None] * rows[None, :]).expand(1, 64, 64)
    rounded = (smooth * 255).round() / 255 * 0.3  # less than 8-bit rounding of its own
    for picture in (smooth, rounded, torch.zeros(1, 64, 64)):
        assert all(figure.isnan().all() for figure in detail_and_coherence(picture, picture + 0.01))


def test_a_flat_reconstruction_keeps_nothing(pictures: Tensor) -> None:
    detail, coherence = detail_and_coherence(pictures, torch.zeros_like(pictures))
    assert torch.equal(detail, torch.zeros(6, dtype=torch.float64))
    assert torch.equal(coherence, torch.zeros(6, dtype=torch.float64))


def test_luminance_of_grey_is_grey() -> None:
    grey = torch.rand(2, 1, 4, 4)
    assert torch.allclose(luminance(grey.expand(2, 3, 4, 4)), grey[:, 0].double())

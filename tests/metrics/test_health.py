"""Posterior health against closed forms and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ear_teacher.metrics.health import (
    active_mask,
    active_units,
    collapse_curve,
    decoder_codes,
    information,
    kl_per_dimension,
    kl_per_image_and_dimension,
)


def test_kl_is_torch_s_closed_form() -> None:
    mean, logvar = torch.randn(20, 7, dtype=torch.float64), torch.randn(20, 7, dtype=torch.float64)
    expected = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(0.0, 1.0))
    assert np.allclose(kl_per_image_and_dimension(mean, logvar), expected)
    assert np.allclose(kl_per_dimension(mean, logvar), expected.mean(0))
    tiny = kl_per_image_and_dimension([[0.0]], [[1e-6]])[0, 0]
    assert tiny == pytest.approx(0.25e-12, rel=1e-3)


def test_active_units_use_n_minus_one() -> None:
    # Means -a, a have variance 2 a^2 with n - 1 and a^2 with n: a^2 = 0.008 separates the two.
    a = math.sqrt(0.008)
    mean = np.array([[a, 0.07, 0.0], [-a, -0.07, 0.0]])
    assert active_mask(mean).tolist() == [True, False, False]
    assert active_units(torch.from_numpy(mean)) == 1


def test_the_collapse_curve_is_the_definition_counted_out() -> None:
    rng = np.random.default_rng(0)
    kl = rng.exponential(rng.uniform(1e-4, 1, 12), (300, 12))
    kl[:, 0], kl[:, 1] = 0.0, 0.0
    kl[:3, 1] = 5.0  # exactly delta of the images: still collapsed
    kl[:4, 2] = 5.0
    epsilons = [1e-3, 0.01, 0.1, 0.5, 1.0, 4.0, 6.0]
    expected = []
    for epsilon in epsilons:
        shares = [sum(float(k) < epsilon for k in kl[:, i]) / 300 for i in range(12)]
        expected.append(np.mean([share >= 0.99 for share in shares]))
    assert collapse_curve(kl, epsilons).tolist() == pytest.approx(expected)
    assert (np.diff(expected) >= 0).all()


def test_the_information_of_an_ideal_gaussian_channel_is_found() -> None:
    # z = x + noise with x ~ N(0, 1 - v) and noise variance v has aggregate posterior N(0, 1): KL = MI = -ln(v) / 2.
    v = torch.full((1500, 3), 0.2)
    x = torch.randn(1500, 3, generator=torch.Generator().manual_seed(0)) * (1 - v).sqrt()
    found = information(x, v.log(), torch.Generator().manual_seed(1))
    exact = -1.5 * math.log(0.2)
    assert found.kl == pytest.approx(exact, rel=0.05)
    assert found.mutual_information == pytest.approx(exact, rel=0.06)
    assert found.aggregate_kl == pytest.approx(found.kl - found.mutual_information)
    assert found.cap == pytest.approx(math.log(1500))


def test_the_information_estimate_is_the_sum_written_out() -> None:
    mean, logvar = torch.randn(9, 4).double(), torch.randn(9, 4).double()
    noise = torch.randn(9, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    z, terms = mean + (logvar / 2).exp() * noise, []
    for n in range(9):
        logs = [Normal(mean[m], (logvar[m] / 2).exp()).log_prob(z[n]).sum().item() for m in range(9)]
        terms.append(logs[n] - math.log(np.mean(np.exp(logs))))
    found = information(mean, logvar, torch.Generator().manual_seed(2))
    assert found.mutual_information == pytest.approx(np.mean(terms))


def test_the_information_estimate_saturates_at_ln_n() -> None:
    mean, logvar = torch.randn(50, 1024), torch.full((50, 1024), -6.0)
    found = information(mean, logvar, torch.Generator().manual_seed(0))
    assert found.mutual_information == pytest.approx(math.log(50)) == pytest.approx(found.cap)
    assert found.kl > 1000


def test_a_collapsed_posterior_informs_of_nothing() -> None:
    found = information(torch.zeros(40, 8), torch.zeros(40, 8), torch.Generator().manual_seed(0))
    assert found.kl == 0
    assert found.mutual_information == pytest.approx(0, abs=1e-12)


def test_decoder_codes_are_what_their_names_say() -> None:
    mean, logvar = torch.randn(400, 4, 2, 2) * 2, torch.full((400, 4, 2, 2), math.log(0.25))
    codes = decoder_codes(mean, logvar, torch.Generator().manual_seed(0))
    assert list(codes) == ["mean", "sampled", "shuffled", "prior"]
    assert torch.equal(codes["mean"], mean)
    assert (codes["sampled"] - mean).std().item() == pytest.approx(0.5, rel=0.03)
    assert codes["prior"].std().item() == pytest.approx(1, rel=0.03)
    same = [int((codes["sampled"] == row).flatten(1).all(1).nonzero()) for row in codes["shuffled"]]
    assert sorted(same) == list(range(400))
    assert all(giver != taker for taker, giver in enumerate(same))
    for n in (2, 3):
        few = decoder_codes(mean[:n], logvar[:n], torch.Generator().manual_seed(1))
        assert not (few["shuffled"] == few["sampled"]).flatten(1).all(1).any()
    with pytest.raises(ValueError, match="two images"):
        decoder_codes(mean[:1], logvar[:1], torch.Generator())

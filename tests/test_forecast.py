"""The forecast against closed forms and its own laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ear_teacher.forecast import at_kl, at_psnr, at_weight, floats_for, posterior_variance, scale_of, slope_of_recon
from ear_teacher.linear import Energies

spectra = st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=40)
weights = st.floats(1e-9, 1.0)


def energies_of(values: list[float], rest: float = 0.0, pixels: int = 1000) -> Energies:
    return Energies(np.array(values), rest, pixels)


def test_two_coordinates_by_hand() -> None:
    point = at_weight(energies_of([8.0, 0.5], rest=1.0), kl_weight=0.002, latent_dim=10)
    assert point.theta == pytest.approx(1.0)  # 0.002 * 1000 / 2
    assert point.active == 1
    assert point.kl == pytest.approx(0.5 * np.log(8))
    assert point.psnr_sampled == pytest.approx(10 * np.log10(4 / ((1.0 + 0.5 + 1.0) / 1000)))
    assert point.psnr_mean == pytest.approx(10 * np.log10(4 / ((1.0 / 8 + 0.5 + 1.0) / 1000)))


def test_the_optimum_of_the_loss_is_where_the_forecast_says() -> None:
    """Minimise mean squared error + w KL of one coordinate over gain and posterior variance by brute force."""
    variance, pixels, weight = 5.0, 10, 0.2
    point = at_weight(energies_of([variance], pixels=pixels), weight, 1)
    gains, noises = np.meshgrid(np.linspace(0.3, 3, 541), np.geomspace(0.01, 1, 801))
    # z = x / s + noise with s = sqrt(variance) (whitened, so the mean has variance 1 - noise at the optimum)
    signal = 1 - noises
    error = variance - 2 * gains * np.sqrt(variance * signal) + gains**2
    loss = error / pixels + weight * 0.5 * (signal + noises - 1 - np.log(noises))
    best = np.unravel_index(loss.argmin(), loss.shape)
    assert 0.5 * -np.log(noises[best]) == pytest.approx(point.kl, rel=0.02)
    assert error[best] / pixels == pytest.approx(4 / 10 ** (point.psnr_sampled / 10), rel=0.02)


@given(spectra, weights, weights)
def test_a_lower_weight_never_lowers_the_kl_nor_the_psnr(values: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    at_low, at_high = (at_weight(energies_of(values, rest=0.1), weight, len(values)) for weight in (low, high))
    assert at_low.kl >= at_high.kl - 1e-9
    assert at_low.psnr_sampled >= at_high.psnr_sampled - 1e-9
    assert at_low.psnr_mean >= at_high.psnr_mean - 1e-9


@given(spectra, weights)
def test_the_mean_decodes_no_worse_than_a_sample(values: list[float], weight: float) -> None:
    point = at_weight(energies_of(values), weight, len(values))
    assert point.psnr_mean >= point.psnr_sampled - 1e-9


@given(spectra, st.floats(0.01, 300))
def test_the_inverse_finds_the_weight_of_a_rate(values: list[float], kl: float) -> None:
    assert at_kl(energies_of(values), kl, len(values)).kl == pytest.approx(kl, rel=1e-6, abs=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_the_forecast_does_not_depend_on_the_basis_the_pictures_are_written_in(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((60, 12)) * np.geomspace(10, 0.1, 12)
    rotation = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    both = [np.linalg.eigvalsh(np.cov(x.T, bias=True)).tolist() for x in (data, data @ rotation)]
    points = [at_weight(energies_of(values, pixels=12), 0.01, 12) for values in both]
    assert points[0].kl == pytest.approx(points[1].kl, rel=1e-6)
    assert points[0].psnr_mean == pytest.approx(points[1].psnr_mean, rel=1e-6)


def test_a_weight_too_high_for_every_coordinate_leaves_the_mean_picture() -> None:
    point = at_weight(energies_of([1.0, 0.5]), kl_weight=1.0, latent_dim=2)
    assert (point.active, point.kl) == (0, 0.0)
    assert point.psnr_mean == pytest.approx(10 * np.log10(4 * 1000 / 1.5))


def test_posterior_variance_is_theta_over_eigenvalue_and_never_above_the_prior() -> None:
    variance = posterior_variance(np.array([10.0, 1.0, 0.1]), kl_weight=0.01, pixels=100)
    np.testing.assert_allclose(variance, [0.05, 0.5, 1.0])


@given(spectra, st.floats(15, 60))
def test_the_inverse_finds_the_least_rate_of_a_psnr(values: list[float], psnr: float) -> None:
    energies = energies_of(values, rest=0.01)
    for decoding in ("sampled", "mean"):
        point = at_psnr(energies, psnr, len(values), decoding)  # type: ignore[arg-type]  # a parametrised Literal
        if point is None:
            assert 10 * np.log10(4 * 1000 / 0.01) < psnr + 1e-6
        else:
            assert getattr(point, f"psnr_{decoding}") >= psnr - 1e-6
            # The mean of no information at all may be better than asked for.
            assert getattr(point, f"psnr_{decoding}") == pytest.approx(psnr, abs=1e-6) or point.kl < 1e-9


def test_too_few_floats_reach_no_high_psnr() -> None:
    energies = energies_of([8.0, 4.0, 2.0], rest=1.0)
    assert at_psnr(energies, 40, 3) is None
    assert floats_for(energies, 40) is None
    assert floats_for(energies, 10 * np.log10(4 * 1000 / 3.0)) == 2
    assert floats_for(energies, 1) == 0


def test_a_weight_in_the_units_of_others() -> None:
    scale = scale_of(1e-4, 3 * 128 * 128)
    assert scale.beta_sum == pytest.approx(4.9152)
    assert scale.beta_sum_unit == pytest.approx(1.2288)
    assert scale.beta_half == pytest.approx(at_weight(energies_of([1.0], pixels=49152), 1e-4, 1).theta)
    assert scale.noise**2 == pytest.approx(scale.beta_half)
    assert scale.noise_unit == pytest.approx(scale.noise / 2)


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0])
def test_the_slope_of_a_reconstruction_term_is_that_of_gaussian_errors(power: float) -> None:
    errors = np.abs(np.random.default_rng(0).standard_normal(2_000_000))
    squared, step = 0.01, 1e-4
    means = [((errors * np.sqrt(d)) ** power).mean() for d in (squared - step, squared + step)]
    assert slope_of_recon(power, squared) == pytest.approx((means[1] - means[0]) / (2 * step), rel=0.01)


def test_bits_and_bytes() -> None:
    point = at_weight(energies_of([8.0, 0.5]), 0.002, 10)
    assert point.bits == pytest.approx(1.5)
    assert point.bytes == pytest.approx(1.5 / 8)

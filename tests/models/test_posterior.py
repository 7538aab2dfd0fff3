"""The diagonal Gaussian against torch.distributions."""

import torch
from torch.distributions import Normal, kl_divergence

from ear_teacher.models.posterior import LOGVAR_RANGE, DiagonalGaussian


def test_kl_is_that_of_torch_distributions() -> None:
    mean, logvar = torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2)
    reference = kl_divergence(Normal(mean, torch.exp(logvar / 2)), Normal(0.0, 1.0))
    torch.testing.assert_close(DiagonalGaussian(mean, logvar).kl(), reference.flatten(1))


def test_samples_have_the_posteriors_mean_and_variance() -> None:
    mean, logvar = torch.tensor([0.5, -2.0]).view(1, 2, 1, 1), torch.tensor([0.0, -3.0]).view(1, 2, 1, 1)
    wide = DiagonalGaussian(mean.expand(200_000, -1, -1, -1), logvar.expand(200_000, -1, -1, -1))
    drawn = wide.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), mean[0], atol=0.01, rtol=0)
    torch.testing.assert_close(drawn.var(0), logvar[0].exp(), atol=0.01, rtol=0.01)


def test_the_same_generator_draws_the_same_sample() -> None:
    posterior = DiagonalGaussian(torch.zeros(1, 4, 1, 1), torch.zeros(1, 4, 1, 1))
    first, second = (posterior.sample(torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)


def test_wild_log_variances_are_clamped_and_the_kl_stays_finite() -> None:
    posterior = DiagonalGaussian(torch.zeros(1, 2, 1, 1), torch.tensor([1e9, -1e9]).view(1, 2, 1, 1))
    assert posterior.logvar.flatten().tolist() == [LOGVAR_RANGE[1], LOGVAR_RANGE[0]]
    assert torch.isfinite(posterior.kl()).all()
    assert DiagonalGaussian(torch.zeros(1, 2, 1, 1).half(), torch.zeros(1, 2, 1, 1).half()).kl().dtype == torch.float32

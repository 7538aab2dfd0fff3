"""The weight of the KL during a run: fixed, rising, or found so that a wish comes true.

    control = KLControl(config.loss, start=target_start(config.loss, spectrum(code), latent_dim), steps_per_epoch=80)
    loss.weights["kl"] = control.weight(step)           # before a step
    control.observe(kl, psnr, pace)                     # after it

A wished KL (`loss.kl_target`) is held by integral control of the weight, as ControlVAE does (Shao et al. 2020, arXiv
2004.05988); a wished PSNR (`loss.psnr_target`) by the weight of the rate against a constraint on the distortion, as
GECO does (Rezende & Viola 2018, arXiv 1810.00597). Both move the logarithm of the weight, so it stays positive and a
step is as large for small weights as for large ones.
"""

from __future__ import annotations

import math

from ear_teacher.config import LossConfig
from ear_teacher.forecast import Point, at_kl, at_psnr, at_weight, slope_of_recon
from ear_teacher.linear import Energies

WEIGHT_RANGE = (1e-10, 1.0)
GAIN_KL = 0.15  # how far the logarithm of the weight moves in a step, for each unit the logarithm of the KL is off
GAIN_ERROR = 0.3  # the same for the squared error, which follows the weight about half as much
MEMORY = 0.9  # share of the running mean that a step keeps: one batch says little about the whole set
LEAD = 20  # steps the running mean is carried on along its slope: the network follows the weight with a delay


def wished_point(config: LossConfig, energies: Energies, latent_dim: int) -> Point:
    """The forecast for what `loss` asks for, as if its reconstruction term were a plain squared error.

    Where a wished PSNR is out of the linear code's reach, the point of the lowest weight that is allowed.
    """
    if config.kl_target is not None:
        return at_kl(energies, config.kl_target, latent_dim)
    if config.psnr_target is not None:
        lowest = at_weight(energies, WEIGHT_RANGE[0], latent_dim)
        return at_psnr(energies, config.psnr_target, latent_dim) or lowest
    assert config.kl_weight is not None
    return at_weight(energies, max(config.kl_weight, WEIGHT_RANGE[0]), latent_dim)


def target_start(config: LossConfig, energies: Energies, latent_dim: int) -> float:
    """The weight a target starts from: the forecast's, corrected for the reconstruction term.

    The correction takes errors for Gaussian and leaves out the perceptual and structural terms (`forecast.
    slope_of_recon`); the controller finds what is missing.
    """
    point = wished_point(config, energies, latent_dim)
    power = (2.0 if config.recon == "mse" else 1.0) * (1.5 if config.focal else 1.0)
    slope = config.recon_weight * slope_of_recon(power, 4 / 10 ** (point.psnr_sampled / 10))
    weight = point.kl_weight * slope * (3 if config.recon_channels == "sum" else 1)
    return min(max(weight, WEIGHT_RANGE[0]), WEIGHT_RANGE[1])


class KLControl:
    """The weight at each step.

    Args:
        config: the loss section.
        start: weight to start from where `config` holds a target; not used otherwise.
        steps_per_epoch: optimiser steps that show every training picture once.
    """

    def __init__(self, config: LossConfig, start: float | None, steps_per_epoch: float) -> None:
        self.config = config
        self.seeks = config.kl_target is not None or config.psnr_target is not None
        weight = start if self.seeks else config.kl_weight
        assert weight is not None, "a target needs a weight to start from"
        self._log_weight = math.log(max(weight, WEIGHT_RANGE[0])) if self.seeks else 0.0
        self._fixed = 0.0 if self.seeks else weight
        self._rise = config.kl_warmup_epochs * steps_per_epoch
        self._mean: float | None = None

    @property
    def final(self) -> float:
        """The weight without its rise: what validation weighs the KL with, so that its rows can be compared."""
        return math.exp(self._log_weight) if self.seeks else self._fixed

    def weight(self, step: int) -> float:
        """The weight to train with at a step (from 0)."""
        return self.final * min(1.0, step / self._rise) if self._rise > 0 else self.final

    def observe(self, kl: float, squared_error: float, pace: float) -> None:
        """Take in what a step measured; moves the weight where there is a target.

        Args:
            kl: nats, mean over the step's pictures.
            squared_error: of pictures in [0, 1], decoded from a sample; the geometric mean over the step's pictures,
                so that it stands for the mean of their PSNRs.
            pace: the learning rate as a share of its highest: a network that hardly moves needs no new weight.
        """
        if not self.seeks:
            return
        if self.config.kl_target is not None:
            measured, wanted, gain = math.log(max(kl, 1e-6)), math.log(self.config.kl_target), GAIN_KL
        else:
            assert self.config.psnr_target is not None
            measured, wanted, gain = math.log(squared_error), -self.config.psnr_target / 10 * math.log(10), -GAIN_ERROR
        before = measured if self._mean is None else self._mean
        self._mean = MEMORY * before + (1 - MEMORY) * measured
        # One wild batch must not throw the weight: an error counts as at most a factor of e.
        error = min(max(self._mean + LEAD * (self._mean - before) - wanted, -1.0), 1.0)
        moved = self._log_weight + gain * pace * error
        self._log_weight = min(max(moved, math.log(WEIGHT_RANGE[0])), math.log(WEIGHT_RANGE[1]))

    def state_dict(self) -> dict[str, float | None]:
        """What a resumed run needs."""
        return {"log_weight": self._log_weight, "mean": self._mean}

    def load_state_dict(self, state: dict[str, float | None]) -> None:
        """Go on from a `state_dict`."""
        assert state["log_weight"] is not None
        self._log_weight, self._mean = state["log_weight"], state["mean"]

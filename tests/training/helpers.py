"""A small run, how it is cut short, and when two runs are the same."""

import torch

from ear_teacher.config import LossConfig, ModelConfig, TrainConfig
from ear_teacher.linear import LinearCode
from ear_teacher.models import EarVAE, new_model
from ear_teacher.training.loop import Result

MODEL = ModelConfig(latent_dim=64, latent_layout="4x4", width=8)
LOSS = LossConfig(kl_weight=1e-5)
TRAIN = TrainConfig(steps=12, batch_size=6, validate_every=4, lr=3e-3, ema=0.9, milestones=())


class Killed(BaseException):
    """What no `except Exception` catches, as a killed process."""


def fresh(code: LinearCode) -> EarVAE:
    return new_model(MODEL, 32, kl_weight=LOSS.kl_weight, seed=0, code=code.truncated(MODEL.latent_dim))


def assert_same(one: Result, two: Result) -> None:
    assert one.rows == two.rows
    assert one.best_step == two.best_step
    for name in one.last:
        assert torch.equal(one.last[name], two.last[name])
        assert torch.equal(one.best[name], two.best[name])

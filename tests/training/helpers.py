"""A small run, how it is cut short, and when two runs are the same."""

import torch

from ear_teacher.config import LossConfig, ModelConfig, TrainConfig
from ear_teacher.linear import LinearCode
from ear_teacher.models import EarVAE, new_model
from ear_teacher.models.backbone import Backbone
from ear_teacher.training.loop import Result

MODEL = ModelConfig(latent_dim=64, latent_layout="4x4", width=8)
LOSS = LossConfig(kl_weight=1e-5)
TRAIN = TrainConfig(steps=12, batch_size=6, validate_every=4, lr=3e-3, ema=0.9, milestones=())


class Killed(BaseException):
    """What no `except Exception` catches, as a killed process."""


def fresh(code: LinearCode, descriptors: int = 0) -> EarVAE:
    """With descriptors, on a backbone of random weights, where any are wanted."""
    network = "tf_efficientnet_lite0" if descriptors else "none"
    model = MODEL.model_copy(update={"backbone": network, "trainable_blocks": 0, "descriptors": descriptors})
    trunk = None
    if descriptors:
        torch.manual_seed(1)
        trunk = Backbone(network, 32, 0).network.state_dict()
    code = code.truncated(model.latent_dim)
    return new_model(model, 32, kl_weight=LOSS.kl_weight, seed=0, code=code, backbone=trunk)


def assert_same(one: Result, two: Result) -> None:
    assert one.rows == two.rows
    assert one.best_step == two.best_step
    for name in one.last:
        assert torch.equal(one.last[name], two.last[name])
        assert torch.equal(one.best[name], two.best[name])

"""The statistics a backbone was pretrained with are applied inside the model."""

import pytest
import timm
import torch

from ear_teacher.config import UserError
from ear_teacher.models.backbone import Backbone
from ear_teacher.watching.backbone_input import applied_statistics, check_statistics


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "efficientnet_lite0", "vit_tiny_patch16_224"])
def test_the_network_receives_pictures_as_timm_says_it_was_trained(name: str) -> None:
    recorded = timm.get_pretrained_cfg(name)
    assert recorded is not None
    mean, deviation = applied_statistics(Backbone(name, 64, 0))
    torch.testing.assert_close(mean, torch.tensor(recorded.mean), atol=1e-4, rtol=0)
    torch.testing.assert_close(deviation, torch.tensor(recorded.std), atol=1e-4, rtol=0)


def test_dinov2_is_normalised_by_the_statistics_of_imagenet() -> None:
    recorded = timm.get_pretrained_cfg("vit_small_patch14_dinov2.lvd142m")
    assert recorded is not None
    assert recorded.mean == (0.485, 0.456, 0.406)
    sentence = check_statistics(Backbone("vit_small_patch14_dinov2.lvd142m", 64, 0))
    assert "mean 0.485, 0.456, 0.406, deviation 0.229, 0.224, 0.225" in sentence


def test_a_model_that_forgot_the_statistics_is_caught() -> None:
    backbone = Backbone("tf_efficientnet_lite0", 64, 0)
    backbone.mean.zero_()
    backbone.std.fill_(1)
    with pytest.raises(UserError, match=r"normalised by mean -?0\.000"):
        check_statistics(backbone)

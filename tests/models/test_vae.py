"""EarVAE: shapes, step 0, what learns, and the way to disk and back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ear_teacher.config import ModelConfig, UserError
from ear_teacher.forecast import posterior_variance
from ear_teacher.linear import batches, fit_klt
from ear_teacher.models import EarVAE, new_model
from ear_teacher.models.backbone import Backbone
from ear_teacher.models.blocks import SpatialAttention
from ear_teacher.weights.trunks import timm_model

ALL = np.arange(48)
RESIDUAL = {"width": 16, "warm_start": "none"}
AUTHOR = {
    "encoder": "backbone",
    "decoder": "transposed",
    "latent_layout": "vector",
    "warm_start": "none",
    "backbone": "tf_efficientnet_lite0",
    "width": 32,
}


@pytest.mark.parametrize(
    ("options", "size", "shape"),
    [
        (RESIDUAL | {"latent_dim": 128, "latent_layout": "8x8"}, 64, (2, 8, 8)),
        (RESIDUAL | {"latent_dim": 128, "latent_layout": "4x4"}, 64, (8, 4, 4)),
        (RESIDUAL | {"latent_dim": 128, "latent_layout": "8x8"}, 96, (2, 8, 8)),
        (RESIDUAL | {"latent_dim": 128, "latent_layout": "4x4"}, 160, (8, 4, 4)),
        (RESIDUAL | {"latent_dim": 64, "latent_layout": "4x4", "decoder": "transposed"}, 64, (4, 4, 4)),
        (AUTHOR | {"latent_dim": 24}, 64, (24, 1, 1)),
        (AUTHOR | {"latent_dim": 24}, 96, (24, 1, 1)),
        (AUTHOR | {"latent_dim": 32, "latent_layout": "4x4"}, 128, (2, 4, 4)),
    ],
)
def test_pictures_come_back_in_their_shape_and_codes_have_the_layout(options: dict, size: int, shape: tuple) -> None:
    model = EarVAE(ModelConfig(**options), size).eval()
    images = torch.rand(2, 3, size, size)
    posterior = model.encode(images)
    assert posterior.mean.shape == (2, *shape)
    assert posterior.kl().shape == (2, options["latent_dim"])
    assert model.decode(posterior.mode).shape == images.shape
    recon = model.reconstruct(images)
    assert recon.min() >= 0
    assert recon.max() <= 1


def test_a_size_the_model_cannot_halve_is_refused() -> None:
    with pytest.raises(UserError, match=r"image_size = 100 .* multiple of 32"):
        EarVAE(ModelConfig(**RESIDUAL), 100)


@pytest.mark.parametrize(("layout", "grid"), [("4x4", 4), ("8x8", 8)])
def test_step_0_of_a_warm_start_is_the_linear_code(smooth_pictures: np.ndarray, layout: str, grid: int) -> None:
    rank = 128 // grid**2
    code = fit_klt(smooth_pictures, ALL, grid, rank)
    config = ModelConfig(latent_dim=128, latent_layout=layout, width=16)
    model = new_model(config, 32, kl_weight=1e-3, seed=0, code=code).eval()
    images = (next(batches(smooth_pictures, ALL)) + 1) / 2
    with torch.no_grad():
        posterior = model.encode(images)
        torch.testing.assert_close(model.reconstruct(images), code.reconstruct(images), atol=1e-4, rtol=0)
    wanted = posterior_variance(code.eigenvalues[:rank].numpy(), 1e-3, 3 * 32**2)
    np.testing.assert_allclose(posterior.logvar[0, :, 0, 0].exp(), wanted, rtol=1e-4)
    mirrored = torch.cat([images, images.flip(-1)])
    with torch.no_grad():
        spread = model.encode(mirrored).mean.var((0, 2, 3), correction=0)
    torch.testing.assert_close(spread, torch.ones(rank), atol=0.02, rtol=0)  # whitened


@pytest.mark.parametrize(("name", "layers"), [("tf_efficientnet_lite0", 3), ("vit_small_patch14_dinov2.lvd142m", 4)])
def test_a_hybrid_starts_at_the_linear_code_too_and_its_backbone_then_reaches_the_code(
    smooth_pictures: np.ndarray, name: str, layers: int
) -> None:
    code = fit_klt(smooth_pictures, ALL, 4, 4)
    config = ModelConfig(latent_dim=64, latent_layout="4x4", width=16, backbone=name, backbone_layers=layers)
    weights = timm_model(name).state_dict()
    model = new_model(config, 32, kl_weight=1e-3, seed=0, code=code, backbone=weights).train()
    images = (next(batches(smooth_pictures, ALL))[:4] + 1) / 2
    torch.testing.assert_close(model.reconstruct(images), code.reconstruct(images), atol=1e-4, rtol=0)
    nn.init.normal_(model.encoder.out.weight)
    model.encode(images).mean.square().sum().backward()
    assert len(model.backbone_parameters()) > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.join.parameters())
    assert sum(p.grad is not None for p in model.backbone_parameters()) > 0


def test_more_layers_than_a_backbone_has_are_refused() -> None:
    with pytest.raises(UserError, match=r"backbone_layers = 9: tf_efficientnet_lite0 has 4 maps"):
        Backbone("tf_efficientnet_lite0", 64, 0, layers=9)


def test_a_code_of_another_layout_is_refused(smooth_pictures: np.ndarray) -> None:
    code = fit_klt(smooth_pictures, ALL, 4, 4)
    with pytest.raises(UserError, match=r"linear\.max_floats"):
        new_model(ModelConfig(latent_dim=128, latent_layout="8x8"), 32, kl_weight=1e-3, seed=0, code=code)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    config = ModelConfig(latent_dim=128, **RESIDUAL)
    first, second, other = (new_model(config, 64, kl_weight=1e-6, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_only_the_last_blocks_of_the_backbone_learn() -> None:
    backbone = Backbone("tf_efficientnet_lite0", 64, trainable_blocks=4)
    blocks = [block for stage in backbone.network.blocks for block in stage]
    learns = [any(p.requires_grad for p in block.parameters()) for block in blocks]
    assert learns == [False] * (len(blocks) - 4) + [True] * 4
    assert not backbone.network.conv_stem.weight.requires_grad
    assert not any(p.requires_grad for p in Backbone("tf_efficientnet_lite0", 64, 0).parameters())


def test_the_backbone_keeps_its_normalisation_statistics_while_the_rest_trains() -> None:
    backbone = Backbone("tf_efficientnet_lite0", 64, trainable_blocks=4).train()
    before = backbone.network.bn1.running_mean.clone()
    backbone(torch.rand(2, 3, 64, 64))
    assert torch.equal(before, backbone.network.bn1.running_mean)


def test_the_backbone_normalises_with_the_statistics_it_was_trained_with() -> None:
    backbone = Backbone("vit_small_patch14_dinov2.lvd142m", 128, trainable_blocks=0)
    seen: list[torch.Tensor] = []
    backbone.network.patch_embed.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    (features,) = backbone(torch.full((1, 3, 128, 128), 0.5))
    imagenet = (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert seen[0].shape == (1, 3, 126, 126)
    torch.testing.assert_close(seen[0][0, :, 5, 5], imagenet, atol=1e-5, rtol=0)
    assert features.shape == (1, 384, 9, 9)


def test_the_authors_encoder_with_dinov2_learns_in_its_last_four_blocks() -> None:
    config = ModelConfig(**(AUTHOR | {"backbone": "vit_small_patch14_dinov2.lvd142m", "latent_dim": 16}))
    model = EarVAE(config, 64)
    recon, posterior = model(torch.rand(2, 3, 64, 64))
    (recon.mean() + posterior.kl().mean()).backward()
    blocks = model.encoder.backbone.network.blocks
    with_gradient = [block.attn.qkv.weight.grad is not None for block in blocks]
    assert with_gradient == [False] * 8 + [True] * 4


def test_pretrained_weights_reach_the_backbone_and_those_of_another_network_are_refused() -> None:
    config = ModelConfig(**(AUTHOR | {"latent_dim": 16}))
    tensors = {
        name: torch.randn_like(value) if value.is_floating_point() else value
        for name, value in EarVAE(config, 64).encoder.backbone.network.state_dict().items()
    }
    model = new_model(config, 64, kl_weight=1e-4, seed=0, backbone=tensors | {"classifier.weight": torch.zeros(2)})
    torch.testing.assert_close(model.encoder.backbone.network.conv_stem.weight.data, tensors["conv_stem.weight"])
    del tensors["conv_stem.weight"]
    with pytest.raises(UserError, match="not those of tf_efficientnet_lite0"):
        new_model(config, 64, kl_weight=1e-4, seed=0, backbone=tensors)


def test_an_unknown_backbone_is_named_in_the_refusal() -> None:
    with pytest.raises(UserError, match="'resnet_of_dreams'"):
        Backbone("resnet_of_dreams", 64, 0)


def test_spatial_attention_gates_by_the_channels_maximum_and_mean() -> None:
    attention = SpatialAttention()
    x = torch.randn(1, 5, 8, 8)
    summary = torch.stack([x.max(1).values, x.mean(1)], 1)
    gate = torch.sigmoid(nn.functional.conv2d(summary, attention.conv.weight, attention.conv.bias, padding=3))
    torch.testing.assert_close(attention(x), x * gate)


@pytest.mark.parametrize("options", [RESIDUAL | {"latent_dim": 128}, AUTHOR | {"latent_dim": 16}])
def test_a_saved_model_comes_back_the_same_and_saves_the_same_bytes(options: dict, tmp_path: Path) -> None:
    model = EarVAE(ModelConfig(**options), 64).eval()
    model.save(tmp_path / "one")
    again = EarVAE.load(tmp_path / "one")
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model.reconstruct(images), again.reconstruct(images))
    again.save(tmp_path / "two")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_damaged_or_mismatched_model_folder_is_refused(tmp_path: Path) -> None:
    model = EarVAE(ModelConfig(latent_dim=128, **RESIDUAL), 64)
    model.save(tmp_path)
    with pytest.raises(UserError, match=r"config\.json"):
        EarVAE.load(tmp_path / "elsewhere")
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match=r"model\.safetensors"):
        EarVAE.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(weights)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"latent_dim": 128', '"latent_dim": 192'))
    with pytest.raises(UserError, match="does not fit"):
        EarVAE.load(tmp_path)

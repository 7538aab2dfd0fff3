"""LPIPS and VGG-L1 from one pass through the trunk are what the references compute."""

import time
import warnings
from pathlib import Path

import lpips
import pytest
import torch
import torchvision
from torch import Tensor

from ear_teacher.config import UserError
from ear_teacher.perceptual import load_lpips, lpips_from_features, trunk_features, vgg_l1_from_features
from ear_teacher.weights import load_trunk

FILES = {"alex": "alexnet.safetensors", "vgg": "vgg16.safetensors"}


@pytest.fixture(scope="module")
def nets(trunks: Path) -> dict[str, lpips.LPIPS]:
    return {kind: load_lpips(kind, trunks / file) for kind, file in FILES.items()}  # type: ignore[arg-type]  # a loop over the Literal


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(3, 3, 64, 64, generator=generator) * 2 - 1
    return a, (a + 0.3 * torch.randn(3, 3, 64, 64, generator=generator)).clamp(-1, 1)


@pytest.mark.parametrize("kind", FILES)
def test_lpips_from_features_is_the_library_s_own_forward(kind: str, nets: dict, pair: tuple[Tensor, Tensor]) -> None:
    a, b = pair
    net = nets[kind]
    ours = lpips_from_features(net, trunk_features(net, a), trunk_features(net, b))
    assert ours.shape == (3,)
    assert torch.allclose(ours, net(a, b).flatten(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", FILES)
def test_a_picture_is_at_distance_zero_from_itself_and_farther_from_a_noisier_copy(
    kind: str, nets: dict, pair: tuple[Tensor, Tensor]
) -> None:
    net = nets[kind]
    a = pair[0][:1]
    noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(1))
    features = [trunk_features(net, a + level * noise) for level in (0.0, 0.05, 0.2)]
    distances = [float(lpips_from_features(net, features[0], other)) for other in features]
    assert distances[0] == 0
    assert 0 < distances[1] < distances[2]


def test_vgg_l1_is_that_of_an_independent_vgg16_on_imagenet_normalised_pictures(
    trunks: Path, nets: dict, pair: tuple[Tensor, Tensor]
) -> None:
    with torch.device("meta"):
        vgg = torchvision.models.vgg16(weights=None).features
    vgg.load_state_dict(
        {name.removeprefix("features."): tensor for name, tensor in load_trunk(trunks / "vgg16.safetensors").items()},
        assign=True,
    )
    normalise = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    wanted = {3: "relu1_2", 8: "relu2_2", 15: "relu3_3", 22: "relu4_3"}

    def layers(images: Tensor) -> list[Tensor]:
        x, found = normalise((images + 1) / 2), []
        for place, layer in enumerate(vgg[:23]):
            x = layer(x)
            if place in wanted:
                found.append(x.clone())
        return found

    expected = torch.stack([(x - y).abs().mean((1, 2, 3)) for x, y in zip(*map(layers, pair), strict=True)]).mean(0)
    ours = vgg_l1_from_features(*(trunk_features(nets["vgg"], images) for images in pair))
    assert torch.allclose(ours, expected, rtol=1e-4)


@pytest.mark.parametrize("kind", FILES)
def test_the_network_is_frozen_in_evaluation_mode_and_still_gives_gradients(
    kind: str, nets: dict, pair: tuple[Tensor, Tensor]
) -> None:
    net = nets[kind]
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())
    image = pair[0].clone().requires_grad_()
    lpips_from_features(net, trunk_features(net, image), trunk_features(net, pair[1])).sum().backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()
    assert image.grad.abs().sum() > 0


def test_the_gradient_is_finite_where_all_channels_of_a_position_are_silent(nets: dict) -> None:
    silent = [torch.zeros(1, channels, 2, 2, requires_grad=True) for channels in nets["vgg"].chns]
    loud = [torch.ones(1, channels, 2, 2) for channels in nets["vgg"].chns]
    lpips_from_features(nets["vgg"], silent, loud).sum().backward()
    assert all(torch.isfinite(layer.grad).all() for layer in silent)  # type: ignore[arg-type]  # the gradients were just made


def test_the_linear_heads_are_those_of_the_lpips_wheel(trunks: Path, nets: dict) -> None:
    for kind in FILES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reference = lpips.LPIPS(net=kind, pnet_rand=True, verbose=False)
        for ours, theirs in zip(nets[kind].lins, reference.lins, strict=True):
            assert torch.equal(ours.model[1].weight, theirs.model[1].weight)


def test_loading_is_quiet_quick_and_leaves_the_random_numbers_alone(trunks: Path, capfd: pytest.CaptureFixture) -> None:
    before, start = torch.get_rng_state(), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_lpips("vgg", trunks / FILES["vgg"])
    assert torch.equal(torch.get_rng_state(), before)
    assert time.perf_counter() - start < 5
    assert capfd.readouterr() == ("", "")


def test_another_network_s_file_is_refused(trunks: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not the alex trunk"):
        load_lpips("alex", trunks / FILES["vgg"])
    with pytest.raises(UserError, match="are missing"):
        load_lpips("alex", tmp_path / "none.safetensors")

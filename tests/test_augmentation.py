"""Augmentation: geometry to both, degradation to the input, everything from the generator."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from ear_teacher.augmentation import _blur, augment, degrade
from ear_teacher.config import TrainConfig


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_flips_reach_input_and_target_alike() -> None:
    images = torch.rand(64, 3, 8, 8)
    given, target = augment(images, TrainConfig(flip=True), generator())
    assert torch.equal(given, target)
    mirrored = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(target, images, strict=True)])
    kept = torch.tensor([torch.equal(a, b) for a, b in zip(target, images, strict=True)])
    assert (mirrored ^ kept).all()
    assert 16 < mirrored.sum() < 48


def test_a_clean_target_is_the_picture_itself_and_a_degraded_one_is_the_input() -> None:
    images = torch.rand(32, 3, 32, 32)
    given, target = augment(images, TrainConfig(flip=False, augment="clean_target"), generator())
    assert torch.equal(target, images)
    assert not torch.equal(given, images)
    given, target = augment(images, TrainConfig(flip=False, augment="degraded_target"), generator())
    assert torch.equal(given, target)


def test_degraded_pictures_stay_in_range_and_depend_on_the_generator_alone() -> None:
    images = torch.rand(32, 3, 32, 32)
    first, second, other = degrade(images, generator(1)), degrade(images, generator(1)), degrade(images, generator(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.min() >= 0
    assert first.max() <= 1


def test_blur_agrees_with_scipy() -> None:
    images = torch.rand(2, 3, 32, 32)
    blurred = _blur(images, torch.tensor([0.7, 1.2]))
    for picture, result, sigma in zip(images, blurred, (0.7, 1.2), strict=True):
        reference = gaussian_filter(picture.numpy(), (0, sigma, sigma), mode="mirror", truncate=4.5 / sigma)
        np.testing.assert_allclose(result[:, 5:-5, 5:-5], reference[:, 5:-5, 5:-5], atol=2e-3)

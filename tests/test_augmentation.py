"""Augmentation: geometry to both, degradation to the input, everything from the generator."""

import numpy as np
import torch
from scipy.ndimage import affine_transform, gaussian_filter

from ear_teacher.augmentation import Draws, _blur, augment, degrade, flips, move
from ear_teacher.config import TrainConfig


def draws(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed))


def test_the_parts_of_a_batch_meet_the_numbers_of_the_whole() -> None:
    def drawn(part: int, parts: int) -> list[torch.Tensor]:
        mine = Draws(torch.Generator().manual_seed(1), part, parts)
        return [mine.uniform(12 // parts), mine.normal(12 // parts, 3, 5), mine.uniform(12 // parts, 2)]

    for parts in (2, 3):
        for whole, *pieces in zip(drawn(0, 1), *(drawn(part, parts) for part in range(parts)), strict=True):
            assert torch.equal(torch.cat(pieces), whole)


def test_flips_reach_input_and_target_alike() -> None:
    images = torch.rand(64, 3, 8, 8)
    given, target = augment(images, TrainConfig(flip=True), draws())
    assert torch.equal(given, target)
    mirrored = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(target, images, strict=True)])
    kept = torch.tensor([torch.equal(a, b) for a, b in zip(target, images, strict=True)])
    assert (mirrored ^ kept).all()
    assert torch.equal(flips(64, TrainConfig(flip=True), draws()), mirrored)
    assert 16 < mirrored.sum() < 48


def test_a_clean_target_is_the_picture_itself_and_a_degraded_one_is_the_input() -> None:
    images = torch.rand(32, 3, 32, 32)
    given, target = augment(images, TrainConfig(flip=False, augment="clean_target"), draws())
    assert torch.equal(target, images)
    assert not torch.equal(given, images)
    given, target = augment(images, TrainConfig(flip=False, augment="degraded_target"), draws())
    assert torch.equal(given, target)


def test_degraded_pictures_stay_in_range_and_depend_on_the_generator_alone() -> None:
    images = torch.rand(32, 3, 32, 32)
    first, second, other = degrade(images, draws(1)), degrade(images, draws(1)), degrade(images, draws(2))
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


def test_moved_pictures_agree_with_scipy_away_from_the_border() -> None:
    side = 64
    line = np.linspace(0, 3, side)
    picture = 0.5 + 0.4 * np.sin(line[:, None] + 0.3) * np.cos(1.5 * line[None, :])
    images = torch.from_numpy(picture).float().expand(1, 3, side, side)
    moved = move(images, 0.1, draws(3))[0, 0].numpy()
    across, down, log_scale, turn = ((draws(3).uniform(4) * 2 - 1) * 0.1).tolist()
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / np.exp(log_scale)
    centre = np.full(2, (side - 1) / 2)
    offset = centre - matrix @ centre + np.array([down, across]) * side
    reference = affine_transform(picture, matrix, offset, order=3)
    np.testing.assert_allclose(moved[14:-14, 14:-14], reference[14:-14, 14:-14], atol=2e-3)


def test_moving_reaches_input_and_target_alike_and_leaves_other_draws_alone() -> None:
    images = torch.rand(16, 3, 32, 32)
    given, target = augment(images, TrainConfig(affine=0.05), draws())
    assert torch.equal(given, target)
    assert target.min() >= 0
    assert target.max() <= 1
    flipped, _ = augment(images, TrainConfig(affine=0), draws())
    assert (target - flipped).abs().flatten(1).mean(1).min() > 0
    assert torch.allclose(move(flipped, 1e-6, draws(1)), flipped, atol=1e-3)

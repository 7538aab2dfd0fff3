"""Heads: places and boxes read off maps, labels that follow the geometry, repeatable training, files that fit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from ear_teacher.config import ModelConfig, UserError
from ear_teacher.data import to_tensor
from ear_teacher.models import EarVAE
from ear_teacher.teacher import EarTeacher
from ear_teacher.teacher.detector import Detector, box_loss, fit_boxes, overlap
from ear_teacher.teacher.distortion import move, relook
from ear_teacher.teacher.fit import FitConfig, Marked, errors, fit_landmarks, predict
from ear_teacher.teacher.heads import BoxHead, LandmarkHead, box_at, expected_place, spread_loss
from ear_teacher.teacher.landmarker import Landmarker
from ear_teacher.teacher.pyramid import channels_of, maps_of
from ear_teacher.teacher.scenes import Scenes, compose_scenes

SIDE = 32


@pytest.fixture
def model() -> EarVAE:
    torch.manual_seed(0)
    return EarVAE(ModelConfig(latent_dim=64, latent_layout="4x4", width=8, warm_start="none"), SIDE).eval()


@pytest.fixture(scope="module")
def dots() -> Marked:
    """Pictures with two dots each, a red and a green one, on a dark ground."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 30, (160, SIDE, SIDE, 3), dtype=np.uint8)
    points = rng.uniform(0.2, 0.8, (160, 2, 2)).astype(np.float32)
    for image, places in zip(images, points, strict=True):
        for channel, (x, y) in enumerate(places):
            row, column = int(y * SIDE), int(x * SIDE)
            image[row - 2 : row + 3, column - 2 : column + 3, channel] = 250
    every = np.ones((160, 2), dtype=bool)
    return Marked(images, points, every, every, np.array([f"p{i // 2}" for i in range(160)]))


def test_the_expected_place_of_one_cell_is_its_centre() -> None:
    heatmaps = torch.zeros(1, 1, 4, 8)
    heatmaps[0, 0, 3, 2] = 1
    torch.testing.assert_close(expected_place(heatmaps), torch.tensor([[[2.5 / 8, 3.5 / 4]]]))


def test_the_spread_loss_is_scipys_jensen_shannon_divergence() -> None:
    rng = np.random.default_rng(0)
    heatmap = rng.random((6, 6))
    heatmap /= heatmap.sum()
    x, y = 0.4, 0.7
    line = np.arange(6) + 0.5
    wanted = np.exp(-0.5 * (line[None] - x * 6) ** 2 - 0.5 * (line[:, None] - y * 6) ** 2)
    wanted /= wanted.sum()
    middle = (heatmap + wanted) / 2
    reference = (entropy(heatmap.ravel(), middle.ravel()) + entropy(wanted.ravel(), middle.ravel())) / 2
    found = spread_loss(torch.tensor(heatmap)[None, None], torch.tensor([[[x, y]]], dtype=torch.float64))
    np.testing.assert_allclose(found.item(), reference, rtol=1e-6)
    perfect = spread_loss(torch.tensor(wanted)[None, None], torch.tensor([[[x, y]]], dtype=torch.float64))
    np.testing.assert_allclose(perfect.item(), 0, atol=1e-9)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_points_follow_the_picture_wherever_it_is_moved(seed: int) -> None:
    line = torch.linspace(0, 1, 65)[:-1] + 1 / 128
    place = torch.tensor([[[0.45, 0.55], [0.6, 0.35]]])
    blob = [((line[None] - x) ** 2 + (line[:, None] - y) ** 2).mul(-0.5 / 0.03**2).exp() for x, y in place[0]]
    image = torch.stack([*blob, torch.zeros(64, 64)])[None]
    moved, points = move(image, place, torch.Generator().manual_seed(seed))
    for channel, (x, y) in enumerate(points[0]):
        if not (0.1 < x < 0.9 and 0.1 < y < 0.9):
            continue
        # A mirror image of the blob beyond the border may be as bright: look at the place itself. A standard deviation
        # beside its middle, which is 0.03 of the side, the blob has fallen to 0.6.
        assert moved[0, channel, int(y * 64), int(x * 64)] > 0.6


def test_other_looks_stay_in_range_and_come_from_the_generator_alone(dots: Marked) -> None:
    images = to_tensor(dots.images[:8])
    first, second = (relook(images.clone(), torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert first.min() >= 0
    assert first.max() <= 1
    assert (first - images).abs().mean() > 0.01


def test_a_frozen_encoder_stays_as_it_is_and_the_head_learns_two_dots(model: EarVAE, dots: Marked) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    head = LandmarkHead(channels_of(model), 2, 16)
    untrained = np.nanmean(errors(model, head, dots))
    rows = np.arange(160)
    config = FitConfig(steps=150, batch_size=8, lr=1e-2, move=False, relook=False, validate_every=50)
    fitted = fit_landmarks(model, head, dots.part(rows[:120]), dots.part(rows[120:]), config)
    assert fitted.nme < untrained / 3
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert np.nanmean(errors(model, head, dots.part(rows[120:]))) == pytest.approx(fitted.nme)


def test_a_learning_encoder_moves_and_the_same_seed_gives_the_same_weights(dots: Marked) -> None:
    config = FitConfig(steps=4, batch_size=4, encoder_lr=1e-3, validate_every=2)
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        model = EarVAE(ModelConfig(latent_dim=64, latent_layout="4x4", width=8, warm_start="none"), SIDE)
        before = model.encoder.branch[2].body[1].weight.clone()
        head = LandmarkHead(channels_of(model), 2, 8)
        fit_landmarks(model, head, dots, dots, config)
        assert not torch.equal(before, model.encoder.branch[2].body[1].weight)
        found.append(head.state_dict() | {f"encoder.{k}": v for k, v in model.encoder.state_dict().items()})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_hidden_points_teach_nothing_unless_they_are_given_a_weight(model: EarVAE, dots: Marked) -> None:
    hidden = Marked(dots.images, dots.points, dots.visible.copy(), dots.known, dots.persons)
    hidden.visible[:, 1] = False
    wrong = Marked(dots.images, dots.points.copy(), hidden.visible, dots.known, dots.persons)
    wrong.points[:, 1] = 0.1
    states = []
    for marked, weight in ((hidden, 0.0), (wrong, 0.0), (wrong, 1.0)):
        head = LandmarkHead(channels_of(model), 2, 8)
        fit_landmarks(model, head, marked, hidden, FitConfig(steps=3, batch_size=4, hidden=weight, move=False))
        states.append(head.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_the_mirrored_picture_gives_the_mirrored_points(model: EarVAE, dots: Marked) -> None:
    head = LandmarkHead(channels_of(model), 2, 8).eval()
    images = to_tensor(dots.images[:4])
    straight, turned = predict(model, head, images), predict(model, head, images.flip(-1))
    torch.testing.assert_close(straight[..., 0], 1 - turned[..., 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(straight[..., 1], turned[..., 1], atol=1e-5, rtol=0)


def test_a_landmarker_comes_back_from_its_folder_and_answers_in_pixels(
    model: EarVAE, dots: Marked, tmp_path: Path
) -> None:
    head = LandmarkHead(channels_of(model), 2, 8)
    made = Landmarker(EarTeacher(model, "cpu"), head, ("red", "green"), {"val_nme": 0.1})
    made.save(tmp_path / "landmarker")
    back = Landmarker.load(tmp_path / "landmarker", "cpu")
    assert back.names == ("red", "green")
    assert back.facts == {"val_nme": 0.1}
    inside = predict(model, head, to_tensor(dots.images[:3]))
    found = back.predict(dots.images[:3])
    torch.testing.assert_close(found, inside * SIDE - 0.5, atol=1e-3, rtol=0)
    # The same picture as a part of a larger one: its points move with the box.
    large = np.zeros((50, 70, 3), dtype=np.uint8)
    large[10 : 10 + SIDE, 30 : 30 + SIDE] = dots.images[0]
    there = back.predict([large], boxes=[(30, 10, SIDE, SIDE)])
    torch.testing.assert_close(there, found[:1] + torch.tensor([30.0, 10.0]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("broken", ["head.json", "head.safetensors", "other", "damaged"])
def test_a_wrong_folder_is_told_in_one_sentence(model: EarVAE, tmp_path: Path, broken: str) -> None:
    folder = tmp_path / "landmarker"
    Landmarker(EarTeacher(model, "cpu"), LandmarkHead(channels_of(model), 2, 8), ("a", "b")).save(folder)
    if broken == "other":
        Detector(EarTeacher(model, "cpu"), BoxHead(channels_of(model), 8)).save(folder)
    elif broken == "damaged":
        (folder / "head.json").write_text(json.dumps({"names": ["a", "b", "c"], "width": 8}))
    else:
        (folder / broken).unlink()
    with pytest.raises(UserError, match=r"^[^\n]+landmarker[^\n]+$"):
        Landmarker.load(folder, "cpu")


def test_names_must_be_as_many_as_points(model: EarVAE) -> None:
    with pytest.raises(UserError, match="3 names for 2 points"):
        Landmarker(EarTeacher(model, "cpu"), LandmarkHead(channels_of(model), 2, 8), ("a", "b", "c"))


def test_maps_of_any_stride_reach_the_grid_of_stride_4() -> None:
    for channels in ({"stride16": 5}, {"stride2": 3, "stride32": 4}, {"stride4": 2, "mean": 6}):
        maps = {n: torch.rand(2, c, *2 * (64 // int(n[6:] or 16),)) for n, c in channels.items() if n != "mean"}
        maps |= {"mean": torch.rand(2, 6, 1, 1)} if "mean" in channels else {}
        assert LandmarkHead(channels, 3, 8).heatmaps(maps).shape == (2, 3, 16, 16)


def test_the_overlap_of_boxes_is_the_textbooks() -> None:
    a = np.array([[0.5, 0.5, 0.2, 0.2]] * 3, dtype=np.float32)
    b = np.array([[0.5, 0.5, 0.2, 0.2], [0.6, 0.5, 0.2, 0.2], [0.9, 0.9, 0.1, 0.1]], dtype=np.float32)
    np.testing.assert_allclose(overlap(a, b), [1, 1 / 3, 0], atol=1e-6)


def test_a_perfect_box_head_costs_almost_nothing_and_is_read_back() -> None:
    boxes = torch.tensor([[0.3, 0.6, 0.2, 0.4], [float("nan")] * 4])
    logits = torch.full((2, 8, 8), -12.0)
    logits[0, 4, 2] = 12  # the cell of (0.3, 0.6)
    shape = torch.zeros(2, 4, 8, 8)
    shape[0, :, 4, 2] = torch.tensor([0.3 * 8 - 2.5, 0.6 * 8 - 4.5, np.log(0.2), np.log(0.4)])
    assert box_loss(logits, shape, boxes).item() == pytest.approx(0, abs=1e-4)
    torch.testing.assert_close(box_at(shape, torch.tensor([34, 0]))[0], boxes[0])
    assert box_loss(-logits, shape, boxes).item() > 1
    assert box_loss(logits, shape + 1, boxes).item() > 0.5


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    """Bright discs on dark pictures as `ears`."""
    line = np.arange(SIDE)
    disc = (line[:, None] - 16) ** 2 + (line[None] - 16) ** 2 < 100
    images = np.where(disc[None, :, :, None], 250, 20) * np.ones((4, 1, 1, 3))
    return compose_scenes(images.astype(np.uint8), np.repeat(disc[None].astype(np.uint8), 4, 0), 60, SIDE, seed=1)


def test_scenes_repeat_and_their_boxes_hold_the_ear(scenes: Scenes) -> None:
    again = compose_scenes(scenes.images[:4], np.ones((4, SIDE, SIDE), dtype=np.uint8), 5, SIDE, seed=2)
    twice = compose_scenes(scenes.images[:4], np.ones((4, SIDE, SIDE), dtype=np.uint8), 5, SIDE, seed=2)
    np.testing.assert_array_equal(again.images, twice.images)
    there = ~np.isnan(scenes.boxes).any(1)
    assert 0 < (~there).sum() < 20
    low, high = (
        scenes.boxes[there, :2] - scenes.boxes[there, 2:] / 2,
        scenes.boxes[there, :2] + scenes.boxes[there, 2:] / 2,
    )
    assert low.min() > -1e-5
    assert high.max() < 1 + 1e-5
    # The disc is the brightest thing in its box: the box's middle is bright.
    for image, (x, y, _, _) in zip(scenes.images[there], scenes.boxes[there], strict=True):
        assert image[int(y * SIDE), int(x * SIDE)].mean() > 150


def test_a_detector_learns_finds_and_comes_back_from_its_folder(model: EarVAE, scenes: Scenes, tmp_path: Path) -> None:
    head = BoxHead(channels_of(model), 16)
    config = FitConfig(steps=120, batch_size=8, lr=1e-2, encoder_lr=5e-3, relook=False, validate_every=60)
    fitted = fit_boxes(model, head, scenes, scenes, config)
    assert 1 - fitted.nme > 0.5
    Detector(EarTeacher(model, "cpu"), head).save(tmp_path / "detector")
    back = Detector.load(tmp_path / "detector", "cpu")
    there = np.flatnonzero(~np.isnan(scenes.boxes).any(1))[:20]
    wide = np.stack([np.repeat(image, 2, axis=1) for image in scenes.images[there]])
    boxes, scores = back.predict(wide)
    found = np.column_stack([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]]) / [2 * SIDE, SIDE, 2 * SIDE, SIDE]
    assert overlap(found.astype(np.float32), scenes.boxes[there]).mean() > 0.5
    assert scores.shape == (20,)
    with torch.no_grad():
        inside, _ = head.boxes(maps_of(model, to_tensor(scenes.images[there])))
    np.testing.assert_allclose(found, inside.numpy(), atol=0.1)

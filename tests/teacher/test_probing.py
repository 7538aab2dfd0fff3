"""The probe: its closed forms against scikit-learn, its distances by hand, its chances against chance."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_curve
from torch import Tensor

from ear_teacher.config import ModelConfig
from ear_teacher.linear import fit_klt, fit_pca
from ear_teacher.models import EarVAE, new_model
from ear_teacher.teacher.probing import (
    Settings,
    Truth,
    extract,
    hog_encoder,
    linear_encoder,
    model_encoder,
    probe_landmarks,
    probe_people,
    probe_pose,
)
from ear_teacher.teacher.probing.coordinates import Coordinates
from ear_teacher.teacher.probing.heads import PENALTIES, channel_axes, fit_soft_argmax, reduced, ridge
from ear_teacher.teacher.probing.landmarks import contour_distance, landmark_errors
from ear_teacher.teacher.probing.retrieval import Gallery, compare_people, equal_error_rate, first_is_right
from ear_teacher.teacher.probing.tasks import labelled


@limits(max_examples=20)
@given(rows=st.integers(5, 30), width=st.integers(1, 40), seed=st.integers(0, 999))
def test_ridge_is_scikit_learns_at_the_penalty_validation_chose(rows: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, val, new = (rng.standard_normal((n, width)) for n in (rows, 7, 4))
    weights = rng.standard_normal((width, 3))
    y, wanted = x @ weights + rng.standard_normal((rows, 3)), val @ weights

    def score(found: Tensor) -> float:
        return float(np.abs(found.numpy() - wanted).mean())

    tensors = [torch.from_numpy(part).float() for part in (x, y, val)]
    error, predict = ridge(*tensors, score)
    x, y = (tensor.double().numpy() for tensor in tensors[:2])
    unit = ((x - x.mean(0)) ** 2).sum() / rows
    references = [Ridge(alpha=penalty * unit, solver="svd").fit(x, y) for penalty in PENALTIES]
    errors = [np.abs(reference.predict(val) - wanted).mean() for reference in references]
    assert error == pytest.approx(min(errors), rel=1e-3)
    best = references[int(np.argmin(errors))]
    np.testing.assert_allclose(predict(torch.from_numpy(new).float()).numpy(), best.predict(new), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)], ids=["many pictures", "many features"])
def test_coordinates_are_the_principal_ones(shape: tuple[int, int]) -> None:
    features = np.random.default_rng(0).standard_normal(shape) * np.linspace(3, 1, shape[1])
    axes = Coordinates.fit(torch.from_numpy(features).float(), 5)
    scores = axes.of(torch.from_numpy(features).float()).numpy()
    reference = PCA(5, svd_solver="full").fit_transform(features)
    np.testing.assert_allclose(np.abs(scores), np.abs(reference), atol=1e-3)
    white = axes.whitened(torch.from_numpy(scores), 1.0).numpy()
    np.testing.assert_allclose(white.var(0), 1, rtol=1e-3)
    half = axes.whitened(torch.from_numpy(scores), 0.5).numpy()
    np.testing.assert_allclose(half.std(0), (scores.std(0) / scores[:, 0].std()) ** 0.5, rtol=1e-3)


def test_reduced_channels_have_no_correlation_left() -> None:
    stack = torch.randn(6, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    stack[:, 1] += 2 * stack[:, 0]
    flat = reduced(stack, *channel_axes([stack[:3], stack[3:]], 5)).transpose(0, 1).flatten(1)
    torch.testing.assert_close(flat @ flat.T / flat.shape[1], torch.eye(5), rtol=0, atol=1e-4)


def test_errors_are_means_over_visible_points_in_sides_and_in_heights() -> None:
    true = np.array([[[0.2, 0.1], [0.4, 0.5], [0.3, 0.3]]])
    found = true + np.array([[[0.03, 0.04], [0.0, 0.1], [9.0, 9.0]]])
    visible = np.array([[True, True, False]])
    errors = landmark_errors(found, true, visible)
    assert errors["nme"][0] == pytest.approx(0.075)
    assert errors["nme_height"][0] == pytest.approx(0.075 / 0.4)
    assert np.isnan(landmark_errors(found, true, np.zeros_like(visible))["nme"][0])


def test_a_point_that_slides_along_its_curve_costs_nothing() -> None:
    true = np.array([[[0.1, 0.1], [0.5, 0.1], [0.5, 0.5], [0.9, 0.9]]])
    groups = ("rim", "rim", "rim", "tip")
    visible = np.ones((1, 4), dtype=bool)
    slid = np.array([[[0.3, 0.1], [0.5, 0.2], [0.5, 0.4], [0.9, 0.9]]])
    assert contour_distance(slid, true, visible, groups)[0] == pytest.approx(0)
    off = slid + np.array([0.0, 0.02])  # across the level part; along the upright one; the tip is a point
    assert contour_distance(off, true, visible, groups)[0] == pytest.approx((0.02 + 0 + 0 + 0.02) / 4)


def test_rank_one_and_the_equal_error_rate_are_those_of_their_definitions() -> None:
    rng = np.random.default_rng(1)
    person = np.array(list("aaabbbccd"))
    vectors = rng.standard_normal((9, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = vectors @ vectors.T
    right = first_is_right(alike, person)
    assert np.isnan(right[8])  # the only picture of d: nothing to find
    for i in range(8):
        others = [j for j in range(9) if j != i]
        assert right[i] == (person[max(others, key=lambda j: alike[i, j])] == person[i])
    first, second = np.triu_indices(9, 1)
    admitted, found, _ = roc_curve(person[first] == person[second], alike[first, second], drop_intermediate=False)
    place = np.argmin(np.abs(admitted - (1 - found)))
    assert equal_error_rate(alike, person) == pytest.approx((admitted[place] + 1 - found[place]) / 2, abs=0.02)


def test_a_person_drawn_twice_counts_as_two_people() -> None:
    rng = np.random.default_rng(2)
    person, alike = np.repeat(list("abcd"), 3), rng.standard_normal((12, 12))
    alike = alike + alike.T
    once = equal_error_rate(alike, person)
    assert equal_error_rate(alike, person, np.ones(12)) == once
    assert equal_error_rate(alike, person, np.where(person == "d", 0.0, 2.0)) == pytest.approx(
        equal_error_rate(alike[:9, :9], person[:9])
    )


def gallery(people: int, clear: float, seed: int, mirror: bool) -> Gallery:
    """Pictures in which the person stands out by `clear`; mirrored ones are others' turned round."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(people, 16, generator=generator).repeat_interleave(5, 0) * clear
    scores = centres + torch.randn(people * 5, 16, generator=generator)
    turned = -scores if mirror else scores
    swap = (torch.arange(len(scores)) % 2 == 0)[:, None] if mirror else torch.zeros(len(scores), 1, dtype=torch.bool)
    who = np.repeat([f"{seed}-{i}" for i in range(people)], 5).astype(str)
    return Gallery(torch.where(swap, turned, scores), torch.where(swap, scores, turned), who)


@pytest.mark.parametrize("mirror", [False, True], ids=["one side", "both sides"])
def test_people_who_stand_out_are_found_and_others_are_not(mirror: bool) -> None:
    found = {}
    for clear in (0.0, 4.0):
        train, val, test = (gallery(12, clear, seed, mirror) for seed in range(3))
        axes = Coordinates.fit(torch.cat([train.scores, train.mirrored]), 16)
        parts = [Gallery(axes.of(g.scores), axes.of(g.mirrored), g.person) for g in (train, val, test)]
        found[clear] = compare_people(axes, *parts)
    assert found[4.0]["rank1"]["mean"] > 0.95
    assert found[4.0]["eer"]["value"] < 0.05
    assert found[0.0]["rank1"]["mean"] < 0.35
    assert 0.35 < found[0.0]["eer"]["value"] < 0.65
    assert found[0.0]["people"] == 12


@pytest.fixture(scope="module")
def truth(smooth_pictures: np.ndarray) -> Truth:
    """Two points that lie where the brightness has its centre, and angles that are brightnesses: nearly linear."""
    pixels = smooth_pictures.astype(np.float64) / 255
    rows = np.arange(len(pixels))
    split = np.where(rows < 32, "train", np.where(rows < 40, "val", "test"))
    x = np.arange(32) / 32 + 1 / 64
    weight = pixels.mean(3)
    centre = np.stack([(weight * x).sum((1, 2)), (weight * x[:, None]).sum((1, 2))], 1) / weight.sum((1, 2))[:, None]
    places = np.stack([centre, centre * [1, 0.5]], 1)
    pose = np.stack([pixels[:, 8].mean((1, 2)), pixels[:, 24].mean((1, 2)), pixels.mean((1, 2, 3))], 1) * 10
    return Truth(split, np.array([str(i // 2) for i in rows]), places, np.ones((len(rows), 2), dtype=bool), pose)


SMALL = Settings((8, 32), (0, 1), (32,), 48, 8, 30, 60)


def test_linear_truths_are_told_by_linear_codes_better_with_more_labels(
    smooth_pictures: np.ndarray, truth: Truth
) -> None:
    encoder = linear_encoder(fit_pca(smooth_pictures, np.arange(32), 40))
    straight, mirrored = (extract(encoder, smooth_pictures, range(48), flip) for flip in (False, True))
    found = {
        (row["features"], row["head"], row["labels"]): row["nme"]["mean"]
        for row in probe_landmarks(straight, mirrored, truth, SMALL, ("ridge", "mlp", "soft-argmax"))
    }
    spread = np.linalg.norm(truth.places[40:] - truth.places[:32].mean(0), axis=2).mean()
    assert found["code", "ridge", 32] < 0.4 * spread
    assert found["code", "ridge", 32] < found["code", "ridge", 8]
    assert {key[1] for key in found} == {"ridge", "mlp", "soft-argmax"}
    angles = list(probe_pose(straight, mirrored, truth, SMALL))
    assert angles[1]["degrees"]["mean"] < angles[0]["degrees"]["mean"]
    people = list(probe_people(straight, mirrored, truth.split, truth.person, 32))
    assert [row["features"] for row in people] == ["code", "maps"]
    assert all(row["queries"] == 8 for row in people)


def test_heatmaps_find_a_bright_spot() -> None:
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(2, 14, (96, 1, 2), generator=generator)
    stack = torch.zeros(96, 1, 16, 16)
    stack[torch.arange(96), 0, cells[:, 0, 1], cells[:, 0, 0]] = 5
    places = (cells + 0.5) / 16

    def score(found: Tensor) -> float:
        return float((found - places[80:88]).norm(dim=-1).mean())

    predict = fit_soft_argmax(stack[:80], places[:80], stack[80:88], score, 150, 0)
    assert float((predict(stack[88:]) - places[88:]).norm(dim=-1).mean()) < 0.02


def test_more_labels_hold_the_fewer_and_never_another_split(truth: Truth) -> None:
    few, many = (dict((seed, set(rows)) for rows, seed in labelled(truth, n, (0, 1))) for n in (8, 20))
    assert all(few[seed] < many[seed] for seed in (0, 1))
    assert few[0] != few[1]
    assert set.union(*many.values()) <= set(range(32))


def test_every_encoder_gives_a_vector_and_maps_of_the_same_grids(smooth_pictures: np.ndarray) -> None:
    code = fit_klt(smooth_pictures, np.arange(36), 4, 4)
    own = new_model(ModelConfig(latent_dim=64, latent_layout="4x4", width=8), 32, kl_weight=1e-4, seed=0, code=code)
    tiny = ModelConfig(
        encoder="backbone", decoder="transposed", backbone="vit_tiny_patch16_224", latent_dim=32,
        latent_layout="vector", warm_start="none", width=32,
    )  # fmt: skip
    wide = np.repeat(np.repeat(smooth_pictures[:3], 2, 1), 2, 2)
    cases = {
        "klt": (linear_encoder(code), smooth_pictures, 64, 4),
        "ours": (model_encoder(own.eval()), smooth_pictures, 64, 28),
        "backbone": (model_encoder(EarVAE(tiny, 64).eval()), wide, 32, 256 + 192),
        "hog": (hog_encoder(), smooth_pictures, 3 * 3 * 36, 36),
    }  # fmt: skip
    for encoder, pictures, floats, channels in cases.values():
        found = extract(encoder, pictures, range(3))
        assert found.code.shape == (3, floats)
        assert found.pooled.shape == (3, channels * 64)
        assert found.stack.shape == (3, channels, 16, 16)


def test_mirrored_features_are_those_of_the_mirrored_picture(smooth_pictures: np.ndarray) -> None:
    encoder = hog_encoder()
    turned = np.ascontiguousarray(smooth_pictures[:2, :, ::-1])
    torch.testing.assert_close(extract(encoder, turned, range(2)).code,
                               extract(encoder, smooth_pictures, range(2), mirrored=True).code)  # fmt: skip

"""What the encoder is asked beyond the loss: each term against its formula, and its way through a run."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ear_teacher.augmentation import Draws
from ear_teacher.config import LossConfig, TeachConfig, TrainConfig, UserError
from ear_teacher.linear import fit_klt
from ear_teacher.losses import Loss
from ear_teacher.models import EarVAE
from ear_teacher.models.backbone import Backbone
from ear_teacher.training.loop import Pictures, train
from ear_teacher.training.teach import Teaching, align_term, exchange_term, recoloured
from tests.training import helpers

TRAIN = TrainConfig(steps=8, batch_size=6, validate_every=4, lr=3e-3, ema=0.9, milestones=())


@pytest.fixture(scope="module")
def pictures(smooth_pictures: np.ndarray) -> Pictures:
    return Pictures(smooth_pictures, np.arange(40), np.arange(40, 48))


@pytest.fixture(scope="module")
def trunk() -> dict[str, torch.Tensor]:
    """Random weights: what is tested is that they are imitated."""
    torch.manual_seed(1)
    return Backbone("tf_efficientnet_lite0", 32, 0).network.state_dict()


def fresh(pictures: Pictures, described: bool = False) -> EarVAE:
    return helpers.fresh(fit_klt(pictures.images, pictures.train, 4, 4), 8 if described else 0)


def run(pictures: Pictures, folder: Path, teach: TeachConfig, trunk=None, config: TrainConfig = TRAIN, **options):
    model = fresh(pictures, teach.agree_weight > 0)
    loss = Loss(LossConfig(kl_weight=1e-5))
    return train(model, loss, pictures, config, folder, teaching=Teaching(teach, model, trunk), **options)


def start() -> Draws:
    return Draws(torch.Generator().manual_seed(0))


def test_the_alignment_is_that_of_yao_place_by_place() -> None:
    rng = np.random.default_rng(0)
    made, wanted = rng.standard_normal((2, 3, 5, 2, 2))
    total = 0.0
    for n in range(3):
        one, two = (maps[n].reshape(5, 4) / np.linalg.norm(maps[n].reshape(5, 4), axis=0) for maps in (made, wanted))
        total += np.mean([max(0, 1 - 0.5 - one[:, i] @ two[:, i]) for i in range(4)])
        total += np.mean([
            max(0, abs(one[:, i] @ one[:, j] - two[:, i] @ two[:, j]) - 0.25) for i in range(4) for j in range(4)
        ])  # fmt: skip
    assert float(align_term(torch.tensor(made), torch.tensor(wanted))) == pytest.approx(total / 3)
    assert float(align_term(torch.tensor(made), torch.tensor(wanted), margin=0)) > total / 3


def test_the_alignment_asks_for_direction_not_length_and_no_more_than_its_margins() -> None:
    maps = torch.randn(2, 6, 3, 3)
    assert float(align_term(5 * maps, maps)) == 0
    assert float(align_term(maps + 0.05 * torch.randn_like(maps), maps)) == 0
    assert float(align_term(-maps, maps)) == pytest.approx(1.5)


def test_the_exchange_is_a_cross_entropy_over_places_by_way_of_another_picture() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.standard_normal((2, 2, 4, 3, 3))
    places = rng.uniform(-1.2, 1.2, (2, 3, 3, 2))
    centres = np.array([[(2 * x + 1) / 3 - 1, (2 * y + 1) / 3 - 1] for y in range(3) for x in range(3)])
    total, count = 0.0, 0
    for n in range(2):
        first, second, other = (maps.reshape(4, 9) / np.linalg.norm(maps.reshape(4, 9), axis=0)
                                for maps in (one[n], two[n], one[1 - n]))  # fmt: skip
        picked = np.exp(first.T @ other / 0.07)
        exchanged = other @ (picked / picked.sum(1, keepdims=True)).T
        exchanged /= np.linalg.norm(exchanged, axis=0)
        for p, place in enumerate(places[n].reshape(9, 2)):
            if np.abs(place).max() < 1:
                found = np.exp(second[:, p] @ exchanged / 0.07)
                wanted = np.exp(-((((place - centres) * 1.5 / 0.7) ** 2).sum(1)) / 2)
                total -= wanted / wanted.sum() @ np.log(found / found.sum())
                count += 1
    assert float(exchange_term(*map(torch.tensor, (one, two, places)))) == pytest.approx(total / count)


def test_the_exchange_is_least_where_a_place_is_looked_for() -> None:
    torch.manual_seed(0)
    smooth = F.interpolate(torch.randn(1, 16, 4, 4), 8, mode="bilinear")
    maps = smooth.expand(3, -1, -1, -1)  # three pictures of the same parts at the same places
    here = F.affine_grid(torch.eye(2, 3).expand(3, -1, -1), [3, 1, 8, 8], align_corners=False)
    right = float(exchange_term(maps, maps, here))
    assert right < float(exchange_term(maps, maps, here + 0.5))
    assert right < float(exchange_term(maps, torch.randn(3, 16, 8, 8), here))


def test_a_mask_fills_whole_patches_with_the_pictures_mean_colour() -> None:
    images = torch.rand(40, 3, 64, 64)
    masked = Teaching(TeachConfig(mask_share=0.3)).blank(images, start())
    patches = (masked != images).any(1).unfold(1, 16, 16).unfold(2, 16, 16).flatten(3)
    hidden = patches.any(3)
    assert torch.equal(hidden, patches.all(3))
    assert 0.25 < hidden.float().mean() < 0.35
    for n, row, column in hidden.nonzero()[:20].tolist():
        patch = masked[n, :, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        torch.testing.assert_close(patch, images[n].mean((1, 2))[:, None, None].expand_as(patch))


def test_a_second_view_keeps_shape_and_range_and_changes_only_colour() -> None:
    images = torch.rand(4, 3, 1, 1).expand(4, 3, 16, 16)
    view = recoloured(images, start())
    assert view.min() >= 0
    assert view.max() <= 1
    assert float(view.flatten(2).std(2).max()) < 1e-6
    assert not torch.allclose(view, images, atol=0.01)


def test_with_every_weight_0_nothing_is_drawn_learned_or_added(pictures: Pictures) -> None:
    teaching, draws = Teaching(TeachConfig()), start()
    images = torch.rand(2, 3, 32, 32)
    assert teaching.blank(images, draws) is images
    extra, raw = teaching(fresh(pictures), None, images, draws)
    assert (float(extra), raw, teaching.learned(), teaching.weights) == (0, {}, [], {})
    assert torch.equal(draws.generator.get_state(), start().generator.get_state())


def test_an_aligned_run_shows_its_terms_and_comes_nearer_to_the_backbone(pictures, trunk, tmp_path) -> None:
    config = TRAIN.model_copy(update={"steps": 40, "validate_every": 20})
    rows = run(pictures, tmp_path, TeachConfig(align_weight=0.5, agree_weight=0.1), trunk, config).rows
    assert rows[-1]["val/raw/align"] < 0.9 * rows[0]["val/raw/align"]
    for row in rows:
        weighted = sum(value for key, value in row.items() if key.startswith("val/weighted/"))
        assert row["val/loss"] == pytest.approx(weighted, rel=1e-4)
    assert rows[-1]["train/weighted/agree"] == pytest.approx(0.1 * rows[-1]["train/raw/agree"])


def test_descriptors_learn_to_find_places_and_the_rest_learns_as_without_them(pictures, tmp_path) -> None:
    config = TRAIN.model_copy(update={"steps": 40, "validate_every": 20, "max_grad_norm": 1e9})
    found = run(pictures, tmp_path, TeachConfig(agree_weight=1e-3), config=config)
    assert found.rows[-1]["val/raw/agree"] < 0.95 * found.rows[0]["val/raw/agree"]
    model = fresh(pictures, described=True)
    plain = train(model, Loss(LossConfig(kl_weight=1e-5)), pictures, config, tmp_path / "plain")
    for name, wanted in plain.last.items():
        assert torch.equal(found.last[name], wanted) == (not name.startswith("describer")), name


def test_descriptors_look_at_two_views_of_every_second_picture(pictures) -> None:
    model = fresh(pictures, described=True)
    seen: list[int] = []
    model.encoder.backbone.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    images = pictures.batch(pictures.train[:6], torch.device("cpu"))
    Teaching(TeachConfig(agree_weight=0.1), model)(model, torch.zeros(()), images, start())
    assert seen == [2 * 3]


class _Killed(BaseException):
    pass


def test_a_taught_run_cut_short_ends_in_the_same_bits(pictures, trunk, tmp_path) -> None:
    def cut(steps: range, total: int):
        for now in steps:
            if now == 6:
                raise _Killed
            yield now

    teach = TeachConfig(align_weight=0.1, agree_weight=0.1, mask_share=0.3)
    whole = run(pictures, tmp_path / "a", teach, trunk)
    with pytest.raises(_Killed):
        run(pictures, tmp_path / "b", teach, trunk, progress=cut)
    resumed = run(pictures, tmp_path / "b", teach, trunk)
    assert whole.rows == resumed.rows
    assert all(torch.equal(whole.last[name], resumed.last[name]) for name in whole.last)


def test_masking_changes_what_is_learned_and_not_what_validation_sees(pictures, tmp_path) -> None:
    plain = run(pictures, tmp_path / "a", TeachConfig())
    masked = run(pictures, tmp_path / "b", TeachConfig(mask_share=0.5))
    assert plain.rows[0] == masked.rows[0]
    assert masked.rows[1]["train/loss"] > 1.5 * plain.rows[1]["train/loss"]


def test_a_term_without_what_it_needs_is_refused_in_one_sentence(pictures, trunk) -> None:
    with pytest.raises(UserError, match=r"teach.align_weight needs .* run `dvc repro weights`"):
        Teaching(TeachConfig(align_weight=0.1), fresh(pictures))
    with pytest.raises(UserError, match="not those of tf_efficientnet_lite0"):
        Teaching(TeachConfig(align_weight=0.1), fresh(pictures), {"conv_stem.weight": trunk["conv_stem.weight"]})

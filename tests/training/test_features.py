"""The cache of a frozen backbone's features: the same training, without the backbone. Its weights here are random."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ear_teacher.config import LossConfig, ModelConfig, TeachConfig, TrainConfig, UserError
from ear_teacher.losses import Loss
from ear_teacher.models import EarVAE
from ear_teacher.models.backbone import Backbone
from ear_teacher.training.features import FeatureCache, description, write_features
from ear_teacher.training.loop import Pictures, Result, train
from ear_teacher.training.teach import Teaching

BESIDE = ModelConfig(
    latent_dim=64, latent_layout="4x4", width=8, warm_start="none", backbone="tf_efficientnet_lite0",
    backbone_layers=3, trainable_blocks=0,
)  # fmt: skip
ITSELF = ModelConfig(
    encoder="backbone", decoder="transposed", latent_dim=32, latent_layout="vector", width=16, warm_start="none",
    backbone="tf_efficientnet_lite0", trainable_blocks=0,
)  # fmt: skip
TRAIN = TrainConfig(steps=4, batch_size=6, validate_every=1, milestones=(), cache_features="always")
ROWS = np.arange(4, 48)
OFF = TeachConfig()


def fresh(config: ModelConfig) -> EarVAE:
    torch.manual_seed(0)
    return EarVAE(config, 32)


@pytest.fixture(scope="module", params=[BESIDE, ITSELF], ids=["beside a branch", "the encoder itself"])
def cached(request, smooth_pictures, tmp_path_factory) -> tuple[ModelConfig, Path]:
    folder = tmp_path_factory.mktemp("features")
    about = description(request.param, "pictures", "weights")
    write_features(folder, fresh(request.param), smooth_pictures, ROWS, about, batch_size=5)
    return request.param, folder


def opened(cached: tuple[ModelConfig, Path]) -> FeatureCache:
    return FeatureCache.load(cached[1], description(cached[0], "pictures", "weights"))


def trained(
    config: ModelConfig, images: np.ndarray, folder: Path, features: FeatureCache | None, teach: TeachConfig = OFF
) -> tuple[Result, int]:
    """A short run, and how often a backbone ran, that of the encoder or that of the alignment."""
    model, calls = fresh(config), []
    assert model.encoder.backbone is not None
    teaching = Teaching(teach, model, model.encoder.backbone.network.state_dict())
    for module in [*model.modules(), *teaching.modules()]:
        if isinstance(module, Backbone):
            module.register_forward_hook(lambda *_: calls.append(0))
    pictures = Pictures(images, ROWS[:36], ROWS[36:], features)
    loss = Loss(LossConfig(kl_weight=1e-5))
    return train(model, loss, pictures, TRAIN, folder, teaching=teaching), len(calls)


def test_training_with_the_cache_is_training_without_it_and_never_runs_the_backbone(
    cached, smooth_pictures, tmp_path
) -> None:
    without, ran = trained(cached[0], smooth_pictures, tmp_path / "a", None)
    with_it, ran_again = trained(cached[0], smooth_pictures, tmp_path / "b", opened(cached))
    assert ran > 0
    assert ran_again == 0
    never_mirrored = FeatureCache(opened(cached).rows, opened(cached).maps[:, [0, 0]])
    wrong, _ = trained(cached[0], smooth_pictures, tmp_path / "c", never_mirrored)
    # A convolution rounds otherwise in batches of another size, and Adam enlarges that from step to step.
    assert with_it.rows[1]["train/loss"] == pytest.approx(without.rows[1]["train/loss"], rel=1e-5)
    assert apart(without, with_it) < 0.2 * apart(without, wrong)


def test_alignment_to_the_cached_backbone_never_runs_it_and_asks_for_the_same(
    cached, smooth_pictures, tmp_path
) -> None:
    teach = TeachConfig(align_weight=0.1, align_margin=0)
    _, ran = trained(cached[0], smooth_pictures, tmp_path, opened(cached), teach)
    assert ran == 0
    model = fresh(cached[0])
    teaching = Teaching(teach, model, model.encoder.backbone.network.state_dict())
    pictures = Pictures(smooth_pictures, ROWS[:36], ROWS[36:], opened(cached))
    images, known = (give(ROWS[:6], torch.device("cpu")) for give in (pictures.batch, pictures.known))
    _, deepest = teaching.encode(model, images, known)
    given, computed = (teaching(model, deepest, images, torch.Generator(), what)[1] for what in (known, None))
    assert given["align"].item() == pytest.approx(computed["align"].item(), rel=1e-4)


def apart(one: Result, two: Result) -> float:
    """The largest relative difference in the last rows of two histories."""
    pairs = [(one.rows[-1][key], two.rows[-1][key]) for key in one.rows[-1]]
    return max(abs(a - b) / abs(a) for a, b in pairs)


def test_a_mirrored_picture_has_the_features_of_the_mirrored_picture(cached, smooth_pictures) -> None:
    model = fresh(cached[0]).eval()
    rows = np.array([7, 40, 4])
    mirrored = torch.tensor([True, False, True])
    pictures = Pictures(smooth_pictures, ROWS, ROWS).batch(rows, torch.device("cpu"))
    pictures = torch.where(mirrored[:, None, None, None], pictures.flip(-1), pictures)
    with torch.no_grad():
        wanted = model.encoder.backbone_maps(pictures)
    found = opened(cached).of(rows, mirrored)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(found, opened(cached).of(rows), atol=1e-5, rtol=1e-4)


def test_the_cache_stays_on_disk(cached) -> None:
    assert isinstance(opened(cached).maps, np.memmap)


def test_a_cache_that_does_not_fit_is_refused_in_one_sentence(cached, tmp_path) -> None:
    config, folder = cached
    with pytest.raises(UserError, match="other pictures or another backbone; run `dvc repro features`"):
        FeatureCache.load(folder, description(config, "pictures", "other weights"))
    with pytest.raises(UserError, match="lacks pictures of this run"):
        opened(cached).of(np.array([3]))
    about = json.dumps(description(config, "pictures", "weights"))
    for name in ("about.json", "rows.npy", "maps.npy"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "maps.npy").write_bytes((folder / "maps.npy").read_bytes()[:-100])
    with pytest.raises(UserError, match="is not whole"):
        FeatureCache.load(tmp_path, json.loads(about))
    (tmp_path / "about.json").write_text("{}\n")  # as the stage leaves it where no cache was asked for
    with pytest.raises(UserError, match="other pictures or another backbone"):
        FeatureCache.load(tmp_path, json.loads(about))

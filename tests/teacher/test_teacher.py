"""The teacher: three lines to load it, any kind of picture, one clear sentence where something is wrong."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ear_teacher import EarTeacher
from ear_teacher.config import ModelConfig, UserError
from ear_teacher.data.normalization import GreyNormalization
from ear_teacher.linear import fit_klt
from ear_teacher.models import EarVAE, new_model


@pytest.fixture(scope="module")
def folder(smooth_pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    code = fit_klt(smooth_pictures, np.arange(36), 4, 4)
    config = ModelConfig(latent_dim=64, latent_layout="4x4", width=8)
    path = tmp_path_factory.mktemp("model")
    new_model(config, 32, kl_weight=1e-4, seed=0, code=code).save(path)
    return path


@pytest.fixture(scope="module")
def teacher(folder: Path) -> EarTeacher:
    return EarTeacher.load(folder, device="cpu")


@pytest.fixture
def picture(smooth_pictures: np.ndarray) -> np.ndarray:
    return smooth_pictures[40]


def test_three_lines_give_the_code_and_a_pyramid_of_maps(folder: Path, picture: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(picture).save(tmp_path / "ear.png")
    teacher = EarTeacher.load(folder)
    features = teacher.features([tmp_path / "ear.png", str(tmp_path / "ear.png")])
    assert features.mean.shape == features.logvar.shape == (2, 4, 4, 4)
    assert {name: tuple(m.shape) for name, m in features.maps.items()} == {
        "stride4": (2, 8, 8, 8),
        "stride8": (2, 16, 4, 4),
    }
    assert features.tokens is None


def test_the_code_is_the_models_own(teacher: EarTeacher, picture: np.ndarray) -> None:
    batch = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    own = teacher.model.encode(batch)
    torch.testing.assert_close(teacher.features(batch).mean, own.mean)
    torch.testing.assert_close(teacher.reconstruct(batch), teacher.model.reconstruct(batch))


def test_every_kind_of_picture_gives_the_same_features(
    teacher: EarTeacher, picture: np.ndarray, tmp_path: Path
) -> None:
    Image.fromarray(picture).save(tmp_path / "ear.png")
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    kinds = [tmp_path / "ear.png", Image.fromarray(picture), picture, picture / 255, tensor, tensor.float() / 255]
    means = teacher.features(kinds).mean
    torch.testing.assert_close(means, means[:1].expand_as(means))
    torch.testing.assert_close(teacher.features(np.stack([picture, picture])).mean, means[:2])


def test_grey_pictures_are_grey_colour_pictures(teacher: EarTeacher, picture: np.ndarray) -> None:
    grey = picture[:, :, 0]
    means = teacher.features([grey, np.dstack([grey] * 3), grey[:, :, None], torch.from_numpy(grey)[None]]).mean
    torch.testing.assert_close(means, means[:1].expand_as(means))


def test_a_box_is_the_picture_cut_to_it(teacher: EarTeacher, picture: np.ndarray) -> None:
    large = np.zeros((96, 128, 3), dtype=np.uint8)
    large[10:42, 20:52] = picture
    cut = teacher.features([large], boxes=[(20, 10, 32, 32)]).mean
    torch.testing.assert_close(cut, teacher.features([picture]).mean)


def test_batches_do_not_change_the_result(teacher: EarTeacher, smooth_pictures: np.ndarray) -> None:
    one, many = (teacher.features(smooth_pictures[36:43], batch_size=size) for size in (7, 2))
    torch.testing.assert_close(one.mean, many.mean)
    torch.testing.assert_close(one.maps["stride4"], many.maps["stride4"])


def test_loading_leaves_nothing_to_learn_and_no_hooks(teacher: EarTeacher, picture: np.ndarray) -> None:
    teacher.features(picture)
    assert not any(p.requires_grad for p in teacher.model.parameters())
    assert not any(module._forward_hooks for module in teacher.model.modules())


def test_half_precision_keeps_its_type(folder: Path, picture: np.ndarray) -> None:
    half = EarTeacher.load(folder, device="cpu", dtype=torch.bfloat16)
    assert half.features(picture).maps["stride4"].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([], "no picture"),
        (["missing.jpg"], "missing.jpg"),
        (np.zeros((4, 4, 5)), r"array \(4, 4, 5\)"),
        (np.full((8, 8, 3), 200.0), r"\[200, 200\]"),
        (np.full((8, 8, 3), np.nan), "nan"),
        (np.zeros((8, 8, 3), dtype=np.int64), "int64"),
        (torch.zeros(8, 8, 3), r"tensor \(8, 8, 3\)"),
        (np.zeros((0, 8, 3), dtype=np.uint8), r"array \(0, 8, 3\)"),
    ],
)
def test_a_wrong_picture_is_named_in_one_sentence(teacher: EarTeacher, wrong, says: str) -> None:
    with pytest.raises(UserError, match=says):
        teacher.features(wrong)


def test_boxes_must_be_as_many_as_pictures_and_lie_inside(teacher: EarTeacher, picture: np.ndarray) -> None:
    with pytest.raises(UserError, match="2 boxes for 1 pictures"):
        teacher.features([picture], boxes=[None, None])
    with pytest.raises(UserError, match="picture 0: box without area"):
        teacher.features([picture], boxes=[(100, 100, 5, 5)])


def test_a_backbone_model_gives_tokens() -> None:
    config = ModelConfig(
        encoder="backbone", decoder="transposed", backbone="vit_tiny_patch16_224", latent_dim=32,
        latent_layout="vector", warm_start="none", width=32,
    )  # fmt: skip
    features = EarTeacher(EarVAE(config, 64)).features(np.zeros((40, 30, 3), dtype=np.uint8))
    assert features.tokens is not None
    assert features.tokens.shape == (1, 16, 192)
    assert features.maps["stride16"].shape == (1, 256, 4, 4)
    assert features.mean.shape == (1, 32, 1, 1)


def test_greyscale_pictures_are_normalised_on_the_way_in_and_back_on_the_way_out(
    folder: Path, picture: np.ndarray, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "model")
    how = GreyNormalization((0.8, 0.7, 0.6), (0.15, 0.1, 0.05))
    how.save(tmp_path / "model")
    plain, apart = EarTeacher.load(folder, "cpu"), EarTeacher.load(tmp_path / "model", "cpu")
    grey = picture[:, :, :1].repeat(3, axis=2)
    moved = torch.from_numpy(how.apply(grey[None] / 255, np.array([True]))).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        torch.testing.assert_close(apart.features(grey).mean, plain.model.encode(moved).mean)
        inside = plain.model.reconstruct(moved).permute(0, 2, 3, 1).numpy()
    wanted = torch.from_numpy(how.invert(inside, np.array([True]))).permute(0, 3, 1, 2).clamp(0, 1).float()
    torch.testing.assert_close(apart.reconstruct(grey), wanted)
    torch.testing.assert_close(apart.reconstruct(picture), plain.reconstruct(picture))

"""The teacher: three lines to load it, any kind of picture, one clear sentence where something is wrong."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ear_teacher
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


def test_three_lines_load_a_saved_folder(folder: Path, picture: np.ndarray, tmp_path: Path, monkeypatch) -> None:
    for name in ("left.jpg", "right.jpg"):
        Image.fromarray(picture).resize((50, 70)).save(tmp_path / name)
    shutil.copytree(folder, tmp_path / "models/current")
    monkeypatch.chdir(tmp_path)
    lines = [line for line in (ear_teacher.__doc__ or "").splitlines() if line][1:]
    assert len(lines) == 3
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)  # the very lines of the package's docstring
    features = names["features"]
    assert features.mean.shape == features.logvar.shape == (2, 4, 4, 4)
    assert {name: tuple(m.shape) for name, m in features.maps.items()} == {
        "stride4": (2, 8, 8, 8),
        "stride8": (2, 16, 4, 4),
    }
    assert features.tokens is None
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert f"{lines[0]}\n\n{lines[1]}\n{lines[2]}\n" in readme


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


def test_a_corrupt_file_is_named(teacher: EarTeacher, picture: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(picture).save(tmp_path / "ear.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "ear.png").read_bytes()[:400])
    (tmp_path / "text.jpg").write_text("not a picture")
    for name in ("cut.png", "text.jpg", "missing.jpg"):
        with pytest.raises(UserError, match=f"{tmp_path / name}: .*; leave it out or give another"):
            teacher.features([tmp_path / "ear.png", tmp_path / name])
    with pytest.raises(UserError, match="picture 0: damaged picture"):
        teacher.features(Image.open(tmp_path / "cut.png"))  # Pillow reads the header only


def test_opened_images_are_treated_as_their_files(teacher: EarTeacher, picture: np.ndarray, tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    alpha = Image.fromarray(np.dstack([picture, np.full((32, 32), 90, dtype=np.uint8)]))
    cases = {"turned.png": (Image.fromarray(picture), {"exif": turned}), "alpha.png": (alpha, {})}
    for name, (image, options) in cases.items():
        image.save(tmp_path / name, **options)
        opened = teacher.features(Image.open(tmp_path / name)).mean
        torch.testing.assert_close(opened, teacher.features(tmp_path / name).mean)
        assert not torch.allclose(opened, teacher.features(picture).mean, atol=1e-2)


def test_a_floating_point_image_is_its_array(teacher: EarTeacher, picture: np.ndarray) -> None:
    grey = picture[:, :, 0].astype(np.float32) / 255
    torch.testing.assert_close(teacher.features(Image.fromarray(grey)).mean, teacher.features(grey).mean)


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_keep_their_type(folder: Path, picture: np.ndarray, dtype: torch.dtype) -> None:
    plain, other = EarTeacher.load(folder, "cpu"), EarTeacher.load(folder, "cpu", dtype)
    features, recon = other.features(picture), other.reconstruct(picture)
    assert features.maps["stride4"].dtype == recon.dtype == dtype
    assert features.mean.dtype == features.logvar.dtype == torch.float32
    torch.testing.assert_close(features.mean, plain.features(picture).mean, atol=0.05, rtol=0.02)
    torch.testing.assert_close(recon.float(), plain.reconstruct(picture), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"device": "cuda:99"}, "device = cuda:99 cannot be used"),
        ({"device": "toaster"}, "device = toaster cannot be used"),
        ({"dtype": torch.int8}, "torch.int8 holds no fractions"),
    ],
)
def test_a_wrong_device_or_type_is_refused_in_one_sentence(folder: Path, arguments: dict, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        EarTeacher.load(folder, **{"device": "cpu"} | arguments)
    assert "\n" not in str(error.value)


def test_a_wrong_model_folder_or_file_is_named(folder: Path, tmp_path: Path) -> None:
    for wrong in (tmp_path / "missing", tmp_path, folder / "model.safetensors"):
        with pytest.raises(UserError, match=f"{wrong} is no folder of a trained model"):
            EarTeacher.load(wrong)
    for name in ("model.safetensors", "config.json"):
        broken = tmp_path / name
        shutil.copytree(folder, broken)
        (broken / name).write_bytes((broken / name).read_bytes()[:-40])
        with pytest.raises(UserError, match=f"{broken}/{name} is missing"):
            EarTeacher.load(broken)
    other = ModelConfig(latent_dim=64, latent_layout="4x4", width=16, warm_start="none")
    EarVAE(other, 32).save(tmp_path / "other")
    shutil.copytree(folder, tmp_path / "mixed")
    shutil.copy(tmp_path / "other/model.safetensors", tmp_path / "mixed")
    with pytest.raises(UserError, match=r"does not fit config\.json"):
        EarTeacher.load(tmp_path / "mixed")


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
        ([np.zeros((8, 8, 3)), np.zeros((8, 8, 4))], r"picture 1: is an array \(8, 8, 4\)"),
        (Image.new("I;16", (8, 8)), "uint16"),
        ([None], r"picture 0: is an array \(\)"),
        (7, "A int is no picture"),
    ],
)
def test_a_wrong_picture_is_named_in_one_sentence(teacher: EarTeacher, wrong, says: str) -> None:
    with pytest.raises(UserError, match=says):
        teacher.features(wrong)


def test_boxes_must_be_as_many_as_pictures_and_lie_inside(teacher: EarTeacher, picture: np.ndarray) -> None:
    with pytest.raises(UserError, match="2 boxes for 1 pictures"):
        teacher.features([picture], boxes=[None, None])
    beside = [(100, 100, 5, 5), (20, 0, 13, 32), (-1, 0, 5, 5), (0, 0, 0, 5), (4, 4, -2, 5)]
    for box in beside:
        with pytest.raises(UserError, match=r"picture 1: its box \(.*\) does not lie inside the picture of 32 x 32"):
            teacher.features([picture, picture], boxes=[None, box])
    with pytest.raises(UserError, match="picture 0: box with a number that is not finite"):
        teacher.features([picture], boxes=[(0, float("nan"), 5, 5)])
    for box in [(1, 2, 3), "left", (1, 2, 3, None), 5]:
        with pytest.raises(UserError, match=r"picture 0: its box is .*; give left, top, width, height"):
            teacher.features([picture], boxes=[box])


def test_a_box_may_reach_the_rim_and_be_rounded(teacher: EarTeacher, picture: np.ndarray) -> None:
    whole = teacher.features(picture).mean
    torch.testing.assert_close(teacher.features(picture, boxes=[(0, 0, 32, 32)]).mean, whole)
    torch.testing.assert_close(teacher.features(picture, boxes=[(-0.3, 0, 32.5, 32)]).mean, whole)


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

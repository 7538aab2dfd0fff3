"""Greyscale pictures with statistics of their own, and the way back."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ear_teacher.config import UserError
from ear_teacher.data import PreparedData, prepare
from ear_teacher.data.normalization import FILE, GreyNormalization
from tests.data.helpers import config, picture


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 people with two colour and two darker, flatter greyscale pictures each."""
    root = tmp_path_factory.mktemp("photos")
    for person in range(1, 15):
        (root / f"{person:03d}").mkdir()
        for number in range(4):
            pixels = picture(100 * person + number, grey=number > 1) // (2 if number > 1 else 1)
            Image.fromarray(pixels.astype(np.uint8)).save(root / f"{person:03d}" / f"{number}.png")
    return root


def prepared(photos: Path, out: Path, **changes) -> tuple[PreparedData, dict]:
    metrics = prepare(config(photos, **changes), out)
    return PreparedData.load(out), metrics


def by_group(data: PreparedData) -> list[np.ndarray]:
    train, grey = (data.index["split"] == "train").to_numpy(), data.index["grey"].to_numpy(dtype=bool)
    return [np.asarray(data.images[train & which]) / 255 for which in (grey, ~grey)]


def test_shared_is_the_default_and_changes_no_byte(photos: Path, tmp_path: Path) -> None:
    prepare(config(photos), tmp_path / "a")
    prepare(config(photos, normalization="shared"), tmp_path / "b")
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    assert not (tmp_path / "a" / FILE).exists()


def test_per_group_gives_greyscale_training_pictures_the_statistics_of_the_colour_ones(photos, tmp_path) -> None:
    before, _ = prepared(photos, tmp_path / "a")
    after, metrics = prepared(photos, tmp_path / "b", normalization="per_group")
    assert metrics["normalization"]["grey_values_clipped"] < 0.02
    grey, colour = by_group(after)
    np.testing.assert_allclose(grey.mean((0, 1, 2)), colour.mean((0, 1, 2)), atol=0.01)
    np.testing.assert_allclose(grey.std((0, 1, 2)), colour.std((0, 1, 2)), atol=0.01)
    assert np.abs(by_group(before)[0].mean((0, 1, 2)) - colour.mean((0, 1, 2))).max() > 0.1
    np.testing.assert_array_equal(by_group(before)[1], colour)
    assert before.index.equals(after.index)


def test_the_way_back_gives_the_greyscale_pictures_to_half_a_level(photos: Path, tmp_path: Path) -> None:
    before, _ = prepared(photos, tmp_path / "a")
    after, _ = prepared(photos, tmp_path / "b", normalization="per_group")
    how = GreyNormalization.load(tmp_path / "b")
    assert how is not None
    grey = after.index["grey"].to_numpy(dtype=bool)
    back = how.invert(np.asarray(after.images) / 255, grey)
    inside = (np.asarray(after.images) > 0) & (np.asarray(after.images) < 255)
    error = np.abs(back * 255 - before.images)
    assert error[inside].max() <= 0.5 / min(how.scale) + 1e-6
    assert not error[~grey].any()


def test_apply_and_invert_undo_each_other_and_leave_colour_alone() -> None:
    how = GreyNormalization((1.2, 0.9, 0.8), (0.1, 0.0, -0.1))
    pictures = np.random.default_rng(0).random((4, 8, 8, 3))
    grey = np.array([True, False, True, False])
    moved = how.apply(pictures, grey)
    np.testing.assert_allclose(how.invert(moved, grey), pictures)
    np.testing.assert_array_equal(moved[~grey], pictures[~grey])
    np.testing.assert_allclose(moved[0, 0, 0], pictures[0, 0, 0] * (1.2, 0.9, 0.8) + (0.1, 0.0, -0.1))


def test_one_group_alone_is_left_as_it_is_with_a_warning(tmp_path: Path) -> None:
    for person in range(1, 15):
        (tmp_path / "photos" / f"{person:03d}").mkdir(parents=True)
        Image.fromarray(picture(person)).save(tmp_path / "photos" / f"{person:03d}" / "0.png")
    metrics = prepare(config(tmp_path / "photos", normalization="per_group"), tmp_path / "out")
    assert any("nothing to do" in warning for warning in metrics["warnings"])
    assert GreyNormalization.load(tmp_path / "out") is None


@pytest.mark.parametrize("text", ["{", "{}", '{"scale": [1, 1, 0], "offset": [0, 0, 0]}', '{"scale": 1, "offset": 2}'])
def test_a_damaged_file_is_refused_with_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match="is damaged"):
        GreyNormalization.load(tmp_path)

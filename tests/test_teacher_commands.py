"""`ear-teacher landmarks` and `ear-teacher export`, through the `main` their user calls."""

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from ear_teacher.cli import main
from ear_teacher.config import ModelConfig
from ear_teacher.models import EarVAE
from ear_teacher.teacher import EarTeacher
from ear_teacher.teacher.inputs import squares
from tests.test_cli import refusal


class Middle:
    """A landmarker that finds two points: the middle of the box, and its upper left pixel."""

    names = ("middle", "corner")

    @classmethod
    def load(cls, folder: Path) -> "Middle":
        assert folder == Path("model")
        return cls()

    def predict(self, pictures, boxes=None, batch_size=32) -> torch.Tensor:
        squares(pictures, 32, boxes)  # reads and judges them as any landmarker does
        found = []
        for picture, box in zip(pictures, boxes or [None] * len(pictures), strict=True):
            left, top, width, height = box or (0, 0, *Image.open(picture).size)
            found.append([[left + width / 2 - 0.5, top + height / 2 - 0.5], [left, top]])
        return torch.tensor(found, dtype=torch.float32)


@pytest.fixture(autouse=True)
def _middle(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("ear_teacher.teacher.landmarker")
    module.Landmarker = Middle  # type: ignore[attr-defined]  # a module made on the spot
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    (tmp_path / "more").mkdir()
    for name, size, level in (
        ("light.png", (64, 96), 240),
        ("more/light.png", (700, 600), 240),
        ("dark.png", (9, 9), 20),
    ):
        Image.new("RGB", size, (level, level, level)).save(tmp_path / name)
    return [str(tmp_path / name) for name in ("light.png", "more", "dark.png")]


def test_landmarks_writes_points_in_pixels_of_each_picture_and_draws_them(photos: list[str], tmp_path: Path) -> None:
    out = tmp_path / "found"
    main(["landmarks", *photos, "--model", "model", "--out", str(out)])
    content = json.loads((out / "landmarks.json").read_text())
    assert content["names"] == ["middle", "corner"]
    assert "upper left pixel" in content["coordinates"]
    first, second, third = content["pictures"]
    assert (first["file"], first["width"], first["height"]) == (photos[0], 64, 96)
    assert first["points"] == [[31.5, 47.5], [0, 0]]
    assert second["file"].endswith("more/light.png")
    assert second["points"][0] == [349.5, 299.5]
    assert [first["drawing"], second["drawing"], third["drawing"]] == ["light.jpg", "light_2.jpg", "dark.jpg"]
    for item, level in ((first, 240), (second, 240), (third, 20)):
        drawn = np.asarray(Image.open(out / item["drawing"])).astype(int)
        height, width = drawn.shape[:2]
        assert max(height, width) >= 512
        middle = drawn[height // 2, width // 2]
        assert np.abs(middle - (0, 170, 255)).max() < 30
        aside = drawn[height // 2, width // 4]
        assert np.abs(aside - level).max() < 8


def test_boxes_are_in_pixels_of_the_whole_picture(photos: list[str], tmp_path: Path) -> None:
    out = tmp_path / "found"
    main(["landmarks", photos[0], photos[2], "--boxes", "10,20,30,40", "all", "--model", "model", "--out", str(out)])
    pictures = json.loads((out / "landmarks.json").read_text())["pictures"]
    assert pictures[0]["box"] == [10, 20, 30, 40]
    assert pictures[0]["points"] == [[24.5, 39.5], [10, 20]]
    assert pictures[1]["box"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.jpg"], "missing.jpg: file not found"),
        (["empty"], "empty: holds no picture"),
        (["dark.png", "--boxes", "1,2,3"], "--boxes 1,2,3 is not allowed"),
        (["dark.png", "--boxes", "all", "all"], "2 boxes for 1 pictures"),
        (["dark.png", "--boxes", "5,5,9,9"], "its box (5, 5, 9, 9) does not lie inside"),
    ],
)
def test_wrong_pictures_and_boxes_get_one_sentence_and_no_folder(
    photos: list[str], tmp_path: Path, capsys, monkeypatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert says in refusal(capsys, "landmarks", *arguments, "--model", "model", "--out", "found")
    assert not (tmp_path / "found").exists()


def test_landmarks_leaves_a_folder_that_holds_something_alone(photos: list[str], tmp_path: Path, capsys) -> None:
    said = refusal(capsys, "landmarks", photos[0], "--model", "model", "--out", str(tmp_path))
    assert "not an empty folder" in said


def test_export_writes_a_folder_that_loads_and_says_how_near_it_is(tmp_path: Path, capsys) -> None:
    torch.manual_seed(0)
    EarVAE(ModelConfig(latent_dim=64, latent_layout="4x4", width=8, warm_start="none"), 32).save(tmp_path / "model")
    model, out = str(tmp_path / "model"), str(tmp_path / "out")
    main(["export", "--model", model, "--format", "safetensors", "--out", out])
    assert "Largest difference from the model: mean 0, " in capsys.readouterr().out
    assert EarTeacher.load(out, "cpu").image_size == 32
    assert "not an empty folder" in refusal(capsys, "export", "--model", model, "--format", "torch", "--out", out)
    said = refusal(capsys, "export", "--model", model, "--format", "torch", "--precision", "int8", "--out", out + "2")
    assert "int8 is for ONNX only" in said
    assert "no folder of a trained model" in refusal(capsys, "export", "--model", out + "3", "--out", out + "2")

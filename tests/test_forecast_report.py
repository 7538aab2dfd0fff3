"""The forecast of a bare folder: its table, its chart, its command."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from ear_teacher.charts import rate_distortion
from ear_teacher.cli import main
from ear_teacher.config import UserError
from ear_teacher.forecast_report import curve, forecast_pictures, table
from ear_teacher.linear import Energies


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 smooth pictures of 40 px, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    noise = gaussian_filter(rng.standard_normal((120, 40, 40, 3)), (0, 5, 5, 0.5))
    pictures = np.clip(noise / noise.std() * 50 + 128, 0, 255).astype(np.uint8)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number:03d}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    np.save(folder.parent / "array.npy", pictures)
    np.save(folder.parent / "floats.npy", pictures / 255.0)
    return folder


def forecast(*arguments: object) -> None:
    main(["forecast", *map(str, arguments)])


def test_a_folder_is_forecast_in_a_table_and_as_json(photos: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "forecast.json"
    forecast("--images", photos, "--image-size", 32, "--latent-dim", "16,64", "--kl-weight", "1e-3,1e-5", "--out", out)
    shown = capsys.readouterr().out
    assert "120 pictures of 32 px, forecast for 24 held out." in shown
    assert "Left out: 1 (not a picture in a known format)." in shown
    assert "give up the KL" in shown or "can be had together" in shown or "within the" in shown
    content = json.loads(out.read_text())
    assert {(row["kl_weight"], row["latent_dim"]) for row in content["table"]} == {
        (1e-3, 16), (1e-3, 64), (1e-5, 16), (1e-5, 64),
    }  # fmt: skip
    low, high = (
        next(r for r in content["table"] if r["kl_weight"] == w and r["latent_dim"] == 64) for w in (1e-5, 1e-3)
    )
    assert low["kl"] > high["kl"]
    assert low["psnr_sampled"] > high["psnr_sampled"]


def test_an_array_gives_the_forecast_of_its_pictures(photos: Path, capsys) -> None:
    forecast("--images", photos.parent / "array.npy", "--image-size", 32, "--latent-dim", 16)
    whole = capsys.readouterr().out
    forecast("--images", photos.parent / "floats.npy", "--image-size", 32, "--latent-dim", 16, "--npy-range", "0..1")
    assert capsys.readouterr().out == whole


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--images", "nowhere"], "no such folder"),
        (["--images", "{photos}/000.png"], "neither a folder nor an .npy file"),
        (["--images", "{photos}", "--latent-dim", "1.5"], "--latent-dim 1.5"),
        (["--images", "{photos}", "--kl-weight", "abc"], "--kl-weight abc"),
        (["--images", "{photos}", "--kl-weight", "0"], "--kl-weight 0"),
        (["--images", "{photos}", "--image-size", "40"], "multiple of 16"),
        (["--images", "{photos}", "--image-size", "8"], "image_size = 8"),
        (["--images", "{photos}", "--image-size", "32", "--latent-dim", "4096"], "3072 values"),
        (["--images", "{photos}/../floats.npy"], "npy_range"),
    ],
)
def test_a_mistake_ends_in_one_sentence(photos: Path, arguments: list[str], says: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        forecast(*[argument.format(photos=photos) for argument in arguments])
    assert stop.value.code == 1
    sentence = capsys.readouterr().err
    assert says in sentence
    assert sentence.count("\n") == 1


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(UserError, match="too few"):
        forecast_pictures(np.zeros((10, 32, 32, 3), np.uint8), (16,), (1e-4,))


def test_the_table_shows_what_is_out_of_reach_as_a_dash() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
    assert "–" in table(forecast_pictures(pictures, (16,), (1e-4,)))


def test_a_chart_has_the_same_bytes_again() -> None:
    curves = {"a": curve(Energies(np.geomspace(100, 0.01, 50), 1.0, 3072), 50)}
    wish = ((5.0, 15.0), (27.0, 30.0))
    one, two = (rate_distortion(curves, {"v0": (50.0, 20.0)}, {"v0": (60.0, 21.0)}, wish) for _ in range(2))
    assert one == two
    assert one.startswith(b"\x89PNG")

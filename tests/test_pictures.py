"""Rendered sheets: sizes, equal bytes, honest error maps."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ear_teacher.pictures import ERROR_TOP, INFERNO, Example, center_zoom, colour, error_map, render, write_jpeg


def example(side: int = 128, seed: int = 0, caption: str = "ear_0001.png") -> Example:
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (4, side, side, 3), dtype=np.uint8)
    return Example(caption, pictures[0], dict(zip(("v0", "v1", "current"), pictures[1:], strict=True)))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def test_the_error_map_is_black_for_equal_pictures_and_palest_at_the_top_of_its_scale() -> None:
    black = np.zeros((8, 8, 3), dtype=np.uint8)
    assert (error_map(black, black) == INFERNO[0]).all()
    assert (error_map(black, black + 255) == INFERNO[-1]).all()
    grey = np.full_like(black, round(255 * ERROR_TOP / 2))
    assert np.abs(error_map(black, grey).astype(int) - INFERNO[4]).max() <= 2


def test_brightness_of_the_colours_rises_with_the_error() -> None:
    light = colour(np.linspace(0, 1, 200)).astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(light) >= -0.5).all()
    assert (np.diff(light[::10]) > 0).all()


def test_a_sheet_holds_the_pictures_unchanged_in_their_columns() -> None:
    row = example()
    sheet = np.asarray(render([row, example(seed=1)]))
    assert sheet.shape[1] == 4 + 5 * (128 + 4)
    columns = [row.original, *row.recons.values(), error_map(row.original, row.recons["current"])]
    top = 4 + 16 + 16
    for number, picture in enumerate(columns):
        left = 4 + number * 132
        assert np.array_equal(sheet[top : top + 128, left : left + 128], picture)


@pytest.mark.parametrize("side", [32, 64, 96, 128, 160])
@pytest.mark.parametrize("zoom", [1, 2, 3])
def test_small_pictures_are_enlarged_by_whole_pixels(side: int, zoom: int) -> None:
    tile = (render([example(side)], zoom).width - 4) // 5 - 4
    shown = side // zoom * zoom
    assert tile >= 128
    assert tile % shown == 0


def test_the_centre_zoom_repeats_the_middle_pixels() -> None:
    picture = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    zoomed = center_zoom(picture, 2)
    assert zoomed.shape == picture.shape
    assert np.array_equal(zoomed[::2, ::2], picture[2:6, 2:6])
    assert np.array_equal(zoomed[1::2, 1::2], picture[2:6, 2:6])


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_jpeg(render([example(), example(seed=1)]), tmp_path / "new" / f"{name}.jpg")
    first, second = ((tmp_path / "new" / f"{name}.jpg").read_bytes() for name in ("a", "b"))
    assert first == second
    assert not {"exif", "comment", "xmp"} & set(Image.open(io.BytesIO(first)).info)


def test_captions_are_drawn_and_long_ones_are_cut() -> None:
    plain, named = render([example(caption="")]), render([example(caption="PSNR 23.1")])
    assert png(plain) != png(named)
    assert render([example(caption="x" * 500)]).size == plain.size


def test_sheets_of_unlike_rows_are_refused() -> None:
    for rows in ([], [example(32), example(64)]):
        with pytest.raises(ValueError, match="same titles"):
            render(rows)

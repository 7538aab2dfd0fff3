"""A picture, or a box of it, becomes a square of the wanted size, or one reason why not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from ear_teacher.images import BadImage
from ear_teacher.squares import clamp_box, to_square
from tests.test_images import RAMP


def test_center_keeps_the_middle_pad_keeps_all_and_stretch_fills() -> None:
    wide = Image.new("RGB", (90, 30), "white")
    wide.paste("red", (30, 0, 60, 30))
    centre, pad, stretch = (to_square(wide, 30, crop=crop) for crop in ("center", "pad", "stretch"))  # type: ignore[arg-type]  # a loop over the Literal
    assert (centre == [255, 0, 0]).all()
    assert pad[:10].max() == 0
    assert pad[20:].max() == 0
    assert (pad[15, 2] == 255).all()
    assert (stretch[:, 2] == 255).all()
    assert (stretch[:, 15] == [255, 0, 0]).all()


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(to_square(Image.fromarray(stripes), 32).astype(int) - 127).max() <= 3


def test_a_box_is_cut_before_the_crop() -> None:
    image = Image.new("RGB", (100, 80), "white")
    image.paste("lime", (20, 10, 60, 50))
    square = to_square(image, 32, box=(20, 10, 40, 40))
    assert (square[4:-4, 4:-4] == [0, 255, 0]).all()
    assert square[:, :, 1].min() > 240


finite = st.floats(-1e6, 1e6)


@given(st.tuples(finite, finite, finite, finite), st.integers(1, 300), st.integers(1, 300))
def test_boxes_are_clamped_to_the_picture_or_refused(box: tuple, width: int, height: int) -> None:
    try:
        left, top, right, bottom = clamp_box(box, (width, height))
    except BadImage:
        x, y, w, h = box
        assert min(min(x + w, width) - max(x, 0), min(y + h, height) - max(y, 0)) < 1
        return
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@settings(max_examples=60)
@given(
    st.tuples(st.floats(-9, 50), st.floats(-9, 50), st.floats(0.1, 90), st.floats(0.1, 90)),
    st.sampled_from(["center", "pad", "stretch"]),
)
def test_every_admitted_box_gives_a_square(box: tuple, crop: Any) -> None:
    try:
        square = to_square(Image.fromarray(RAMP), 32, crop=crop, box=box)
    except BadImage:
        assume(False)
    assert square.shape == (32, 32, 3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", range(4))
def test_a_box_that_is_not_finite_is_refused(bad: float, place: int) -> None:
    box = [1.0, 1.0, 20.0, 20.0]
    box[place] = bad
    with pytest.raises(BadImage, match="not finite"):
        clamp_box(tuple(box), (50, 50))  # type: ignore[arg-type]  # a drawn list, four long


def test_negative_sizes_and_boxes_outside_are_refused() -> None:
    for box in ((10, 10, -5, 5), (60, 10, 5, 5), (-20, 0, 10, 10)):
        with pytest.raises(BadImage, match="without area"):
            clamp_box(box, (50, 50))
    with pytest.raises(BadImage, match="under 32 px"):
        clamp_box((0, 0, 31, 50), (50, 50), min_side=32)

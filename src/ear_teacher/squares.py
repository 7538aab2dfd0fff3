"""Pictures cut and scaled to squares.

pixels = read_square("ear.jpg", size=128)      # (128, 128, 3) uint8, or BadImage with the reason
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ear_teacher.images import BadImage, open_image

Crop = Literal["center", "pad", "stretch"]
Box = tuple[float, float, float, float]
"""Left, top, width, height in pixels of the upright picture."""


def clamp_box(box: Box, size: tuple[int, int], min_side: int = 1) -> Box:
    """The part of a box that lies inside a picture, as left, top, right, bottom.

    Args:
        box: left, top, width, height in pixels.
        size: width and height of the picture.
        min_side: refuse what is left when its shorter side is under this (pixels).

    Raises:
        BadImage: the box holds a number that is not finite, or nothing usable is left.
    """
    if not all(np.isfinite(box)):
        raise BadImage("box with a number that is not finite")
    left, top, width, height = (float(value) for value in box)
    right, bottom = min(left + width, size[0]), min(top + height, size[1])
    left, top = max(left, 0.0), max(top, 0.0)
    if right - left <= 0 or bottom - top <= 0:
        raise BadImage("box without area inside the picture")
    if min(right - left, bottom - top) < min_side:
        raise BadImage(f"box with a side under {min_side} px")
    return left, top, right, bottom


def to_square(
    image: Image.Image, size: int, *, crop: Crop = "stretch", box: Box | None = None, min_side: int = 1
) -> NDArray[np.uint8]:
    """Cut and scale a picture to size x size pixels with an antialiasing (Lanczos) filter.

    Args:
        image: from `open_image`.
        size: side of the result in pixels.
        crop: `stretch` scales both sides, `center` keeps the middle square, `pad` adds black bars.
        box: part to keep (left, top, width, height; clamped to the picture), before `crop`. Pixels just outside
            weigh in at its rim, as they do anywhere in a scaled picture.
        min_side: refuse boxes whose shorter side is under this (pixels).

    Returns:
        (size, size, 3) uint8.

    Raises:
        BadImage: the box is of no use.
    """
    region: Box = (0.0, 0.0, float(image.width), float(image.height))
    if box is not None:
        region = clamp_box(box, image.size, min_side)
    left, top, right, bottom = region
    width, height = right - left, bottom - top
    target = (size, size)
    if crop == "center":
        side = min(width, height)
        left, top = left + (width - side) / 2, top + (height - side) / 2
        region = (left, top, left + side, top + side)
    elif crop == "pad":
        scale = size / max(width, height)
        target = (max(1, round(width * scale)), max(1, round(height * scale)))
    # reducing_gap: huge pictures are first shrunk by whole steps; the result is the same to the eye.
    scaled = image.resize(target, Image.Resampling.LANCZOS, box=region, reducing_gap=4.0)
    pixels = np.asarray(scaled)[:, :, :3]
    if target == (size, size):
        return np.ascontiguousarray(pixels)
    square = np.zeros((size, size, 3), dtype=np.uint8)
    x, y = (size - target[0]) // 2, (size - target[1]) // 2
    square[y : y + target[1], x : x + target[0]] = pixels
    return square


def read_square(
    source: str | Path | bytes,
    size: int,
    *,
    crop: Crop = "stretch",
    box: Box | None = None,
    min_side: int = 1,
    max_pixels: int = 64_000_000,
) -> NDArray[np.uint8]:
    """Read one picture as a square: (size, size, 3) uint8 RGB. Arguments and errors of `open_image` and `to_square`."""
    image = open_image(source, min_side=min_side, max_pixels=max_pixels)
    return to_square(image, size, crop=crop, box=box, min_side=min_side)


def square_from_array(
    pixels: NDArray[np.uint8], size: int, *, crop: Crop = "stretch", min_side: int = 1
) -> NDArray[np.uint8]:
    """A picture that is already an array, (height, width, 3) or (height, width) uint8, as a square.

    Raises:
        BadImage: its shorter side is under `min_side`.
    """
    if min(pixels.shape[:2]) < min_side:
        raise BadImage(f"shorter side under {min_side} px")
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return to_square(image if image.mode == "RGB" else image.convert("RGB"), size, crop=crop)

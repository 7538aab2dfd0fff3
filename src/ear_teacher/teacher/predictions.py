"""Found landmarks, written and drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ear_teacher.files import write_atomically

CONVENTION = "pixels of the upright picture; the centre of its upper left pixel is 0, 0; x to the right, y down"

SMALLEST_DRAWING = 512
"""Drawings are enlarged, by a whole number, until their longer side has this many pixels."""
RINGS = ((1.0, (0, 0, 0)), (0.8, (255, 255, 255)), (0.55, (0, 170, 255)))
"""A point from its rim inwards, as shares of its radius: black and white rings, so that it stands out of any skin."""


def draw_points(image: Image.Image, points: NDArray[np.floating]) -> Image.Image:
    """The picture, enlarged where it is small, with every point on it.

    Args:
        image: RGB, or premultiplied RGBa as `open_image` gives it.
        points: (K, 2) x and y in its pixels, the centre of the upper left one at (0, 0); those outside are not seen.
    """
    times = max(1, -(-SMALLEST_DRAWING // max(image.size)))
    pixels = np.asarray(image)[:, :, :3].repeat(times, axis=0).repeat(times, axis=1)
    drawn = Image.fromarray(pixels)
    draw = ImageDraw.Draw(drawn)
    radius = max(4.0, max(drawn.size) / 110)
    for share, colour in RINGS:  # all rims first: where points lie close, no rim covers another's middle
        for x, y in (points + 0.5) * times - 0.5:
            reach = radius * share
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)
    return drawn


def drawing_names(files: Sequence[Path]) -> list[str]:
    """A name of its own for the drawing of each file: ear.jpg, and ear_2.jpg for an ear of another folder."""
    taken: set[str] = set()
    names = []
    for file in files:
        name, count = f"{file.stem}.jpg", 1
        while name.lower() in taken:
            count += 1
            name = f"{file.stem}_{count}.jpg"
        taken.add(name.lower())
        names.append(name)
    return names


def write_predictions(
    path: Path,
    names: Sequence[str],
    files: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    points: NDArray[np.floating],
    boxes: Sequence[Sequence[float] | None] | None = None,
    drawings: Sequence[str] | None = None,
) -> None:
    """Write found landmarks as JSON, whole or not at all.

    Args:
        path: the file.
        names: of the K points.
        files: of the N pictures, as their user named them.
        sizes: width and height of each upright picture.
        points: (N, K, 2) x and y in pixels of the picture.
        boxes: left, top, width, height that each picture was cut to, if any.
        drawings: names of the pictures that show the points, if any.
    """
    pictures: list[dict[str, Any]] = []
    for i, (file, (width, height)) in enumerate(zip(files, sizes, strict=True)):
        box = None if boxes is None or boxes[i] is None else [float(value) for value in boxes[i] or ()]
        found = [[round(float(x), 3), round(float(y), 3)] for x, y in points[i]]
        pictures.append({"file": file, "width": width, "height": height, "box": box, "points": found})
        if drawings is not None:
            pictures[-1]["drawing"] = drawings[i]
    content = {"coordinates": CONVENTION, "names": list(names), "pictures": pictures}
    write_atomically(path, json.dumps(content, indent=1) + "\n")

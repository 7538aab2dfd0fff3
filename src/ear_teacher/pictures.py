"""Reconstructions as pictures for `dvc plots show`: original, each variant and an error map side by side.

    sheet = render([Example("ear_0001.png · PSNR 23.1", original, {"v0": a, "v1": b, "current": c})])
    write_jpeg(sheet, Path("plots/reconstructions/sample_01.jpg"))

Pictures are uint8 (S, S, 3). The same input gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ear_teacher.files import write_atomically

ERROR_TOP = 0.25  # a fixed scale, so that the maps of different pictures and runs compare
# Nine anchors of matplotlib's perceptually uniform "inferno" (CC0), black to pale yellow.
INFERNO = np.array(
    [
        (0, 0, 4), (33, 12, 74), (87, 16, 110), (138, 34, 106), (188, 55, 84), (228, 90, 49), (249, 142, 9),
        (249, 203, 53), (252, 255, 164),
    ]
)  # fmt: skip
SMALLEST_TILE = 128
GAP = 4
LINE = 16
INK, PAPER = (30, 30, 30), (255, 255, 255)


@dataclass(frozen=True)
class Example:
    """One row of a sheet.

    Attributes:
        caption: stands above the row.
        original: uint8 (S, S, 3).
        recons: title -> uint8 (S, S, 3), in the order of the columns; the error map is that of the last.
    """

    caption: str
    original: np.ndarray
    recons: Mapping[str, np.ndarray]


def colour(values: np.ndarray) -> np.ndarray:
    """(...) values in [0, 1], clamped -> uint8 (..., 3), black to pale yellow ("inferno")."""
    position = np.clip(values, 0, 1) * (len(INFERNO) - 1)
    anchors = np.arange(len(INFERNO))
    channels = [np.interp(position, anchors, INFERNO[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def error_map(original: np.ndarray, recon: np.ndarray) -> np.ndarray:
    """Mean absolute error over the channels in colours, uint8 (S, S, 3).

    Black is no error, the palest yellow `ERROR_TOP` of the value range and more.
    """
    error = np.abs(original.astype(float) - recon.astype(float)).mean(axis=-1) / 255
    return colour(error / ERROR_TOP)


def center_zoom(picture: np.ndarray, zoom: int) -> np.ndarray:
    """The middle S // zoom pixels of each side, `zoom` times enlarged.

    Pixels are repeated, not interpolated: what is sharp stays sharp, what is blurred stays blurred.

    Args:
        picture: (S, S, 3).
        zoom: 1 or more, at most S.
    """
    side = len(picture) // zoom
    start = (len(picture) - side) // 2
    return _enlarge(picture[start : start + side, start : start + side], zoom)


def render(examples: Sequence[Example], zoom: int = 1) -> Image.Image:
    """A sheet: one row an example, the columns original, every reconstruction, and the error of the last of them.

    Args:
        examples: at least one, all with the same titles and picture size.
        zoom: above 1 shows the centre only, that many times enlarged.

    Raises:
        ValueError: there is no example, or their titles or sizes differ.
    """
    if not examples or len({(*example.recons, example.original.shape) for example in examples}) != 1:
        raise ValueError("a sheet needs examples of the same titles and the same size")
    shown = list(examples[0].recons)[-1]
    titles = ["original", *examples[0].recons, f"error of {shown}"]
    rows = [[_tile(picture, zoom) for picture in _columns(example)] for example in examples]
    side = len(rows[0][0])
    width = GAP + len(titles) * (side + GAP)
    font = ImageFont.load_default(12)
    scale = f"Error: mean |original - {shown}| of the channels; black 0, palest {ERROR_TOP:g} of the range and more."
    footer = _wrapped(scale, width - 2 * GAP, font)
    height = 2 * GAP + LINE * (1 + len(footer)) + len(rows) * (LINE + side + GAP)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    lefts = [GAP + number * (side + GAP) for number in range(len(titles))]
    for left, title in zip(lefts, titles, strict=True):
        draw.text((left, GAP), _cut(title, side, font), INK, font)
    top = GAP + LINE
    for example, tiles in zip(examples, rows, strict=True):
        draw.text((GAP, top), _cut(example.caption, width - 2 * GAP, font), INK, font)
        for left, tile in zip(lefts, tiles, strict=True):
            sheet.paste(Image.fromarray(tile), (left, top + LINE))
        top += LINE + side + GAP
    for line in footer:
        draw.text((GAP, top), line, INK, font)
        top += LINE
    return sheet


def write_jpeg(image: Image.Image, path: Path) -> None:
    """Write a JPEG whole or not at all; folders are made. No time or other metadata is stored.

    JPEG, at quality 92 without chroma subsampling, because pictures go into git with every experiment.
    """
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=92, subsampling=0)
    write_atomically(path, buffer.getvalue())


def _columns(example: Example) -> list[np.ndarray]:
    recons = list(example.recons.values())
    return [example.original, *recons, error_map(example.original, recons[-1])]


def _tile(picture: np.ndarray, zoom: int) -> np.ndarray:
    picture = center_zoom(picture, zoom) if zoom > 1 else picture
    return _enlarge(picture, -(-SMALLEST_TILE // len(picture)))


def _enlarge(picture: np.ndarray, times: int) -> np.ndarray:
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def _cut(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """`text`, its end replaced by an ellipsis where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _wrapped(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines

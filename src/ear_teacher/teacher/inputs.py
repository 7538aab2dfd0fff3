"""Whatever holds a picture, as the square the model takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from ear_teacher.config import UserError
from ear_teacher.data.audit import is_grey
from ear_teacher.images import BadImage, open_image
from ear_teacher.squares import Box, to_square

Picture = str | Path | Image.Image | NDArray[np.generic] | Tensor
"""A path; a Pillow image; an array (H, W, 3) or (H, W); a tensor (3, H, W) or (1, H, W). Arrays and tensors hold uint8
or floats in [0, 1], which are rounded to 256 levels: pictures are scaled just as the training pictures were."""

OUTSIDE = 0.5
"""Pixels by which a box may reach over the rim, for rounding."""


def squares(pictures: Picture | Sequence[Picture], size: int, boxes: Sequence[Box | None] | None = None) -> Tensor:
    """Read, cut and scale pictures.

    Args:
        pictures: one picture, a list of them, or a batch: (N, H, W, 3) as an array, (N, 3, H, W) as a tensor.
        size: side of the result in pixels.
        boxes: the part to keep of each (left, top, width, height in pixels of the upright picture); None: all of it. A
            box lies inside its picture: cutting it here would move what is found in it.

    Returns:
        (N, 3, size, size) float32 in [0, 1].

    Raises:
        UserError: a picture or a box is of no use; the message names which.
    """
    return squares_and_frames(pictures, size, boxes)[0]


def squares_and_frames(
    pictures: Picture | Sequence[Picture], size: int, boxes: Sequence[Box | None] | None = None
) -> tuple[Tensor, Tensor]:
    """`squares`, and (N, 4) what part of its picture each one shows: left, top, width, height in pixels."""
    listed = _listed(pictures)
    if not listed:
        raise UserError("There is no picture; give at least one.")
    if boxes is not None and len(boxes) != len(listed):
        raise UserError(f"{len(boxes)} boxes for {len(listed)} pictures; give one box (or None) for each.")
    pixels = np.empty((len(listed), size, size, 3), dtype=np.uint8)
    frames = torch.zeros(len(listed), 4)
    for i, picture in enumerate(listed):
        name = str(picture) if isinstance(picture, str | Path) else f"picture {i}"
        try:
            image = _opened(picture, name)
            box = None if boxes is None or boxes[i] is None else _inside(boxes[i], image.size, name)
            frames[i] = torch.tensor(box or (0, 0, *image.size))
            pixels[i] = to_square(image, size, box=box)
        except BadImage as error:
            raise UserError(f"{name}: {error.reason}; leave it out or give another.") from None
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255), frames


def grey_pictures(images: Tensor) -> Tensor:
    """(N,) which of (N, 3, S, S) pictures in [0, 1] are greyscale, as `prepare` counts them."""
    pixels = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return torch.tensor([is_grey(picture) for picture in pixels], dtype=torch.bool)


def _listed(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    if isinstance(pictures, str | Path | Image.Image):
        return [pictures]
    if isinstance(pictures, np.ndarray | Tensor):
        return list(pictures) if pictures.ndim == 4 else [pictures]
    if not isinstance(pictures, Sequence):
        raise UserError(
            f"A {type(pictures).__name__} is no picture; give a path, an image, an array or a list of them."
        )
    return list(pictures)


def _inside(box: Any, size: tuple[int, int], name: str) -> Box:
    """The box as four numbers, if it lies inside a picture of this width and height."""
    try:
        left, top, width, height = (float(value) for value in box)
    except (TypeError, ValueError):
        raise UserError(f"{name}: its box is {box!r}; give left, top, width, height in pixels.") from None
    over = max(-left, -top, left + width - size[0], top + height - size[1])
    if over > OUTSIDE or min(width, height) <= 0:
        shown = ", ".join(f"{value:g}" for value in (left, top, width, height))
        raise UserError(
            f"{name}: its box ({shown}) does not lie inside the picture of {size[0]} x {size[1]} pixels; give left, "
            "top, width, height of a part of it."
        )
    return left, top, width, height


def _pillow(image: Image.Image) -> Image.Image | NDArray[np.generic]:
    """Upright, in RGB or (where transparent) premultiplied RGBa, as `open_image` does it; wider numbers as an array."""
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode[0] in "IF":
            return np.asarray(image)
        if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
            return image if image.mode == "RGBa" else image.convert("RGBA").convert("RGBa")
        return image.convert("RGB")
    except Exception:  # a file that Pillow has opened but not yet read may be damaged in any way
        raise BadImage("damaged picture, or one that does not convert to RGB") from None


def _opened(picture: Picture, name: str) -> Image.Image:
    """As an upright image in RGB or RGBa."""
    if isinstance(picture, str | Path):
        return open_image(picture)
    array: NDArray[np.generic]
    if isinstance(picture, Image.Image):
        image = _pillow(picture)
        if isinstance(image, Image.Image):
            return image
        array = image
    elif isinstance(picture, Tensor):
        if picture.ndim != 3 or picture.shape[0] not in (1, 3):
            raise UserError(f"{name}: is a tensor {tuple(picture.shape)}; give (3, H, W) or (1, H, W).")
        channels = picture.detach().cpu()
        array = (channels.float() if channels.is_floating_point() else channels).permute(1, 2, 0).numpy()
    else:
        array = np.asarray(picture)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or 0 in array.shape:
        raise UserError(f"{name}: is an array {array.shape}; give (H, W, 3) or (H, W).")
    if array.dtype != np.uint8:
        if not np.issubdtype(array.dtype, np.floating):
            raise UserError(f"{name}: holds {array.dtype}; give uint8 or floats in [0, 1].")
        low, high = float(array.min()), float(array.max())
        if not (low >= -1e-3 and high <= 1 + 1e-3):  # NaN fails as well
            raise UserError(f"{name}: its values lie in [{low:g}, {high:g}]; give uint8 or floats in [0, 1].")
        array = (array.clip(0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")

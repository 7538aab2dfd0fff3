"""The user's .npy files: arrays of pictures, and pickled dicts of image paths and boxes.

Nothing in them is believed before it is checked against the file, and nothing in them is run.
"""

from __future__ import annotations

import math
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ear_teacher import safe_pickle
from ear_teacher.config import DataConfig, UserError
from ear_teacher.images import BadImage

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000
_MAX_METADATA = 64_000_000
_BLOCK_BYTES = 64_000_000
_RANGES = {"0..1": (0.0, 1.0), "0..255": (0.0, 255.0), "-1..1": (-1.0, 1.0)}


@dataclass(frozen=True)
class PictureArray:
    """An .npy file of pictures whose header was checked: N pictures of height x width x channels (1 or 3)."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int

    def __len__(self) -> int:
        return self.shape[0]

    def blocks(self) -> Iterator[NDArray[Any]]:
        """The pictures in blocks of some 64 MB, read rather than mapped: mapped pages would count as memory."""
        per_picture = math.prod(self.shape[1:])
        step = max(1, _BLOCK_BYTES // (per_picture * self.dtype.itemsize))
        with self.path.open("rb") as stream:
            for start in range(0, len(self), step):
                count = min(step, len(self) - start)
                if not self.fortran:
                    stream.seek(self.offset + start * per_picture * self.dtype.itemsize)
                    flat = np.fromfile(stream, self.dtype, count * per_picture)
                    yield flat.reshape(count, *self.shape[1:])
                    continue
                # Column order: all pictures' first value, then all their second values, ...
                columns = np.empty((per_picture, count), self.dtype)
                for value in range(per_picture):
                    stream.seek(self.offset + (value * len(self) + start) * self.dtype.itemsize)
                    columns[value] = np.fromfile(stream, self.dtype, count)
                yield np.ascontiguousarray(columns.reshape(*self.shape[:0:-1], count).T)


@dataclass(frozen=True)
class Metadata:
    """The pickled dict: a path and a box (None = no ear found) for each picture; no boxes = whole pictures."""

    paths: list[Any]
    boxes: list[Any] | None


def open_npy(path: Path, config: DataConfig) -> PictureArray | Metadata:
    """Look into an .npy file and check all it declares.

    Args:
        path: the file.
        config: gives `npy_range`, `min_side` and `max_pixels`.

    Raises:
        UserError: it is damaged, holds something else, or its values' range is not known.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path}: is not a file; give the name of an .npy file.")
        with path.open("rb") as stream:
            return _read(stream, path, status.st_size, config)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check data.path and the name.") from None


def _read(stream: BinaryIO, path: Path, size: int, config: DataConfig) -> PictureArray | Metadata:
    start = stream.read(8)
    if start[:2] == b"PK":
        raise UserError(f"{path}: is an .npz archive; save the one array in it with numpy.save.")
    if start[:1] == b"\x80":
        return _metadata(path, start + _rest(stream, path, size))
    if start[:6] != _MAGIC or len(start) < 8:
        raise UserError(f"{path}: is not an .npy file; save it again with numpy.save.")
    header = _header(stream, path, start[6], start[7])
    shape, fortran, dtype = header
    if dtype.hasobject:
        return _metadata(path, _rest(stream, path, size))
    _check_layout(path, shape, dtype, config)
    wanted, there = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if wanted != there:
        raise UserError(f"{path}: declares {wanted:,} bytes of pictures and holds {there:,}; save it again.")
    return PictureArray(path, shape, dtype, fortran, stream.tell())


def _rest(stream: BinaryIO, path: Path, size: int) -> bytes:
    if size > _MAX_METADATA:
        raise UserError(
            f"{path}: {size:,} bytes of pickled objects are too many for image paths and boxes; "
            "save pictures as an array of numbers."
        )
    return stream.read()


def _header(stream: BinaryIO, path: Path, major: int, minor: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    damaged = UserError(f"{path}: has a damaged header; save it again with numpy.save.")
    if (major, minor) not in ((1, 0), (2, 0)):
        raise UserError(f"{path}: has .npy version {major}.{minor}, not 1.0 or 2.0; save it again with numpy.save.")
    at = stream.tell()
    width, code = (2, "<H") if major == 1 else (4, "<I")
    length = stream.read(width)
    if len(length) < width or struct.unpack(code, length)[0] > _MAX_HEADER:
        raise damaged
    stream.seek(at)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = read(stream, max_header_size=_MAX_HEADER)
    except Exception:  # a forged header is Python text: anything may come of it
        raise damaged from None
    if not all(type(side) is int and 0 <= side < 1 << 48 for side in shape):
        raise damaged
    return shape, bool(fortran), dtype


def _check_layout(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], config: DataConfig) -> None:
    if dtype.kind not in "uif" or dtype.shape or dtype.itemsize > 8:
        raise UserError(f"{path}: holds {str(dtype)[:40]}, not numbers; save pictures as uint8.")
    kind = f"{path}: holds an array of {' x '.join(map(str, shape)) or 'one number'}"
    if len(shape) == 4 and shape[3] not in (1, 3) and shape[1] in (1, 3):
        raise UserError(f"{kind}, channels first; save array.transpose(0, 2, 3, 1).")
    single = len(shape) == 3 and shape[2] in (1, 3)
    if len(shape) not in (3, 4) or single or (len(shape) == 4 and shape[3] not in (1, 3)):
        raise UserError(f"{kind}; pictures are N x height x width x 3 or N x height x width.")
    if shape[0] == 0:
        raise UserError(f"{kind}, without a single picture; check how it was saved.")
    if min(shape[1:3]) < config.min_side or shape[1] * shape[2] > config.max_pixels:
        raise UserError(f"{kind}; data.min_side = {config.min_side} and data.max_pixels refuse pictures of that size.")
    if dtype == np.uint8 and config.npy_range not in ("auto", "0..255"):
        raise UserError(f"{path}: holds uint8, which is 0..255; set data.npy_range to auto.")
    if dtype != np.uint8 and config.npy_range == "auto":
        raise UserError(f"{path}: holds {dtype.name}; set data.npy_range to its range: 0..1, 0..255 or -1..1.")


def _metadata(path: Path, pickled: bytes) -> Metadata:
    wanted = "{'image_paths': [...], 'bboxes': [[x, y, width, height] or None, ...]}"
    try:
        content = safe_pickle.loads(pickled)
    except safe_pickle.RefusedPickle as refused:
        raise UserError(f"{path}: is refused because {refused}; save a plain dict {wanted}.") from None
    if isinstance(content, np.ndarray) and content.shape == () and content.dtype == object:
        content = content.item()
    if not isinstance(content, dict) or "image_paths" not in content:
        raise UserError(f"{path}: holds no dict with image_paths; save {wanted}.")
    paths = _as_list(content["image_paths"])
    boxes = None if content.get("bboxes") is None else _as_list(content["bboxes"])
    if paths is None or ("bboxes" in content and content["bboxes"] is not None and boxes is None):
        raise UserError(f"{path}: image_paths and bboxes must be lists; save {wanted}.")
    if boxes is not None and len(boxes) != len(paths):
        raise UserError(f"{path}: has {len(paths)} image_paths and {len(boxes)} bboxes; both need the same length.")
    if not paths:
        raise UserError(f"{path}: lists no pictures; save {wanted}.")
    return Metadata(paths, boxes)


def _as_list(value: Any) -> list[Any] | None:
    if isinstance(value, list | tuple):
        return list(value)
    return list(value) if isinstance(value, np.ndarray) and value.ndim >= 1 else None


def to_levels(picture: NDArray[Any], npy_range: str) -> NDArray[np.uint8]:
    """One picture's values as 0..255, rounded to the nearest level.

    Args:
        picture: height x width (x 1 or 3), any number type.
        npy_range: `auto` (uint8 only) or the range the values are in.

    Returns:
        Height x width or height x width x 3, uint8.

    Raises:
        BadImage: values that are not finite or outside the range (a thousandth of it is forgiven).
    """
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[:, :, 0]
    if picture.dtype == np.uint8:
        return np.ascontiguousarray(picture)
    low, high = _RANGES[npy_range]
    values = picture.astype(np.float64)
    if not np.isfinite(values).all():
        raise BadImage("values that are not finite")
    slack = (high - low) / 1000
    if values.min() < low - slack or values.max() > high + slack:
        raise BadImage(f"values outside {npy_range}")
    return np.clip(np.rint((values - low) * (255 / (high - low))), 0, 255).astype(np.uint8)

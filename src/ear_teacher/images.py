"""Reading one picture safely.

    pixels = read_image("ear.jpg")      # (height, width, 3) uint8, or BadImage with the reason

Nothing is decoded before the header has passed the size limits. Whatever is wrong with a file ends in
`BadImage`, whose `reason` is one phrase without numbers of that file, so that equal troubles can be counted.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Image.init()  # registers all formats; without it only those are known that were needed before

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "AVIF")
"""What is decoded; formats that start other programs or draw vectors are left out.
The two-picture files of phones (MPO) open as JPEG."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".psd"}
)
"""Files that are meant as pictures. The content decides how they are read, never the name."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_PASSES = {
    0: [(0, 0, 1, 1)],
    1: [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)],
}
"""First column and row of each pass of a PNG and the steps between them: plain, and Adam7 (PNG, section 8.2)."""


class BadImage(Exception):
    """A file that is not a usable picture; `reason` says why in one phrase."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_context: warnings.catch_warnings | None = None


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings from Pillow (size, damaged EXIF, ...): they become BadImage or do not matter.

    `warnings.catch_warnings` is not made for threads; the first thread in enters it, the last one out leaves it.
    """
    global _quiet_depth, _quiet_context
    with _quiet_lock:
        if _quiet_depth == 0:
            _quiet_context = warnings.catch_warnings()
            _quiet_context.__enter__()
            warnings.simplefilter("ignore")
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0 and _quiet_context is not None:
                _quiet_context.__exit__(None, None, None)


def _open_file(path: str | Path) -> BinaryIO:
    """The file opened for reading, if it is a regular one; a pipe or device would wait for ever."""
    try:
        # O_NONBLOCK: opening a pipe returns at once, and is refused below.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        if number == errno.ELOOP:
            raise BadImage("link that leads in a circle") from None
        if number == errno.ENOENT:
            raise BadImage("file not found") from None
        if number in (errno.EACCES, errno.EPERM):
            raise BadImage("no permission to read the file") from None
        raise BadImage("file cannot be opened") from None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise BadImage("not a regular file")
    if status.st_size == 0:
        os.close(handle)
        raise BadImage("empty file")
    return os.fdopen(handle, "rb")


def _check_size(size: tuple[int, int], min_side: int, max_pixels: int) -> None:
    if min(size) < 1:
        raise BadImage("picture without pixels")
    if size[0] * size[1] > max_pixels:
        raise BadImage(f"more than {max_pixels:,} pixels")
    if min(size) < min_side:
        raise BadImage(f"shorter side under {min_side} px")


def _scaled(image: Image.Image, white: float) -> Image.Image:
    """A picture of numbers in [0, white] as 8-bit grey, rounded to the nearest level."""
    return Image.fromarray(np.rint(np.asarray(image, dtype=np.float32) * (255.0 / white)).astype(np.uint8))


def _to_colour(image: Image.Image) -> Image.Image:
    """Any mode as RGB, or as RGBa where there is transparency (colour already multiplied by its alpha)."""
    mode = image.mode
    if mode.startswith("I;16"):
        image = _scaled(image, 65535)
    elif mode in ("I", "F"):
        limit = 1 if mode == "F" else 65535
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= limit):  # so written, NaN is refused too
            raise BadImage(f"{'floating-point' if mode == 'F' else '32-bit'} picture with values outside 0..{limit}")
        image = _scaled(image, limit)
    elif mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image if mode == "RGBa" else image.convert("RGBA").convert("RGBa")
    return image if image.mode == "RGB" else image.convert("RGB")


def open_image(source: str | Path | bytes, *, min_side: int = 1, max_pixels: int = 64_000_000) -> Image.Image:
    """Decode one picture, upright, as a Pillow image.

    Args:
        source: a path, or the bytes of a file.
        min_side: shorter sides than this are refused (pixels).
        max_pixels: larger pictures are refused before anything is decoded.

    Returns:
        Mode `RGB`, or `RGBa` (premultiplied) where the picture has transparency: there, transparent pixels are
        black, as the bars of `crop="pad"` are. The first frame where there are several.

    Raises:
        BadImage: for any file that is not a usable picture.
    """
    stream = BytesIO(source) if isinstance(source, bytes) else _open_file(source)
    with stream, _quiet():
        try:
            with Image.open(stream, formats=FORMATS) as image:
                _check_size(image.size, min_side, max_pixels)
                try:
                    orientation = image.getexif().get(_ORIENTATION, 1)
                except Exception:  # damaged EXIF: the picture itself may be whole
                    orientation = 1
                image.load()
                colour = _to_colour(image)
                if image.format == "PNG":
                    # The decoder stops at the last row and compares no checksums: flipped bits would pass.
                    stream.seek(0)
                    with Image.open(stream, formats=("PNG",)) as again:
                        again.verify()
                    _check_rows(stream)
            method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
            return colour if method is None else colour.transpose(method)
        except BadImage:
            raise
        except UnidentifiedImageError:
            raise BadImage("not a picture in a known format") from None
        except (Image.DecompressionBombError, MemoryError):
            raise BadImage(f"more than {max_pixels:,} pixels") from None
        except Exception as error:  # Pillow's decoders raise nearly everything on damaged files
            raise BadImage("truncated picture" if "truncated" in str(error) else "damaged picture") from None


def _check_rows(stream: BinaryIO | BytesIO) -> None:
    """Refuse a PNG whose data end before its last row or go on after it: the decoder leaves missing rows black."""
    stream.seek(8)
    left, unpack = 0, zlib.decompressobj()
    while head := stream.read(8):
        length, name = struct.unpack(">I4s", head)
        if name == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", stream.read(13))
            bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
            parts = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in _PASSES[interlaced]]
            left = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in parts if columns > 0 and rows > 0)
            stream.seek(4, os.SEEK_CUR)
            continue
        if name == b"IDAT":
            packed = stream.read(length)
            while packed and not unpack.eof:
                left -= len(unpack.decompress(packed, 1 << 20))
                packed = unpack.unconsumed_tail
                if left < 0:
                    break
        else:
            stream.seek(length, os.SEEK_CUR)
        if name == b"IEND" or left < 0:
            break
        stream.seek(4, os.SEEK_CUR)
    if left:
        raise BadImage("truncated picture" if left > 0 else "damaged picture")


def header_size(path: str | Path) -> tuple[int, int]:
    """Width and height as the header says, without decoding (and before any turning upright).

    Raises:
        BadImage: the file cannot be opened or is not a picture.
    """
    with _open_file(path) as stream, _quiet():
        try:
            with Image.open(stream, formats=FORMATS) as image:
                return image.size
        except Image.DecompressionBombError:
            raise BadImage("more pixels than can be read") from None
        except Exception:
            raise BadImage("not a picture in a known format") from None


def read_image(source: str | Path | bytes, *, min_side: int = 1, max_pixels: int = 64_000_000) -> NDArray[np.uint8]:
    """Read one picture at its own size: (height, width, 3) uint8 RGB. Arguments and errors of `open_image`."""
    return np.ascontiguousarray(np.asarray(open_image(source, min_side=min_side, max_pixels=max_pixels))[:, :, :3])

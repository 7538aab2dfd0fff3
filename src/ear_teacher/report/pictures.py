"""Pictures inside the page: as data addresses, nothing to fetch."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image


def webp(picture: np.ndarray, quality: int | None = None) -> str:
    """uint8 (H, W, 3) -> a data address. Without a quality every pixel is kept."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    if quality is None:
        image.save(buffer, format="WEBP", lossless=True, quality=80, method=4)
    else:
        image.save(buffer, format="WEBP", quality=quality, method=6)
    return data_address(buffer.getvalue(), "image/webp")


def strip(pictures: Sequence[np.ndarray], gap: int = 4, quality: int = 90) -> str:
    """Pictures of one size side by side, with transparent gaps, as one data address."""
    side = len(pictures[0])
    row = Image.new("RGBA", (len(pictures) * (side + gap) - gap, side), (0, 0, 0, 0))
    for place, picture in enumerate(pictures):
        row.paste(Image.fromarray(np.ascontiguousarray(picture)), (place * (side + gap), 0))
    buffer = io.BytesIO()
    row.save(buffer, format="WEBP", quality=quality, method=6)
    return data_address(buffer.getvalue(), "image/webp")


def data_address(content: bytes, kind: str) -> str:
    """Bytes of a media type as a `data:` address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"

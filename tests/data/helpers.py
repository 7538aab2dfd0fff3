"""Small picture sets made on the spot."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from ear_teacher.config import DataConfig


def picture(seed: int, side: int = 48, grey: bool = False) -> np.ndarray:
    """(side, side, 3) uint8: a smooth random picture, a different one for every seed."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal((side, side, 3)), (side / 10, side / 10, 0))
    pixels = np.clip(field / field.std() * 45 + 128, 0, 255).astype(np.uint8)
    return pixels[:, :, :1].repeat(3, axis=2) if grey else pixels


def write_people(root: Path, people: int = 14, each: int = 3) -> None:
    """`root/<person>/<n>.png`, people numbered from 1; the pictures differ in everything but their size."""
    for person in range(1, people + 1):
        folder = root / f"{person:03d}"
        folder.mkdir(parents=True)
        for number in range(each):
            Image.fromarray(picture(100 * person + number)).save(folder / f"{number}.png")


def config(path: Path, **changes: Any) -> DataConfig:
    """A folder source at 32 px, changed as asked."""
    return DataConfig.model_validate({"source": "folder", "path": str(path), "image_size": 32, **changes})

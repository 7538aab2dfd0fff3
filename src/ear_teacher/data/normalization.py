"""Colour and greyscale pictures normalised apart (`data.normalization: per_group`).

Normalising each group by its own mean and deviation is, for a model that takes [0, 1], moving the greyscale pictures
channel by channel to the mean and deviation of the colour ones: grey x -> scale x + offset. Colour pictures stay as
they are. A moved greyscale picture has the tint of the average colour picture; `invert` takes it off again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ear_teacher.config import UserError
from ear_teacher.data.audit import Measures
from ear_teacher.files import read_json, write_atomically

FILE = "normalization.json"
CHUNK = 256


@dataclass(frozen=True)
class GreyNormalization:
    """What is done to greyscale pictures, per channel, for values in [0, 1].

    Attributes:
        scale: above 0.
        offset: added after it.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]

    @classmethod
    def fit(cls, grey: Sequence[Measures], colour: Sequence[Measures]) -> GreyNormalization:
        """From the training pictures of both groups, at least one each."""
        (grey_mean, grey_std), (mean, std) = (_statistics(group) for group in (grey, colour))
        scale = np.where(grey_std > 0, std / np.where(grey_std > 0, grey_std, 1), 1.0)
        return cls(tuple(scale.tolist()), tuple((mean - scale * grey_mean).tolist()))

    def apply(self, pictures: NDArray[np.floating], grey: NDArray[np.bool_]) -> NDArray[np.floating]:
        """(N, S, S, 3) in [0, 1], the grey ones moved; not clipped."""
        moved = pictures * np.array(self.scale) + np.array(self.offset)
        return np.where(grey[:, None, None, None], moved, pictures)

    def invert(self, pictures: NDArray[np.floating], grey: NDArray[np.bool_]) -> NDArray[np.floating]:
        """The way back; not clipped."""
        moved = (pictures - np.array(self.offset)) / np.array(self.scale)
        return np.where(grey[:, None, None, None], moved, pictures)

    def save(self, folder: Path) -> None:
        """Write `normalization.json`."""
        write_atomically(folder / FILE, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> GreyNormalization | None:
        """What `save` wrote; None where pictures are all treated alike.

        Raises:
            UserError: the file is damaged.
        """
        path = folder / FILE
        if not path.exists():
            return None
        try:
            content = read_json(path)
            scale, offset = (tuple(float(x) for x in content[key]) for key in ("scale", "offset"))
            if len(scale) != 3 or len(offset) != 3 or not np.isfinite([*scale, *offset]).all() or min(scale) <= 0:
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{path} is damaged; run `dvc repro prepare` or train the model again.") from None
        return cls(scale, offset)


def normalise_images(images: NDArray[np.uint8], grey: NDArray[np.bool_], how: GreyNormalization) -> float:
    """Move the greyscale pictures in place; the share of their values that had to be clipped.

    Args:
        images: (N, S, S, 3) uint8, a memory map that can be written.
        grey: (N,) which are greyscale.
        how: the map.
    """
    rows, clipped, values = np.flatnonzero(grey), 0, 0
    for start in range(0, len(rows), CHUNK):
        chosen = rows[start : start + CHUNK]
        moved = how.apply(images[chosen] / 255, np.ones(len(chosen), dtype=bool)) * 255
        clipped += int(((moved < -0.5) | (moved > 255.5)).sum())
        values += moved.size
        images[chosen] = moved.round().clip(0, 255).astype(np.uint8)
    images.flush()  # type: ignore[attr-defined]  # a memory map
    return clipped / max(values, 1)


def _statistics(group: Sequence[Measures]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation over all pixels of a group, per channel, in [0, 1]."""
    mean = np.mean([measures.level_mean for measures in group], axis=0)
    square = np.mean([measures.level_square for measures in group], axis=0)
    return mean, np.sqrt(np.maximum(square - mean**2, 0))

"""The prepared pictures on disk: written one by one, read as a memory map."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ear_teacher.config import UserError
from ear_teacher.data.split import SPLITS

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS = ("row", "file", "person", "split", "grey", "sharpness", "duplicate_group", "flags")
"""Columns of every index.csv; rendered pictures have more."""


class ArrayWriter:
    """An .npy file of uint8 items whose number is known only at the end.

    with ArrayWriter(path, (128, 128, 3)) as writer:
        writer.append(pixels)
    """

    def __init__(self, path: Path, item_shape: tuple[int, ...]) -> None:
        self.item_shape, self.count = item_shape, 0
        self._file = path.open("wb")
        self._file.write(self._header())

    def _header(self) -> bytes:
        # numpy leaves room for the first axis to grow, so headers of all counts have the same length.
        header = {"descr": "|u1", "fortran_order": False, "shape": (self.count, *self.item_shape)}
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, header)
        return buffer.getvalue()

    def append(self, item: NDArray[np.uint8]) -> None:
        """Write the next item, of shape `item_shape`."""
        if item.shape != self.item_shape or item.dtype != np.uint8:
            raise ValueError(f"an item of {self.item_shape} uint8 was expected, not {item.shape} {item.dtype}")
        self._file.write(np.ascontiguousarray(item).data)
        self.count += 1

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                self._file.write(self._header())


def to_tensor(batch: NDArray[np.uint8]) -> Tensor:
    """Pictures as the models take them.

    Args:
        batch: (N, S, S, 3) uint8.

    Returns:
        (N, 3, S, S) float32 in [0, 1], contiguous.
    """
    import torch  # heavy, and the processes that only decode pictures do without

    pixels = torch.from_numpy(np.ascontiguousarray(np.asarray(batch).transpose(0, 3, 1, 2)))
    return pixels.float().div_(255)


def to_uint8(pictures: Tensor) -> NDArray[np.uint8]:
    """Pictures as they are drawn: (N, 3, S, S) in [0, 1], clamped -> uint8 (N, S, S, 3)."""
    return (pictures.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


@dataclass(frozen=True)
class PreparedData:
    """What stage prepare wrote.

    Attributes:
        images: (N, S, S, 3) uint8, memory-mapped, read-only; `Shards` where the pictures are in several files.
        index: one line per picture, in the order of `images`: file, person (`""` = not known), split, grey,
            sharpness, duplicate_group (-1 = none), flags (joined by `;`); more for rendered pictures.
    """

    images: NDArray[np.uint8]
    index: pd.DataFrame

    @property
    def image_size(self) -> int:
        """Side of the pictures in pixels."""
        return int(self.images.shape[1])

    def rows(self, split: str, limit: int | None = None) -> NDArray[np.int64]:
        """Row numbers of a split in order; with `limit`, at most so many, evenly spaced.

        Raises:
            ValueError: there is no such split.
        """
        if split not in SPLITS:
            raise ValueError(f"no split {split!r}: use one of {', '.join(SPLITS)}")
        rows = np.flatnonzero((self.index["split"] == split).to_numpy())
        if limit is not None and limit < len(rows):
            rows = rows[np.arange(limit) * len(rows) // limit]
        return rows

    @classmethod
    def load(cls, folder: Path) -> PreparedData:
        """Open the folder that `prepare` wrote.

        Raises:
            UserError: files are missing, damaged or do not belong together.
        """
        from ear_teacher.data.shards import image_files, open_images  # which need the writer of this module

        folder = Path(folder)
        again = "run `dvc repro prepare`"
        try:
            images = open_images(folder)
            # Ids such as 001 and NA are text, and stay what they are.
            texts = dict.fromkeys(("file", "person", "split", "flags"), str)
            index = pd.read_csv(folder / "index.csv", dtype=texts, keep_default_na=False, encoding="utf-8")
        except FileNotFoundError as error:
            raise UserError(f"{folder}: {Path(str(error.filename)).name} is missing; {again}.") from None
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{folder}: cannot be read ({str(error).splitlines()[0][:80]}); {again}.") from None
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:3] != (images.shape[1],) * 2:
            raise UserError(f"{image_files(folder)[0]}: holds {images.dtype} {images.shape}, not pictures; {again}.")
        missing = [column for column in COLUMNS if column not in index.columns]
        if missing or images.shape[3] != 3:
            raise UserError(f"{folder}: {', '.join(missing) or 'the third colour channel'} is missing; {again}.")
        in_order = len(index) == len(images) and bool((index["row"] == np.arange(len(index))).all())
        if not in_order or not set(index["split"]) <= set(SPLITS):
            raise UserError(f"{folder}: index.csv and images.npy do not belong together; {again}.")
        return cls(images, index)

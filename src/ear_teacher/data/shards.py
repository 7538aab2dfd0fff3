"""Pictures in several files, for sets that no page cache holds: images-00000.npy, images-00001.npy, ...

All but the last hold equally many pictures, so a row says in which file it is. DVC stores, sends and fetches each
file by itself.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ear_teacher.data.arrays import ArrayWriter

ONE_FILE = "images.npy"


class ShardWriter:
    """Write pictures to `images.npy`, or to files of `shard` pictures each where that is above 0.

    with ShardWriter(folder, (128, 128, 3), shard=10_000) as writer:
        writer.append(pixels)
    """

    def __init__(self, folder: Path, item_shape: tuple[int, ...], shard: int) -> None:
        self.folder, self.item_shape, self.shard = folder, item_shape, shard
        self._files = 0
        self._open = self._next()

    def _next(self) -> ArrayWriter:
        name = f"images-{self._files:05d}.npy" if self.shard else ONE_FILE
        self._files += 1
        return ArrayWriter(self.folder / name, self.item_shape)

    def append(self, item: NDArray[np.uint8]) -> None:
        """Write the next picture."""
        if self._open.count == self.shard > 0:
            self._open.__exit__(None, None, None)
            self._open = self._next()
        self._open.append(item)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)


class Shards:
    """The files as one array of rows, memory-mapped: what reads pictures asks for rows, `shape` and `dtype` only.

    Args:
        files: in order.
        mode: of the memory maps, `r` or `r+`.

    Raises:
        OSError, ValueError: a file is missing, damaged or of another size.
    """

    def __init__(self, files: Iterable[Path], mode: Any = "r") -> None:
        self.files = list(files)
        self._maps = [np.load(file, mmap_mode=mode, allow_pickle=False) for file in self.files]
        self.size = len(self._maps[0])
        sizes = [len(part) for part in self._maps]
        alike = {(part.dtype, part.shape[1:]) for part in self._maps}
        if len(alike) > 1 or set(sizes[:-1]) - {self.size} or not 0 < sizes[-1] <= self.size:
            raise ValueError("the files of pictures do not belong together")
        self.dtype = self._maps[0].dtype
        self.shape = (sum(sizes), *self._maps[0].shape[1:])
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[np.uint8]:
        """Pictures of a row, a slice, or rows in any order."""
        if isinstance(rows, int | np.integer):
            number, place = divmod(range(len(self))[rows], self.size)
            return self._maps[number][place]
        wanted = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows, dtype=np.int64)
        wanted = np.where(wanted < 0, wanted + len(self), wanted)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"rows are below {len(self)}")
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        for number in np.unique(wanted // self.size):
            here = wanted // self.size == number
            found[here] = self._maps[number][wanted[here] % self.size]
        return found

    def __setitem__(self, rows: NDArray[np.int64], pictures: NDArray[np.uint8]) -> None:
        for number in np.unique(rows // self.size):
            here = rows // self.size == number
            self._maps[number][rows[here] % self.size] = pictures[here]

    def flush(self) -> None:
        """Write what was set."""
        for part in self._maps:
            part.flush()

    def ahead(self, numbers: Iterable[int]) -> None:
        """Have the system read these files, each from its beginning to its end, while others are used."""
        for number in numbers:
            with contextlib.suppress(AttributeError, OSError), self.files[number].open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)  # not on every system


def image_files(folder: Path) -> list[Path]:
    """The files of prepared pictures: one, or the shards in order."""
    return sorted(folder.glob("images-[0-9]*.npy")) or [folder / ONE_FILE]


def open_images(folder: Path, mode: Any = "r") -> Any:
    """The prepared pictures: a memory map (N, S, S, 3), or `Shards`, which reads like one.

    Raises:
        OSError, ValueError: files are missing, damaged or do not belong together.
    """
    files = image_files(folder)
    return np.load(files[0], mmap_mode=mode, allow_pickle=False) if files[0].name == ONE_FILE else Shards(files, mode)

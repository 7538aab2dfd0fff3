"""What a frozen backbone says of each picture and of its mirror image, computed once and read from disk.

The maps are those that the encoder takes from the backbone (`encoder.backbone_maps`), in float32: the cache changes
how long a run takes, and its results by no more than the rounding of convolutions in batches of another size. Half
precision would halve the file and round a thousand times more coarsely.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ear_teacher.config import ModelConfig, UserError
from ear_teacher.files import read_json, write_atomically
from ear_teacher.models import EarVAE

AGAIN = "run `dvc repro features`"


class FeatureCache:
    """The maps of some rows, memory-mapped.

    Args:
        rows: (M,) rising row numbers.
        maps: float32 (M, 2, c, h, w): the picture's, then its mirror image's.
    """

    def __init__(self, rows: np.ndarray, maps: np.ndarray) -> None:
        self.rows = rows
        self.maps = maps

    def of(self, rows: np.ndarray, mirrored: Tensor | None = None) -> Tensor:
        """(n, c, h, w) of pictures, or of the mirror images of those that are `mirrored` (n,).

        Raises:
            UserError: a row is not in the cache.
        """
        at = np.searchsorted(self.rows, rows).clip(max=len(self.rows) - 1)
        if not np.array_equal(self.rows[at], rows):
            raise UserError(f"The cache of the backbone's features lacks pictures of this run; {AGAIN}.")
        side = np.zeros(len(rows), dtype=int) if mirrored is None else mirrored.numpy().astype(int)
        return torch.from_numpy(np.ascontiguousarray(self.maps[at, side]))

    @classmethod
    def load(cls, folder: Path, description: dict[str, Any]) -> FeatureCache:
        """Open what `write_features` wrote.

        Raises:
            UserError: files are missing or damaged, or the cache is that of other pictures or another backbone.
        """
        try:
            about = read_json(folder / "about.json")
            if about != description:
                raise UserError(f"{folder}: holds the features of other pictures or another backbone; {AGAIN}.")
            rows = np.load(folder / "rows.npy", allow_pickle=False)
            maps = np.load(folder / "maps.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            raise UserError(f"{folder}: the cache of the backbone's features is not whole; {AGAIN}.") from None
        if maps.ndim != 5 or maps.dtype != np.float32 or maps.shape[:2] != (len(rows), 2):
            raise UserError(f"{folder}: maps.npy and rows.npy do not belong together; {AGAIN}.")
        return cls(rows, maps)


def description(model: ModelConfig, pictures: str, weights: str) -> dict[str, Any]:
    """What the features depend on.

    Args:
        model: the model section.
        pictures: hash of the pictures' file.
        weights: hash of the file of the backbone's weights.
    """
    keys = ("encoder", "backbone", "backbone_layers", "latent_layout")
    return {key: getattr(model, key) for key in keys} | {"pictures": pictures, "weights": weights}


@torch.no_grad()
def write_features(
    folder: Path,
    model: EarVAE,
    images: np.ndarray,
    rows: np.ndarray,
    about: dict[str, Any],
    batch_size: int = 16,
    progress: Callable[[range], Iterable[int]] = lambda starts: starts,
) -> None:
    """Write `maps.npy`, `rows.npy` and `about.json`. No more than a batch is held in memory.

    Args:
        folder: made if needed.
        model: with a backbone and its pretrained weights, on any device.
        images: uint8 (N, S, S, 3), may be memory-mapped.
        rows: which of them, rising.
        about: see `description`.
        batch_size: pictures at a time.
        progress: wraps the first position of each batch.
    """
    model.eval()
    device = next(model.parameters()).device
    folder.mkdir(parents=True, exist_ok=True)
    maps: np.memmap | None = None
    for start in progress(range(0, len(rows), batch_size)):
        some = slice(start, start + batch_size)
        pixels = torch.from_numpy(np.ascontiguousarray(images[rows[some]])).to(device)
        batch = pixels.permute(0, 3, 1, 2).float().div_(255)
        for side, view in enumerate((batch, batch.flip(-1))):
            found = model.encoder.backbone_maps(view).float().cpu().numpy()
            if maps is None:
                shape = (len(rows), 2, *found.shape[1:])
                maps = np.lib.format.open_memmap(folder / "maps.npy", "w+", np.float32, shape)
                if hasattr(os, "posix_fallocate"):  # a full disk is told now, not by a signal later
                    with (folder / "maps.npy").open("r+b") as file:
                        os.posix_fallocate(file.fileno(), 0, maps.offset + maps.nbytes)
            maps[some, side] = found
    if maps is not None:
        maps.flush()
    np.save(folder / "rows.npy", rows)
    write_atomically(folder / "about.json", json.dumps(about, indent=2) + "\n")

"""What a training run sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ear_teacher.data.shards import Shards
from ear_teacher.training.features import FeatureCache


@dataclass(frozen=True)
class Pictures:
    """Pictures by row.

    Attributes:
        images: uint8 (N, S, S, 3), may be memory-mapped.
        train: rows to train on.
        val: rows to validate on.
        features: what the frozen backbone says of them, where that was computed before.
        files: name of each row, for messages.
    """

    images: np.ndarray
    train: np.ndarray
    val: np.ndarray
    features: FeatureCache | None = None
    files: Sequence[str] = ()

    @property
    def shards(self) -> Shards | None:
        """The pictures, where they are in several files."""
        return self.images if isinstance(self.images, Shards) else None

    def name(self, row: int) -> str:
        """What a row is called in a message."""
        return self.files[row] if self.files else f"row {row}"

    def batch(self, rows: np.ndarray, device: torch.device) -> Tensor:
        """Rows as (n, 3, S, S) float32 in [0, 1]; converted on the device."""
        pixels = torch.from_numpy(np.ascontiguousarray(self.images[rows])).to(device)
        return pixels.permute(0, 3, 1, 2).float().div_(255)

    def known(self, rows: np.ndarray, device: torch.device, mirrored: Tensor | None = None) -> Tensor | None:
        """The backbone's maps (n, c, h, w) of rows, or of their mirror images; None where the backbone has to run."""
        return None if self.features is None else self.features.of(rows, mirrored).to(device)


def seed_of(*numbers: int) -> int:
    """One well-mixed seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))

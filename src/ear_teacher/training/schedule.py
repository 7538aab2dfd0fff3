"""What a step is: which pictures it shows, and how large it is. Functions of the step alone."""

from __future__ import annotations

import math

import numpy as np

from ear_teacher.config import TrainConfig
from ear_teacher.data.shards import Shards
from ear_teacher.training.history import Row

WINDOW = 8
"""Files whose pictures are shuffled together."""


def schedule(step: int, config: TrainConfig) -> float:
    """Factor of the learning rate: a linear rise from `warmup_start`, then a cosine down to `final_lr`."""
    rise = round(config.warmup * config.steps)
    if step < rise:
        return config.warmup_start + (1 - config.warmup_start) * step / rise
    fraction = (step - rise) / max(config.steps - rise, 1)
    return config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * fraction))


class Order:
    """An endless concatenation of one permutation an epoch, of which no more than a part is in memory.

    Pictures in several files (`data.shard_images`) are shuffled in two: first the files, then the pictures of `WINDOW`
    files at a time, so that files are read one after the other and no picture is read twice in an epoch.

    Args:
        rows: rising row numbers.
        seed: of the run.
        shards: the files, where there are several.
    """

    def __init__(self, rows: np.ndarray, seed: int, shards: Shards | None = None) -> None:
        self.rows, self.seed, self.shards = rows, seed, shards
        files = 1 if shards is None else len(shards.files)
        self._bounds = np.searchsorted(rows, np.arange(1, files) * (shards.size if shards else 0))
        self._bounds = np.concatenate([[0], self._bounds, [len(rows)]])
        self._key: tuple[int, int] | None = None
        self._now = rows[:0]

    def take(self, first: int, count: int) -> np.ndarray:
        """The rows at `count` positions from `first` on."""
        taken: list[np.ndarray] = []
        while count:
            epoch, offset = divmod(first, len(self.rows))
            files = np.arange(1)
            if self.shards is not None:
                files = np.random.default_rng([self.seed, epoch]).permutation(len(self._bounds) - 1)
            ends = np.diff(self._bounds)[files].cumsum()[WINDOW - 1 :: WINDOW]
            window = int(np.searchsorted(ends, offset, side="right"))
            start = int(ends[window - 1]) if window else 0
            self._open(epoch, window, files)
            piece = self._now[offset - start : offset - start + count]
            taken.append(piece)
            first, count = first + len(piece), count - len(piece)
        return np.concatenate(taken)

    def _open(self, epoch: int, window: int, files: np.ndarray) -> None:
        if self._key == (epoch, window):
            return
        self._key = (epoch, window)
        seed = [self.seed, epoch]
        if self.shards is not None:
            seed.append(window + 1)
            self.shards.ahead(files[window * WINDOW : (window + 2) * WINDOW].tolist())  # the next ones in good time
        chosen = files[window * WINDOW : (window + 1) * WINDOW]
        rows = np.concatenate([self.rows[self._bounds[file] : self._bounds[file + 1]] for file in chosen])
        self._now = rows[np.random.default_rng(seed).permutation(len(rows))]


def rows_of(order: Order, step: int, part: int, config: TrainConfig) -> np.ndarray:
    """Rows of a batch."""
    return order.take((step * config.accumulation + part) * config.batch_size, config.batch_size)


def row_of(step: int, config: TrainConfig, train_size: int) -> Row:
    """The beginning of a row of the history: how far the run is."""
    images = step * config.batch_size * config.accumulation
    rate = config.lr * schedule(min(step, config.steps - 1), config)
    return {"step": step, "epoch": images / train_size, "images": images, "lr": rate}

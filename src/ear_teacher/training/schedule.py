"""What a step is: which pictures it shows, and how large it is. Functions of the step alone."""

from __future__ import annotations

import math

import numpy as np

from ear_teacher.config import TrainConfig
from ear_teacher.training.history import Row


def schedule(step: int, config: TrainConfig) -> float:
    """Factor of the learning rate: a linear rise from `warmup_start`, then a cosine down to `final_lr`."""
    rise = round(config.warmup * config.steps)
    if step < rise:
        return config.warmup_start + (1 - config.warmup_start) * step / rise
    fraction = (step - rise) / max(config.steps - rise, 1)
    return config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * fraction))


def rows_of(rows: np.ndarray, step: int, part: int, config: TrainConfig) -> np.ndarray:
    """Rows of a batch: positions in an endless concatenation of one permutation an epoch."""
    first = (step * config.accumulation + part) * config.batch_size
    positions = np.arange(first, first + config.batch_size)
    epochs = positions // len(rows)
    picked = np.empty(len(positions), dtype=rows.dtype)
    for epoch in np.unique(epochs):
        order = np.random.default_rng([config.seed, int(epoch)]).permutation(len(rows))
        inside = epochs == epoch
        picked[inside] = rows[order[positions[inside] % len(rows)]]
    return picked


def row_of(step: int, config: TrainConfig, train_size: int) -> Row:
    """The beginning of a row of the history: how far the run is."""
    images = step * config.batch_size * config.accumulation
    rate = config.lr * schedule(min(step, config.steps - 1), config)
    return {"step": step, "epoch": images / train_size, "images": images, "lr": rate}

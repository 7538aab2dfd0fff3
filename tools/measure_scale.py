"""PYTHONPATH=src python tools/measure_scale.py [model]

What docs/scale.md calls measured, on one thread: weights that learn, the price of a random number and of an order of
the pictures, and how fast pictures are read from files that the page cache has forgotten. Writes 2.4 GB to a temporary
folder.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ear_teacher.data.shards import Shards, ShardWriter, image_files
from ear_teacher.models import EarVAE
from ear_teacher.stage import run
from ear_teacher.training.schedule import Order

FILES, PICTURES, SIDE, BATCH, READ = 24, 2000, 128, 32, 16_000


def main() -> None:
    torch.set_num_threads(1)
    model = EarVAE.load(sys.argv[1] if len(sys.argv) > 1 else "models/current")
    weights = list(model.parameters())
    learning = sum(p.numel() for p in weights if p.requires_grad)
    print(f"weights that learn: {learning:,} of {sum(p.numel() for p in weights):,}")
    shape = (64, 3, SIDE, SIDE)
    drawing = seconds(lambda: torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    print(f"a normal number: {drawing / np.prod(shape) * 1e9:.0f} ns")
    print(f"an order of 10 million pictures: {seconds(lambda: np.random.default_rng(0).permutation(10_000_000)):.1f} s")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        with ShardWriter(folder, (SIDE, SIDE, 3), PICTURES) as writer:
            for _ in range(FILES * PICTURES):
                writer.append(np.frombuffer(rng.bytes(SIDE * SIDE * 3), np.uint8).reshape(SIDE, SIDE, 3))
        for title, windows in (("windows of files", True), ("random order", False)):
            forget(folder)
            print(f"read cold, {title}: {READ / seconds(lambda: read(folder, windows)):,.0f} pictures/s")  # noqa: B023  # called at once
        read(folder, True)
        print(f"from the page cache: {READ / seconds(lambda: read(folder, True)):,.0f} pictures/s")


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def forget(folder: Path) -> None:
    """Have the page cache drop the files."""
    for path in image_files(folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(folder: Path, windows: bool) -> None:
    """The first batches of an epoch."""
    shards = Shards(image_files(folder))
    order = Order(np.arange(FILES * PICTURES), 0, shards if windows else None)
    for at in range(0, READ, BATCH):
        shards[order.take(at, BATCH)]


if __name__ == "__main__":
    run(main)

"""Picture files to squares and their measures, in order, by several processes where that pays."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ear_teacher.config import UserError
from ear_teacher.data.audit import Measures, measure
from ear_teacher.images import BadImage, header_size
from ear_teacher.squares import Box, Crop, read_square

POOL_FROM_BYTES = 64_000_000
"""Below this much to decode, starting processes costs more than it saves."""

LARGE_PIXELS = 13_000_000
"""Pictures above this are decoded one at a time: 64 million pixels take up to 1.1 GB while they are scaled."""

MOST_PROCESSES = 4
"""With so many the largest pictures still fit into 2 GB."""

_CHUNK = 16
_AHEAD = 3


class Square(NamedTuple):
    """One picture that went through: its pixels, (S, S, 3) uint8, and measures; or why it did not."""

    pixels: NDArray[np.uint8] | None
    measures: Measures | None
    reason: str = ""


@dataclass(frozen=True)
class Decoder:
    """How files become squares; see `squares.read_square`."""

    size: int
    crop: Crop
    min_side: int
    max_pixels: int

    def __call__(self, path: Path, box: Box | None, gate: AbstractContextManager[Any] | None = None) -> Square:
        """Read one file. `gate` is held while a large picture is in memory."""
        try:
            width, height = header_size(path)
            with gate if gate is not None and width * height > LARGE_PIXELS else nullcontext():
                pixels = read_square(
                    path,
                    self.size,
                    crop=self.crop,
                    box=box,
                    min_side=self.min_side,
                    max_pixels=self.max_pixels,
                )
        except BadImage as bad:
            return Square(None, None, bad.reason)
        return Square(pixels, measure(pixels))


_gate: AbstractContextManager[Any] | None = None


def _start(gate: AbstractContextManager[Any]) -> None:
    global _gate
    _gate = gate


def _work(decoder: Decoder, chunk: Sequence[tuple[Path, Box | None]]) -> list[Square]:
    return [decoder(path, box, _gate) for path, box in chunk]


def _total_bytes(paths: Sequence[Path]) -> int:
    total = 0
    for path in paths:
        try:
            total += os.stat(path).st_size
        except (OSError, ValueError):
            continue
    return total


def decode(decoder: Decoder, tasks: Sequence[tuple[Path, Box | None]], workers: int | None = None) -> Iterator[Square]:
    """Squares in the order of the tasks.

    Args:
        decoder: how files become squares.
        tasks: file, and box or None.
        workers: processes; 1 = this one, None = one per core (four at most) where there is much to do.
            Processes are spawned, so a script needs the usual `if __name__ == "__main__"`.

    Raises:
        UserError: a process was killed from outside, for example because memory ran out.
    """
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(cores, MOST_PROCESSES) if _total_bytes([path for path, _ in tasks]) >= POOL_FROM_BYTES else 1
    if workers <= 1:
        for path, box in tasks:
            yield decoder(path, box)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(context.Lock(),))
    waiting: deque[Future[list[Square]]] = deque()
    try:
        for start in range(0, len(tasks), _CHUNK):
            waiting.append(pool.submit(_work, decoder, tasks[start : start + _CHUNK]))
            if len(waiting) > workers * _AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool:
        raise UserError(
            "A process that reads pictures was killed, most likely because memory ran out: "
            "lower data.max_pixels or close other programs."
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

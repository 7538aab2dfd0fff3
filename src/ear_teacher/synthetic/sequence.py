"""A whole data set as an ordered stream, rendered by several processes in constant memory."""

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

from ear_teacher.config import SyntheticConfig
from ear_teacher.synthetic.render import Sample, render_sample

_CHUNK = 8
"""Images a process renders per task: enough to make the hand-over cheap."""
_AHEAD = 2
"""Tasks kept waiting per process."""


def synthesize(config: SyntheticConfig, image_size: int, workers: int = 0) -> Iterator[Sample]:
    """All images of the data set in order; nothing is rendered before the first is asked for.

    Args:
        config: the data set.
        image_size: side of the pictures in pixels.
        workers: processes; 1 = this one, 0 = one per core. The images do not depend on it. Processes are spawned, so a
            script that asks for several needs the usual `if __name__ == "__main__"`.
    """
    total = config.people * config.images_per_person
    workers = workers or _cores()
    if workers <= 1 or total <= _CHUNK:
        for index in range(total):
            yield render_sample(config, image_size, index)
        return
    # The first image compiles (or loads) the kernels here, once; the workers then find them in numba's cache.
    yield render_sample(config, image_size, 0)
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    waiting: deque[Future[list[Sample]]] = deque()
    try:
        for start in range(1, total, _CHUNK):
            waiting.append(pool.submit(_render_chunk, config, image_size, start, min(start + _CHUNK, total)))
            if len(waiting) > workers * _AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _render_chunk(config: SyntheticConfig, image_size: int, start: int, stop: int) -> list[Sample]:
    return [render_sample(config, image_size, index) for index in range(start, stop)]

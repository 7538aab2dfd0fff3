"""The arithmetic of the measurements, and the clocks.

rounds = alternating(["ours", "peer"], 3)                 # peer and ours take turns at being first
seconds = timed({"encode": call, "decode": other}, rounds=3, least=1.0)
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import torch

from ear_teacher.files import write_atomically

PACKAGES = ("torch", "timm", "onnxruntime", "dvc", "pythae", "diffusers")
SAMPLED = 0.05  # seconds between two looks at a process's memory


def alternating(names: Sequence[str], rounds: int) -> list[tuple[int, str]]:
    """(round, name): every name once a round, each round begun by the next name, so that no one is always first."""
    count = len(names)
    return [(r, names[(r + i) % count]) for r in range(rounds) for i in range(count)]


def middle(values: Sequence[float | None]) -> float | None:
    """The median, None standing for "never": None where at least half of the values are."""
    found = median(math.inf if value is None else value for value in values)
    return None if math.isinf(found) else found


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """k of values ~ sizes^k: the slope of a least-squares line through the logarithms.

    Raises:
        ValueError: fewer than two different sizes, or a number that is not above 0.
    """
    if len(set(sizes)) < 2 or min(*sizes, *values) <= 0:
        raise ValueError(f"no exponent of {list(values)} over {list(sizes)}")
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def first_reached(points: Sequence[Mapping[str, Any]], psnr: float, lpips: float | None = None) -> float | None:
    """CPU-seconds of the first checkpoint with that PSNR at least, and that LPIPS at most; None: no checkpoint."""
    for point in points:
        near = lpips is None or (point["lpips"] is not None and point["lpips"] <= lpips)
        if point["psnr"] >= psnr and near:
            return float(point["cpu"])
    return None


def schedule_times(first: float, ratio: float, budget: float) -> list[float]:
    """0, `first`, then each `ratio` times the last, and the budget itself."""
    times, now = [0.0], first
    while now < budget / math.sqrt(ratio):  # none so near the end that it says the same
        times.append(now)
        now *= ratio
    return [*times, budget]


class Stopwatch:
    """CPU- and wall seconds of this process, all threads together, while it is not paused."""

    def __init__(self) -> None:
        self._out = [0.0, 0.0]
        self._began = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.process_time(), time.perf_counter()

    @property
    def cpu(self) -> float:
        return self._now()[0] - self._began[0] - self._out[0]

    @property
    def wall(self) -> float:
        return self._now()[1] - self._began[1] - self._out[1]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside is not counted."""
        before = self._now()
        try:
            yield
        finally:
            self._out = [out + now - then for out, now, then in zip(self._out, self._now(), before, strict=True)]


def timed(cases: Mapping[str, Callable[[], object]], rounds: int, least: float) -> dict[str, float]:
    """Wall seconds of one call of each case: the median over rounds in alternating order, after one call unmeasured."""
    found: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        case()
    for _, name in alternating(list(cases), rounds):
        calls, began = 0, time.perf_counter()
        while calls == 0 or time.perf_counter() - began < least:
            cases[name]()
            calls += 1
        found[name].append((time.perf_counter() - began) / calls)
    return {name: median(values) for name, values in found.items()}


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        wall: seconds.
        cpu: seconds of it and its children.
        memory: bytes at the peak, private to it and its children: pages of mapped files, which the system may drop at
            any time, are not counted.
        lines: (seconds since the start, line) of its standard output and error.
    """

    wall: float
    cpu: float
    memory: int
    lines: list[tuple[float, str]]


def cost(command: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Cost:
    """Run a command and watch it.

    Raises:
        RuntimeError: it failed; the message ends with its last lines.
    """
    before, began = os.times(), time.perf_counter()
    process = subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **(env or {})}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    lines: list[tuple[float, str]] = []

    def read() -> None:
        assert process.stdout is not None
        lines.extend((time.perf_counter() - began, line.rstrip()) for line in process.stdout)

    reader = threading.Thread(target=read)
    reader.start()
    peak = 0
    while process.poll() is None:
        peak = max(peak, _private(process.pid))
        time.sleep(SAMPLED)
    wall = time.perf_counter() - began
    reader.join()
    if process.returncode:
        told = "\n".join(line for _, line in lines[-8:])
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{told}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(wall, cpu, peak, lines)


def _private(pid: int) -> int:
    total = 0
    try:
        top = psutil.Process(pid)
        for process in [top, *top.children(recursive=True)]:
            info = process.memory_info()
            total += info.rss - getattr(info, "shared", 0)
    except psutil.Error:  # it ended while it was looked at
        pass
    return total


def machine() -> dict[str, Any]:
    """What the measurements were made on, and how fast it multiplies and copies (all threads, float32)."""
    one = torch.rand(1536, 1536)
    large, copy = torch.rand(2**26), torch.empty(2**26)  # 256 MB: beyond most caches
    seconds = timed({"multiply": lambda: one @ one, "copy": lambda: copy.copy_(large)}, 3, 0.2)
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: installed(name) for name in PACKAGES},
        "gflops_matmul": 2 * 1536**3 / seconds["multiply"] / 1e9,
        "gbytes_copy": 2 * large.nbytes / seconds["copy"] / 1e9,
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    try:
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        return names[0].partition(":")[2].strip()
    except (OSError, IndexError):
        return platform.processor() or "not known"


def installed(name: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def write_result(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    """Write one part's result, numbers with five digits."""
    write_atomically(folder / f"{name}.json", json.dumps(rounded(content), indent=1) + "\n")
    print(f"{name}: written to {folder / name}.json", file=sys.stderr)


def rounded(value: Any) -> Any:
    """Every fraction with five digits: what is below is noise."""
    if isinstance(value, Mapping):
        return {str(key): rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value

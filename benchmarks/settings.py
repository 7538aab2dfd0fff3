"""How much is measured: what `make bench` and `make bench-quick` differ in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RESULTS = Path("benchmarks/results")


@dataclass(frozen=True)
class Settings:
    """One amount of measuring.

    Attributes:
        budget: CPU-seconds of training for each run of part 1, evaluation left out.
        longer: the same, for one longer run of each method.
        first: CPU-seconds of the first checkpoint of part 1; each later one is `ratio` times as late.
        ratio: see `first`.
        pictures: of the test people, evenly spaced, on which checkpoints are measured.
        repeats: runs, or rounds of timing, of each case.
        sizes: sides of the pictures in part 2.
        seconds: the least a timing lasts in each round.
        stages: whether part 4 runs every stage anew.
        counts: numbers of pictures in part 5.
        steps: of which a long epoch is extrapolated in part 5.
        latents: sizes of the code in part 5.
        folder: where results are written.
    """

    budget: float
    longer: float
    first: float
    ratio: float
    pictures: int
    repeats: int
    sizes: tuple[int, ...]
    seconds: float
    stages: bool
    counts: tuple[int, ...]
    steps: int
    latents: tuple[int, ...]
    folder: Path


FULL = Settings(
    budget=75, longer=600, first=4, ratio=1.7, pictures=64, repeats=3, sizes=(64, 128, 256), seconds=0.5, stages=True,
    counts=(1000, 4000, 16000, 64000), steps=200, latents=(256, 512, 1024, 2048, 4096), folder=RESULTS,
)  # fmt: skip
QUICK = Settings(
    budget=8, longer=16, first=3, ratio=2, pictures=16, repeats=1, sizes=(128,), seconds=0.1, stages=False,
    counts=(100, 200, 400), steps=3, latents=(256, 1024), folder=RESULTS / "quick",
)  # fmt: skip

"""Part 1, time to quality: CPU-seconds of training until the test people are rebuilt so well.

The clock is the CPU time of all threads from nothing: fitting the linear code, building the model and training count;
reading the pretrained trunks does as well; measuring does not. All runs have the same budget.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import Stopwatch, alternating, first_reached, middle, schedule_times
from benchmarks.peers import Peer, build_peers, enlarged, missing, shrunk
from benchmarks.settings import Settings
from benchmarks.subjects import OWN_NAMES, TRUNKS, Subject, objective, run_own, run_peer
from ear_teacher.data import to_tensor
from ear_teacher.linear import fit_klt, fit_pca
from ear_teacher.metrics.quality import psnr
from ear_teacher.perceptual import TRUNK_FILE, load_lpips, lpips_from_features, trunk_features

LEVELS: dict[str, tuple[float, float | None]] = {
    "26 dB": (26, None),
    "28 dB": (28, None),
    "30 dB": (30, None),
    "30.5 dB and LPIPS 0.12": (30.5, 0.12),
    "31 dB": (31, None),
}
LOOKED_AT = 29.0  # dB below which LPIPS is measured at the end only: no level asks for it
LINEAR = {"PCA": 1, "KLT 4x4": 4, "KLT 8x8": 8}
SETTLING, TIMED = 4, 12  # steps not timed, then timed, to know how many fill the budget

Point = dict[str, Any]
Rebuild = Callable[[Tensor], Tensor]


class Judge:
    """Measures a model on the test people at the checkpoints of a budget, with the clock stopped."""

    def __init__(self, originals: Tensor, alex: nn.Module, settings: Settings) -> None:
        self.originals, self.alex, self.settings = originals, alex, settings

    def begin(self) -> tuple[Stopwatch, list[Point], Callable[[int, Rebuild], None]]:
        """A running clock, the points it will fill, and what to call after each step."""
        watch, points = Stopwatch(), []
        due = schedule_times(self.settings.first, self.settings.ratio, self.settings.budget)

        def after(step: int, rebuild: Rebuild) -> None:
            if due and watch.cpu >= due[0]:
                points.append(self.point(watch, step, rebuild))
                while due and watch.cpu >= due[0]:
                    due.pop(0)

        return watch, points, after

    @torch.no_grad()
    def point(self, watch: Stopwatch, step: int, rebuild: Rebuild, lpips: bool = False) -> Point:
        """PSNR, and LPIPS where a level may ask for it or `lpips` does."""
        with watch.paused():
            recons = [rebuild(images).clamp(0, 1) for images in self.originals.split(16)]
            pairs = list(zip(self.originals.split(16), recons, strict=True))
            level = float(torch.cat([psnr(a, b) for a, b in pairs]).mean())
            distance = self.lpips(pairs) if lpips or level >= LOOKED_AT else None
        return {"cpu": watch.cpu, "wall": watch.wall, "step": step, "psnr": level, "lpips": distance}

    def lpips(self, pairs: list[tuple[Tensor, Tensor]]) -> float:
        features = [[trunk_features(self.alex, 2 * image - 1) for image in pair] for pair in pairs]
        return float(torch.cat([lpips_from_features(self.alex, a, b) for a, b in features]).mean())


def measure(subject: Subject, settings: Settings) -> dict[str, Any]:
    """Every method `settings.repeats` times, in alternating order."""
    data = subject.data
    originals = to_tensor(data.images[data.rows("test", settings.pictures)])
    alex = load_lpips("alex", TRUNKS / TRUNK_FILE["alex"])
    judge = Judge(originals, alex, settings)
    current = subject.variants["current"]
    peers = build_peers(objective(current), subject.fit, data.image_size)
    steps = {name: steps_of(subject, own, settings) for name, own in OWN_NAMES.items()}
    runs: dict[str, list[list[Point]]] = {name: [] for name in [*LINEAR, *OWN_NAMES, *peers]}
    for seed, name in alternating(list(runs), settings.repeats):
        began = time.perf_counter()
        if name in LINEAR:
            points = linear_run(subject, judge, LINEAR[name])
        elif name in OWN_NAMES:
            points = own_run(subject, judge, OWN_NAMES[name], seed, steps[name])
        else:
            points = peer_run(subject, judge, peers[name], seed)
        runs[name].append(points)
        print(
            f"{name}, run {seed + 1}: {points[-1]['psnr']:.2f} dB after {points[-1]['cpu']:.0f} CPU-seconds "
            f"({time.perf_counter() - began:.0f} s with measuring)",
            file=sys.stderr,
        )
    ceiling = psnr(originals, enlarged(shrunk(originals), data.image_size).clamp(0, 1)).mean()
    return {
        "budget": settings.budget,
        "repeats": settings.repeats,
        "pictures": len(originals),
        "people": int(data.index["person"].loc[data.rows("test", settings.pictures)].nunique()),
        "image_size": data.image_size,
        "train_pictures": len(data.rows("train")),
        "missing": missing(),
        "enlargement_psnr": float(ceiling),
        "methods": {name: summary(found) for name, found in runs.items()},
    }


def steps_of(subject: Subject, name: str, settings: Settings) -> int:
    """How many steps of the project's own loop fill the budget, from the time of a few."""
    began = time.process_time()
    variant, ready = subject.ready(name, subject.fit(), seed=0)
    stamps: list[float] = []
    steps = SETTLING + TIMED + 1  # the last one ends with a validation
    run_own(variant, ready, subject.pictures(), steps, lambda step, rebuild: stamps.append(time.process_time()))
    left = settings.budget - (stamps[0] - began)
    return max(1, round(left / ((stamps[SETTLING + TIMED] - stamps[SETTLING]) / TIMED)))


def own_run(subject: Subject, judge: Judge, name: str, seed: int, steps: int) -> list[Point]:
    """One run of a variant of ours, its schedule as long as the budget."""
    watch, points, after = judge.begin()
    code = subject.fit()
    variant, ready = subject.ready(name, code, seed)
    last: list[Rebuild] = []

    def follow(step: int, rebuild: Rebuild) -> None:
        last[:] = [rebuild]
        if step < steps:
            after(step, rebuild)

    run_own(variant, ready, subject.pictures(), steps, follow)
    return [*points, judge.point(watch, steps, last[0], lpips=True)]


def peer_run(subject: Subject, judge: Judge, make: Callable[[], Peer], seed: int) -> list[Point]:
    """One run of a peer, until its budget is spent."""
    torch.manual_seed(seed)
    watch, points, after = judge.begin()
    peer, done, budget = make(), [0], judge.settings.budget

    def follow(step: int, rebuild: Rebuild) -> None:
        done[0] = step
        if watch.cpu < budget:
            after(step, rebuild)

    variant = subject.variants["current"]
    run_peer(peer, subject.pictures(), variant, seed, follow, lambda: watch.cpu / budget)
    peer.eval()
    return [*points, judge.point(watch, done[0], peer.reconstruct, lpips=True)]


def linear_run(subject: Subject, judge: Judge, grid: int) -> list[Point]:
    """A linear code of 1,024 floats: fitted, then measured."""
    watch = Stopwatch()
    data, floats = subject.data, subject.variants["current"].model.latent_dim
    rows = data.rows("train")
    code = fit_pca(data.images, rows, floats) if grid == 1 else fit_klt(data.images, rows, grid, floats // grid**2)
    return [judge.point(watch, 0, code.reconstruct, lpips=True)]


def summary(runs: list[list[Point]]) -> dict[str, Any]:
    """Medians over the runs: when each level was reached (None: not in half of them or more), and the end."""
    reached = {level: [first_reached(points, *wanted) for points in runs] for level, wanted in LEVELS.items()}
    last = [points[-1] for points in runs]
    return {
        "reached": {level: middle(times) for level, times in reached.items()},
        "best_psnr": middle([max(point["psnr"] for point in points) for points in runs]),
        "end": {key: middle([point[key] for point in last]) for key in ("cpu", "wall", "step", "psnr", "lpips")},
        "runs": runs,
    }

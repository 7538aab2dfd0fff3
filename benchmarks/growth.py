"""Part 5, growth: time and memory of prepare, forecast and an epoch, by number and size of pictures and size of code.

The pictures are the training pictures, each time shifted and brightened a little, so that none is a copy of another.
Every measurement is a process of its own. An epoch longer than `settings.steps` steps is extrapolated from them.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measure import Cost, cost, exponent
from benchmarks.settings import Settings
from benchmarks.subjects import Subject

SIDES = (64, 128, 256)
SHIFT = 12  # pixels
PEOPLE = 7  # ids 0 to 6 in turn: 3 tests, 5 validates

PREPARE = """
import sys
from pathlib import Path
from ear_teacher.config import DataConfig
from ear_teacher.data import prepare
prepare(DataConfig(source="folder", path=sys.argv[1], image_size=int(sys.argv[3])), Path(sys.argv[2]))
"""


FORECAST = "import sys; from ear_teacher.cli import main; sys.exit(main())"


def measure(subject: Subject, settings: Settings) -> dict[str, Any]:
    """Rows by count, by side and by floats, and the exponents of each column."""
    with TemporaryDirectory(dir=Path.cwd().parent) as place:
        folder = Path(place)
        print(f"drawing {max(settings.counts)} pictures", file=sys.stderr)
        photos = draw(subject.data.images[subject.data.rows("train")], max(settings.counts), folder / "all")
        by_count = []
        for count in settings.counts:
            chosen = linked(photos[:count], folder / "photos")
            by_count.append({"pictures": count} | grown(chosen, folder / "prepared", settings))
            print(by_count[-1], file=sys.stderr)
        chosen = linked(photos[: settings.counts[0]], folder / "photos")
        by_side, by_floats = [], []
        for side in SIDES:
            by_side.append({"side": side} | grown(chosen, folder / "prepared", settings, side=side))
        prepared(chosen, folder / "prepared", 128)
        for floats in settings.latents:
            by_floats.append({"floats": floats} | epoch(folder / "prepared", settings, floats))
    tables = {"pictures": by_count, "side": by_side, "floats": by_floats}
    return {
        "steps": settings.steps,
        **{f"by_{name}": rows for name, rows in tables.items()},
        "exponents": {name: exponents(name, rows) for name, rows in tables.items()},
    }


def exponents(axis: str, rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Column -> its exponent over the whole axis, and between the two largest, where fixed costs weigh least."""
    sizes = [row[axis] for row in rows]
    found = {}
    for column in rows[0]:
        values = [row[column] for row in rows]
        if column != axis and column != "extrapolated":
            found[column] = {"all": exponent(sizes, values), "largest": exponent(sizes[-2:], values[-2:])}
    return found


def grown(photos: Path, out: Path, settings: Settings, side: int = 128) -> dict[str, Any]:
    """Preparing, forecasting and an epoch of one set of pictures."""
    spent = {"prepare": prepared(photos, out, side)}
    images = out / "images.npy"
    spent["forecast"] = cost(
        [sys.executable, "-c", FORECAST, "forecast", "--images", str(images), "--latent-dim", "1024",
         "--kl-weight", "1e-4"],
    )  # fmt: skip
    row = {}
    for name, its in spent.items():
        row |= {f"{name}_s": its.wall, f"{name}_mb": its.memory / 2**20}
    return row | epoch(out, settings)


def prepared(photos: Path, out: Path, side: int) -> Cost:
    """The pictures read, checked and written as one array."""
    if out.exists():
        shutil.rmtree(out)
    return cost([sys.executable, "-c", PREPARE, str(photos), str(out), str(side)])


def epoch(folder: Path, settings: Settings, floats: int = 1024) -> dict[str, Any]:
    """Seconds of an epoch and peak memory of training on what was prepared."""
    command = [sys.executable, "-m", "benchmarks.epoch", str(folder), str(floats), str(settings.steps)]
    spent = cost(command)
    found = json.loads(spent.lines[-1][1])
    return {
        "epoch_s": found["step_s"] * found["steps_of_epoch"],
        "train_mb": spent.memory / 2**20,
        "extrapolated": found["steps_of_epoch"] > settings.steps,
    }


def draw(pictures: np.ndarray, count: int, folder: Path) -> list[Path]:
    """Write JPEGs: the pictures in turn, each shifted (mirrored at the rim) and brightened by chance."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    paths = []
    for i in range(count):
        base = pictures[i % len(pictures)]
        down, right = rng.integers(0, 2 * SHIFT, 2)
        padded = np.pad(base, ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="reflect")
        shown = padded[down : down + len(base), right : right + len(base)].astype(float)
        shown = np.clip(shown * rng.uniform(0.8, 1.2) + rng.uniform(-15, 15, 3), 0, 255).astype(np.uint8)
        paths.append(folder / f"{i % PEOPLE}_{i}.jpg")
        Image.fromarray(shown).save(paths[-1], quality=92)
    return paths


def linked(photos: Sequence[Path], folder: Path) -> Path:
    """A folder of persons' folders with hard links to the photos."""
    if folder.exists():
        shutil.rmtree(folder)
    for photo in photos:
        person = folder / photo.name.partition("_")[0]
        person.mkdir(parents=True, exist_ok=True)
        os.link(photo, person / photo.name)
    return folder

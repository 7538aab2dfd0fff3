"""Has something become slower? Ratios of measurements of one machine and one day against stored ones.

No absolute time is compared: another machine has others. Every ratio is written so that more is worse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import rounded
from benchmarks.settings import Settings
from ear_teacher.config import UserError
from ear_teacher.files import read_json, write_atomically

EXPECTED = Path("benchmarks/expected.json")
TOLERANCE = 1.3
"""Times by which a ratio may be above the stored one; two runs on an idle machine differ by less."""

Results = Mapping[str, Mapping[str, Any]]


def ratios(results: Results) -> dict[str, float]:
    """Every ratio that the measured parts allow."""
    found: dict[str, float] = {}
    if quality := results.get("quality"):
        methods = quality["methods"]
        ours, line = (methods[name]["reached"]["28 dB"] for name in ("Ear Teacher", "KLT 8x8"))
        if ours and line:
            found["CPU time to 28 dB, over fitting the KLT alone"] = ours / line
    if throughput := results.get("throughput"):
        for side, models in throughput["sizes"].items():
            ours, first = models["Ear Teacher"], models["v0 as its author built it"]
            found[f"training step at {side} px, over v0's"] = ours["step_ms"] / first["step_ms"]
            for what in ("encode", "decode", "evaluate"):
                found[f"{what} at {side} px, over v0's"] = first[what] / ours[what]
        parts = throughput["parts"]
        for name, part in parts["parts"].items():
            found[f"share of a step: {name}"] = part["ms"] / parts["step_ms"]
        for name, its in throughput["speedups"].items():
            found[f"after over before: {name}"] = its["after"] / its["before"]
        speed = throughput["evaluate"]
        found["measuring with vgg too, over alex alone"] = speed["alex"] / speed["alex and vgg"]
    if inference := results.get("inference"):
        speeds = inference["pictures_a_second"]
        bare = next(iter(speeds.values()))
        for name in list(speeds)[1:]:
            for runtime, batches in speeds[name].items():
                for size, speed in batches.items():
                    found[f"{name} by {runtime}, batch {size}, over the bare backbone"] = bare[runtime][size] / speed
    if (pipeline := results.get("pipeline")) and pipeline["stages"]:
        # Both are mostly the start of Python and its imports, which a cold disk slows alike.
        found["repro with nothing to do, over stage compare"] = (
            pipeline["noop_seconds"] / pipeline["stages"]["compare"]["wall"]
        )
    if growth := results.get("growth"):
        for axis, columns in growth["exponents"].items():
            for column, its in columns.items():
                found[f"{column} where {axis} double"] = 2 ** its["largest"]
    return found


def worse(now: Mapping[str, float], stored: Mapping[str, float], tolerance: float = TOLERANCE) -> dict[str, str]:
    """Ratios above their stored value by more than the tolerance -> the sentence about it."""
    return {
        name: f"{name}: {now[name]:.3g}, stored {stored[name]:.3g}"
        for name in stored
        if name in now and now[name] > stored[name] * tolerance
    }


def check(settings: Settings) -> None:
    """Compare with what is stored.

    Raises:
        UserError: a ratio has become worse, or there is nothing to compare.
    """
    try:
        stored = read_json(EXPECTED)
    except OSError:
        raise UserError(f"{EXPECTED} is missing: store ratios with `python -m benchmarks keep`.") from None
    now = ratios(load(settings.folder))
    shared = sorted(set(now) & set(stored))
    if not shared:
        raise UserError(f"{settings.folder} holds no part with a stored ratio: run `make bench` first.")
    if found := worse(now, stored):
        raise UserError(
            f"{len(found)} of {len(shared)} ratios are worse than {EXPECTED} by more than {TOLERANCE} times "
            f"({'; '.join(found.values())}); find what slowed them, or store them with `python -m benchmarks keep`."
        )
    print(f"{len(shared)} ratios are as stored, within {TOLERANCE} times; {len(set(stored) - set(now))} not measured.")


def keep(settings: Settings) -> None:
    """Store the ratios of the parts that were measured; others stay as they are."""
    stored = read_json(EXPECTED) if EXPECTED.exists() else {}
    content = rounded({**stored, **ratios(load(settings.folder))})
    write_atomically(EXPECTED, json.dumps(content, indent=1) + "\n")


def load(folder: Path) -> dict[str, Any]:
    """The parts that were measured, by name."""
    return {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))}

"""PYTHONPATH=src python -m benchmarks quality throughput inference pipeline page [--quick] [--budget 90] [--data DIR]

Measure the named parts, write benchmarks/results/<part>.json, and with `page` docs/benchmarks.md; `check` compares the
ratios with benchmarks/expected.json, `keep` stores them there. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from benchmarks import growth, inference, page, pipeline, quality, regression, throughput
from benchmarks.measure import machine, write_result
from benchmarks.settings import FULL, QUICK
from benchmarks.subjects import Subject
from ear_teacher.stage import run

PARTS = ("quality", "longer", "throughput", "inference", "pipeline", "growth")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed, scale and the peers.")
    parser.add_argument("parts", nargs="+", choices=[*PARTS, "page", "check", "keep"])
    parser.add_argument("--quick", action="store_true", help="one run of each, smallest settings: does it work")
    parser.add_argument("--budget", type=float, help="CPU-seconds of each run of `quality`")
    parser.add_argument("--data", type=Path, default=Path("data/prepared"), help="pictures that stage prepare wrote")
    chosen = parser.parse_args()
    settings = QUICK if chosen.quick else FULL
    if chosen.budget:
        settings = dataclasses.replace(settings, budget=chosen.budget)
    torch.use_deterministic_algorithms(True, warn_only=True)
    if set(chosen.parts) & set(PARTS):
        write_result(settings.folder, "machine", machine())
    for part in chosen.parts:
        if part == "quality":
            content = quality.measure(Subject.load(chosen.data), settings)
        elif part == "longer":
            once = dataclasses.replace(settings, budget=settings.longer, ratio=1.3, repeats=1)
            content = quality.measure(Subject.load(chosen.data), once)
        elif part == "throughput":
            content = throughput.measure(Subject.load(chosen.data), settings)
        elif part == "inference":
            content = inference.measure(settings)
        elif part == "pipeline":
            content = pipeline.measure(settings)
        elif part == "growth":
            content = growth.measure(Subject.load(chosen.data), settings)
        else:
            {"page": page.write, "check": regression.check, "keep": regression.keep}[part](settings)
            continue
        write_result(settings.folder, part, content)


if __name__ == "__main__":
    run(main)

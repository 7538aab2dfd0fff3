"""Part 4, the pipeline: a repro with nothing to do, the time of every stage, and what each param makes run again.

The stages are run in a copy of the project, so that no output and no cache of this one changes. Training is run for
`TRAINED` steps and extrapolated: start and end are measured, the steps between two validations are multiplied.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from benchmarks.measure import cost
from benchmarks.settings import Settings
from ear_teacher.config import UserError, load_config

COPIED = (
    *("src", "stages", "params.yaml", "dvc.yaml", "data/photos", "data/weights", "metrics", "plots"),
    "benchmarks/results/quality.csv",
)
TRAINED = 128
VALIDATED = re.compile(r" step (\d+), epoch ")


def measure(settings: Settings) -> dict[str, Any]:
    """Seconds of a repro without work; cost of each stage; stages and seconds behind each param."""
    waiting = subprocess.run(["dvc", "repro", "--dry"], text=True, capture_output=True)
    if waiting.returncode or "Running stage" in waiting.stdout:
        raise UserError("The pipeline is not up to date, so a repro would do work: run `dvc repro` first.")
    idle = [cost(["dvc", "repro"]).wall for _ in range(settings.repeats)]
    stages = resolved()
    costs = stage_costs(stages) if settings.stages else {}
    return {
        "noop_seconds": median(idle),
        "stages": costs,
        "reruns": reruns(stages, yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8")), costs),
    }


def resolved() -> dict[str, dict[str, Any]]:
    """name -> cmd, deps, outs and params of every stage as DVC reads dvc.yaml, in the order they run."""
    from dvc.repo import Repo

    with Repo() as repo:
        own = [stage for stage in repo.index.stages if stage.path_in_repo == "dvc.yaml"]
        found = {}
        for stage in own:
            params: list[str] = []
            for dep in stage.deps:
                params += getattr(dep, "params", None) or []
            found[stage.addressing] = {
                "cmd": stage.cmd,
                "deps": [dep.def_path for dep in stage.deps if not hasattr(dep, "params")],
                "outs": [out.def_path for out in stage.outs],
                "params": params,
            }
    return in_order(found)


def in_order(stages: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every stage after those whose outputs it reads."""
    ordered: dict[str, dict[str, Any]] = {}
    while len(ordered) < len(stages):
        before = len(ordered)
        for name, stage in stages.items():
            makers = {other for other, its in stages.items() if other != name and reads(stage, its)}
            if name not in ordered and makers <= set(ordered):
                ordered[name] = stage
        if len(ordered) == before:
            raise ValueError("the stages depend on each other in a circle")
    return ordered


def reads(stage: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a stage depends on what another writes: the same path, or one inside the other."""
    return any(inside(dep, out) or inside(out, dep) for dep in stage["deps"] for out in other["outs"])


def inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def reruns(
    stages: Mapping[str, dict[str, Any]], params: Mapping[str, Any], costs: Mapping[str, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """Groups of params with the same consequence: what runs at once, what follows where outputs differ, seconds."""
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for key in leaves(params):
        direct = [name for name, stage in stages.items() if any(touches(key, param) for param in stage["params"])]
        reached = list(direct)
        for name, stage in stages.items():  # in the order they run, so one pass is enough
            if name not in reached and any(reads(stage, stages[other]) for other in reached):
                reached.append(name)
        found = groups.setdefault((*direct, "|", *reached), {"params": [], "direct": direct, "follows": []})
        found["params"].append(key)
        found["follows"] = [name for name in reached if name not in direct]
        found["seconds"] = sum(costs[name]["wall"] for name in reached) if costs else None
    return list(groups.values())


def leaves(values: Mapping[str, Any], before: str = "") -> Iterable[str]:
    """Dotted names of everything that is not a section."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"


def touches(key: str, param: str) -> bool:
    """Whether a stage that depends on `param` (a section or a key) depends on `key`."""
    return key == param or key.startswith(f"{param}.")


def stage_costs(stages: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every stage run once, in order, in a copy: wall and CPU seconds, peak memory; training extrapolated."""
    config = load_config()
    found: dict[str, dict[str, Any]] = {}
    with TemporaryDirectory(dir=Path.cwd().parent) as folder:
        copy = Path(folder)
        for path in COPIED:
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            if Path(path).is_dir():
                shutil.copytree(path, copy / path, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, copy / path)
        shorten(copy / "params.yaml")
        for name, stage in stages.items():
            for out in stage["outs"]:
                place = copy / out
                shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
                place.parent.mkdir(parents=True, exist_ok=True)
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            spent = cost(["bash", "-c", stage["cmd"]], copy, {"PATH": path})
            row: dict[str, Any] = {"wall": spent.wall, "cpu": spent.cpu, "memory_mb": spent.memory / 2**20}
            if name.startswith("train@"):
                wanted = config.variant(name.removeprefix("train@")).train
                row |= {"measured": row["wall"], "wall": extrapolated(spent.wall, spent.lines, wanted.steps)}
                row |= {"steps": wanted.steps, "steps_measured": TRAINED, "cpu": row["cpu"] * row["wall"] / spent.wall}
            found[name] = row
            print(f"{name}: {spent.wall:.1f} s", file=sys.stderr)
    return found


def shorten(params: Path) -> None:
    """Cut every training to `TRAINED` steps with a validation in the middle."""
    values = yaml.safe_load(params.read_text(encoding="utf-8"))
    for train in (values["train"], values["baselines"]["v0"]["train"]):
        train |= {"steps": TRAINED, "validate_every": TRAINED // 2}
    params.write_text(yaml.safe_dump(values), encoding="utf-8")


def extrapolated(wall: float, lines: list[tuple[float, str]], steps: int) -> float:
    """Seconds of a training of so many steps, from the lines of the validations of a short one."""
    stamps = {int(found[1]): at for at, line in lines if (found := VALIDATED.search(line))}
    (sooner, then), (later, now) = sorted(stamps.items())[-2:]
    return wall + (steps - later) * (now - then) / (later - sooner)

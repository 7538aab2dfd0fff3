"""A training killed with SIGKILL at moments of every kind, through `dvc repro`; the next `dvc repro` must end as an
undisturbed run does.

The project is a copy of this one at 32 pixels. Python reads `src/sitecustomize.py` at its start: the copy gets one
that watches the training's calls and kills at the chosen one, so the killed program itself is the user's, unchanged.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.pipeline.conftest import Project, fresh_project

STEPS, VALIDATE_EVERY, BATCH = 24, 4, 8
SMALL = {
    "data": {"image_size": 32, "synthetic": {"people": 14, "images_per_person": 3}},
    "linear": {"max_floats": 64},
    "model": {"latent_dim": 64, "latent_layout": "4x4", "width": 8},
    "loss": {"perceptual_weight": 0},  # no pretrained trunk, so no network
    "train": {"steps": STEPS, "batch_size": BATCH, "validate_every": VALIDATE_EVERY, "threads": 1},
    "baselines": {"v0": {"model": {"latent_dim": 64}}, "v1": {"model": {"latent_dim": 64}}},
}
STAGE = "train@current"
OUTPUTS = ("models/current", "plots/train/current")
KINDS = ("in the step", "in validation", "while a checkpoint is written", "between epochs", "by the clock")

WATCHER = '''
import os, signal, sys
KIND, PLACE, NTH, DVC_TOO = {kind!r}, {place!r}, {nth}, {dvc_too}

class Seen:
    """Told of every import; the watching begins with the training loop's."""
    @staticmethod
    def find_spec(name, *_):
        if name == "ear_teacher.training.validation":
            sys.setprofile(watch)

def here(frame, event, arg):
    code, file = frame.f_code.co_name, frame.f_code.co_filename
    if PLACE == "epoch" and code == "_rows_of" and event == "call":
        known = frame.f_locals
        first = (known["step"] * known["config"].accumulation + known["part"]) * known["config"].batch_size
        size = len(known["rows"])
        return (first + known["config"].batch_size - 1) // size > (first - 1) // size >= 0
    if PLACE in ("fsync", "replace"):
        event_wanted = "c_call" if PLACE == "fsync" else "c_return"
        in_file = code == "write_atomically" and ".checkpoints" in str(frame.f_locals.get("path"))
        return in_file and event == event_wanted and arg.__name__ == PLACE
    if PLACE == "decode":
        return code == PLACE and event == "call" and frame.f_back.f_code.co_name == "validate"
    return code == PLACE and event == "call" and "ear_teacher" in file

def watch(frame, event, arg):
    global NTH
    if here(frame, event, arg):
        NTH -= 1
        if NTH < 0:
            with open("killed", "w") as file:
                file.write(KIND)
            os.killpg(0, signal.SIGKILL) if DVC_TOO else os.kill(os.getpid(), signal.SIGKILL)

sys.meta_path.insert(0, Seen)
'''


@dataclass(frozen=True)
class Moment:
    """When the kill comes.

    Attributes:
        kind: of `KINDS`.
        place: the call it comes in; empty for the clock.
        when: how many such calls pass before, or the share of an undisturbed run's time.
        dvc_too: `dvc` dies with its stage.
    """

    kind: str
    place: str
    when: float
    dvc_too: bool


def moments(each: int = 5) -> Iterator[Moment]:
    """Seeded moments, `each` of every kind; every other one kills `dvc` too."""
    chance = random.Random(9)
    validations = STEPS // VALIDATE_EVERY + 1
    for number in range(each):
        places = {
            KINDS[0]: [("augment", STEPS), ("_log_error", STEPS), ("observe", STEPS)],
            KINDS[1]: [("decode", 2 * validations)],
            KINDS[2]: [("save_checkpoint", validations), ("fsync", validations), ("replace", validations)],
            KINDS[3]: [("epoch", 5)],
        }
        for turn, (kind, choice) in enumerate(places.items()):
            place, calls = choice[number % len(choice)]
            yield Moment(kind, place, chance.randrange(calls), dvc_too=(number + turn) % 2 == 0)
        yield Moment(KINDS[4], "", chance.uniform(0.3, 0.85), dvc_too=True)


class Victim:
    """The small project, trained once undisturbed."""

    def __init__(self, folder: Path) -> None:
        self.project: Project = fresh_project(folder, SMALL)
        self.folder = folder
        (folder / "data/weights/perceptual").mkdir(parents=True)
        for stage in ("prepare", "linear", "weights@current", "features@current"):
            self.project.run("dvc", "repro", "--single-item", stage)
        self.project.commit("before training")
        start = time.perf_counter()
        self.train()
        self.seconds = time.perf_counter() - start
        self.wanted = self.outputs()
        assert self.wanted

    def train(self, fails: bool = False) -> str:
        return self.project.run("dvc", "repro", "--no-run-cache", "--single-item", STAGE, fails=fails)

    def outputs(self) -> dict[str, str]:
        """SHA-256 of every file of the model and of its record."""
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for name in OUTPUTS
            for path in sorted((self.folder / name).rglob("*"))
            if path.is_file()
        }

    def forget(self) -> None:
        """As if this had never been trained."""
        self.project.run("git", "checkout", "-q", "dvc.lock")
        for name in (*OUTPUTS, ".checkpoints"):
            subprocess.run(["rm", "-rf", name], cwd=self.folder, check=True)
        (self.folder / "killed").unlink(missing_ok=True)

    def kill(self, moment: Moment) -> None:
        """Start `dvc repro` in a session of its own and let the kill come."""
        watcher = self.folder / "src/sitecustomize.py"
        if moment.place:
            watcher.write_text(WATCHER.format(**(vars(moment) | {"nth": int(moment.when)})))
        command = ["dvc", "repro", "--no-run-cache", "--single-item", STAGE]
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.project.environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(timeout=300 if moment.place else moment.when * self.seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            (self.folder / "killed").write_text(moment.kind)
            process.wait()
        watcher.unlink(missing_ok=True)

    def newest_checkpoint(self) -> int | None:
        """Step of the newest checkpoint whose bytes have the hash in its name."""
        steps = []
        for path in self.folder.glob(".checkpoints/*/step_*.pt"):
            name = re.fullmatch(r"step_(\d{9})\.([0-9a-f]{16})\.pt", path.name)
            if name and hashlib.sha256(path.read_bytes()).hexdigest().startswith(name[2]):
                steps.append(int(name[1]))
        return max(steps, default=None)

    def survives(self, moment: Moment) -> list[str]:
        """Kill at this moment and run `dvc repro` again; what was not right, in words."""
        self.forget()
        self.kill(moment)
        if not (self.folder / "killed").exists():
            return ["it was not killed"]
        newest = self.newest_checkpoint()
        try:
            said = self.train()
        except AssertionError as error:
            return [f"the next `dvc repro` failed: {error}"]
        wrong = []
        first = next((int(step) for step in re.findall(r"current step (\d+), epoch", said)), STEPS + VALIDATE_EVERY)
        if first != (0 if newest is None else newest + VALIDATE_EVERY):
            wrong.append(f"the newest checkpoint was of step {newest}, and the first validation after it of {first}")
        found = self.outputs()
        differ = sorted(name for name in self.wanted | found if self.wanted.get(name) != found.get(name))
        wrong += [f"other bytes: {', '.join(differ[:4])}"] if differ else []
        wrong += ["its checkpoints were left behind"] if any(self.folder.glob(".checkpoints/*/step_*")) else []
        if STAGE not in yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]:
            wrong.append("dvc.lock does not hold the stage")
        return wrong


def main() -> None:
    """python -m tests.torture.kills <empty folder>: every kill, told as it goes."""
    import sys

    victim = Victim(Path(sys.argv[1]))
    for moment in moments():
        print(json.dumps([vars(moment), victim.survives(moment)]), flush=True)


if __name__ == "__main__":
    main()

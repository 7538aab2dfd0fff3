"""python -m tests.torture.kills <empty folder> [kills of each kind] [alone]

A training killed with SIGKILL at moments of every kind; run again, it must end as an undisturbed one does. Some go
through `dvc repro` (none with `alone`), the rest through the stage alone, in a process forked from one that has
everything imported.

The project is a copy of this one at 32 pixels. A killed program is the user's, unchanged: the copy's
`src/sitecustomize.py`, which Python reads at its start, watches the training's calls and kills at the chosen one.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tests.data.helpers import write_people
from tests.pipeline.conftest import Project, fresh_project

STEPS, VALIDATE_EVERY, BATCH = 24, 4, 8
SMALL = {
    "data": {"source": "folder", "path": "data/photos", "image_size": 32},
    "linear": {"max_floats": 64},
    "model": {"latent_dim": 64, "latent_layout": "4x4", "width": 8},
    "loss": {"perceptual_weight": 0},  # no pretrained trunk, so no network
    "train": {"steps": STEPS, "batch_size": BATCH, "validate_every": VALIDATE_EVERY, "threads": 1},
    "baselines": {"v0": {"model": {"latent_dim": 64}}, "v1": {"model": {"latent_dim": 64}}},
}
STAGE = "train@current"
REPRO = ["dvc", "repro", "--no-run-cache", "--single-item", STAGE]
OUTPUTS = ("models/current", "plots/train/current")
KINDS = ("in the step", "in validation", "while a checkpoint is written", "between epochs", "by the clock")

WATCHER = '''
import os, signal, sys
PLACE, NTH, GROUP = {place!r}, {nth}, {with_dvc}

def here(frame, event, arg):
    code, known = frame.f_code.co_name, frame.f_locals
    if PLACE == "epoch":  # the first batch that has pictures of a new epoch
        if code != "rows_of" or event != "call":
            return False
        first, size = known["step"] * {batch}, len(known["order"].rows)
        return first > 0 and (first + {batch} - 1) // size > (first - 1) // size
    if PLACE in ("fsync", "replace"):  # all is written but not yet renamed; renamed but the old not yet removed
        wanted = "c_call" if PLACE == "fsync" else "c_return"
        writes = code == "write_atomically" and ".pt" in str(known.get("path"))
        return writes and event == wanted and arg.__name__ == PLACE
    if PLACE == "decode":
        return code == PLACE and event == "call" and frame.f_back.f_code.co_name == "validate"
    return code == PLACE and event == "call" and "ear_teacher" in frame.f_code.co_filename

def watch(frame, event, arg):
    global NTH
    if here(frame, event, arg):
        NTH -= 1
        if NTH < 0:
            open("killed", "w").close()
            os.killpg(0, signal.SIGKILL) if GROUP else os.kill(os.getpid(), signal.SIGKILL)

class Seen:
    """Told of every import; the watching begins with the training loop's."""
    @staticmethod
    def find_spec(name, *_):
        if name == "ear_teacher.training.validation":
            sys.setprofile(watch)

sys.meta_path.insert(0, Seen)
'''


@dataclass(frozen=True)
class Moment:
    """When the kill comes.

    Attributes:
        kind: of `KINDS`.
        place: the call it comes in; empty for the clock.
        when: how many such calls pass before, or the share of an undisturbed run's time.
        with_dvc: through `dvc repro`, which dies with its stage.
    """

    kind: str
    place: str
    when: float
    with_dvc: bool


def moments(each: int = 5) -> Iterator[Moment]:
    """Seeded moments, `each` of every kind; two of five go through `dvc`."""
    chance = random.Random(9)
    validations = STEPS // VALIDATE_EVERY + 1
    places = {
        KINDS[0]: [("augment", STEPS), ("_log_error", STEPS), ("observe", STEPS)],
        KINDS[1]: [("decode", 2 * validations)],
        KINDS[2]: [("fsync", validations), ("replace", validations), ("save_checkpoint", validations)],
        KINDS[3]: [("epoch", 6)],
    }
    for number in range(each):
        for turn, (kind, choice) in enumerate(places.items()):
            place, calls = choice[number % len(choice)]
            yield Moment(kind, place, chance.randrange(calls), with_dvc=(2 * number + turn) % 5 < 2)
        yield Moment(KINDS[4], "", chance.uniform(0.3, 0.85), with_dvc=(2 * number) % 5 < 2)


class Victim:
    """The small project, trained once undisturbed through `dvc repro`."""

    def __init__(self, folder: Path, alone: bool = False) -> None:
        self.folder = folder
        self.project: Project = fresh_project(folder, SMALL)
        write_people(folder / "data/photos")
        (folder / "data/weights/perceptual").mkdir(parents=True)
        for stage, *name in (["prepare"], ["linear"], ["weights", "current"], ["features", "current"]):
            assert self.wait(self.start_stage(stage, *name)) == 0, self.said()
        self.project.commit("before training")
        self.seconds = {}
        self.wanted: dict[str, str] = {}
        for with_dvc in (False,) if alone else (True, False):  # once without, to know how long that takes
            self.forget()
            start = time.perf_counter()
            assert self.wait(self.start(with_dvc)) == 0, self.said()
            self.seconds[with_dvc] = time.perf_counter() - start
            found = self.outputs()
            assert len(found) > 10, found
            assert found == (self.wanted or found)
            self.wanted = found

    def start(self, with_dvc: bool) -> int:
        return self.start_dvc() if with_dvc else self.start_stage("train", "current")

    def start_dvc(self) -> int:
        """`dvc repro` in a session of its own; its process."""
        with (self.folder / ".said").open("w") as file:
            process = subprocess.Popen(
                REPRO, cwd=self.folder, env=self.project.environment, start_new_session=True, stdout=file, stderr=file
            )
        process.returncode = 0  # waited for by its id
        return process.pid

    def start_stage(self, stage: str, *name: str, watcher: str = "") -> int:
        """A stage in a forked process, in a session of its own."""
        sys.stdout.flush()
        if pid := os.fork():
            return pid
        code = 1
        try:
            os.setsid()
            os.chdir(self.folder)
            file = os.open(".said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            sys.argv = [f"stages/{stage}.py", *name]
            scope: dict[str, Any] = {}
            if watcher:
                exec(watcher, scope)
                sys.setprofile(scope["watch"])
            runpy.run_path(sys.argv[0], run_name="__main__")
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    @staticmethod
    def wait(pid: int, seconds: float | None = None) -> int | None:
        """Exit code, the signal as a negative number; None where it still runs after so many seconds."""
        end = None if seconds is None else time.perf_counter() + seconds
        while True:
            done, status = os.waitpid(pid, 0 if end is None else os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if end is not None and time.perf_counter() > end:
                return None
            time.sleep(0.005)

    def said(self) -> str:
        """What the last process wrote."""
        return (self.folder / ".said").read_text()

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
        for name in (*OUTPUTS, ".checkpoints"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in ("killed", "dvc.lock"):
            (self.folder / name).unlink(missing_ok=True)

    def kill(self, moment: Moment) -> bool:
        """Start a training and let the kill come; whether it came."""
        facts = {"place": moment.place, "nth": int(moment.when), "with_dvc": moment.with_dvc, "batch": BATCH}
        text = WATCHER.format(**facts) if moment.place else ""
        file = self.folder / "src/sitecustomize.py"
        if moment.with_dvc:
            file.write_text(text)
            pid = self.start_dvc()
        else:
            pid = self.start_stage("train", "current", watcher=text)
        code = self.wait(pid, None if moment.place else moment.when * self.seconds[moment.with_dvc])
        file.unlink(missing_ok=True)
        if code is None:
            os.killpg(pid, signal.SIGKILL)
            return self.wait(pid) == -signal.SIGKILL
        return code == -signal.SIGKILL and (self.folder / "killed").exists()

    def newest_checkpoint(self) -> int | None:
        """Step of the newest checkpoint whose bytes have the hash in its name."""
        steps = []
        for path in self.folder.glob(".checkpoints/*/step_*.pt"):
            name = re.fullmatch(r"step_(\d{9})\.([0-9a-f]{16})\.pt", path.name)
            if name and hashlib.sha256(path.read_bytes()).hexdigest().startswith(name[2]):
                steps.append(int(name[1]))
        return max(steps, default=None)

    def survives(self, moment: Moment) -> list[str]:
        """Kill at this moment and run the same command again; what was not right, in words."""
        self.forget()
        if not self.kill(moment):
            return [f"it was not killed: {self.said()[-300:]}"]
        newest = self.newest_checkpoint()
        if code := self.wait(self.start(moment.with_dvc)):
            return [f"the next run ended with {code}: {self.said()[-500:]}"]
        wrong = []
        first = next((int(s) for s in re.findall(r"current step (\d+), epoch", self.said())), STEPS + VALIDATE_EVERY)
        if first != (0 if newest is None else newest + VALIDATE_EVERY):
            wrong.append(f"the newest checkpoint was of step {newest}, and the first validation after it of {first}")
        found = self.outputs()
        differ = sorted(name for name in self.wanted | found if self.wanted.get(name) != found.get(name))
        wrong += [f"other bytes: {', '.join(differ[:4])}"] if differ else []
        wrong += ["its checkpoints were left behind"] if any(self.folder.glob(".checkpoints/*/*")) else []
        if moment.with_dvc and STAGE not in (self.folder / "dvc.lock").read_text():
            wrong.append("dvc.lock does not hold the stage")
        return wrong


def main() -> None:
    torch.set_num_threads(1)  # a forked process may not use its parent's threads
    runpy.run_path("stages/train.py", run_name="imported")  # once for all that are forked
    alone = sys.argv[3:] == ["alone"]
    victim = Victim(Path(sys.argv[1]), alone)
    for moment in moments(int(sys.argv[2]) if len(sys.argv) > 2 else 5):
        if alone:
            moment = replace(moment, with_dvc=False)
        print(json.dumps(asdict(moment) | {"wrong": victim.survives(moment)}), flush=True)


if __name__ == "__main__":
    main()

"""What a malformed input is, what its one right outcome is, and how both are compared.

A case is written down with its outcome before the code sees it. It runs through the command's own `main()`, in this
process or as a process of its own, in a folder of its own, under limits of time and memory. Time spent waiting for a
processor that other programs keep busy does not count.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ear_teacher.stage import run

PROJECT = Path(__file__).parents[2]
SECONDS = 10.0
BYTES = 2_000_000_000

Command = Callable[[], None]
"""What the user's command does, in the case's folder."""


@dataclass(frozen=True)
class Accepted:
    """The command succeeds; `right` raises AssertionError where the value is not the right one."""

    right: Callable[[Path], None] = lambda folder: None


@dataclass(frozen=True)
class Quarantined:
    """The command succeeds and leaves out the one bad picture: its name, and words of the reason."""

    file: str
    reason: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """Exit code 1 and one sentence that names these; nothing is written."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        name: unique within its kind.
        kind: params, image, array, metadata, model or landmarks.
        write: makes the input in an empty folder.
        command: what reads it there.
        outcome: what must come of it.
        hostile: it tries to run code, to reach another file or to exhaust the machine.
    """

    name: str
    kind: str
    write: Callable[[Path], None]
    command: Callable[[Path], Command]
    outcome: Accepted | Quarantined | Refused
    hostile: bool = False

    @property
    def accepted(self) -> bool:
        """Whether it is to be."""
        return isinstance(self.outcome, Accepted)


@dataclass
class Verdict:
    """What came of a case; `wrong` says what was not right, in words, and is empty where all was."""

    case: Case
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    said: str = ""


EXPORT = "from ear_teacher.cli import main; main('export --model model --format safetensors --out out'.split())"
COMMANDS = {
    "params": [f"{PROJECT}/stages/linear.py"],
    "image": [f"{PROJECT}/stages/prepare.py"],
    "array": [f"{PROJECT}/stages/prepare.py"],
    "metadata": [f"{PROJECT}/stages/prepare.py"],
    "model": ["-c", EXPORT],
}
"""What a process of its own is given after `python`, by kind; the other kinds have no command."""


def attempt_apart(case: Case, folder: Path) -> Verdict:
    """Run one case in an empty folder, as its user would: a process of its own."""
    verdict = Verdict(case)
    case.write(folder)
    before = _tree(folder)
    told = folder.parent / "told"
    with told.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *COMMANDS[case.kind]], cwd=folder, stdout=subprocess.DEVNULL, stderr=file,
            env={**os.environ, "PYTHONPATH": f"{PROJECT}/src"},
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    verdict.said = told.read_text(encoding="utf-8", errors="replace")
    verdict.seconds = used.ru_utime + used.ru_stime
    if "Traceback (most recent call last)" in verdict.said:
        verdict.wrong.append("a traceback: " + verdict.said.strip().splitlines()[-1])
    _within_limits(verdict, used.ru_maxrss * 1024)
    _judge(case, folder, process.returncode, verdict, before)
    return verdict


def attempt(case: Case, folder: Path) -> Verdict:
    """Run one case in an empty folder, in this process."""
    verdict = Verdict(case)
    case.write(folder)
    before = _tree(folder)
    home, said, code = Path.cwd(), io.StringIO(), 0
    rest = _reset_peak()
    start = _clock()
    os.chdir(folder)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            run(case.command(folder))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        verdict.wrong.append("a traceback: " + traceback.format_exc().strip().splitlines()[-1])
        code = -1
    finally:
        os.chdir(home)
    verdict.seconds = _clock() - start
    verdict.said = said.getvalue()
    _within_limits(verdict, _peak() - rest)
    if code != -1:
        _judge(case, folder, code, verdict, before)
    return verdict


def _within_limits(verdict: Verdict, memory: int) -> None:
    if verdict.seconds > SECONDS:
        verdict.wrong.append(f"{verdict.seconds:.0f} s")
    if memory > BYTES:
        verdict.wrong.append(f"{memory / 1e9:.1f} GB of memory")


CANARY = "code-ran"
"""The file that hostile inputs try to make."""


def sentence_of(said: str) -> str:
    """The last line of standard error, progress bars and warnings left out."""
    lines = [line.split("\r")[-1].strip() for line in said.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("Warning:", "prepare:"))]
    return lines[-1] if lines else ""


def _judge(case: Case, folder: Path, code: int, verdict: Verdict, before: set[str]) -> None:
    outcome, wrong = case.outcome, verdict.wrong
    if (folder.parent / CANARY).exists() or (folder / CANARY).exists():
        wrong.append("code of the input ran")
    if isinstance(outcome, Refused):
        sentence = sentence_of(verdict.said)
        if code != 1:
            wrong.append(f"exit code {code}, not refused")
            return
        if not sentence.endswith("."):
            wrong.append(f"no sentence: {sentence!r}")
        wrong += [f"{name!r} is not named in: {sentence}" for name in outcome.names if name not in sentence]
        if left := _tree(folder) - before:
            wrong.append(f"half-written: {sorted(left)[:3]}")
    elif code:
        wrong.append(f"exit code {code}: {sentence_of(verdict.said)}")
    elif isinstance(outcome, Accepted):
        try:
            outcome.right(folder)
        except Exception as error:  # whatever a check raises is a wrong value
            wrong.append(f"not the right value: {error}")
    elif not (folder / "data/prepared/quarantine.csv").exists():
        wrong.append("nothing was quarantined")
    else:
        with (folder / "data/prepared/quarantine.csv").open(encoding="utf-8", newline="") as file:
            listed = [",".join(line) for line in csv.reader(file)][1:]
        if len(listed) != 1 or outcome.file not in listed[0]:
            wrong.append(f"quarantined: {listed}, not {outcome.file}")
        elif outcome.reason and not any(word in listed[0] for word in outcome.reason):
            wrong.append(f"another reason: {listed[0]}")


def _tree(folder: Path) -> set[str]:
    """Every file below a folder; links are not followed."""
    return {os.path.join(base, name) for base, _, names in os.walk(folder) for name in names}


def _clock() -> float:
    """Seconds, less those in which this process was ready and another had its processor (Linux)."""
    waited = 0
    with contextlib.suppress(OSError):
        waited = int(Path("/proc/self/schedstat").read_text().split()[1])
    return time.perf_counter() - waited / 1e9


def _reset_peak() -> int:
    """Forget the peak of the memory so far (Linux); the memory in use now, in bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0  # only Linux tells
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

"""What a malformed input is, what its one right outcome is, and how both are compared.

A case is written down with its outcome before the code sees it. It runs through the command's own `main()`, in this
process, in a folder of its own, under limits of time and memory.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ear_teacher.stage import run

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


@dataclass
class Verdict:
    """What came of a case; `wrong` says what was not right, in words, and is empty where all was."""

    case: Case
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    said: str = ""


def attempt(case: Case, folder: Path) -> Verdict:
    """Run one case in an empty folder."""
    verdict = Verdict(case)
    case.write(folder)
    before = _tree(folder)
    home, said, code = Path.cwd(), io.StringIO(), 0
    rest = _reset_peak()
    start = time.perf_counter()
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
    verdict.seconds = time.perf_counter() - start
    verdict.said = said.getvalue()
    if verdict.seconds > SECONDS:
        verdict.wrong.append(f"{verdict.seconds:.0f} s")
    if _peak() - rest > BYTES:
        verdict.wrong.append(f"{(_peak() - rest) / 1e9:.1f} GB of memory")
    if code != -1:
        with contextlib.suppress(OSError):
            _judge(case, folder, code, verdict, before)
    if (folder.parent / CANARY).exists() or (folder / CANARY).exists():
        verdict.wrong.append("code of the input ran")
    return verdict


CANARY = "code-ran"
"""The file that hostile inputs try to make."""


def sentence_of(said: str) -> str:
    """The last line of standard error, progress bars and warnings left out."""
    lines = [line.split("\r")[-1].strip() for line in said.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("Warning:", "prepare:"))]
    return lines[-1] if lines else ""


def _judge(case: Case, folder: Path, code: int, verdict: Verdict, before: set[str]) -> None:
    outcome, wrong = case.outcome, verdict.wrong
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

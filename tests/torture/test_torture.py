"""A sample of the corpus and of the kills; `make torture` runs all of them."""

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.torture.__main__ import CORPUS, KINDS, chosen_apart
from tests.torture.cases import CANARY, Accepted, Case, Refused, attempt, attempt_apart

SAMPLE = [case for kind in KINDS for case in islice((c for c in CORPUS if c.kind == kind), 0, None, 12)]
SLOW = ("300 MB", "100 MB", "200,000", "100,000")


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: f"{case.kind}: {case.name[:60]}")
def test_each_input_has_its_one_right_outcome(case: Case, tmp_path: Path) -> None:
    if any(word in case.name for word in SLOW):
        pytest.skip("takes seconds; `make torture` runs it")
    folder = tmp_path / "case"
    folder.mkdir()
    assert attempt(case, folder).wrong == []


def test_a_process_of_its_own_has_the_same_outcome(tmp_path: Path) -> None:
    (tmp_path / "case").mkdir()
    case = next(case for case in chosen_apart() if case.kind == "array" and not case.accepted)
    assert attempt_apart(case, tmp_path / "case").wrong == []


def test_the_corpus_has_no_two_inputs_of_one_name() -> None:
    names = [(case.kind, case.name) for case in CORPUS]
    assert len(names) == len(set(names)) > 600
    assert {kind for kind, _ in names} == set(KINDS)


def test_a_killed_training_ends_in_the_same_bytes(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "tests.torture.kills", str(tmp_path), "1", "alone"], capture_output=True, text=True
    )
    kills = [json.loads(line) for line in said.stdout.splitlines() if line.startswith("{")]
    assert len(kills) == 5, said.stderr[-2000:]
    assert [kill["kind"] for kill in kills if kill["wrong"]] == [], said.stdout


def test_what_goes_wrong_is_noticed(tmp_path: Path) -> None:
    def leave_half(folder: Path):
        def command() -> None:
            (folder / "half").write_text("")
            raise ValueError("not for the user")

        return command

    def touch(folder: Path):
        return lambda: (folder.parent / CANARY).write_text("")

    for number, (command, outcome, words) in enumerate(
        [
            (leave_half, Refused(), "a traceback"),
            (lambda folder: lambda: None, Refused(("x",)), "exit code 0, not refused"),
            (lambda folder: lambda: None, Accepted(lambda folder: _fail()), "not the right value"),
            (touch, Accepted(), "code of the input ran"),
        ]
    ):
        folder = tmp_path / str(number) / "case"
        folder.mkdir(parents=True)
        verdict = attempt(Case("x", "params", lambda folder: None, command, outcome), folder)
        assert any(words in wrong for wrong in verdict.wrong)


def _fail() -> None:
    raise AssertionError("another value")

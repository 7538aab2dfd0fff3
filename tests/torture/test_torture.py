"""A sample of the corpus; `make torture` runs all of it."""

from itertools import islice
from pathlib import Path

import pytest

from tests.torture import params, pictures
from tests.torture.cases import CANARY, Accepted, Case, Refused, attempt

SAMPLE = [
    *islice(params.cases(), 0, None, 15),
    *[case for case in params.cases() if case.hostile and "MB" not in case.name and "100,000" not in case.name],
    *islice(pictures.cases(), 0, None, 5),
]


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: f"{case.kind}: {case.name}")
def test_each_input_has_its_one_right_outcome(case: Case, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    folder.mkdir()
    assert attempt(case, folder).wrong == []


def test_the_corpus_has_no_two_inputs_of_one_name() -> None:
    names = [(case.kind, case.name) for case in [*params.cases(), *pictures.cases()]]
    assert len(names) == len(set(names)) > 600


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

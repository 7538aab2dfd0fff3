"""Whatever goes wrong in a stage is told in one line."""

import errno

import pytest

from ear_teacher.config import UserError
from ear_teacher.stage import run


def ending(error: BaseException, capsys: pytest.CaptureFixture) -> tuple[int, str]:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run(main)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return int(ended.value.code or 0), said.err


def test_a_user_s_mistake_is_its_sentence(capsys: pytest.CaptureFixture) -> None:
    assert ending(UserError("Do this instead."), capsys) == (1, "Do this instead.\n")


def test_a_full_disk_names_the_file_and_an_interruption_is_no_traceback(capsys: pytest.CaptureFixture) -> None:
    code, said = ending(OSError(errno.ENOSPC, "No space left on device", "data/prepared/images.npy"), capsys)
    assert code == 1
    assert said.startswith("data/prepared/images.npy: No space left on device")
    assert ending(KeyboardInterrupt(), capsys)[0] == 130


def test_a_mistake_of_the_program_keeps_its_traceback() -> None:
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main)


def test_a_stage_that_works_ends_quietly(capsys: pytest.CaptureFixture) -> None:
    run(lambda: None)
    assert capsys.readouterr() == ("", "")

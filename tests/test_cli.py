"""The command line, through the same `main` its user calls."""

import csv
from pathlib import Path

import pytest

from ear_teacher.cli import main


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 1
    sentence = capsys.readouterr().err.strip()
    assert len(sentence.splitlines()) == 1
    assert "Traceback" not in sentence
    return sentence


def test_synthesize_writes_exactly_the_pictures_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "ears"
    main(["synthesize", "--n", "3", "--images-per-person", "2", "--size", "64", "--workers", "1", "--out", str(out)])
    assert len(list((out / "images").glob("*.png"))) == 3
    with (out / "index.csv").open() as file:
        assert [row["person"] for row in csv.DictReader(file)] == ["0", "0", "1"]


def test_synthesize_never_writes_into_a_folder_that_holds_something(tmp_path: Path, capsys) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    assert "not an empty folder" in refusal(capsys, "synthesize", "--n", "1", "--out", str(tmp_path))
    assert (tmp_path / "mine.txt").read_text() == "keep me"


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [("--n", "0", "--n"), ("--size", "9000", "--size"), ("--grey", "1.5", "grey_fraction"), ("--seed", "-1", "seed")],
)
def test_synthesize_refuses_what_is_out_of_range(tmp_path: Path, capsys, option: str, value: str, says: str) -> None:
    sentence = refusal(capsys, "synthesize", "--out", str(tmp_path / "x"), option, value)
    assert says in sentence
    assert not (tmp_path / "x").exists()


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["synthesize", "--help"])
    assert "example: ear-teacher synthesize --n 2000" in capsys.readouterr().out

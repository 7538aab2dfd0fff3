"""The command line's side: models and pictures from files, one sentence where something is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest

from ear_teacher.cli import main
from tests.diagnosis.conftest import linear_model
from tests.test_cli import refusal


@pytest.fixture
def files(tmp_path: Path, codes, train_pictures, held_out_pictures) -> dict[str, str]:
    linear_model(codes, 256).save(tmp_path / "model")
    np.save(tmp_path / "seen.npy", train_pictures)
    np.save(tmp_path / "new.npy", held_out_pictures)
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    return {name: str(tmp_path / name) for name in ("model", "seen.npy", "new.npy", "bad.csv", "report")}


def test_it_writes_the_page_its_chart_the_tables_and_the_numbers(files, capsys) -> None:
    main(["diagnose", "--model", files["model"], "--images", files["new.npy"], "--train-images", files["seen.npy"],
          "--psnr", "26", "--out", files["report"]])  # fmt: skip
    report = Path(files["report"])
    assert {"diagnosis.md", "diagnosis.json", "chart.png", "chain.csv", "spectrum.csv"} <= {
        p.name for p in report.iterdir()
    }
    found = json.loads((report / "diagnosis.json").read_text())
    assert found["causes"][0]["cause"] == "healthy"
    assert len(found["causes"]) == 14
    assert found["sentence"] in (report / "diagnosis.md").read_text()
    assert found["sentence"] in capsys.readouterr().out


def test_without_training_pictures_it_prints_the_page_and_says_what_it_did_not_measure(files, capsys) -> None:
    main(["diagnose", "--model", files["model"], "--images", files["seen.npy"], "--psnr", "26"])
    text = capsys.readouterr().out
    assert "Healthy" in text
    assert "the training pictures are not at hand" in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--model", "nowhere"], "config.json is missing"),
        (["--images", "nowhere"], "no such folder"),
        (["--psnr", "900"], "--psnr"),
        (["--history", "nowhere.csv"], "nowhere.csv"),
        (["--history", "bad.csv"], "step"),
        (["--params", "nowhere.yaml"], "nowhere.yaml"),
        (["--alexnet", "nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_a_mistake_ends_in_one_sentence_and_nothing_is_written(files, capsys, change: list[str], says: str) -> None:
    arguments = {"--model": files["model"], "--images": files["new.npy"], "--out": files["report"]}
    arguments[change[0]] = files.get(change[1], change[1])
    assert says in refusal(capsys, "diagnose", *(word for pair in arguments.items() for word in pair))
    assert not Path(files["report"]).exists()


def test_a_folder_that_holds_something_is_never_written_into(files, capsys) -> None:
    Path(files["report"]).mkdir()
    (Path(files["report"]) / "mine.txt").write_text("keep me")
    sentence = refusal(
        capsys, "diagnose", "--model", files["model"], "--images", files["new.npy"], "--out", files["report"]
    )
    assert "not an empty folder" in sentence


def test_help_shows_an_example(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["diagnose", "--help"])
    assert "example: ear-teacher diagnose --model models/current" in capsys.readouterr().out

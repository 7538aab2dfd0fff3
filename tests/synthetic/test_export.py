"""The folder `write_dataset` makes: complete, readable, all or nothing."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ear_teacher.config import SyntheticConfig, UserError
from ear_teacher.synthetic import LANDMARK_NAMES, render_sample
from ear_teacher.synthetic.export import write_dataset

CONFIG = SyntheticConfig(people=2, images_per_person=2, seed=4)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_hold_what_was_rendered(tmp_path: Path) -> None:
    seen: list[int] = []
    write_dataset(CONFIG, 64, tmp_path / "ears", seen.append, workers=1)
    index, marks = rows(tmp_path / "ears/index.csv"), rows(tmp_path / "ears/landmarks.csv")
    assert seen == [1, 2, 3, 4]
    assert len(index) == len(marks) == len(rows(tmp_path / "ears/landmarks55.csv")) == 4
    assert [row["person"] for row in index] == ["0", "0", "1", "1"]
    for k, row in enumerate(index):
        sample = render_sample(CONFIG, 64, k)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "ears/images" / row["file"])), sample.image)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "ears/regions" / row["file"])), sample.regions)
        x = [float(marks[k][f"{name}_x"]) for name in LANDMARK_NAMES]
        np.testing.assert_allclose(x, sample.landmarks[:, 0], atol=0.006)


def test_a_limit_writes_the_first_pictures_only(tmp_path: Path) -> None:
    write_dataset(CONFIG, 64, tmp_path / "ears", workers=1, limit=3)
    assert [row["index"] for row in rows(tmp_path / "ears/index.csv")] == ["0", "1", "2"]


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not an empty folder"):
        write_dataset(CONFIG, 64, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(count: int) -> None:
        if count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(CONFIG, 64, tmp_path / "ears", stop, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be created"):
        write_dataset(CONFIG, 64, tmp_path / "file" / "ears")

"""Pictures in several files read like those in one, and are shuffled so that files are read one after the other."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ear_teacher.config import DataConfig, TrainConfig, UserError
from ear_teacher.data import PreparedData, prepare
from ear_teacher.data.shards import Shards, ShardWriter, image_files
from ear_teacher.linear import fit_klt
from ear_teacher.training.pictures import Pictures
from ear_teacher.training.schedule import WINDOW, Order, rows_of
from tests.data.helpers import write_people


def shards(folder: Path, count: int, size: int) -> tuple[np.ndarray, Shards]:
    folder.mkdir()
    images = np.random.default_rng(count).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    with ShardWriter(folder, (4, 4, 3), size) as writer:
        for image in images:
            writer.append(image)
    return images, Shards(image_files(folder))


@pytest.mark.parametrize(("count", "size", "files"), [(10, 4, 3), (8, 4, 2), (3, 10, 1)])
def test_rows_are_found_in_their_files(tmp_path: Path, count: int, size: int, files: int) -> None:
    images, found = shards(tmp_path / "s", count, size)
    assert (len(found.files), found.shape, len(found), found.dtype) == (files, images.shape, count, np.uint8)
    for rows in ([2, 0, count - 1, -1], np.arange(count)[::-1], slice(1, None, 2), [], 0, -1, np.int64(2)):
        np.testing.assert_array_equal(found[rows], images[rows])
    with pytest.raises(IndexError):
        found[count]
    with pytest.raises(IndexError):
        found[[0, count]]


def test_prepared_pictures_are_the_same_in_one_file_and_in_many(tmp_path: Path) -> None:
    write_people(tmp_path / "photos")
    one = DataConfig(source="folder", path=str(tmp_path / "photos"), image_size=32, normalization="per_group")
    said = [
        prepare(config, tmp_path / name, workers=1)
        for name, config in {"one": one, "many": one.model_copy(update={"shard_images": 5})}.items()
    ]
    assert said[0] == said[1]
    whole, parts = (PreparedData.load(tmp_path / name) for name in ("one", "many"))
    assert len(image_files(tmp_path / "many")) == -(-len(whole.images) // 5) > 2
    assert not (tmp_path / "many/images.npy").exists()
    np.testing.assert_array_equal(parts.images[np.arange(len(whole.images))], whole.images)
    assert (tmp_path / "one/index.csv").read_bytes() == (tmp_path / "many/index.csv").read_bytes()
    codes = [fit_klt(data.images, data.rows("train"), 4, 8) for data in (whole, parts)]
    assert all(np.array_equal(codes[0].__dict__[k], codes[1].__dict__[k]) for k in ("basis", "mean"))
    (tmp_path / "many/images-00001.npy").unlink()
    with pytest.raises(UserError, match="do not belong together"):
        PreparedData.load(tmp_path / "many")


@given(count=st.integers(1, 200), size=st.integers(1, 30), seed=st.integers(0, 3), held=st.integers(2, 7))
def test_an_epoch_shows_each_row_once_a_window_of_files_at_a_time(tmp_path_factory, count, size, seed, held) -> None:
    rows = np.flatnonzero(np.arange(count) % held != 1)

    class Files:
        def __init__(self) -> None:
            self.size, self.files, self.asked = size, range(-(-count // size)), []

        def ahead(self, numbers) -> None:
            self.asked.append(set(numbers))

    files = Files()
    order = Order(rows, seed, files)  # type: ignore[arg-type]  # stands for Shards
    n = len(rows)
    shown = order.take(0, 2 * n)
    assert Counter(shown[:n].tolist()) == Counter(shown[n:].tolist()) == Counter(rows.tolist())
    for start in (0, n // 3, n - 1):
        np.testing.assert_array_equal(Order(rows, seed, files).take(start, 5), order.take(start, 5))  # type: ignore[arg-type]  # stands for Shards
    of_file = (shown[:n] // size).tolist()
    last = {file: at for at, file in enumerate(of_file)}
    first = {file: of_file.index(file) for file in last}
    assert max(sum(first[f] <= at <= last[f] for f in last) for at in range(n)) <= WINDOW
    assert set(of_file) <= set().union(*files.asked)


def test_pictures_in_one_file_are_shuffled_as_ever() -> None:
    config, rows = TrainConfig(batch_size=7, seed=5), np.arange(50, 90)
    order = Order(rows, 5)
    shown = np.concatenate([rows_of(order, step, 0, config) for step in range(12)])[:80]
    wanted = [rows[np.random.default_rng([5, epoch]).permutation(40)] for epoch in range(2)]
    np.testing.assert_array_equal(shown, np.concatenate(wanted))


def test_a_run_knows_that_its_pictures_are_in_several_files(tmp_path: Path) -> None:
    images, found = shards(tmp_path / "s", 10, 4)
    assert Pictures(images, np.arange(8), np.arange(8, 10)).shards is None
    assert Pictures(found, np.arange(8), np.arange(8, 10)).shards is found  # type: ignore[arg-type]  # read alike

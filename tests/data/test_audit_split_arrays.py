"""Measures, duplicate groups, the split rule, the array writer and its reader."""

import itertools
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from ear_teacher.config import SplitConfig, UserError
from ear_teacher.data import PreparedData, prepare, to_tensor
from ear_teacher.data.arrays import ArrayWriter
from ear_teacher.data.audit import duplicate_groups, measure, near_pairs
from ear_teacher.data.split import assign, split_of
from ear_teacher.files import whole_folder, write_atomically
from tests.data.helpers import config, picture, write_people


def test_blur_lowers_the_sharpness_and_a_flat_picture_has_none() -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    blurred = np.asarray(Image.fromarray(noisy).filter(ImageFilter.GaussianBlur(2)))
    assert measure(blurred).sharpness < 0.1 * measure(noisy).sharpness
    assert measure(np.full((32, 32, 3), 90, np.uint8)).sharpness == pytest.approx(0, abs=1e-6)


def test_a_tint_is_colour_and_noise_of_compression_is_not() -> None:
    grey = picture(3, grey=True)
    assert measure(grey).grey
    assert measure(grey // 2 + np.array([2, 0, 1], np.uint8)).grey
    assert not measure((grey * np.array([1, 0.9, 0.7])).astype(np.uint8)).grey


def test_level_statistics_are_those_of_the_pixels() -> None:
    found, pixels = measure(picture(5)), picture(5).reshape(-1, 3) / 255
    assert found.level_mean == pytest.approx(pixels.mean(0))
    assert found.level_square == pytest.approx((pixels**2).mean(0))


def test_versions_of_a_picture_have_near_hashes_and_other_pictures_have_not() -> None:
    image = Image.fromarray(picture(0, side=128))
    brighter = image.point(lambda level: min(255, int(level * 1.1 + 5)))
    smaller = image.resize((90, 90)).resize((128, 128))
    original, *versions = (measure(np.asarray(version)).view_hash for version in (image, brighter, smaller))
    others = [measure(picture(seed, side=128)).view_hash for seed in range(1, 30)]
    assert max((original ^ version).bit_count() for version in versions) <= 2
    assert min((original ^ other).bit_count() for other in others) > 8


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40, unique=True), st.integers(0, 64))
def test_near_pairs_are_all_pairs_within_the_distance(hashes: list[int], distance: int) -> None:
    expected = {
        (i, j)
        for i, j in itertools.combinations(range(len(hashes)), 2)
        if (hashes[i] ^ hashes[j]).bit_count() <= distance
    }
    assert set(map(tuple, near_pairs(np.array(hashes, np.uint64), distance).tolist())) == expected


def test_groups_join_chains_and_are_numbered_in_order() -> None:
    hashes = [0b1, 2**40 - 1, 0b11, 2**40 - 1, 0b111, 2**63 + 2**62 + 2**50 + 12345]
    assert duplicate_groups(hashes, 1).tolist() == [0, 1, 0, 1, 0, -1]
    assert duplicate_groups(hashes, 0).tolist() == [-1, 0, -1, 0, -1, -1]
    assert duplicate_groups([], 2).tolist() == []


def test_duplicates_among_many_pictures_take_seconds_not_hours() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 10_000, dtype=np.uint64)
    start = time.perf_counter()
    assert (duplicate_groups(hashes.tolist(), 2) == -1).all()
    assert time.perf_counter() - start < 5


@given(st.text(max_size=8), st.lists(st.text(max_size=8), max_size=5))
def test_the_split_of_a_person_depends_on_nobody_else(person: str, others: list[str]) -> None:
    everybody = [*others, person]
    alone = split_of(person, person, SplitConfig())
    assert [split_of(name, name, SplitConfig()) for name in everybody][-1] == alone


def test_whole_numbers_go_by_themselves_and_names_by_their_hash() -> None:
    rule = SplitConfig()
    assert [split_of(f"{number:03d}", "x", rule) for number in range(7)] == [
        "train",
        "train",
        "train",
        "test",
        "train",
        "val",
        "train",
    ]
    names = [f"person {number}" for number in range(2000)]
    shares = pd.Series([split_of(name, "x", rule) for name in names]).value_counts(normalize=True)
    assert shares["test"] == pytest.approx(1 / 7, abs=0.03)
    assert shares["val"] == pytest.approx(1 / 7, abs=0.03)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["train", "held_out"]), st.integers(0, 12)), min_size=1, max_size=60))
def test_with_two_files_nobody_is_in_two_splits(photos: list[tuple[str, int]]) -> None:
    origins, persons = [origin for origin, _ in photos], [str(person) for _, person in photos]
    try:
        splits, moved = assign([f"{i}.png" for i in range(len(photos))], persons, origins, SplitConfig())
    except UserError:
        return
    homes = pd.DataFrame({"person": persons, "split": splits}).groupby("person")["split"].nunique()
    assert (homes == 1).all()
    assert moved == sum(o == "train" and s != "train" for o, s in zip(origins, splits, strict=True))
    assert all(s != "train" for o, s in zip(origins, splits, strict=True) if o == "held_out")


@pytest.mark.parametrize("count", [0, 1, 12, 1234])
def test_the_writer_makes_a_file_numpy_can_map(count: int, tmp_path: Path) -> None:
    items = np.random.default_rng(0).integers(0, 256, (count, 3, 5), dtype=np.uint8)
    with ArrayWriter(tmp_path / "a.npy", (3, 5)) as writer:
        for item in items:
            writer.append(item)
    assert np.array_equal(np.load(tmp_path / "a.npy", mmap_mode="r" if count else None), items)


def test_the_writer_refuses_other_shapes_and_types(tmp_path: Path) -> None:
    with ArrayWriter(tmp_path / "a.npy", (3, 5)) as writer:
        with pytest.raises(ValueError, match="was expected"):
            writer.append(np.zeros((5, 3), np.uint8))
        with pytest.raises(ValueError, match="was expected"):
            writer.append(np.zeros((3, 5), np.float32))  # type: ignore[arg-type]  # what the test is about


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prepared")
    write_people(root / "photos", each=2)
    prepare(config(root / "photos"), root / "out")
    return root / "out"


def test_rows_are_in_order_and_a_limit_spreads_them_evenly(folder: Path) -> None:
    data = PreparedData.load(folder)
    rows = data.rows("train")
    assert (np.diff(rows) > 0).all()
    assert (data.index["split"].iloc[rows] == "train").all()
    assert sum(len(data.rows(split)) for split in ("train", "val", "test")) == len(data.index)
    assert data.rows("train", 5).tolist() == rows[[0, 4, 8, 12, 16]].tolist()
    assert data.rows("train", 999).tolist() == rows.tolist()
    with pytest.raises(ValueError, match="no split"):
        data.rows("tset")


def test_a_batch_becomes_a_tensor_in_0_to_1_with_channels_first(folder: Path) -> None:
    data = PreparedData.load(folder)
    batch = to_tensor(data.images[[3, 0]])
    assert batch.shape == (2, 3, 32, 32)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous()
    assert float(batch[1, 2, 5, 7]) == pytest.approx(data.images[0, 5, 7, 2] / 255)


def test_the_images_cannot_be_changed_by_accident(folder: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        PreparedData.load(folder).images[0] = 0


def _drop(name: str):  # type: ignore[no-untyped-def]  # a closure for the cases below
    return lambda folder: (folder / name).unlink()


def _edit_index(edit):  # type: ignore[no-untyped-def]  # a closure for the cases below
    def change(folder: Path) -> None:
        index = pd.read_csv(folder / "index.csv", dtype=str, keep_default_na=False)
        edit(index).to_csv(folder / "index.csv", index=False)

    return change


def _save(array: np.ndarray):  # type: ignore[no-untyped-def]  # a closure for the cases below
    return lambda folder: np.save(folder / "images.npy", array)


DAMAGE = {
    "no images": (_drop("images.npy"), "images.npy is missing"),
    "no index": (_drop("index.csv"), "index.csv is missing"),
    "images cut short": (lambda f: (f / "images.npy").write_bytes(b"\x93NUMPY\x01\0"), "cannot be read"),
    "images that are objects": (_save(np.array([None])), "cannot be read"),
    "floats": (_save(np.zeros((28, 32, 32, 3))), "not pictures"),
    "not square": (_save(np.zeros((28, 32, 16, 3), np.uint8)), "not pictures"),
    "one channel": (_save(np.zeros((28, 32, 32, 1), np.uint8)), "colour channel"),
    "fewer pictures than lines": (_save(np.zeros((27, 32, 32, 3), np.uint8)), "do not belong together"),
    "missing column": (_edit_index(lambda index: index.drop(columns="person")), "person is missing"),
    "lines in another order": (_edit_index(lambda index: index.iloc[::-1]), "do not belong together"),
    "unknown split": (_edit_index(lambda index: index.replace("train", "trian")), "do not belong together"),
    "empty index": (lambda f: (f / "index.csv").write_text(""), "cannot be read"),
    "binary index": (lambda f: (f / "index.csv").write_bytes(b"\xff\xfe\0\0"), "cannot be read"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_folder_is_refused_with_the_remedy(name: str, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    change, sentence = DAMAGE[name]
    change(copy)
    with pytest.raises(UserError, match=sentence) as caught:
        PreparedData.load(copy)
    assert "dvc repro prepare" in str(caught.value)


def test_files_and_folders_are_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    write_atomically(tmp_path / "new" / "a.txt", "one")
    with whole_folder(tmp_path / "folder") as work:
        (work / "a").write_text("one")

    def fail() -> None:
        with whole_folder(tmp_path / "folder") as half:
            (half / "b").write_text("two")
            raise RuntimeError("cut off")

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["a"]
    with whole_folder(tmp_path / "folder") as work:
        (work / "c").write_text("three")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["c"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "new"]


def test_rendered_pictures_bring_their_landmarks_and_regions(tmp_path: Path) -> None:
    synthetic = {"people": 7, "images_per_person": 1}
    metrics = prepare(config(tmp_path, source="synthetic", synthetic=synthetic), tmp_path / "out", workers=1)
    data = PreparedData.load(tmp_path / "out")
    landmarks = pd.read_csv(tmp_path / "out" / "landmarks.csv")
    regions = np.load(tmp_path / "out" / "regions.npy")
    assert data.images.shape == (7, 32, 32, 3)
    assert regions.shape == (7, 32, 32)
    assert landmarks["row"].tolist() == list(range(7))
    assert landmarks.shape == (7, 1 + 17 * 3)
    assert {"side", "yaw", "skin"} <= set(data.index.columns)
    assert data.index["person"].tolist() == [str(person) for person in range(7)]
    assert json.loads(json.dumps(metrics))["splits"]["test"]["people"] == 1

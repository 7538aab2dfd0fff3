"""A tree of images becomes checked arrays, whole or not at all."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ear_teacher.config import UserError
from ear_teacher.data import PreparedData, contact_sheet, prepare
from tests.data.helpers import config, picture, write_people


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_people(tmp_path / "photos")
    return tmp_path / "photos"


def quarantine(folder: Path) -> dict[str, str]:
    return pd.read_csv(folder / "quarantine.csv").set_index("file")["reason"].to_dict()


def test_pictures_come_out_sorted_at_the_asked_size_with_their_people(photos: Path, tmp_path: Path) -> None:
    metrics = prepare(config(photos), tmp_path / "out")
    data = PreparedData.load(tmp_path / "out")
    assert data.images.shape == (42, 32, 32, 3)
    assert data.image_size == 32
    assert data.index["file"].is_monotonic_increasing
    assert data.index["file"][0] == "001/0.png"
    assert data.index["person"][0] == "001"
    assert metrics["people"] == 14
    assert metrics["split_by"] == "person"
    assert metrics["warnings"] == []
    first = Image.fromarray(picture(100)).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.array_equal(data.images[0], np.asarray(first))


def test_whole_number_people_split_by_their_residue_and_nobody_is_in_two_splits(photos: Path, tmp_path: Path) -> None:
    prepare(config(photos), tmp_path / "out")
    index = PreparedData.load(tmp_path / "out").index
    assert set(index["person"][index["split"] == "test"]) == {"003", "010"}
    assert set(index["person"][index["split"] == "val"]) == {"005", "012"}
    assert (index.groupby("person")["split"].nunique() == 1).all()


def test_adding_people_moves_nobody(photos: Path, tmp_path: Path) -> None:
    prepare(config(photos), tmp_path / "a")
    before = PreparedData.load(tmp_path / "a").index.set_index("file")["split"]
    for number, name in enumerate(("Ana", "zoe", "0")):
        (photos / name).mkdir()
        Image.fromarray(picture(9000 + number)).save(photos / name / "x.png")
    prepare(config(photos), tmp_path / "b")
    after = PreparedData.load(tmp_path / "b").index.set_index("file")["split"]
    assert after[before.index].equals(before)


def test_the_regex_names_the_person_and_a_regex_without_a_match_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for person in range(1, 15):
        Image.fromarray(picture(person)).save(tmp_path / "photos" / f"earvn1_{person:03d}_007.png")
    prepare(config(tmp_path / "photos", person_regex=r"earvn1_(\d+)_"), tmp_path / "out")
    assert list(PreparedData.load(tmp_path / "out").index["person"][:2]) == ["001", "002"]
    with pytest.raises(UserError, match=r"finds no person in any of 14 names, such as earvn1_001_007.png"):
        prepare(config(tmp_path / "photos", person_regex=r"person(\d+)"), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_without_ids_the_split_is_by_photo_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "photos" / "all").mkdir(parents=True)
    for number in range(40):
        Image.fromarray(picture(number)).save(tmp_path / "photos" / "all" / f"{number}.png")
    metrics = prepare(config(tmp_path / "photos"), tmp_path / "out")
    assert metrics["split_by"] == "photo"
    assert metrics["pictures_without_person"] == 40
    assert "split by photo" in metrics["warnings"][0]
    assert PreparedData.load(tmp_path / "out").index["flags"].str.contains("no_person").all()


def test_bad_pictures_are_quarantined_with_their_reason(photos: Path, tmp_path: Path) -> None:
    good = (photos / "001" / "0.png").read_bytes()
    (photos / "001" / "cut.png").write_bytes(good[: len(good) // 2])
    (photos / "001" / "text.jpg").write_text("no picture")
    (photos / "002" / "tiny.png").write_bytes(b"")
    Image.new("RGB", (20, 60)).save(photos / "002" / "narrow.png")
    (photos / "002" / "loop.jpg").symlink_to("loop.jpg")
    (photos / "003" / "outside.png").symlink_to(tmp_path / "elsewhere.png")
    Image.fromarray(picture(1)).save(tmp_path / "elsewhere.png")
    (photos / "folder").symlink_to(tmp_path)
    (photos / "004" / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 99)
    (photos / "notes.txt").write_text("not meant as a picture")
    (photos / ".DS_Store").write_bytes(b"x")
    metrics = prepare(config(photos, max_bad_fraction=0.2), tmp_path / "out")
    assert quarantine(tmp_path / "out") == {
        "001/cut.png": "truncated picture",
        "001/text.jpg": "not a picture in a known format",
        "002/tiny.png": "empty file",
        "002/narrow.png": "shorter side under 32 px",
        "002/loop.jpg": "link that leaves data.path or leads nowhere",
        "003/outside.png": "link that leaves data.path or leads nowhere",
        "folder": "link to a folder, which is not followed",
        "004/phone.heic": "not a picture in a known format",
    }
    assert metrics["pictures"] == 42
    assert metrics["quarantined"]["pictures"] == 8
    assert metrics["ignored_files"] == 2
    assert PreparedData.load(tmp_path / "out").index["person"].nunique() == 14


def test_too_many_bad_pictures_are_refused_and_the_old_result_stays(photos: Path, tmp_path: Path) -> None:
    prepare(config(photos), tmp_path / "out")
    before = (tmp_path / "out" / "index.csv").read_bytes()
    for number in range(3):
        (photos / "001" / f"bad{number}.png").write_bytes(b"bad")
    with pytest.raises(UserError, match=r"3 of 45 pictures cannot be used \(3 x not a picture in a known format; the"):
        prepare(config(photos), tmp_path / "out")
    assert (tmp_path / "out" / "index.csv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos"]


def test_nothing_left_an_empty_folder_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        prepare(config(tmp_path / "photos"), tmp_path / "out")
    (tmp_path / "photos" / "bad.png").write_bytes(b"bad")
    with pytest.raises(UserError, match="1 of 1 pictures cannot be used"):
        prepare(config(tmp_path / "photos", max_bad_fraction=1.0), tmp_path / "out")
    with pytest.raises(UserError, match="is not a folder"):
        prepare(config(tmp_path / "missing"), tmp_path / "out")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "ears").symlink_to(tmp_path / "photos")
    with pytest.raises(UserError, match="1 links to folders are not followed"):
        prepare(config(tmp_path / "links"), tmp_path / "out")


def test_an_empty_split_is_refused_with_a_way_out(tmp_path: Path) -> None:
    write_people(tmp_path / "photos", people=4)
    with pytest.raises(UserError, match=r"The val split is empty \(4 people\)"):
        prepare(config(tmp_path / "photos"), tmp_path / "out")
    metrics = prepare(config(tmp_path / "photos", split={"modulus": 4, "test": [0], "val": [1]}), tmp_path / "out")
    assert metrics["splits"]["test"] == {"pictures": 3, "people": 1, "grey": 0}


def test_duplicates_are_found_across_splits_exact_and_near(photos: Path, tmp_path: Path) -> None:
    original = Image.open(photos / "001" / "0.png")
    original.save(photos / "003" / "copy.png")
    original.resize((96, 96), Image.Resampling.BICUBIC).save(photos / "005" / "resaved.jpg", quality=80)
    metrics = prepare(config(photos), tmp_path / "out")
    assert metrics["duplicates"]["exact"] == {
        "groups": 1,
        "pictures": 2,
        "groups_across_splits": 1,
        "pictures_across_splits": 2,
    }
    assert metrics["duplicates"]["near"]["pictures_across_splits"] == 3
    index = PreparedData.load(tmp_path / "out").index
    alike = index[index["duplicate_group"] >= 0]
    assert list(alike["file"]) == ["001/0.png", "003/copy.png", "005/resaved.jpg"]
    assert alike["flags"].str.contains("across_splits").all()
    assert len(metrics["warnings"]) == 2


def test_greyscale_is_detected_per_picture_even_through_jpeg(photos: Path, tmp_path: Path) -> None:
    Image.fromarray(picture(1, grey=True)).save(photos / "001" / "grey.jpg", quality=85)
    Image.fromarray(picture(2, grey=True)[:, :, 0]).save(photos / "001" / "one_channel.png")
    metrics = prepare(config(photos), tmp_path / "out")
    index = PreparedData.load(tmp_path / "out").index
    assert list(index["file"][index["grey"]]) == ["001/grey.jpg", "001/one_channel.png"]
    assert metrics["splits"]["train"]["grey"] == 2


def test_the_result_does_not_depend_on_the_number_of_processes(photos: Path, tmp_path: Path) -> None:
    (photos / "001" / "bad.png").write_bytes(b"bad")
    one = prepare(config(photos), tmp_path / "one", workers=1)
    two = prepare(config(photos), tmp_path / "two", workers=2)
    assert one == two
    for name in ("images.npy", "index.csv", "quarantine.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_pixel_statistics_are_those_of_the_training_split(photos: Path, tmp_path: Path) -> None:
    metrics = prepare(config(photos), tmp_path / "out")
    data = PreparedData.load(tmp_path / "out")
    pixels = np.asarray(data.images[data.rows("train")]).reshape(-1, 3) / 255
    assert list(metrics["training_pixels"]["mean"].values()) == pytest.approx(pixels.mean(0), abs=1e-5)
    assert list(metrics["training_pixels"]["std"].values()) == pytest.approx(pixels.std(0), abs=1e-5)


def test_a_second_run_is_byte_for_byte_the_same_and_names_no_machine_path(photos: Path, tmp_path: Path) -> None:
    for out in ("a", "b"):
        metrics = prepare(config(photos), tmp_path / out)
    assert str(tmp_path) not in str(metrics)
    for name in ("images.npy", "index.csv", "quarantine.csv"):
        content = (tmp_path / "a" / name).read_bytes()
        assert content == (tmp_path / "b" / name).read_bytes()
        assert str(tmp_path).encode() not in content


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_unicode_odd_and_undecodable_names_go_through(photos: Path, tmp_path: Path) -> None:
    names = ["öhr 耳.png", 'with "quotes", comma.png', "line\nbreak.png", "NA.png", os.fsdecode(b"bytes\xff.png")]
    for number, name in enumerate(names):
        Image.fromarray(picture(5000 + number)).save(photos / "001" / name)
    prepare(config(photos), tmp_path / "out")
    files = set(PreparedData.load(tmp_path / "out").index["file"])
    assert {f"001/{name}" for name in names[:4]} | {"001/bytes\\xff.png"} <= files


def test_progress_sees_every_picture_once(photos: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def wrap(pictures, total):  # type: ignore[no-untyped-def]  # a stand-in of any progress
        for entry in pictures:
            seen.append(total)
            yield entry

    prepare(config(photos), tmp_path / "out", wrap=wrap)
    assert seen == [42] * 42


def test_the_contact_sheet_shows_every_split(photos: Path, tmp_path: Path) -> None:
    prepare(config(photos), tmp_path / "out")
    sheet = contact_sheet(PreparedData.load(tmp_path / "out"), columns=4, rows=2, side=32)
    assert sheet.size == (4 * 32, 3 * (18 + 64))
    blocks = np.asarray(sheet).reshape(3, 82, 128, 3)
    assert all(block[18:50].std() > 10 for block in blocks)

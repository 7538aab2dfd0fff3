"""The user's own .npy files, arrays and metadata dicts, are read as they are meant or refused in one sentence."""

import contextlib
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ear_teacher.config import DataConfig, UserError
from ear_teacher.data import PreparedData, prepare
from ear_teacher.data.npy import PictureArray, open_npy, to_levels
from ear_teacher.images import BadImage
from tests.data.bad_arrays import PICTURES, REFUSED, saved
from tests.data.helpers import picture, write_people


def config(path: Path, **changes: Any) -> DataConfig:
    base = {"source": "npy", "path": str(path), "train_npy": "train.npy", "image_size": 32}
    return DataConfig.model_validate(base | changes)


def prepared(root: Path, **changes: Any) -> PreparedData:
    prepare(config(root, **changes), root / "out")
    return PreparedData.load(root / "out")


def test_a_uint8_array_comes_through_unchanged(tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", PICTURES)
    data = prepared(tmp_path)
    assert np.array_equal(data.images, PICTURES)
    assert data.index["file"][3] == "train.npy#000003"
    assert set(data.index["split"]) == {"train", "val", "test"}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("npy_range", "dtype"),
    [("0..1", "<f4"), ("0..1", ">f8"), ("0..255", "<f2"), ("0..255", ">i4"), ("-1..1", "<f4"), ("auto", "u1")],
)
def test_ranges_byte_orders_and_memory_layouts_give_the_same_pictures(
    npy_range: str, dtype: str, order: str, tmp_path: Path
) -> None:
    low, high = {"0..1": (0, 1), "-1..1": (-1, 1)}.get(npy_range, (0, 255))
    values = (PICTURES / 255 * (high - low) + low) if (low, high) != (0, 255) else PICTURES
    np.save(tmp_path / "train.npy", np.asarray(values, order=order).astype(dtype, order=order))  # type: ignore[call-overload]  # a parametrised Literal
    assert np.array_equal(prepared(tmp_path, npy_range=npy_range).images, PICTURES)


def test_arrays_larger_than_a_block_are_read_whole_in_both_layouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ear_teacher.data.npy._BLOCK_BYTES", 7 * PICTURES[0].nbytes)
    for order in ("C", "F"):
        np.save(tmp_path / "a.npy", np.asarray(PICTURES, order=order))  # type: ignore[call-overload]  # a parametrised Literal
        array = open_npy(tmp_path / "a.npy", config(tmp_path))
        assert isinstance(array, PictureArray)
        blocks = list(array.blocks())
        assert [len(block) for block in blocks] == [7, 7, 7, 7, 7, 5]
        assert np.array_equal(np.concatenate(blocks), PICTURES)


@pytest.mark.parametrize("shape", [(40, 32, 32), (40, 32, 32, 1)])
def test_one_channel_is_grey(shape: tuple[int, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", PICTURES[:, :, :, 0].reshape(shape))
    data = prepared(tmp_path)
    assert data.index["grey"].all()
    assert np.array_equal(data.images[:, :, :, 2], PICTURES[:, :, :, 0])


def test_single_bad_pictures_of_an_array_are_quarantined(tmp_path: Path) -> None:
    values = PICTURES / 255
    values[3, 0, 0, 0] = np.nan
    values[5] += 7
    np.save(tmp_path / "train.npy", values)
    metrics = prepare(config(tmp_path, npy_range="0..1", max_bad_fraction=0.1), tmp_path / "out")
    assert metrics["quarantined"]["reasons"] == {"values outside 0..1": 1, "values that are not finite": 1}
    listed = pd.read_csv(tmp_path / "out" / "quarantine.csv")
    assert list(listed["file"]) == ["train.npy#000003", "train.npy#000005"]


@pytest.mark.parametrize(("stated", "held"), [("0..255", "0..1"), ("-1..1", "0..1")])
def test_a_range_the_values_contradict_is_refused(stated: str, held: str, tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", (PICTURES / 255).astype(np.float32))
    with pytest.raises(UserError, match="cannot be right"):
        prepared(tmp_path, npy_range=stated)


@given(st.integers(0, 255), st.sampled_from(["0..1", "0..255", "-1..1"]), st.sampled_from(["f4", "f8", ">f4"]))
def test_every_level_survives_every_range(level: int, npy_range: str, dtype: str) -> None:
    low, high = {"0..1": (0, 1), "0..255": (0, 255), "-1..1": (-1, 1)}[npy_range]
    values = np.full((4, 4, 3), level / 255 * (high - low) + low).astype(dtype)
    assert (to_levels(values, npy_range) == level).all()


@given(st.floats(), st.sampled_from(["0..1", "0..255", "-1..1"]))
def test_any_float_is_a_level_or_a_bad_picture(value: float, npy_range: str) -> None:
    try:
        levels = to_levels(np.full((2, 2), value), npy_range)
    except BadImage:
        return
    assert levels.dtype == np.uint8


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_file_is_refused_in_one_sentence_that_names_it(name: str, tmp_path: Path) -> None:
    content, sentence = REFUSED[name]
    (tmp_path / "train.npy").write_bytes(content)
    with pytest.raises(UserError) as caught:
        prepare(config(tmp_path), tmp_path / "out")
    assert sentence in str(caught.value)
    assert "train" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_uint8_with_another_range_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", PICTURES)
    with pytest.raises(UserError, match=r"holds uint8, which is 0..255"):
        prepared(tmp_path, npy_range="0..1")


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("nesting", ["whole", "path", "box", "key", "array of objects"])
def test_a_hostile_metadata_file_runs_nothing_and_is_refused_by_name(nesting: str, tmp_path: Path) -> None:
    touch = _Touch(tmp_path / "ran")
    content: Any = {
        "whole": touch,
        "path": {"image_paths": ["a", touch], "bboxes": [None, None]},
        "box": {"image_paths": ["a"], "bboxes": [[1, 2, 3, touch]]},
        "key": {"image_paths": ["a"], touch: 1},
        "array of objects": {"image_paths": np.array(["a", touch], dtype=object)},
    }[nesting]
    np.save(tmp_path / "train.npy", np.array(content, dtype=object))
    with pytest.raises(UserError, match=r"train.npy: is refused because it names (posix|nt).system"):
        prepared(tmp_path)
    assert not (tmp_path / "ran").exists()


@settings(max_examples=150)
@given(st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_no_mutation_of_a_file_does_more_than_be_read_or_refused(at: int, value: int, cut: bool) -> None:
    good = bytearray(saved(PICTURES[:2]) if at % 2 else saved(np.array({"image_paths": ["a"]}, dtype=object)))
    at %= min(len(good), 300)
    good[at] = value
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(UserError):
        path = Path(folder, "train.npy")
        path.write_bytes(good[:at] if cut else good)
        open_npy(path, config(path.parent))


def save_metadata(path: Path, paths: Any, boxes: Any = "none given", *, bare: bool = False) -> None:
    content = {"image_paths": paths} if isinstance(boxes, str) else {"image_paths": paths, "bboxes": boxes}
    if bare:
        path.write_bytes(pickle.dumps(content))
    else:
        np.save(path, np.array(content, dtype=object))


@pytest.fixture
def listed(tmp_path: Path) -> tuple[Path, list[str]]:
    write_people(tmp_path / "photos", people=14, each=2)
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    return tmp_path, names


@pytest.mark.parametrize("bare", [False, True])
def test_metadata_gives_pictures_cut_to_their_boxes(listed: tuple[Path, list[str]], bare: bool) -> None:
    root, names = listed
    save_metadata(root / "train.npy", names, [[4, 6, 40, 36]] * len(names), bare=bare)
    data = prepared(root)
    assert list(data.index["file"]) == names
    assert data.index["person"].nunique() == 14
    cut = Image.open(root / names[0]).resize((32, 32), Image.Resampling.LANCZOS, box=(4, 6, 44, 42))
    assert np.array_equal(data.images[0], np.asarray(cut))


def test_boxes_are_clamped_none_is_dropped_and_counted_and_bad_ones_are_quarantined(
    listed: tuple[Path, list[str]],
) -> None:
    root, names = listed
    boxes: list[Any] = [np.array([0.0, 0.0, 48.0, 48.0])] * len(names)
    boxes[0] = [-10, -10, 500, 500]
    boxes[1] = None
    boxes[2] = (float("nan"), 0, 9, 9)
    boxes[3] = [100, 100, 5, 5]
    boxes[4] = [1, 2, 3]
    boxes[5] = ["a", 0, 9, 9]
    boxes[6] = [0, 0, 10, 48]
    boxes[7] = [0, 0, 10**400, 48]
    save_metadata(root / "train.npy", np.array(names), boxes)
    metrics = prepare(config(root, max_bad_fraction=0.5), root / "out")
    assert metrics["dropped"] == {"box is None": 1}
    assert metrics["quarantined"]["reasons"] == {
        "box that is not four numbers": 3,
        "box with a number that is not finite": 1,
        "box with a side under 32 px": 1,
        "box without area inside the picture": 1,
    }
    assert metrics["pictures"] == len(names) - 7
    whole = Image.open(root / names[0]).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.array_equal(PreparedData.load(root / "out").images[0], np.asarray(whole))


def test_boxes_as_a_plain_array_and_no_boxes_at_all_are_read(listed: tuple[Path, list[str]]) -> None:
    root, names = listed
    save_metadata(root / "train.npy", names, np.tile([0, 0, 48, 48], (len(names), 1)))
    with_boxes = prepared(root).images
    for none in ("none given", None):
        save_metadata(root / "train.npy", names, none)
        assert np.array_equal(prepared(root).images, with_boxes)


def test_paths_are_relative_to_root_dir_which_lies_below_data_path(listed: tuple[Path, list[str]]) -> None:
    root, names = listed
    save_metadata(root / "train.npy", [name.removeprefix("photos/") for name in names])
    assert prepared(root, root_dir="photos").index["file"][0] == "001/0.png"
    with pytest.raises(UserError, match=r"data.root_dir = '../elsewhere': lies outside data.path"):
        prepared(root, root_dir="../elsewhere")


@pytest.mark.parametrize("key", ["train_npy", "val_npy"])
@pytest.mark.parametrize("name", ["../x.npy", "/etc/x.npy", "a/../../x.npy", "a\0.npy"])
def test_files_outside_data_path_are_refused_because_dvc_would_not_track_them(
    key: str, name: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "train.npy", PICTURES)
    with pytest.raises(UserError, match=f"data.{key} = .* set data.path to the folder that holds both"):
        prepared(tmp_path, **{key: name})


@pytest.mark.parametrize("name", ["../secret.png", "photos/../../secret.png", "/etc/passwd"])
def test_listed_paths_outside_the_root_are_refused(name: str, listed: tuple[Path, list[str]]) -> None:
    root, names = listed
    save_metadata(root / "train.npy", [*names, name])
    with pytest.raises(UserError, match=r"lies outside data.root_dir"):
        prepared(root)


def test_absolute_paths_outside_need_the_flag_and_dots_never_pass(
    listed: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root, names = listed
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "ear.png"
    Image.fromarray(picture(77)).save(elsewhere)
    save_metadata(root / "train.npy", [*names, str(elsewhere)])
    with pytest.raises(UserError, match=r"set data.allow_outside_root to true"):
        prepared(root)
    assert len(prepared(root, allow_outside_root=True).images) == len(names) + 1
    save_metadata(root / "train.npy", [*names, "../" * 9 + "etc/passwd"])
    with pytest.raises(UserError, match=r"list paths below data.root_dir"):
        prepared(root, allow_outside_root=True)


def test_absolute_paths_inside_the_root_and_links_that_leave_it(listed: tuple[Path, list[str]]) -> None:
    root, names = listed
    (root / "photos" / "link.png").symlink_to("/etc/passwd")
    save_metadata(root / "train.npy", [str(root / name) for name in names] + ["photos/link.png", "photos/none.png", 7])
    metrics = prepare(config(root, max_bad_fraction=0.2), root / "out")
    assert metrics["pictures"] == len(names)
    assert metrics["quarantined"]["reasons"] == {
        "file not found": 1,
        "link that leaves data.root_dir or leads nowhere": 1,
        "path that is not text": 1,
    }


def test_a_validation_file_is_halved_into_val_and_test(tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", PICTURES[:20])
    np.save(tmp_path / "val.npy", PICTURES[20:])
    index = prepared(tmp_path, val_npy="val.npy").index
    assert set(index["split"][index["file"].str.startswith("train.npy")]) == {"train"}
    assert set(index["split"][index["file"].str.startswith("val.npy")]) == {"val", "test"}


def test_people_of_the_validation_file_are_halved_and_held_out_as_a_whole(listed: tuple[Path, list[str]]) -> None:
    root, names = listed
    of = {number: [name for name in names if f"/{number:03d}/" in name] for number in range(1, 15)}
    save_metadata(root / "val.npy", of[1] + of[2] + of[3] + of[4][:1])
    save_metadata(root / "train.npy", of[4][1:] + [name for number in range(5, 15) for name in of[number]])
    metrics = prepare(config(root, val_npy="val.npy"), root / "out")
    index = PreparedData.load(root / "out").index
    people = {split: set(index["person"][index["split"] == split]) for split in ("train", "val", "test")}
    assert people["test"] == {"001", "003"}
    assert people["val"] == {"002", "004"}
    assert "004" not in people["train"]
    assert metrics["moved_with_their_person"] == 1
    assert any("nobody may be in two splits" in warning for warning in metrics["warnings"])


def test_two_files_of_different_kinds_and_files_with_the_same_people_are_refused(
    listed: tuple[Path, list[str]],
) -> None:
    root, names = listed
    save_metadata(root / "train.npy", names)
    np.save(root / "val.npy", PICTURES)
    with pytest.raises(UserError, match="must be of one kind"):
        prepared(root, val_npy="val.npy")
    save_metadata(root / "val.npy", names)
    with pytest.raises(UserError, match=r"leave data.val_npy out"):
        prepared(root, val_npy="val.npy")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        prepared(tmp_path)
    (tmp_path / "train.npy").mkdir()
    with pytest.raises(UserError, match="is not a file"):
        prepared(tmp_path)

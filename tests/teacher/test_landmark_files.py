"""Landmark files: what the formats mean, and one clear sentence where they are wrong."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ear_teacher.config import SyntheticConfig, UserError
from ear_teacher.synthetic import LANDMARK_NAMES
from ear_teacher.synthetic.export import write_dataset
from ear_teacher.teacher.landmark_files import read_landmarks

COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 3, "file_name": "b.jpg"}],
    "annotations": [
        {"image_id": 3, "keypoints": [10, 20.5, 2, 0, 0, 0], "num_keypoints": 1},
        {"image_id": 7, "keypoints": [1, 2, 1, 3, 4, 2]},
        {"image_id": 7, "keypoints": [0, 0, 0, 0, 0, 0]},
        {"image_id": 7, "bbox": [0, 0, 5, 5]},
    ],
    "categories": [{"id": 1, "name": "ear", "keypoints": ["tragus", "lobe"]}],
}


def coco(folder: Path, **change: object) -> Path:
    path = folder / "ears.json"
    path.write_text(json.dumps(COCO | change))
    return path


def pts(folder: Path, name: str, text: str) -> Path:
    (folder / f"{name}.pts").write_text(text)
    Image.new("RGB", (4, 4)).save(folder / f"{name}.png")
    return folder


def test_coco_tells_visible_covered_and_unmarked_points_apart(tmp_path: Path) -> None:
    found = read_landmarks(coco(tmp_path))
    assert found.files == ("b.jpg", "a.jpg")
    assert found.names == ("tragus", "lobe")
    np.testing.assert_array_equal(found.points, [[[10, 20.5], [np.nan, np.nan]], [[1, 2], [3, 4]]])
    assert found.visible.tolist() == [[True, False], [False, True]]


def test_pts_counts_pixels_from_one_and_finds_the_picture_of_its_name(tmp_path: Path) -> None:
    pts(tmp_path, "two", "version: 1\nn_points: 2\n{\n1 1\n128.5 64\n}\n")
    pts(tmp_path, "one", "version: 1\r\nn_points:  2\r\n{\r\n2.0 3.0\r\n4 5\r\n}")
    found = read_landmarks(tmp_path)
    assert found.files == ("one.png", "two.png")
    assert found.names == ("p00", "p01")
    np.testing.assert_array_equal(found.points, [[[1, 2], [3, 4]], [[0, 0], [127.5, 63]]])
    assert found.visible.all()
    assert read_landmarks(tmp_path / "two.pts").files == ("two.png",)


def test_pictures_of_pts_files_may_lie_elsewhere(tmp_path: Path) -> None:
    pts(tmp_path, "ear", "version: 1\nn_points: 1\n{\n1 1\n}")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "ear.png").rename(tmp_path / "pictures" / "ear.PNG")
    assert read_landmarks(tmp_path, tmp_path / "pictures").files == ("ear.PNG",)
    with pytest.raises(UserError, match="no picture of its name lies there"):
        read_landmarks(tmp_path)


@pytest.fixture(scope="module")
def ears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered") / "ears"
    write_dataset(SyntheticConfig(people=1, images_per_person=2), 64, folder, workers=1)
    return folder


def test_our_own_tables_are_read_as_they_were_written(ears: Path) -> None:
    few, many = read_landmarks(ears / "landmarks.csv"), read_landmarks(ears / "landmarks55.csv")
    assert few.names == LANDMARK_NAMES
    assert many.names == tuple(f"p{i:02d}" for i in range(55))
    assert few.files == many.files == ("p0000_00000.png", "p0000_00001.png")
    with (ears / "landmarks.csv").open() as file:
        for row, points, visible in zip(csv.DictReader(file), few.points, few.visible, strict=True):
            assert [float(row["tragus_x"]), float(row["tragus_y"])] == points[few.names.index("tragus")].tolist()
            assert bool(int(row["tragus_visible"])) == visible[few.names.index("tragus")]
    np.testing.assert_array_equal(many.points[:, 0], few.points[:, few.names.index("helix_anterior")])


def test_a_point_without_a_place_is_not_visible(tmp_path: Path) -> None:
    path = tmp_path / "ears.csv"
    path.write_text("row,a_x,a_y,a_visible,b_x,b_y,b_visible\n0,1.5,2,0,,,0\n1,3,4,1,5,6,1\n")
    found = read_landmarks(path)
    assert found.files == ("0", "1")
    np.testing.assert_array_equal(found.points[0], [[1.5, 2], [np.nan, np.nan]])
    assert found.visible.tolist() == [[False, False], [True, True]]


@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1, max_size=4))
def test_the_three_formats_agree_on_where_a_point_is(tmp_path_factory, places: list[tuple[float, float]]) -> None:
    folder = tmp_path_factory.mktemp("formats")
    names = [f"n{i}" for i in range(len(places))]
    flat = [number for x, y in places for number in (x, y, 2)]
    coco(folder, annotations=[{"image_id": 7, "keypoints": flat}], categories=[{"keypoints": names}])
    header = ",".join(f"{name}_{part}" for name in names for part in ("x", "y", "visible"))
    (folder / "ears.csv").write_text(f"file,{header}\na.jpg,{','.join(f'{x!r},{y!r},1' for x, y in places)}\n")
    lines = "\n".join(f"{x + 1!r} {y + 1!r}" for x, y in places)
    pts(folder, "a", f"version: 1\nn_points: {len(places)}\n{{\n{lines}\n}}\n")
    found = [read_landmarks(folder / "ears.json"), read_landmarks(folder / "ears.csv"), read_landmarks(folder)]
    for each in found:
        np.testing.assert_allclose(each.points, [places], atol=1e-9)
        assert each.visible.all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"annotations": [{"image_id": 7, "keypoints": [1, 2, 2]}]}, "a.jpg has 3 keypoint numbers, 2 points need 6"),
        (
            {"annotations": [{"image_id": 7, "keypoints": [1, 2, 2, float("nan"), 4, 2]}]},
            "a.jpg has a point that is not",
        ),
        ({"annotations": [{"image_id": 7, "keypoints": [1, 2, 2, 3, 4, 5]}]}, "a.jpg has a visibility other than 0, 1"),
        ({"annotations": COCO["annotations"][:2] * 2}, "b.jpg stands there more than once"),
        ({"annotations": []}, "no picture has a marked point"),
        ({"annotations": [{"image_id": 9, "keypoints": [1, 2, 2, 3, 4, 2]}]}, "no COCO keypoints file"),
        ({"annotations": [{"image_id": 7, "keypoints": {"x": 1}}]}, "no COCO keypoints file"),
        ({"images": 5}, "no COCO keypoints file"),
        ({"categories": []}, "one category that names its keypoints"),
        ({"categories": [{"keypoints": ["a", "a"]}]}, "different texts"),
    ],
)
def test_a_wrong_coco_file_is_told_in_one_sentence(tmp_path: Path, change: dict, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        read_landmarks(coco(tmp_path, **change))
    assert str(error.value).startswith(str(tmp_path / "ears.json"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "first column is not file"),
        ("name,a_x,a_y,a_visible\n", "first column is not file"),
        ("file,a_x,a_y,a_visible\n", "no line below the header"),
        ("file\near.png\n", "no points"),
        ("file,a_x,a_y,colour\n", "unknown column 'a_x'"),
        ("file,colour\n", "unknown column 'colour'"),
        ("file,a_x,a_y,a_visible,a_x,a_y,a_visible\n", "stands in it twice"),
        ("file,a_x,a_y,a_visible\ne.png,1,2\n", "line 2 has 3 cells, the header 4"),
        ("file,a_x,a_y,a_visible\ne.png,1,two,1\n", r"line 2 \(e.png\) holds text"),
        ("file,a_x,a_y,a_visible\ne.png,,,1\n", "e.png lacks a point it calls visible"),
        ("file,a_x,a_y,a_visible\ne.png,1,,0\n", "e.png has a point with x or y alone"),
        ("file,a_x,a_y,a_visible\ne.png,nan,2,1\n", "e.png has a point that is not finite"),
        ("file,a_x,a_y,a_visible\ne.png,1,2,0.5\n", "e.png has a visibility other than 0 or 1"),
        ("file,a_x,a_y,a_visible\ne.png,1,2,1\ne.png,1,2,1\n", "e.png stands there more than once"),
        ('file,a_x,a_y,a_visible\n"e.png,1,2,1\n', "not valid CSV"),
    ],
)
def test_a_wrong_table_is_told_in_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "ears.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=says) as error:
        read_landmarks(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 2\n3 4\n", "is no .pts file"),
        ("version: 1\nn_points: 3\n{\n1 2\n3 4\n}", "promises 3 points and has 2"),
        ("version: 1\nn_points: 0\n{\n}", "promises 0 points and has 0"),
        ("version: 1\nn_points: 1\n{\n1 2 3\n}", "not two numbers"),
        ("version: 1\nn_points: 1\n{\nnan 2\n}", "not finite"),
        ("version: 1\nn_points: 1\n{\n1 2\n}", "has 1 points and a.pts has 2"),
    ],
)
def test_a_wrong_pts_file_is_told_in_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    if "a.pts" in says:
        pts(tmp_path, "a", "version: 1\nn_points: 2\n{\n1 2\n3 4\n}")
    with pytest.raises(UserError, match=says):
        read_landmarks(pts(tmp_path, "ear", text))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("ears.json", b"{", "not valid JSON"),
        ("ears.json", b"[" * 100_000, "not valid JSON"),
        ("ears.json", b"[]", "no COCO keypoints file"),
        ("ears.csv", b"\xff\xfe\x00", "not UTF-8"),
        ("ears.xml", b"", "is no landmark file"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=says):
        read_landmarks(tmp_path / name)


def test_missing_files_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no \.pts file"):
        read_landmarks(tmp_path)
    for name in ("missing.json", "missing.csv", "missing.pts"):
        with pytest.raises(UserError, match=name):
            read_landmarks(tmp_path / name)

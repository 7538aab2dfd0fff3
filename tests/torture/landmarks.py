"""Landmark files: COCO keypoints, `.pts` and our own tables."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ear_teacher.teacher.landmark_files import read_landmarks
from tests.torture.cases import Accepted, Case, Command, Refused

COCO: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 3, "file_name": "b.jpg"}],
    "annotations": [
        {"image_id": 3, "keypoints": [10, 20.5, 2, 0, 0, 0]},
        {"image_id": 7, "keypoints": [1, 2, 1, 3, 4, 2]},
    ],
    "categories": [{"id": 1, "name": "ear", "keypoints": ["tragus", "lobe"]}],
}
TABLE = "file,tragus_x,tragus_y,tragus_visible,lobe_x,lobe_y,lobe_visible\nb.jpg,10,20.5,1,,,0\na.jpg,1,2,0,3,4,1\n"
PTS = "version: 1\nn_points: 2\n{\n1 1\n128.5 64\n}\n"
NAN, INF = float("nan"), float("inf")

KEYPOINTS: dict[str, Any] = {
    "too few": [1, 2, 2],
    "too many": [1, 2, 2] * 3,
    "NaN": [1, NAN, 2, 3, 4, 2],
    "inf": [INF, 2, 2, 3, 4, 2],
    "a visibility of 3": [1, 2, 3, 3, 4, 2],
    "a visibility of -1": [1, 2, -1, 3, 4, 2],
    "a visibility of NaN": [1, 2, NAN, 3, 4, 2],
    "text": "1,2,2,3,4,2",
    "text in it": ["a", 2, 2, 3, 4, 2],
    "null in it": [None, 2, 2, 3, 4, 2],
    "a dict": {"x": 1},
    "a number": 7,
    "nested": [[1, 2, 2], [3, 4, 2]],
    "ragged": [[1, 2], [3]],
    "10^400": [10**400, 2, 2, 3, 4, 2],
}
PARTS: dict[str, dict[str, Any]] = {
    "no images": {"images": []},
    "images that are a number": {"images": 5},
    "images that are null": {"images": None},
    "images of text": {"images": ["a.jpg"]},
    "an image without id": {"images": [{"file_name": "a.jpg"}]},
    "an image without name": {"images": [{"id": 3}, {"id": 7}]},
    "an image whose id is a list": {"images": [{"id": [3], "file_name": "a.jpg"}]},
    "no annotations": {"annotations": []},
    "annotations that are text": {"annotations": "none"},
    "annotations of null": {"annotations": [None]},
    "an annotation of no image": {"annotations": [{"image_id": 9, "keypoints": [1, 2, 2, 3, 4, 2]}]},
    "an annotation without image": {"annotations": [{"keypoints": [1, 2, 2, 3, 4, 2]}]},
    "an annotation of a dict for image": {"annotations": [{"image_id": {}, "keypoints": [1, 2, 2, 3, 4, 2]}]},
    "only unmarked points": {"annotations": [{"image_id": 3, "keypoints": [0] * 6}]},
    "two ears on a picture": {"annotations": COCO["annotations"] * 2},
    "no categories": {"categories": []},
    "a category without keypoints": {"categories": [{"name": "ear"}]},
    "two kinds of ear": {"categories": [{"keypoints": ["a", "b"]}, {"keypoints": ["c", "d"]}]},
    "keypoints of one name": {"categories": [{"keypoints": ["a", "a"]}]},
    "keypoints named by numbers": {"categories": [{"keypoints": [1, 2]}]},
    "keypoints named by a text": {"categories": [{"keypoints": "ab"}]},
    "keypoints named by a dict": {"categories": [{"keypoints": {"a": 1}}]},
    "keypoints named by lists": {"categories": [{"keypoints": [["a"], ["b"]]}]},
}
TEXTS = {
    "ears.json": [
        "",
        "{",
        "[]",
        "null",
        "3",
        '"text"',
        "{'images': []}",
        "[" * 100_000,
        '{"images":' * 50_000,
        "\ufeff{",
    ],
    "ears.csv": [
        "",
        "\n",
        "file\n",
        "file\na.jpg\n",
        "name,a_x,a_y,a_visible\n",
        "file,a_x,a_y\n",
        "file,a_x,a_y,a_visible\n",
        "file,a_x,a_y,colour\na.jpg,1,2,3\n",
        "file,a_y,a_x,a_visible\na.jpg,1,2,1\n",
        "file,a_x,b_y,a_visible\na.jpg,1,2,1\n",
        "file,a_x,a_y,a_visible,a_x,a_y,a_visible\na.jpg,1,2,1,1,2,1\n",
        "file,a_x,a_y,a_visible\na.jpg,1,2\n",
        "file,a_x,a_y,a_visible\na.jpg,1,2,1,9\n",
        "file,a_x,a_y,a_visible\na.jpg,one,2,1\n",
        "file,a_x,a_y,a_visible\na.jpg,,,1\n",
        "file,a_x,a_y,a_visible\na.jpg,1,,0\n",
        "file,a_x,a_y,a_visible\na.jpg,nan,2,1\n",
        "file,a_x,a_y,a_visible\na.jpg,inf,2,0\n",
        "file,a_x,a_y,a_visible\na.jpg,1,2,0.5\n",
        "file,a_x,a_y,a_visible\na.jpg,1,2,nan\n",
        "file,a_x,a_y,a_visible\na.jpg,1,2,\n",
        "file,a_x,a_y,a_visible\na.jpg,1e999,2,1\n",
        "file,a_x,a_y,a_visible\na.jpg,1,2,1\na.jpg,1,2,1\n",
        'file,a_x,a_y,a_visible\n"a.jpg,1,2,1\n',
        "file;a_x;a_y;a_visible\na.jpg;1;2;1\n",
        "\x00" * 400,
        "file,x_x\n" + "," * 200_000,
        "file,a_x,a_y,a_visible\n" + "x" * 200_000 + ",1,2,1\n",
    ],
    "ears.pts": [
        "",
        "1 2\n3 4\n",
        "version: 1\nn_points: 3\n{\n1 2\n3 4\n}",
        "version: 1\nn_points: 0\n{\n}",
        "version: 1\n{\n1 2\n}",
        "version: 1\nn_points: 1\n{\n1 2 3\n}",
        "version: 1\nn_points: 1\n{\n1\n}",
        "version: 1\nn_points: 1\n{\nnan 2\n}",
        "version: 1\nn_points: 1\n{\n1 inf\n}",
        "version: 1\nn_points: 1\n{\na b\n}",
        "version: 1\nn_points: 1\n{\n1 2\n",
        "version: 1\nn_points: 1\n1 2\n}",
        "version: 1\nn_points: -1\n{\n}",
        "version: x\nn_points: 1\n{\n1 2\n}",
        "version: 1\nn_points: " + "9" * 5000 + "\n{\n1 2\n}",
        "version: 1\nn_points: 1\n{\n{\n1 2\n}\n}",
        "\x00" * 400,
        "version: 1\nn_points: 1\n{\n" + "1 " * 200_000 + "\n}",
        " " * 200_000,
    ],
}
"""Name of the file -> contents that are none."""


def read(folder: Path) -> Command:
    (name,) = [path.name for path in folder.iterdir() if path.name.startswith("ears") and path.suffix != ".png"]
    return lambda: read_landmarks(name) and None


def cases() -> Iterator[Case]:
    for name, keypoints in KEYPOINTS.items():
        change = {"annotations": [COCO["annotations"][0], {"image_id": 7, "keypoints": keypoints}]}
        yield _case(f"keypoints: {name}", "ears.json", json.dumps(COCO | change))
    for name, change in PARTS.items():
        yield _case(name, "ears.json", json.dumps(COCO | change))
    for key in COCO:
        yield _case(f"without {key}", "ears.json", json.dumps({k: v for k, v in COCO.items() if k != key}))
    for file, texts in TEXTS.items():
        for number, text in enumerate(texts):
            yield _case(f"{file} {number}: {text[:25]!r}", file, text)
        for encoding in ("utf-16", "utf-32"):
            yield _case(
                f"{file} in {encoding}",
                file,
                {"ears.json": json.dumps(COCO), "ears.csv": TABLE}.get(file, PTS),
                encoding,
            )
        yield Case(f"{file} is a folder", "landmarks", lambda p, f=file: (p / f).mkdir(), read, Refused((file,)))
        yield Case(
            f"{file} leads to itself", "landmarks", lambda p, f=file: (p / f).symlink_to(f), read, Refused((file,))
        )
    yield _case("a file of another kind", "ears.xml", "<points/>")
    yield _case("a file without a suffix", "ears", PTS)
    yield _case("points without their picture", "ears.pts", PTS, picture=False)
    yield _case("a table of 2 GB of zeros", "ears.csv", "", size=2_000_000_000)
    yield _case("keypoints of 2 GB of zeros", "ears.json", "", size=2_000_000_000)
    yield _case("points of 2 GB of zeros", "ears.pts", "", size=2_000_000_000)
    chance = random.Random(2)
    for number in range(20):
        # No prefix of a JSON object is one.
        whole = json.dumps(COCO)
        yield _case(f"COCO cut, {number}", "ears.json", whole[: chance.randrange(1, len(whole))])
    for number in range(10):
        # Up to the closing brace no prefix is a list of points.
        yield _case(f"points cut, {number}", "ears.pts", PTS[: chance.randrange(1, PTS.index("}"))])
    yield from _welcome()


def _case(
    name: str,
    file: str,
    text: str,
    encoding: str = "utf-8",
    outcome: Accepted | Refused | None = None,
    picture: bool = True,
    size: int = 0,
) -> Case:
    def write(folder: Path) -> None:
        (folder / file).write_bytes(text.encode(encoding))
        if size:
            with (folder / file).open("r+b") as stream:
                stream.truncate(size)
        if picture and file.endswith(".pts"):
            (folder / "ears.png").touch()

    return Case(name, "landmarks", write, read, outcome or Refused((file,)), hostile=bool(size))


def _welcome() -> Iterator[Case]:
    marked = [[[10, 20.5], [NAN, NAN]], [[1, 2], [3, 4]]]
    lines = json.dumps(COCO, indent=4)
    for name, text, encoding in (
        ("COCO", json.dumps(COCO), "utf-8"),
        ("COCO with a byte-order mark", json.dumps(COCO), "utf-8-sig"),
        ("COCO over lines", lines, "utf-8"),
        ("COCO with Windows line ends", lines.replace("\n", "\r\n"), "utf-8"),
        ("COCO with keys of others", json.dumps(COCO | {"info": {}, "licenses": []}), "utf-8"),
    ):
        yield _case(name, "ears.json", text, encoding, Accepted(_right("ears.json", marked)))
    for name, text, encoding in (
        ("a table", TABLE, "utf-8"),
        ("a table with a byte-order mark", TABLE, "utf-8-sig"),
        ("a table with Windows line ends", TABLE.replace("\n", "\r\n"), "utf-8"),
        ("a table with exponents", TABLE.replace("20.5", "2.05e1"), "utf-8"),
        ("a table with quotes", TABLE.replace("b.jpg", '"b.jpg"'), "utf-8"),
    ):
        yield _case(name, "ears.csv", text, encoding, Accepted(_right("ears.csv", marked)))
    for name, text in (
        ("points", PTS),
        ("points with Windows line ends", PTS.replace("\n", "\r\n")),
        ("points without a last line end", PTS.rstrip()),
        ("points with spaces", PTS.replace(" ", "   ")),
    ):
        yield _case(name, "ears.pts", text, outcome=Accepted(_right("ears.pts", [[[0, 0], [127.5, 63]]])))


def _right(file: str, wanted: list[Any]) -> Callable[[Path], None]:
    def right(folder: Path) -> None:
        np.testing.assert_array_equal(read_landmarks(folder / file).points, np.array(wanted))

    return right

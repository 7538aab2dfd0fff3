"""Metadata dicts: image paths and boxes, wrong in every way, and odd ones that are right."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ear_teacher.data import PreparedData
from tests.data.bad_arrays import saved
from tests.data.helpers import picture
from tests.torture.cases import Accepted, Case, Quarantined, Refused
from tests.torture.pictures import EACH, PEOPLE, SIDE, good_pictures, prepare, project

PATHS = [f"{person}/{number}.png" for person in range(1, PEOPLE + 1) for number in range(EACH)]
WHOLE = [0, 0, SIDE, SIDE]
NAN, INF = float("nan"), float("inf")

BOXES: dict[str, Any] = {
    "NaN": [NAN, 0, 9, 9],
    "NaN width": [0, 0, NAN, 9],
    "inf": [0, 0, INF, 9],
    "-inf": [-INF, 0, 9, 9],
    "no width": [0, 0, 0, 9],
    "no height": [0, 0, 9, 0],
    "negative width": [5, 5, -9, 9],
    "negative height": [5, 5, 9, -9],
    "left of the picture": [-40, 0, 30, 30],
    "above the picture": [0, -40, 30, 30],
    "right of it": [99, 0, 9, 9],
    "below it": [0, 99, 9, 9],
    "1e300": [1e300, 0, 9, 9],
    "10^400": [10**400, 0, 9, 9],
    "three numbers": [0, 0, 9],
    "five numbers": [0, 0, 9, 9, 9],
    "nothing": [],
    "text": "0,0,9,9",
    "text in it": ["0", 0, 9, 9],
    "True": [True, 0, 9, 9],
    "None in it": [None, 0, 9, 9],
    "a number": 7,
    "a dict": {"x": 0},
    "nested": [[0, 0, 9, 9]],
    "bytes": b"abcd",
    "complex": [0j, 0, 9, 9],
    "a set": {1, 2, 3, 4},
    "a matrix": np.zeros((2, 2)),
    "text array": np.array(["0"] * 4),
    "smaller than min_side": [0, 0, 3, 3],
}
"""One box that is none, among good ones."""

OUTSIDE = [
    "../evil.png",
    "../../evil.png",
    "1/../../evil.png",
    "./../evil.png",
    "/etc/passwd",
    "/evil.png",
    "..",
    "../photos/../evil.png",
    "1/../../../../../../../../etc/passwd",
    "//etc/passwd",
]
LOST: dict[str, Any] = {
    "that is not there": "1/nobody.png",
    "that is a folder": "1",
    "of no characters": "",
    "with a NUL byte": "1/0.png\0.png",
    "of 5,000 characters": "x" * 5000,
    "with a line break": "1/\n.png",
    "that is a number": 3,
    "that is None": None,
    "that is bytes": b"1/0.png",
    "that is a list": ["1/0.png"],
    "with a Windows separator": "1\\0.png",
    "with a scheme": "file:1/0.png",
    "with half a character": "\udcff.png",
    "with a home": "~/0.png",
}
"""One path that leads to no picture, among good ones."""

STRUCTURES: dict[str, Any] = {
    "a list": PATHS,
    "an empty dict": {},
    "another key": {"paths": PATHS},
    "a key of another case": {"Image_Paths": PATHS},
    "None for paths": {"image_paths": None},
    "text for paths": {"image_paths": "1/0.png"},
    "no paths": {"image_paths": []},
    "a dict for paths": {"image_paths": {"a": 1}},
    "a number for paths": {"image_paths": 3},
    "a set for paths": {"image_paths": {"1/0.png"}},
    "one box too few": {"image_paths": PATHS, "bboxes": [WHOLE] * 19},
    "one box too many": {"image_paths": PATHS, "bboxes": [WHOLE] * 21},
    "no boxes": {"image_paths": PATHS, "bboxes": []},
    "text for boxes": {"image_paths": PATHS, "bboxes": "boxes"},
    "a dict for boxes": {"image_paths": PATHS, "bboxes": {}},
    "a number for boxes": {"image_paths": PATHS, "bboxes": 0},
    "None for every box": {"image_paths": PATHS, "bboxes": [None] * 20},
    "a dict in a list": [{"image_paths": PATHS}],
    "text": "photos",
    "a number": 1.5,
    "None": None,
    "an array of no axes for paths": {"image_paths": np.array("1/0.png")},
}


def cases() -> Iterator[Case]:
    for name, content in STRUCTURES.items():
        yield _case(name, saved(np.array(content, dtype=object)), Refused(("train",)))
    for name, box in BOXES.items():
        content = {"image_paths": PATHS, "bboxes": [*[WHOLE] * 7, box, *[WHOLE] * 12]}
        yield _case(f"one box: {name}", pickle.dumps(content), Quarantined(PATHS[7]))
    for path in OUTSIDE:
        for bare in (True, False):
            content = {"image_paths": [*PATHS, path]}
            file = pickle.dumps(content) if bare else saved(np.array(content, dtype=object))
            kind = "bare" if bare else "in an array"
            yield _case(f"a path of {path}, {kind}", file, Refused(("train.npy", "outside")), hostile=True)
    for name, lost in LOST.items():
        expected = "not text" if not isinstance(lost, str) else ""
        yield _case(f"a path {name}", pickle.dumps({"image_paths": [*PATHS, lost]}), Quarantined(expected))
    for name, target in {
        "a file outside": "../../secret.png",
        "the params": "../params.yaml",
        "nowhere": "gone",
    }.items():

        def link(folder: Path, target: str = target) -> None:
            Image.fromarray(picture(5, SIDE)).save(folder / "secret.png")
            (folder / "photos/link.png").symlink_to(target)

        content = pickle.dumps({"image_paths": [*PATHS, "link.png"]})
        yield _case(f"a path to a link to {name}", content, Quarantined("link.png"), link, hostile=True)
    for share in (0.01, 0.1, 0.3, 0.6, 0.9, 0.99):
        for protocol in (0, 2, 5):
            whole = pickle.dumps({"image_paths": PATHS, "bboxes": [WHOLE] * 20}, protocol)
            start = b"" if protocol else b"\x80\x00"
            cut = start + whole[: max(int(share * len(whole)), 1)]
            yield _case(f"a pickle of protocol {protocol} cut at {share:.0%}", cut, Refused(("train",)))
    yield from _welcome()


def _case(
    name: str,
    content: bytes,
    outcome: Accepted | Quarantined | Refused,
    also: Callable[[Path], None] = lambda folder: None,
    hostile: bool = False,
) -> Case:
    def write(folder: Path) -> None:
        project(folder, source="npy", train_npy="train.npy", min_side=16)
        good_pictures(folder)
        (folder / "photos/train.npy").write_bytes(content)
        also(folder)

    return Case(name, "metadata", write, prepare, outcome, hostile)


def _welcome() -> Iterator[Case]:
    """Odd and right: each picture is the one that was listed, cut to its box."""
    boxes = [[2, 3, 24, 25]] * 20
    contents: dict[str, tuple[dict[str, Any], list[int]]] = {
        "paths alone": ({"image_paths": PATHS}, WHOLE),
        "paths as a tuple": ({"image_paths": tuple(PATHS)}, WHOLE),
        "paths as an array": ({"image_paths": np.array(PATHS)}, WHOLE),
        "paths as an array of objects": ({"image_paths": np.array(PATHS, dtype=object)}, WHOLE),
        "paths that begin with a dot": ({"image_paths": [f"./{path}" for path in PATHS]}, WHOLE),
        "paths with a detour": ({"image_paths": [f"1/../{path}" for path in PATHS]}, WHOLE),
        "None for the boxes": ({"image_paths": PATHS, "bboxes": None}, WHOLE),
        "another key beside them": ({"image_paths": PATHS, "source": "detector"}, WHOLE),
        "boxes as tuples": ({"image_paths": PATHS, "bboxes": [tuple(box) for box in boxes]}, boxes[0]),
        "boxes as a matrix": ({"image_paths": PATHS, "bboxes": np.array(boxes)}, boxes[0]),
        "boxes as arrays": ({"image_paths": PATHS, "bboxes": [np.array(box, "f4") for box in boxes]}, boxes[0]),
        "boxes as big-endian arrays": ({"image_paths": PATHS, "bboxes": [np.array(b, ">i4") for b in boxes]}, boxes[0]),
        "boxes in column order": ({"image_paths": PATHS, "bboxes": np.asfortranarray(boxes)}, boxes[0]),
        "boxes of floats": ({"image_paths": PATHS, "bboxes": [[float(n) for n in box] for box in boxes]}, boxes[0]),
        "boxes beyond the rim": ({"image_paths": PATHS, "bboxes": [[-9, -9, 99, 99]] * 20}, WHOLE),
    }
    for name, (content, box) in contents.items():
        yield _case(name, saved(np.array(content, dtype=object)), Accepted(_right(box)))
        for protocol in (2, 5):
            yield _case(
                f"{name}, a bare pickle of protocol {protocol}", pickle.dumps(content, protocol), Accepted(_right(box))
            )


def _right(box: list[int]) -> Callable[[Path], None]:
    def right(folder: Path) -> None:
        data = PreparedData.load(folder / "data/prepared")
        assert list(data.index["file"]) == PATHS, "other files"
        left, top, width, height = box
        for row, path in enumerate(PATHS):
            image = Image.open(folder / "photos" / path).convert("RGB").crop((left, top, left + width, top + height))
            if image.size == (SIDE, SIDE):
                assert np.array_equal(data.images[row], np.asarray(image)), f"{path} has other pixels"
            # However it is scaled, the mean colour of what the box holds stays.
            off = np.abs(data.images[row].mean((0, 1)) - np.asarray(image).mean((0, 1))).max()
            assert off < 3, f"{path} is cut elsewhere: its colour is off by {off:.1f}"

    return right

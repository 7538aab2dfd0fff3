"""Landmarks from files: COCO keypoints, iBUG `.pts` and our own CSV.

marked = read_landmarks("ears/landmarks.csv")
marked.points[marked.files.index("p0000_00000.png")]      # (K, 2) pixels

Everywhere the centre of the upper left pixel is (0, 0), x to the right, y down. COCO's 0-based pixel numbers and our
CSV are that already. `.pts` files count pixels from 1: Menpo, iBUG's own library, subtracts 1 from every number, and so
do we. Nothing in a `.pts` file says so; points that were counted from 0 come out one pixel off.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ear_teacher.config import UserError
from ear_teacher.files import MOST_TEXT
from ear_teacher.images import SUFFIXES

PTS_START = 1
"""Number of the first pixel in a `.pts` file."""


@dataclass(frozen=True)
class LandmarkSet:
    """The same K points on each of N pictures.

    Attributes:
        files: names of the pictures as the file gives them, each once; row numbers where a table has those instead.
        names: of the points.
        points: (N, K, 2) x and y in pixels of the picture, the centre of its upper left pixel at (0, 0); NaN where the
            file has no place for the point (never where it is visible).
        visible: (N, K) whether the point is marked and nothing covers it.
    """

    files: tuple[str, ...]
    names: tuple[str, ...]
    points: NDArray[np.float64]
    visible: NDArray[np.bool_]


def read_landmarks(path: str | Path, pictures: str | Path | None = None) -> LandmarkSet:
    """Read whatever `path` is.

    Args:
        path: a COCO keypoints `.json`; a `.csv` as `ear-teacher synthesize` or stage `prepare` writes them; a `.pts`
            file, or a folder of them.
        pictures: where the pictures of `.pts` files lie; None: beside them.

    Raises:
        UserError: the file is missing, damaged, or its points do not agree in number or name; the message names it.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() == ".pts":
        return read_pts(path, pictures)
    readers = {".json": read_coco, ".csv": read_csv}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path}: is no landmark file; give a COCO .json, a .csv, a .pts or a folder of .pts files.")
    return readers[path.suffix.lower()](path)


def read_coco(path: str | Path) -> LandmarkSet:
    """COCO keypoints: `images`, `annotations` with `keypoints` [x, y, v, ...], `categories` with their names.

    v = 2 is visible, v = 1 marked but covered, v = 0 not marked. Annotations without a marked point are left out. A
    picture may have one ear: cut pictures of two ears apart.

    Raises:
        UserError: as `read_landmarks`.
    """
    path = Path(path)
    try:
        content = json.loads(_text(path))
    except (ValueError, RecursionError):
        raise UserError(f"{path}: is not valid JSON; export the keypoints again.") from None
    try:
        names = _coco_names(path, content)
        files = {image["id"]: image["file_name"] for image in content["images"]}
        rows: list[tuple[str, NDArray[np.float64]]] = []
        for annotation in content["annotations"]:
            if not annotation.get("keypoints"):
                continue
            file = files[annotation["image_id"]]
            values = np.asarray(annotation["keypoints"], dtype=np.float64)
            if values.shape != (3 * len(names),):
                raise UserError(
                    f"{path}: {file} has {values.size} keypoint numbers, {len(names)} points need {3 * len(names)}; "
                    "mark the same points on every picture (v = 0 where one cannot be seen)."
                )
            if values[2::3].any():
                rows.append((str(file), values.reshape(-1, 3)))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise UserError(
            f"{path}: is no COCO keypoints file; it needs images (id, file_name), annotations (image_id, keypoints) "
            "and categories (keypoints)."
        ) from None
    if not rows:
        raise UserError(f"{path}: no picture has a marked point; mark some.")
    table = np.stack([values for _, values in rows])
    bad = ~np.isin(table[..., 2], (0, 1, 2))
    if bad.any():
        raise UserError(f"{path}: {rows[_first(bad)][0]} has a visibility other than 0, 1 or 2; correct it.")
    points = np.where(table[..., 2:] > 0, table[..., :2], np.nan)
    return _checked(path, [file for file, _ in rows], names, points, table[..., 2] == 2, table[..., 2] > 0)


def read_pts(path: str | Path, pictures: str | Path | None = None) -> LandmarkSet:
    """A `.pts` file, or all of a folder in order of name; its picture has the same name and another suffix.

    All points count as visible; they are named p00, p01, ... as in our 55-point tables. Pixels are counted from 1.

    Raises:
        UserError: as `read_landmarks`; also where a file's picture is missing or not the only one of its name.
    """
    path = Path(path)
    if path.is_dir():
        paths = sorted(p for p in path.iterdir() if p.suffix.lower() == ".pts")
        if not paths:
            raise UserError(f"{path}: holds no .pts file; give the folder that does.")
    else:
        paths = [path]
    folder = Path(pictures) if pictures is not None else paths[0].parent
    if not folder.is_dir():
        raise UserError(f"{folder}: is no folder; give the one with the pictures of the .pts files.")
    found: dict[str, list[str]] = {}
    for file in folder.iterdir():
        if file.suffix.lower() in SUFFIXES:
            found.setdefault(file.stem, []).append(file.name)
    files: list[str] = []
    rows: list[NDArray[np.float64]] = []
    for each in paths:
        points = _pts_points(each)
        if rows and len(points) != len(rows[0]):
            raise UserError(
                f"{each}: has {len(points)} points and {paths[0].name} has {len(rows[0])}; mark the same points on "
                "every picture."
            )
        own = sorted(found.get(each.stem, []))
        if len(own) != 1:
            what = f"{', '.join(own)} have its name" if own else "no picture of its name lies there"
            raise UserError(f"{each}: needs one picture in {folder}, but {what}.")
        files.append(own[0])
        rows.append(points)
    width = max(2, len(str(len(rows[0]) - 1)))
    names = [f"p{i:0{width}d}" for i in range(len(rows[0]))]
    table = np.stack(rows)
    return _checked(path, files, names, table - PTS_START, np.ones(table.shape[:2], dtype=bool), None)


def read_csv(path: str | Path) -> LandmarkSet:
    """Our tables: `file` (or `row`), then name_x, name_y, name_visible of each point, or x_0, y_0, visible_0.

    A point that cannot be placed has empty x and y, and visible 0.

    Raises:
        UserError: as `read_landmarks`.
    """
    path = Path(path)
    try:
        lines = [line for line in csv.reader(_text(path).splitlines(), strict=True) if line]
    except csv.Error as error:
        raise UserError(f"{path}: is not valid CSV ({error}); write it again.") from None
    if not lines or lines[0][0] not in ("file", "row"):
        raise UserError(f"{path}: its first column is not file; the header is file, name_x, name_y, name_visible, ....")
    names = _csv_names(path, lines[0][1:])
    files, rows = [], []
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(lines[0]):
            raise UserError(f"{path}: line {number} has {len(line)} cells, the header {len(lines[0])}; correct it.")
        try:
            # A cell without a number is told from one that says nan: only the first may stand for "no place".
            rows.append([float(cell) if cell.strip() else None for cell in line[1:]])
        except ValueError:
            raise UserError(
                f"{path}: line {number} ({line[0]}) holds text where a number belongs; correct it."
            ) from None
        files.append(line[0])
    if not rows:
        raise UserError(f"{path}: has no line below the header; mark some pictures.")
    given = np.array([[cell is not None for cell in row] for row in rows]).reshape(len(rows), -1, 3)
    table = np.array(rows, dtype=np.float64).reshape(len(rows), -1, 3)
    bad = ~np.isin(table[..., 2], (0, 1))
    if bad.any():
        raise UserError(f"{path}: {files[_first(bad)]} has a visibility other than 0 or 1; correct it.")
    placed = given[..., 0] & given[..., 1]
    half = given[..., 0] != given[..., 1]
    if half.any():
        raise UserError(f"{path}: {files[_first(half)]} has a point with x or y alone; give both or neither.")
    return _checked(path, files, names, table[..., :2], table[..., 2] == 1, placed)


def _checked(
    path: Path,
    files: list[str],
    names: Sequence[str],
    points: NDArray[np.float64],
    visible: NDArray[np.bool_],
    placed: NDArray[np.bool_] | None,
) -> LandmarkSet:
    """The set, after what all formats have in common; `placed`: where the file gives a place (None: everywhere)."""
    twice = [file for file, count in Counter(files).items() if count > 1]
    if twice:
        raise UserError(f"{path}: {twice[0]} stands there more than once; keep one entry (one ear) of each picture.")
    known = np.ones_like(visible) if placed is None else placed
    lost = visible & ~known
    if lost.any():
        raise UserError(
            f"{path}: {files[_first(lost)]} lacks a point it calls visible; mark it, or say it is not visible."
        )
    bad = known & ~np.isfinite(points).all(2)
    if bad.any():
        raise UserError(f"{path}: {files[_first(bad)]} has a point that is not finite; correct it.")
    return LandmarkSet(tuple(files), tuple(names), points, visible)


def _first(wrong: NDArray[np.bool_]) -> int:
    """Row of the first wrong point."""
    return int(np.flatnonzero(wrong.any(1))[0])


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_TEXT:
            raise UserError(f"{path}: is larger than {MOST_TEXT:,} bytes; divide it.")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"{path}: cannot be read ({reason}); give a landmark file.") from None


def _coco_names(path: Path, content: Any) -> list[str]:
    lists = [category["keypoints"] for category in content["categories"] if category.get("keypoints")]
    if not lists or any(names != lists[0] for names in lists):
        raise UserError(
            f"{path}: needs one category that names its keypoints, not {len(lists)}; export one kind of ear."
        )
    names = lists[0]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise UserError(f"{path}: the keypoints' names must be different texts; correct the category.")
    return names


def _csv_names(path: Path, columns: list[str]) -> list[str]:
    """Names of the points of a header without its first column."""
    names = []
    for start in range(0, len(columns), 3):
        named = re.fullmatch(r"(.+)_x|x_(\d+)", columns[start])
        name = (named[1] or named[2]) if named else ""
        forms = (
            [f"{name}_{part}" for part in ("x", "y", "visible")],
            [f"{part}_{name}" for part in ("x", "y", "visible")],
        )
        if columns[start : start + 3] not in forms:
            raise UserError(
                f"{path}: unknown column {columns[start]!r}; after file come name_x, name_y, name_visible of each "
                "point."
            )
        names.append(name if columns[start].endswith("_x") else f"p{int(name):02d}")
    if not names or len(set(names)) != len(names):
        raise UserError(f"{path}: {'a point stands in it twice' if names else 'it has no points'}; correct the header.")
    return names


def _pts_points(path: Path) -> NDArray[np.float64]:
    """(K, 2) numbers as they stand in the file."""
    found = re.fullmatch(r"\s*version:\s*\d+\s+n_points:\s*(\d{1,9})\s*\{([^{}]*)\}\s*", _text(path))
    if found is None:
        raise UserError(f"{path}: is no .pts file; it begins with version: 1 and n_points, then the points in braces.")
    try:
        rows = [[float(cell) for cell in line.split()] for line in found[2].splitlines() if line.strip()]
        points = np.array(rows, dtype=np.float64).reshape(len(rows), 2)
    except ValueError:
        raise UserError(f"{path}: holds a line that is not two numbers; correct it.") from None
    if len(points) != int(found[1]) or not len(points):
        raise UserError(f"{path}: promises {found[1]} points and has {len(points)}; mark the missing ones.")
    return points

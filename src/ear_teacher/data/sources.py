"""The three sources as one stream: pictures in a fixed order, each prepared or with the reason why not."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from ear_teacher.config import DataConfig, UserError
from ear_teacher.data.audit import measure
from ear_teacher.data.decode import Decoder, Square, decode
from ear_teacher.data.npy import Metadata, PictureArray, open_npy, to_levels
from ear_teacher.images import SUFFIXES, BadImage
from ear_teacher.squares import Box, square_from_array

if TYPE_CHECKING:
    from ear_teacher.synthetic import Sample

LINKED_FOLDER = "link to a folder, which is not followed"


@dataclass(frozen=True)
class Entry:
    """One picture as the source lists it, before it is read.

    Attributes:
        file: its name for people: the path below data.path, or array and number.
        person: id, `""` = not known.
        origin: `train` or `held_out` where the user gave two files, else `""`.
        path: where it is read from (files only).
        box: part of it that counts (left, top, width, height), or None.
        reason: why it cannot be used, known before reading.
    """

    file: str
    person: str = ""
    origin: str = ""
    path: Path | None = None
    box: Box | None = None
    reason: str = ""


@dataclass(frozen=True)
class Picture:
    """One picture after reading; `sample` holds what the renderer knows about it."""

    entry: Entry
    square: Square
    sample: Sample | None = None


@dataclass
class Source:
    """A stream of pictures and what was left aside on the way to it."""

    total: int
    pictures: Iterator[Picture]
    ignored_files: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def open_source(config: DataConfig, workers: int | None = None) -> Source:
    """Start reading the configured source.

    Args:
        config: the `data` section of the params.
        workers: processes that decode; 1 = this one, None = as pays.

    Raises:
        UserError: the source is missing or refused as a whole.
    """
    if config.source == "synthetic":
        return _rendered(config, workers)
    root = Path(config.path)
    if not root.is_dir():
        hint = (
            "" if root.is_absolute() else " (queued experiments find folders outside the repository by full path only)"
        )
        raise UserError(f"data.path = {config.path}: is not a folder; give the folder your pictures are in{hint}.")
    return _folder(root, config, workers) if config.source == "folder" else _npy(root, config, workers)


def _rendered(config: DataConfig, workers: int | None) -> Source:
    from ear_teacher.synthetic import synthesize  # compiles kernels on import; other sources do without

    def pictures() -> Iterator[Picture]:
        for sample in synthesize(config.synthetic, config.image_size, workers=workers or 0):
            person, number = sample.record["person"], sample.record["index"]
            entry = Entry(f"p{person:04d}_{number:05d}", str(person))
            yield Picture(entry, Square(sample.image, measure(sample.image)), sample)

    return Source(config.synthetic.people * config.synthetic.images_per_person, pictures())


def _decoded(entries: list[Entry], config: DataConfig, workers: int | None) -> Iterator[Picture]:
    decoder = Decoder(config.image_size, config.crop, config.min_side, config.max_pixels)
    tasks = [(entry.path, entry.box) for entry in entries if entry.path is not None and not entry.reason]
    squares = decode(decoder, tasks, workers)
    for entry in entries:
        yield Picture(entry, Square(None, None, entry.reason) if entry.reason else next(squares))


def printable(name: str) -> str:
    """A file name as text that can be written: bytes that are not UTF-8 become backslash escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _folder(root: Path, config: DataConfig, workers: int | None) -> Source:
    entries: list[Entry] = []
    ignored = 0

    def unreadable(error: OSError) -> None:
        name = os.path.relpath(error.filename, root) if error.filename else "."
        entries.append(Entry(PurePosixPath(name).as_posix(), reason="no permission to read the folder"))

    for folder, folders, files in os.walk(root, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(folder).relative_to(root)
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                entries.append(Entry((below / name).as_posix(), reason=LINKED_FOLDER))
        for name in files:
            if name.startswith(".") or os.path.splitext(name)[1].lower() not in SUFFIXES:
                ignored += 1
                continue
            path = Path(folder, name)
            outside = path.is_symlink() and not _is_inside(path, root)
            reason = "link that leaves data.path or leads nowhere" if outside else ""
            entries.append(Entry((below / name).as_posix(), path=path, reason=reason))
    entries.sort(key=lambda entry: entry.file)
    if not any(entry.path for entry in entries):
        links = sum(entry.reason == LINKED_FOLDER for entry in entries)
        hint = f" ({links} links to folders are not followed: name the folder itself)" if links else ""
        raise UserError(f"data.path = {config.path}: holds no pictures{hint}; put .jpg or .png files there.")
    return Source(len(entries), _decoded(_with_persons(entries, config), config, workers), ignored)


def _is_inside(path: Path, root: Path) -> bool:
    """Whether a file, links followed, lies below a folder."""
    try:
        return path.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):
        return False


def _with_persons(entries: list[Entry], config: DataConfig) -> list[Entry]:
    """The entries with the ids of their persons: from the regex, else the first sub-folder that tells them apart."""
    files = [PurePosixPath(entry.file) for entry in entries]
    if config.person_regex is not None:
        pattern = re.compile(config.person_regex)
        found = [pattern.search(file.as_posix()) for file in files]
        if not any(found):
            raise UserError(
                f"data.person_regex = {config.person_regex!r} finds no person in any of {len(files)} names, "
                f"such as {printable(entries[0].file)}; correct it."
            )
        persons = [(match.group(1) or "") if match else "" for match in found]
    else:
        inside = _shared_folders([f for f, e in zip(files, entries, strict=True) if e.path and not f.is_absolute()])
        outside = _shared_folders([file for file in files if file.is_absolute()])
        folders = [file.parts[outside if file.is_absolute() else inside : -1] for file in files]
        persons = [parts[0] if parts else "" for parts in folders]
    return [
        replace(entry, file=printable(entry.file), person=printable(person))
        for entry, person in zip(entries, persons, strict=True)
    ]


def _shared_folders(files: list[PurePosixPath]) -> int:
    """How many leading folders all files have in common; those tell nobody apart."""
    levels = zip(*(file.parts[:-1] for file in files), strict=False)
    return len(list(itertools.takewhile(lambda level: len(set(level)) == 1, levels)))


def _npy(root: Path, config: DataConfig, workers: int | None) -> Source:
    names = [(config.train_npy, "train" if config.val_npy else "", "train_npy")]
    if config.val_npy:
        names.append((config.val_npy, "held_out", "val_npy"))
    opened = []
    for name, origin, key in names:
        path = _below(root, str(name), f"data.{key}")
        opened.append((path, origin, open_npy(path, config)))
    if len({type(content) for _, _, content in opened}) > 1:
        raise UserError("data.train_npy and data.val_npy must be of one kind: two arrays, or two dicts of image paths.")
    total = 0
    entries: list[Entry] = []
    arrays: list[tuple[str, str, PictureArray]] = []
    dropped: Counter[str] = Counter()
    for path, origin, content in opened:
        if isinstance(content, PictureArray):
            arrays.append((path.relative_to(root.absolute()).as_posix(), origin, content))
            total += len(content)
        else:
            entries += _listed(path, content, origin, root, config, dropped)
    if arrays:
        return Source(total, (picture for array in arrays for picture in _from_array(*array, config)))
    if not entries:
        raise UserError(f"data.train_npy = {config.train_npy}: every box is None, so no picture is left.")
    entries = _with_persons(entries, config)
    return Source(len(entries), _decoded(entries, config, workers), dropped=dropped)


def _below(root: Path, name: str, key: str) -> Path:
    """A path given relative to data.path, made absolute; DVC tracks data.path, so nothing may lie elsewhere."""
    base = root.absolute()
    path = Path(os.path.normpath(base / name))
    if "\0" in name or not path.is_relative_to(os.path.normpath(base)):
        raise UserError(f"{key} = {name!r}: lies outside data.path; set data.path to the folder that holds both.")
    return path


def _listed(
    path: Path, content: Metadata, origin: str, root: Path, config: DataConfig, dropped: Counter[str]
) -> Iterator[Entry]:
    """The entries of a metadata file."""
    folder = _below(root, config.root_dir, "data.root_dir") if config.root_dir else root.absolute()
    boxes = content.boxes if content.boxes is not None else [()] * len(content.paths)
    for name, box in zip(content.paths, boxes, strict=True):
        if box is None:
            dropped["box is None"] += 1
            continue
        if not isinstance(name, str):
            yield Entry(f"an image path of {path.name} that is not text", origin=origin, reason="path that is not text")
            continue
        entry = _located(str(name), path, folder, config)
        if content.boxes is None:
            yield replace(entry, origin=origin)
            continue
        numbers = _as_box(box)
        reason = entry.reason or ("" if numbers else "box that is not four numbers")
        yield replace(entry, origin=origin, box=numbers, reason=reason)


def _located(name: str, listing: Path, folder: Path, config: DataConfig) -> Entry:
    """Where a listed picture is, if it may be read at all."""
    path = Path(os.path.normpath(folder / name.replace("\0", "\N{REPLACEMENT CHARACTER}")))
    if path.is_relative_to(folder):
        try:
            outside = path.is_symlink() and not config.allow_outside_root and not _is_inside(path, folder)
        except OSError as error:  # a name longer than any file's
            return Entry(name[:120], reason=(error.strerror or "not a path").lower())
        reason = "link that leaves data.root_dir or leads nowhere" if outside else ""
        return Entry(path.relative_to(folder).as_posix(), path=path, reason=reason)
    if os.path.isabs(name) and config.allow_outside_root:
        return Entry(path.as_posix(), path=path)
    way_out = "set data.allow_outside_root to true" if os.path.isabs(name) else "list paths below data.root_dir"
    raise UserError(f"{listing}: lists {name[:120]!r}, which lies outside data.root_dir; {way_out}.")


def _as_box(value: Any) -> Box | None:
    if not isinstance(value, list | tuple) and not (isinstance(value, np.ndarray) and value.ndim == 1):
        return None
    numbers = list(value)
    if len(numbers) != 4:
        return None
    if not all(isinstance(number, int | float | np.number) and not isinstance(number, bool) for number in numbers):
        return None
    try:
        left, top, width, height = (float(number) for number in numbers)
    except (OverflowError, TypeError):  # an integer beyond all floats, a complex number
        return None
    return left, top, width, height


def _from_array(name: str, origin: str, array: PictureArray, config: DataConfig) -> Iterator[Picture]:
    number, lowest, highest = 0, np.inf, -np.inf
    for block in array.blocks():
        for picture in block:
            entry = Entry(f"{name}#{number:06d}", origin=origin)
            number += 1
            try:
                levels = to_levels(picture, config.npy_range)
                pixels = square_from_array(levels, config.image_size, crop=config.crop)
            except BadImage as bad:
                yield Picture(entry, Square(None, None, bad.reason))
                continue
            lowest, highest = min(lowest, float(picture.min())), max(highest, float(picture.max()))
            yield Picture(entry, Square(pixels, measure(pixels)))
    scale = config.npy_range
    too_dark = scale == "0..255" and array.dtype.kind == "f" and lowest <= highest <= 1
    too_bright = scale == "-1..1" and 0 <= lowest <= highest
    if too_dark or too_bright:
        raise UserError(
            f"{array.path}: has values from {lowest:g} to {highest:g} only, so data.npy_range = {scale} "
            "cannot be right; set it to the range the values are in."
        )

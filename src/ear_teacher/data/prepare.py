"""Stage prepare: read, check, split and write the pictures.

prepare(config.data, Path("data/prepared")) makes the folder, whole or not at all:
    images.npy        (N, S, S, 3) uint8, can be memory-mapped; images-00000.npy, ... where `shard_images` is above 0
    index.csv         a line per picture; see `arrays.PreparedData`
    quarantine.csv    file, reason: what was left out
    landmarks.csv, landmarks55.csv, regions.npy    rendered pictures only
    normalization.json    only with `normalization: per_group`
"""

from __future__ import annotations

import contextlib
import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ear_teacher.config import DataConfig, UserError
from ear_teacher.data.arrays import ArrayWriter
from ear_teacher.data.audit import Measures, duplicate_groups
from ear_teacher.data.normalization import GreyNormalization, normalise_images
from ear_teacher.data.shards import ShardWriter, open_images
from ear_teacher.data.sources import Entry, Picture, Source, open_source
from ear_teacher.data.split import SPLITS, assign
from ear_teacher.files import whole_folder

if TYPE_CHECKING:
    from ear_teacher.synthetic import Sample

Metrics = dict[str, Any]
Wrap = Callable[[Iterable[Picture], int], Iterable[Picture]]
"""Passes pictures on and may show progress: pictures, their number -> the same pictures."""


@dataclass
class _Kept:
    """What is remembered of the pictures that went through; the pixels are on disk."""

    entries: list[Entry] = field(default_factory=list)
    measures: list[Measures] = field(default_factory=list)
    extras: list[dict[str, Any]] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)


def prepare(config: DataConfig, out_dir: Path, *, workers: int | None = None, wrap: Wrap | None = None) -> Metrics:
    """Write the prepared pictures and say what they are like.

    Args:
        config: the `data` section of the params.
        out_dir: folder to write; an older one is replaced at the very end.
        workers: processes that decode or render; 1 = this one, None = as pays.
        wrap: for a progress bar.

    Returns:
        Counts for metrics/data.json: pictures, people and greyscale per split, duplicates, what was left out and why,
        sharpness, mean and deviation of the training pixels, `warnings` as sentences. The same for the same pictures.

    Raises:
        UserError: the source is missing or refused, too much of it is bad, or a split is empty.
    """
    source = open_source(config, workers)
    with whole_folder(out_dir) as folder:
        with contextlib.ExitStack() as files:
            kept = _write_pictures(source, config.image_size, config.shard_images, folder, files, wrap)
        _check_enough(kept, config)
        index, moved = _index(kept, config)
        index.to_csv(folder / "index.csv", index=False, lineterminator="\n")
        quarantine = pd.DataFrame(kept.bad, columns=["file", "reason"])
        quarantine.to_csv(folder / "quarantine.csv", index=False, lineterminator="\n")
        metrics = _metrics(index, kept, source, config, moved)
        if config.normalization == "per_group":
            _normalise(folder, index, kept, metrics)
        return metrics


def _write_pictures(
    source: Source, size: int, shard: int, folder: Path, files: contextlib.ExitStack, wrap: Wrap | None
) -> _Kept:
    kept = _Kept()
    writer = files.enter_context(ShardWriter(folder, (size, size, 3), shard))
    truth: _Truth | None = None
    for picture in wrap(source.pictures, source.total) if wrap else source.pictures:
        pixels, measures, reason = picture.square
        if pixels is None or measures is None:
            kept.bad.append((picture.entry.file, reason))
            continue
        writer.append(pixels)
        kept.entries.append(picture.entry)
        kept.measures.append(measures)
        if picture.sample is not None:
            truth = truth or files.enter_context(_Truth.open(folder, size))
            truth.append(len(kept.entries) - 1, picture.sample)
            ours = ("index", "person", "grey")
            kept.extras.append({key: value for key, value in picture.sample.record.items() if key not in ours})
    return kept


class _Truth:
    """What the renderer knows: landmarks and regions of each picture."""

    def __init__(self, regions: ArrayWriter, tables: list[Any]) -> None:
        self.regions, self.tables = regions, tables

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path, size: int) -> Iterator[_Truth]:
        from ear_teacher.synthetic import LANDMARK_NAMES

        with (
            ArrayWriter(folder / "regions.npy", (size, size)) as regions,
            (folder / "landmarks.csv").open("w", newline="") as few,
            (folder / "landmarks55.csv").open("w", newline="") as many,
        ):
            tables = [csv.writer(few, lineterminator="\n"), csv.writer(many, lineterminator="\n")]
            for table, names in zip(tables, (LANDMARK_NAMES, [f"p{i:02d}" for i in range(55)]), strict=True):
                table.writerow(["row", *(f"{name}_{part}" for name in names for part in ("x", "y", "visible"))])
            yield cls(regions, tables)

    def append(self, row: int, sample: Sample) -> None:
        self.regions.append(sample.regions)
        for table, points in zip(self.tables, (sample.landmarks, sample.landmarks55), strict=True):
            table.writerow([row, *(f"{value:.3f}".rstrip("0").rstrip(".") for value in points.ravel())])


def _check_enough(kept: _Kept, config: DataConfig) -> None:
    bad, total = len(kept.bad), len(kept.bad) + len(kept.entries)
    if bad == 0 or (kept.entries and bad <= config.max_bad_fraction * total):
        return
    reasons = ", ".join(f"{count} x {reason}" for reason, count in Counter(r for _, r in kept.bad).most_common(3))
    raise UserError(
        f"data.path = {config.path}: {bad} of {total} pictures cannot be used ({reasons}; the first is "
        f"{kept.bad[0][0]}): mend or remove them, or raise data.max_bad_fraction ({config.max_bad_fraction:g})."
    )


def _index(kept: _Kept, config: DataConfig) -> tuple[pd.DataFrame, int]:
    """index.csv, and how many pictures of the training file were held out with their person."""
    files, persons = [e.file for e in kept.entries], [e.person for e in kept.entries]
    splits, moved = assign(files, persons, [e.origin for e in kept.entries], config.split)
    hashes = [m.pixel_hash for m in kept.measures]
    groups = duplicate_groups([m.view_hash for m in kept.measures], config.near_duplicate_distance)
    copies, alike = Counter(hashes), Counter(groups.tolist())
    homes: dict[int, set[str]] = {}
    for group, split in zip(groups.tolist(), splits, strict=True):
        homes.setdefault(group, set()).add(split)
    flags = []
    for person, pixel_hash, group in zip(persons, hashes, groups.tolist(), strict=True):
        marks = {
            "no_person": not person,
            "exact_duplicate": copies[pixel_hash] > 1,
            "near_duplicate": group >= 0 and alike[group] > copies[pixel_hash],
            "across_splits": group >= 0 and len(homes[group]) > 1,
        }
        flags.append(";".join(name for name, holds in marks.items() if holds))
    columns = {
        "row": range(len(files)),
        "file": files,
        "person": persons,
        "split": splits,
        "grey": [m.grey for m in kept.measures],
        "sharpness": [round(m.sharpness, 3) for m in kept.measures],
        "duplicate_group": groups,
        "flags": flags,
        "pixel_hash": hashes,
    }
    index = pd.DataFrame(columns)
    return (index.join(pd.DataFrame(kept.extras)) if kept.extras else index), moved


def _metrics(index: pd.DataFrame, kept: _Kept, source: Source, config: DataConfig, moved: int) -> Metrics:
    known = index["person"] != ""
    duplicates = {
        "exact": _duplicates(index, index["pixel_hash"], index["flags"].str.contains("exact_duplicate")),
        "near": _duplicates(index, index["duplicate_group"], index["flags"].str.contains("near_duplicate")),
    }
    metrics: Metrics = {
        "source": config.source,
        "image_size": config.image_size,
        "pictures": len(index),
        "people": index["person"][known].nunique(),
        "split_by": "person" if known.all() else "person where known" if known.any() else "photo",
        "pictures_without_person": int((~known).sum()),
        "splits": {name: _counts(index[index["split"] == name]) for name in SPLITS},
        "duplicates": duplicates,
        "quarantined": {"pictures": len(kept.bad), "reasons": dict(sorted(Counter(r for _, r in kept.bad).items()))},
        "dropped": dict(sorted(source.dropped.items())),
        "ignored_files": source.ignored_files,
        "moved_with_their_person": moved,
        "sharpness": {
            f"p{percent:02d}": round(float(np.percentile(index["sharpness"], percent)), 2)
            for percent in (5, 25, 50, 75, 95)
        },
        "training_pixels": _pixel_statistics(kept, index),
    }
    metrics["warnings"] = _warnings(metrics)
    return metrics


def _normalise(folder: Path, index: pd.DataFrame, kept: _Kept, metrics: Metrics) -> None:
    """Give greyscale pictures the colour ones' statistics, and say in the metrics what was done."""
    grey = index["grey"].to_numpy(dtype=bool)
    training = (index["split"] == "train").to_numpy()
    groups = [[kept.measures[row] for row in np.flatnonzero(training & which)] for which in (grey, ~grey)]
    if not all(groups):
        metrics["warnings"].append("data.normalization: per_group has nothing to do: only one group is trained on.")
        return
    how = GreyNormalization.fit(*groups)
    clipped = normalise_images(open_images(folder, "r+"), grey, how)
    how.save(folder)
    metrics["normalization"] = {
        "grey_scale": [round(x, 5) for x in how.scale],
        "grey_offset": [round(x, 5) for x in how.offset],
        "grey_values_clipped": round(clipped, 5),
    }
    metrics["warnings"].append(
        "Greyscale pictures were moved to the colour ones' mean and deviation: their errors in dB count in their new "
        f"contrast, {20 * np.log10(np.mean(how.scale)):+.2f} dB against the old."
    )


def _counts(part: pd.DataFrame) -> dict[str, int]:
    people = part["person"][part["person"] != ""].nunique()
    return {"pictures": len(part), "people": people, "grey": int(part["grey"].sum())}


def _duplicates(index: pd.DataFrame, group: pd.Series, members: pd.Series) -> dict[str, int]:
    found = index[members].groupby(group[members])["split"]
    sizes, homes = found.size(), found.nunique()
    return {
        "groups": len(sizes),
        "pictures": int(sizes.sum()),
        "groups_across_splits": int((homes > 1).sum()),
        "pictures_across_splits": int(sizes[homes > 1].sum()),
    }


def _pixel_statistics(kept: _Kept, index: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of the training pixels in [0, 1], per channel."""
    rows = np.flatnonzero((index["split"] == "train").to_numpy())
    mean = np.mean([kept.measures[row].level_mean for row in rows], axis=0)
    square = np.mean([kept.measures[row].level_square for row in rows], axis=0)
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    named = {"mean": mean, "std": deviation}
    colours = ("red", "green", "blue")
    return {key: {c: round(float(x), 5) for c, x in zip(colours, values, strict=True)} for key, values in named.items()}


def _warnings(metrics: Metrics) -> list[str]:
    warnings = []
    if metrics["split_by"] != "person":
        warnings.append(
            f"The person of {metrics['pictures_without_person']} pictures is not known, so they are split by photo: "
            "figures on the test split may be too good (data.person_regex names the person)."
        )
    for kind, found in metrics["duplicates"].items():
        if found["groups_across_splits"]:
            warnings.append(
                f"{found['pictures_across_splits']} {kind} duplicates are in different splits "
                "(flag across_splits in index.csv)."
            )
    if metrics["moved_with_their_person"]:
        warnings.append(
            f"{metrics['moved_with_their_person']} pictures of data.train_npy show people of data.val_npy; they are "
            "held out with them, because nobody may be in two splits."
        )
    if metrics["quarantined"]["pictures"]:
        warnings.append(f"{metrics['quarantined']['pictures']} pictures were left out (quarantine.csv).")
    return warnings

"""Checkpoints and prepared pictures that were tampered with: what a stage finds where it left something before."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ear_teacher.data import PreparedData
from ear_teacher.training.checkpoints import load_checkpoint, save_checkpoint
from tests.data.bad_arrays import PICTURES, saved
from tests.torture.cases import Accepted, Case, Command, Refused
from tests.torture.hostile import NESTINGS, Runs, gadgets

INDEX = "row,file,person,split,grey,sharpness,duplicate_group,flags\n" + "".join(
    f"{row},{row}.png,{row},{('train', 'val', 'test')[row % 3]},False,1.0,-1,\n" for row in range(40)
)


def cases() -> Iterator[Case]:
    yield from _checkpoints()
    yield from _prepared()


def _checkpoints() -> Iterator[Case]:
    """The newest is no checkpoint, though its name has the hash of its bytes: the one before is used, nothing runs."""
    buffer = io.BytesIO()
    torch.save({"step": 8, "evil": Runs()}, buffer)
    contents = {"of torch that would run code": buffer.getvalue()}
    contents |= {f"that would call {name}": b"\x80\x02" + content for name, content in gadgets().items()}
    contents |= {f"that would run code, {name}": NESTINGS[name] for name in NESTINGS if "protocol" in name}
    contents |= {
        "of zeros": bytes(4096),
        "of nothing": b"",
        "of text": b"step 8",
        "that is a zip": b"PK\x03\x04" + bytes(99),
    }
    for name, content in contents.items():
        hostile = "would" in name
        yield _newest(f"a checkpoint {name}", content, hashlib.sha256(content).hexdigest()[:16], hostile)
    sound = io.BytesIO()
    torch.save({"step": 8}, sound)
    whole, digest = sound.getvalue(), hashlib.sha256(sound.getvalue()).hexdigest()[:16]
    for share in (0.0, 0.1, 0.5, 0.9, 0.999):
        yield _newest(f"a checkpoint cut at {share:.1%}", whole[: int(share * len(whole))], digest)
    for place in range(0, len(whole), len(whole) // 12):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1
        yield _newest(f"a checkpoint with byte {place} changed", bytes(spoilt), digest)


def _newest(name: str, content: bytes, digest: str, hostile: bool = False) -> Case:
    def write(folder: Path) -> None:
        save_checkpoint(folder / "run", 4, {"step": 4})
        (folder / f"run/step_000000008.{digest}.pt").write_bytes(content)

    def right(folder: Path) -> None:
        state = load_checkpoint(folder / "run")
        assert state == {"step": 4}, f"{state} was read"

    def command(folder: Path) -> Command:
        return lambda: load_checkpoint(Path("run")) and None

    return Case(name, "checkpoint", write, command, Accepted(right), hostile)


def _prepared() -> Iterator[Case]:
    """data/prepared as another program left it."""
    images = saved(PICTURES)
    arrays: dict[str, bytes | None] = {
        "missing": None,
        "empty": b"",
        "text": b"pictures",
        "cut": images[:-1],
        "half": images[: len(images) // 2],
        "floats": saved(PICTURES.astype("f4")),
        "one axis": saved(PICTURES.reshape(-1)),
        "not square": saved(PICTURES[:, :16]),
        "grey": saved(PICTURES[..., :1]),
        "fewer": saved(PICTURES[:-1]),
        "more": saved(np.concatenate([PICTURES, PICTURES])),
        "objects": saved(np.array([None] * 40, dtype=object)),
        "a huge shape": images.replace(b"(40,", b"(9999999999,").replace(b" " * 8, b"", 1),
    }
    for name, content in arrays.items():
        yield _folder(f"images.npy: {name}", {"images.npy": content})
    for name, content in NESTINGS.items():
        if "array" in name:
            yield _folder(
                f"images.npy with a pickle that would run code, {name}", {"images.npy": content}, hostile=True
            )
    lines = INDEX.splitlines()
    indices: dict[str, str | None] = {
        "missing": None,
        "empty": "",
        "the header alone": lines[0] + "\n",
        "another header": "a,b\n1,2\n",
        "a line less": "\n".join(lines[:-1]),
        "a line twice": "\n".join([*lines, lines[-1]]),
        "zeros": "\0" * 400,
        "lines in another order": "\n".join([lines[0], *reversed(lines[1:])]),
        "an unknown split": INDEX.replace("train", "trial"),
        "no split": INDEX.replace("split", "slit"),
        "a quote that stays open": INDEX.replace("1.png", '"1.png', 1),
        "rows that are text": INDEX.replace("\n3,", "\nthree,"),
        "too many cells": INDEX.replace("-1,\n", "-1,,,,\n", 3),
    }
    for name, text in indices.items():
        yield _folder(f"index.csv: {name}", {"index.csv": None if text is None else text.encode()})
    yield _folder("index.csv: UTF-16", {"index.csv": INDEX.encode("utf-16")})

    def whole(folder: Path) -> None:
        assert np.array_equal(PreparedData.load(folder / "data/prepared").images, PICTURES)

    yield _folder("as it was left", {}, outcome=Accepted(whole))


def _folder(name: str, changes: dict[str, Any], outcome: Accepted | None = None, hostile: bool = False) -> Case:
    def write(folder: Path) -> None:
        place = folder / "data/prepared"
        place.mkdir(parents=True)
        for file, content in ({"images.npy": saved(PICTURES), "index.csv": INDEX.encode()} | changes).items():
            if content is not None:
                (place / file).write_bytes(content)

    def command(folder: Path) -> Callable[[], None]:
        return lambda: PreparedData.load(Path("data/prepared")) and None

    return Case(f"data/prepared, {name}", "checkpoint", write, command, outcome or Refused(("data/prepared",)), hostile)

"""Checkpoints of a run: atomic, checksummed, the last two kept, never picked up by another run.

A run's folder is named by the hash of all that determines it (`run_key`). A checkpoint file carries the SHA-256
of its bytes in its name, so a damaged one is passed over for the one before. One process at a time trains a run
(`only_one`): a killed `dvc` may leave its training behind, still at work.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ear_teacher.config import UserError
from ear_teacher.data.shards import image_files
from ear_teacher.files import write_atomically

KEPT = 2
INTERRUPTED = "interrupted"
"""Folder, beside the checkpoints of validations, of the one a run leaves where it was asked to end."""


def run_key(*parts: Any) -> str:
    """Name of a run: hash of everything that determines it (params, data, weights), as JSON-able values."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pictures_hash(prepared: Path) -> str:
    """What prepared pictures are told apart by: the hash of their file, or of the hashes of their files."""
    hashes = [file_hash(file) for file in image_files(prepared)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a run's folder while the block runs; the system lets go of it with the process, however that ends.

    Raises:
        UserError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            other = file.read().strip()
            raise UserError(
                f"{folder}: process {other} is training this run; wait for it, or end it with `kill {other}` and run "
                "the command again: it goes on from there."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a crash at any moment leaves the earlier ones whole, and drop all but two."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:16]
    write_atomically(folder / f"step_{step:09d}.{digest}.pt", content)
    cut_short = folder.glob(".step_*")  # by a process that was killed while it wrote
    for old in [*_newest_first(folder)[KEPT:], *cut_short]:
        old.unlink()


def code_hash(package: Path, *parts: str) -> str:
    """SHA-256 of the Python files among `parts`, files or folders of a package: other code, another run."""
    total = hashlib.sha256()
    for part in parts:
        for file in [package / part] if part.endswith(".py") else sorted((package / part).rglob("*.py")):
            total.update(f"{file.relative_to(package)} {file_hash(file)}\n".encode())
    return total.hexdigest()


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint, or None where there is none. Nothing in it is executed (`weights_only`)."""
    for path in _newest_first(folder):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest()[:16] == path.name.split(".")[1]:
            with contextlib.suppress(Exception):  # a forged one can fail in any way
                return torch.load(io.BytesIO(content), weights_only=True)
    return None


def drop_newest(folder: Path) -> int | None:
    """Remove the newest checkpoint where there is an older one; the step of the newest that is left."""
    found = _newest_first(folder)
    if len(found) > 1:
        found.pop(0).unlink()
    return int(found[0].name[5:14]) if found else None


def delete_checkpoints(folder: Path) -> None:
    """Remove a finished run's checkpoints."""
    shutil.rmtree(folder, ignore_errors=True)


def _newest_first(folder: Path) -> list[Path]:
    return sorted(
        (path for path in folder.glob("step_*.pt") if re.fullmatch(r"step_\d{9}\.[0-9a-f]{16}\.pt", path.name)),
        reverse=True,
    )

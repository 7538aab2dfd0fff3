"""Writing so that a file or folder is either the old one or the whole new one."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MOST_TEXT = 50_000_000
"""Bytes of a text file that is read whole: half a gigabyte once it is parsed."""


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name beside it, then rename.

    Raises:
        OSError: disk full, folder read-only; the old file is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o644)  # mkstemp makes files private
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say which file
        raise


def read_json(path: Path) -> Any:
    """The content of a JSON file of at most `MOST_TEXT` bytes.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, not UTF-8, not JSON or nested too deeply.
    """
    if path.stat().st_size > MOST_TEXT:
        raise ValueError(f"more than {MOST_TEXT:,} bytes")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `path` when the block ends without an error.

    Yields:
        The folder to write into, beside `path`.

    Raises:
        OSError: disk full, folder read-only; the old folder is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        os.chmod(work, 0o755)
        yield work
        if path.exists():
            # A folder cannot be renamed over a full one: the old one steps aside first.
            aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
            os.replace(path, aside / "old")
            os.replace(work, path)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.replace(work, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)

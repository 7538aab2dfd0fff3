"""What every stage shares: a user's mistake ends in one sentence, never in a traceback, and so does a signal."""

from __future__ import annotations

import errno
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ear_teacher.config import UserError

REMEDIES = {
    errno.ENOSPC: ": make room and run the command again",
    errno.EDQUOT: ": make room and run the command again",
    errno.EFBIG: ": raise the limit (ulimit -f) and run the command again",
    errno.EROFS: ": make it writable and run the command again",
    errno.EACCES: ": make it accessible and run the command again",
    errno.EPERM: ": make it accessible and run the command again",
}
"""What helps, where it is known."""


def run(main: Callable[[], None]) -> None:
    """Run a stage. A `UserError` goes to standard error as its sentence, with exit code 1.

    A full disk or a read-only folder is told in the same way. SIGINT and SIGTERM end it with exit code 130, and what
    was half-written is removed.
    """
    try:
        with _on_signals(_end_now):
            main()
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        remedy = REMEDIES.get(error.errno or 0, "")
        print(f"{name}{error.strerror or error}{remedy}; what was there before is unchanged.", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt as error:
        print(str(error) or "Interrupted.", file=sys.stderr)
        raise SystemExit(130) from None


@contextmanager
def patiently() -> Iterator[Callable[[], bool]]:
    """The first SIGINT or SIGTERM only says so, for work that ends at a good moment; a second one ends it at once.

    Yields:
        Whether a signal has come.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if came:
            _end_now(number, frame)
        came.append(number)

    with _on_signals(note):
        yield lambda: bool(came)


@contextmanager
def _on_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _end_now(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt

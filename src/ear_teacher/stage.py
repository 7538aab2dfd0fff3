"""What every stage shares: a user's mistake ends in one sentence, never in a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ear_teacher.config import UserError


def run(main: Callable[[], None]) -> None:
    """Run a stage. A `UserError` goes to standard error as its sentence, with exit code 1.

    A full disk, a read-only folder or an interruption is told in the same way.
    """
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        print(f"{name}{error.strerror or error}; what was there before is unchanged.", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        raise SystemExit(130) from None

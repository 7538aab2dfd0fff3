"""python tools/list_licences.py

Write docs/licences.md: the licence of every package that requirements.lock names, as its installed metadata states it.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from ear_teacher.files import write_atomically

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs/licences.md"
ELSEWHERE = "not installed here: for another system or Python"


def main() -> None:
    locked: dict[str, list[str]] = {}  # some have a version for each Python
    for name, version in re.findall(
        r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", (PROJECT / "requirements.lock").read_text(), re.M
    ):
        locked.setdefault(name, []).append(version)
    write_atomically(PAGE, page({name: (", ".join(of), licence(name, of)) for name, of in locked.items()}))


def licence(name: str, versions: list[str]) -> str:
    """What a package states: its expression, else its classifiers, else the first line of its licence field."""
    try:
        found: Distribution = distribution(name)
    except PackageNotFoundError:
        return ELSEWHERE
    if found.version not in versions:
        sys.exit(f"{name} {found.version} is installed, requirements.lock names {versions[0]}: run `make test` first.")
    about = found.metadata
    classifiers = [
        text.rpartition(" :: ")[2] for text in about.get_all("Classifier", []) if text.startswith("License ::")
    ]
    stated = about.get("License-Expression") or ", ".join(c for c in classifiers if c != "OSI Approved")
    return stated or (about.get("License") or "not stated").strip().splitlines()[0][:80]


def page(packages: dict[str, tuple[str, str]]) -> str:
    lines = [
        "# Licences",
        "",
        "What `requirements.lock` installs, and the licence each package states of itself; written by "
        "`python tools/list_licences.py`. The project itself is Apache-2.0, pretrained trunks are downloaded under the "
        "terms of their authors (README), the ear mesh is CC0.",
        "",
        "| package | version | licence |",
        "| --- | --- | --- |",
        *(f"| {name} | {version} | {stated} |" for name, (version, stated) in sorted(packages.items())),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

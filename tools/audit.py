"""python tools/audit.py [--strict]

Known vulnerabilities of what requirements.lock pins, asked of osv.dev. Only names and versions are sent. Without the
network it says so and ends well; with --strict, a known vulnerability is an error.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements.lock"
SERVICE = "https://api.osv.dev/v1/querybatch"
SECONDS = 20


def ask(queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One answer a query, in order."""
    body = json.dumps({"queries": queries}).encode()
    request = urllib.request.Request(SERVICE, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return list(json.load(answer)["results"])


def pinned(lock: str) -> list[tuple[str, str]]:
    """(package, version) of every line that pins one."""
    return re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock, re.M)


def known(packages: list[tuple[str, str]], asked: Callable[..., list[dict[str, Any]]] = ask) -> dict[str, list[str]]:
    """package==version -> the ids of what is known of it; nothing where nothing is."""
    answers = asked([{"package": {"name": name, "ecosystem": "PyPI"}, "version": at} for name, at in packages])
    ids = [[each["id"] for each in answer.get("vulns", [])] for answer in answers]
    return {f"{name}=={at}": found for (name, at), found in zip(packages, ids, strict=True) if found}


def main() -> None:
    packages = pinned(LOCK.read_text())
    try:
        found = known(packages)
    except (OSError, ValueError, KeyError) as error:
        print(f"audit: skipped, no answer from osv.dev ({str(error)[:80]}).")
        return
    for package, ids in found.items():
        print(f"audit: {package}: {', '.join(ids)}")
    print(f"audit: {len(packages)} pinned packages, {len(found)} with a known vulnerability.")
    if found and "--strict" in sys.argv:
        sys.exit(1)


if __name__ == "__main__":
    main()

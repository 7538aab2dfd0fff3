"""The tools that look at the pinned packages."""

import re
import runpy
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]


def test_the_audit_names_each_package_that_something_is_known_of() -> None:
    audit = runpy.run_path(str(PROJECT / "tools/audit.py"))
    packages = audit["pinned"](
        "a==1.0 \\\n    --hash=sha256:0\nb-c==2 ; python_version < '3.12' \\\n    --hash=sha256:1\n"
    )
    assert packages == [("a", "1.0"), ("b-c", "2")]
    asked: list[Any] = []

    def answer(queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        asked.extend(queries)
        return [{}, {"vulns": [{"id": "X-1"}, {"id": "X-2"}]}]

    assert audit["known"](packages, answer) == {"b-c==2": ["X-1", "X-2"]}
    assert asked[0] == {"package": {"name": "a", "ecosystem": "PyPI"}, "version": "1.0"}


def test_every_pinned_package_has_hashes_and_a_line_among_the_licences() -> None:
    lock = (PROJECT / "requirements.lock").read_text()
    blocks = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.M)[1:]
    assert len(blocks) > 100
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []
    listed = (PROJECT / "docs/licences.md").read_text()
    assert [name for name in re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.M) if f"| {name} |" not in listed] == []


def test_dvc_sends_nothing() -> None:
    assert "analytics = false" in (PROJECT / ".dvc/config").read_text()
    assert "analytics = false" in (PROJECT / "studies/.dvc/config").read_text()

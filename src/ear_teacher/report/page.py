"""Templates into one file: styles, script and pictures inside, nothing fetched, no other script admitted."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

LARGEST = 8_000_000
"""Bytes of a page, at most."""


def render(template: str, scripts: tuple[str, ...] = (), connect: str = "'none'", **content: Any) -> str:
    """A page as text.

    Args:
        template: such as `report.html`.
        scripts: files of the package's `assets` that run in it, joined into one.
        connect: what the page may send requests to, as the security policy writes it.
        content: of the template; all text is escaped.

    The page's security policy admits its own style and script by their hashes and pictures inside the page only.
    """
    style = asset("report.css")
    script = "\n".join(asset(name) for name in scripts)
    policy = (
        f"default-src 'none'; img-src data: blob:; style-src '{_hash(style)}'; connect-src {connect}; "
        f"script-src {repr(_hash(script)) if script else repr('none')}; base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(template)
        .render(style=Markup(style), script=Markup(script), policy=policy, **content)
    )


def asset(name: str) -> str:
    """A style or script of the package."""
    return (files("ear_teacher.report") / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("ear_teacher.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

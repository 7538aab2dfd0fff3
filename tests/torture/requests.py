"""What is sent to the local server: pictures, and all that is none or comes from elsewhere."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ear_teacher.config import UserError
from ear_teacher.models import EarVAE
from ear_teacher.teacher import EarTeacher
from tests.torture import pictures
from tests.torture.cases import Accepted, Case, Command, Refused
from tests.torture.hostile import NESTINGS
from tests.torture.models import CONFIG

if TYPE_CHECKING:
    from flask.testing import FlaskClient

HERE = "http://127.0.0.1:8765"
HOSTS = [
    "http://evil.example",
    "http://evil.example:8765",
    "http://127.0.0.1",
    "http://127.0.0.1:80",
    "http://127.0.0.1.evil:8765",
    "http://localhost.evil.example:8765",
    "http://0.0.0.0:8765",
    "http://[::]:8765",
    "http://192.168.0.1:8765",
]
ORIGINS = [
    "https://evil.example",
    "null",
    "http://127.0.0.1:8766",
    "http://localhost",
    "file://",
    "http://127.0.0.1.evil:8765",
]
ADDRESSES = [
    "/params.yaml",
    "/static/report.css",
    "/../params.yaml",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2fetc/passwd",
    "//etc/passwd",
    "/models/current/config.json",
    "/move/..%2f..?steps=0",
    "/move/nobody?steps=0",
    "/reconstruct/../../etc/passwd",
    "/.git/config",
]
KINDS = ["text/plain", "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "", "imagex/png"]


@functools.cache
def client() -> FlaskClient:
    from ear_teacher.report.playground import allowed_hosts, create_app

    torch.manual_seed(0)
    model = EarTeacher(EarVAE(CONFIG, 32))
    return create_app({"current": model}, {}, None, allowed_hosts("127.0.0.1", 8765)).test_client()


def cases() -> Iterator[Case]:
    whole = pictures.encodings()
    for kind, content in whole.items():
        yield _case(f"a {kind}", content, Accepted())
    for kind, content in whole.items():
        yield _case(f"a {kind} cut short", content[: len(content) // 3], _no("422"))
    bodies = {
        "text": b"hello",
        "nothing": b"",
        "zeros": bytes(4096),
        "a web page": b"<!DOCTYPE html>",
        "a zip": b"PK\x03\x04" + bytes(99),
        "a drawing": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }
    for name, content in bodies.items():
        yield _case(name, content, _no("422"))
    yield _case("11 MB", bytes(11_000_000), _no("413"), hostile=True)
    yield _case("100 MB", bytes(100_000_000), _no("413"), hostile=True)
    for name, content in pictures.bombs().items():
        yield _case(name, content, _no("422"), hostile=True)
    for name in ("the whole, protocol 2", "the whole, protocol 5", "by way of importlib", "200,000 deep"):
        yield _case(f"a pickle that would run code, {name}", NESTINGS[name], _no("422"), hostile=True)
    for kind in KINDS:
        yield _case(f"a picture said to be {kind!r}", whole["png"], _no("415"), kind=kind)
    for origin in ORIGINS:
        yield _case(f"from the site {origin}", whole["png"], _no("403"), hostile=True, headers={"Origin": origin})
    for site in ("cross-site", "same-site"):
        yield _case(f"from a {site} page", whole["png"], _no("403"), hostile=True, headers={"Sec-Fetch-Site": site})
    for host in HOSTS:
        yield _case(f"for {host}", whole["png"], _no("403"), hostile=True, base=host)
    for address in ADDRESSES:
        for method in ("GET", "POST"):
            yield _case(f"{method} {address}", whole["png"], _no("40"), hostile=True, path=address, method=method)
    for method in ("PUT", "DELETE", "PATCH", "TRACE"):
        yield _case(f"{method} of a picture", whole["png"], _no("405"), method=method)
    for host in ("0.0.0.0", "::", "", "*"):
        yield Case(f"listening on {host!r}", "request", _nothing, _listen(host), Refused(("--host",)), hostile=True)


def _no(status: str) -> Refused:
    return Refused((f"answer {status}",))


def _nothing(folder: Path) -> None:
    pass


def _listen(host: str) -> Any:
    from ear_teacher.report.playground import serve

    return lambda folder: lambda: serve({}, {}, None, host, 8765)


def _case(
    name: str,
    body: bytes,
    outcome: Accepted | Refused,
    hostile: bool = False,
    kind: str = "image/png",
    base: str = HERE,
    path: str = "/reconstruct",
    method: str = "POST",
    headers: dict[str, str] | None = None,
) -> Case:
    def command(folder: Path) -> Command:
        def send() -> None:
            answer = client().open(
                path, method=method, data=io.BytesIO(body), content_type=kind, headers=headers, base_url=base
            )
            if answer.status_code != 200:
                told = (answer.get_json(silent=True) or {}).get("error", "nothing")
                raise UserError(f"answer {answer.status_code}: {told}")

        return send

    return Case(name, "request", _nothing, command, outcome, hostile)

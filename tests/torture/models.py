"""Folders of models: tensors that lack, lie or do not fit, and descriptions that are none."""

from __future__ import annotations

import functools
import io
import json
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from ear_teacher.cli import main
from ear_teacher.config import ModelConfig
from ear_teacher.models import EarVAE
from tests.torture.cases import Accepted, Case, Command, Refused
from tests.torture.hostile import NESTINGS, Runs

CONFIG = ModelConfig(latent_dim=64, latent_layout="4x4", width=8)
WEIGHTS, DESCRIPTION = "model.safetensors", "config.json"
OTHERS = {
    "text": b"weights",
    "zeros": bytes(4096),
    "a web page": b"<!DOCTYPE html>",
    "a zip": b"PK\x03\x04" + bytes(99),
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
}
"""What may lie there in a model's place."""
Change = Callable[[dict[str, bytes]], None]


@functools.cache
def whole() -> dict[str, bytes]:
    """The files of a small sound model."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        EarVAE(CONFIG, 32).save(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def export(folder: Path) -> Command:
    return lambda: main(["export", "--model", "model", "--format", "safetensors", "--out", "out"])


def cases() -> Iterator[Case]:
    yield _case("as it was saved", _nothing, Accepted(_same))
    yield from _tensors()
    yield from _headers()
    yield from _descriptions()
    for share in (0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.98):
        for file in (WEIGHTS, DESCRIPTION):
            yield _case(
                f"{file} cut at {share:.1%}", _put(file, whole()[file][: int(share * len(whole()[file]))]), _no(file)
            )
    for file in (WEIGHTS, DESCRIPTION):
        yield _case(f"no {file}", lambda files, file=file: files.pop(file) and None, _no(""))
        for name, content in OTHERS.items():
            yield _case(f"{name} for {file}", _put(file, content), _no(file))
    for nesting in ("the whole, protocol 2", "the whole, protocol 5", "by way of importlib", "by setting attributes"):
        for file in (WEIGHTS, DESCRIPTION):
            yield _case(
                f"a pickle that would run code for {file}, {nesting}", _put(file, NESTINGS[nesting]), _no(file), True
            )
    yield _case("a checkpoint of torch that would run code", _put(WEIGHTS, _torch_file()), _no(WEIGHTS), True)


def _case(name: str, change: Change, outcome: Accepted | Refused, hostile: bool = False) -> Case:
    def write(folder: Path) -> None:
        files = dict(whole())
        change(files)
        (folder / "model").mkdir()
        for file, content in files.items():
            (folder / "model" / file).write_bytes(content)

    return Case(name, "model", write, export, outcome, hostile)


def _no(file: str) -> Refused:
    return Refused(("model", file))


def _nothing(files: dict[str, bytes]) -> None:
    pass


def _put(file: str, content: bytes) -> Change:
    return lambda files: files.update({file: content})


def _same(folder: Path) -> None:
    found, wanted = load((folder / "out" / WEIGHTS).read_bytes()), load(whole()[WEIGHTS])
    assert found.keys() == wanted.keys(), "other tensors"
    assert all(torch.equal(found[name], wanted[name]) for name in wanted), "other weights"


def _tensors() -> Iterator[Case]:
    """Each of the model's tensors missing, of another shape or type, not finite; and tensors of others."""
    names = sorted(load(whole()[WEIGHTS]))

    def changed(edit: Callable[[dict[str, Tensor]], object]) -> Change:
        def change(files: dict[str, bytes]) -> None:
            tensors = load(files[WEIGHTS])
            edit(tensors)
            files[WEIGHTS] = save({name: tensor.contiguous() for name, tensor in tensors.items()})

        return change

    for name in names:
        yield _case(f"without {name}", changed(lambda t, n=name: t.pop(n)), _no(WEIGHTS))
    for name in names[::2]:
        longer = changed(lambda t, n=name: t.update({n: torch.cat([t[n], t[n]])}))
        yield _case(f"{name} twice as long", longer, _no(WEIGHTS))
        yield _case(f"{name} flattened twice", changed(lambda t, n=name: t.update({n: t[n][None, None]})), _no(WEIGHTS))
    for dtype in (torch.float16, torch.float64, torch.bfloat16, torch.int8, torch.int64, torch.bool):
        cast = changed(lambda t, d=dtype: t.update({names[0]: t[names[0]].to(d)}))
        yield _case(f"{names[0]} as {dtype}", cast, _no(WEIGHTS))
    for value in (float("nan"), float("inf"), float("-inf")):
        for name in (names[0], names[-1]):
            spoil = changed(lambda t, n=name, v=value: t[n].view(-1)[:1].fill_(v))
            yield _case(f"{name} with a value of {value}", spoil, _no(WEIGHTS))
    extra = {"extra": torch.zeros(3), "../evil": torch.zeros(1), names[0] + ".1": torch.zeros(2), "": torch.zeros(1)}
    for name, tensor in extra.items():
        yield _case(
            f"with a tensor named {name!r}", changed(lambda t, n=name, v=tensor: t.update({n: v})), _no(WEIGHTS)
        )
    yield _case("without any tensor", changed(dict.clear), _no(WEIGHTS))
    yield _case("all tensors renamed", changed(lambda t: [t.update({f"x.{n}": t.pop(n)}) for n in names]), _no(WEIGHTS))


def _headers() -> Iterator[Case]:
    """The format's header: eight bytes of length, then JSON (safetensors specification)."""
    content = whole()[WEIGHTS]
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    first = min(name for name in header if name != "__metadata__")
    tensor = header[first]
    start, end = tensor["data_offsets"]

    def written(changed: Any, size: int | None = None) -> bytes:
        text = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
        return struct.pack("<Q", len(text) if size is None else size) + text + data

    def with_first(**changes: Any) -> bytes:
        return written(header | {first: tensor | changes})

    forged = {
        "a header of 2^63 bytes": written(header, 2**63),
        "a header of 2^64 - 1 bytes": written(header, 2**64 - 1),
        "a header of 10 GB": written(header, 10**10),
        "a header of 99 MB that is not there": written(header, 99_000_000),
        "a header of no bytes": written(header, 0),
        "a header of one byte": written(header, 1),
        "a header longer by one": written(header, length + 1),
        "a header that is a list": written([header]),
        "a header that is text": written("tensors"),
        "a header that is not JSON": written(b"{" * 400),
        "a header of 100,000 brackets": written(b"[" * 100_000),
        "a header in Latin-1": written(b'{"\xe4": 1}'),
        "a tensor without offsets": written(header | {first: {"dtype": "F32", "shape": [1]}}),
        "offsets beyond the file": with_first(data_offsets=[start, end + 10**12]),
        "offsets before the file": with_first(data_offsets=[-4, end]),
        "offsets backwards": with_first(data_offsets=[end, start]),
        "offsets of fractions": with_first(data_offsets=[0.5, end]),
        "offsets that overlap": with_first(data_offsets=[start, end + 4]),
        "offsets of 2^64": with_first(data_offsets=[start, 2**64]),
        "a shape of 10^12": with_first(shape=[10**12]),
        "a shape of 2^64": with_first(shape=[2**64]),
        "a shape whose product overflows": with_first(shape=[2**32, 2**32]),
        "a negative shape": with_first(shape=[-1]),
        "a shape of text": with_first(shape="abc"),
        "an unknown type": with_first(dtype="F7"),
        "a type of other size": with_first(dtype="F64"),
        "a type that is a number": with_first(dtype=32),
        "bytes that no tensor has": content + bytes(64),
        "metadata that is no text": written(header | {"__metadata__": {"a": 1}}),
    }
    for name, file in forged.items():
        yield _case(name, _put(WEIGHTS, file), _no(WEIGHTS), hostile=any(word in name for word in ("2^", "10^", "GB")))


def _descriptions() -> Iterator[Case]:
    sound = json.loads(whole()[DESCRIPTION])
    texts: dict[str, Any] = {
        "a list": [],
        "a number": 3,
        "null": None,
        "text": "model",
        "empty": {},
        "no model": {"image_size": 32},
        "no image_size": {"model": sound["model"]},
        "a model that is a list": sound | {"model": []},
        "a model that is null": sound | {"model": None},
        "100,000 brackets": b"[" * 100_000,
        "NaN": b"NaN",
        "UTF-16": json.dumps(sound).encode("utf-16"),
        "Latin-1": b'"\xe4"',
    }
    sizes = [0, -32, 1, 31, 33, 10**9, 2**40, 2**70, 32.5, "32px", None, [32], True, 64, 2**15]
    for size in sizes:
        texts[f"an image_size of {size!r}"] = sound | {"image_size": size}
    values: dict[str, list[Any]] = {
        "latent_dim": [0, -1, 10**9, 1.5, "abc", None, 128, 2**70],
        "width": [0, -8, 10**6, "abc", 16, 2048, None],
        "latent_layout": ["16x16", "vector", 4, None],
        "encoder": ["backbone", "other", None],
        "decoder": ["transposed", "x"],
        "backbone": ["resnet_nobody", "../../evil", 3, "hf-hub:evil/model"],
        "wdith": [8],
        "__class__": ["os.system"],
    }
    for key, wrong in values.items():
        for value in wrong:
            texts[f"{key} = {value!r}"] = sound | {"model": sound["model"] | {key: value}}
    for name, text in texts.items():
        content = text if isinstance(text, bytes) else json.dumps(text).encode()
        yield _case(f"config.json: {name}", _put(DESCRIPTION, content), _no(""), hostile="evil" in name)


def _torch_file() -> bytes:
    """What `torch.save` writes of an object that runs a command when it is read."""
    buffer = io.BytesIO()
    torch.save({"weights": Runs()}, buffer)
    return buffer.getvalue()

"""Arrays of pictures: every way a file can lie about them, and every layout that is right."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ear_teacher.data import PreparedData
from tests.data.bad_arrays import PICTURES, REFUSED, saved
from tests.torture.cases import Accepted, Case, Quarantined, Refused
from tests.torture.hostile import NESTINGS, gadgets
from tests.torture.pictures import prepare, project

GOOD = saved(PICTURES)
HEADER = 10
"""Magic, version and length of the header, in bytes."""


def cases() -> Iterator[Case]:
    for name, (content, sentence) in REFUSED.items():
        yield _bad(name, content, sentence)
    yield from _mutations()
    for name, content in {
        "a Python 2 header of version 3": b"\x93NUMPY\x03\x00" + GOOD[8:],
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(500),
        "a gzip file": b"\x1f\x8b\x08" + bytes(500),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(500),
        "a MATLAB file": b"MATLAB 5.0 MAT-file" + bytes(500),
        "zeros": bytes(5000),
        "two arrays in one file": GOOD + GOOD,
        "an npz of pictures": _zipped(pictures=PICTURES),
        "an npz with a path for a name": _zipped(**{"../../evil": PICTURES[:1]}),
    }.items():
        yield _bad(name, content)
    for name, content in gadgets().items():
        array = saved(np.array({"image_paths": ["1/0.png"]}, dtype=object))
        yield _bad(f"an object array that would call {name}", array[: array.index(b"\x80")] + content, hostile=True)
    for nesting, content in NESTINGS.items():
        yield _bad(f"a pickle that would run code, {nesting}", content, hostile=True)
    for key, npy_range, array in (
        ("uint8 said to be 0..1", "0..1", PICTURES),
        ("floats in 0..1 said to be 0..255", "0..255", (PICTURES / 255).astype("f4")),
        ("floats in 0..1 said to be -1..1", "-1..1", (PICTURES / 255).astype("f4")),
    ):
        yield _case(key, saved(array), Refused(("train",)), npy_range=npy_range)
    yield from _single_bad_pictures()
    yield from _layouts()


def _case(name: str, content: bytes, outcome: Accepted | Quarantined | Refused, hostile: bool = False, **data) -> Case:
    def write(folder: Path) -> None:
        project(folder, source="npy", train_npy="train.npy", **data)
        (folder / "photos").mkdir()
        (folder / "photos/train.npy").write_bytes(content)

    return Case(name, "array", write, prepare, outcome, hostile)


def _bad(name: str, content: bytes, *names: str, hostile: bool = False) -> Case:
    return _case(name, content, Refused(("train", *names)), hostile)


def _zipped(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # the stubs take names for options
    return buffer.getvalue()


def _mutations() -> Iterator[Case]:
    """No bit of the first ten bytes or of the shape may change: the file would mean other pictures."""
    for share in (0.0005, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.99999):
        yield _bad(f"cut at {share:.3%}", GOOD[: int(share * len(GOOD))])
    shape = GOOD.index(b"(40")
    places = [*range(HEADER), *range(shape, GOOD.index(b")", shape))]
    flips = random.Random(1).sample([(place, bit) for place in places for bit in range(8)], 100)
    for place, bit in sorted(flips):
        spoilt = bytearray(GOOD)
        spoilt[place] ^= 1 << bit
        yield _bad(f"bit {bit} of byte {place} flipped", bytes(spoilt))


def _single_bad_pictures() -> Iterator[Case]:
    for name, value in {"NaN": np.nan, "inf": np.inf, "-inf": -np.inf, "2": 2.0, "-1": -1.0, "1e30": 1e30}.items():
        values = (PICTURES / 255).astype("f4")
        values[3, 5, 6, 1] = value
        reason = "not finite" if not np.isfinite(value) else "outside"
        outcome = Quarantined("train.npy#000003", (reason,))
        yield _case(f"one picture with a value of {name}", saved(values), outcome, npy_range="0..1")


def _layouts() -> Iterator[Case]:
    """Every number type, byte order and memory order gives the same pictures."""
    scales: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "auto": lambda pictures: pictures,
        "0..255": lambda pictures: pictures,
        "0..1": lambda pictures: pictures / 255,
        "-1..1": lambda pictures: pictures / 127.5 - 1,
    }
    whole = ("<u2", ">u2", "<i2", ">i4", "<i8", ">u4", "<f4", ">f8")
    types = {"auto": ("u1",), "0..255": whole, "0..1": ("<f4", ">f4", "<f8", ">f8"), "-1..1": ("<f4", ">f8")}
    for npy_range, dtypes in types.items():
        for dtype in dtypes:
            for order in "CF":
                array = np.asarray(scales[npy_range](PICTURES)).astype(dtype, order=order)  # type: ignore[call-overload]  # a parametrised Literal
                yield _good(f"{dtype}, {npy_range}, order {order}", saved(array), PICTURES, npy_range=npy_range)
    grey = PICTURES[:, :, :, 0]
    three = np.repeat(grey[..., None], 3, 3)
    yield _good("pictures of one channel", saved(grey), three)
    yield _good("pictures with a channel axis of one", saved(grey[..., None]), three)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, PICTURES, version=(2, 0))
    yield _good("a header of version 2", buffer.getvalue(), PICTURES)


def _good(name: str, content: bytes, wanted: np.ndarray, **data: object) -> Case:
    def right(folder: Path) -> None:
        assert np.array_equal(PreparedData.load(folder / "data/prepared").images, wanted), "other pictures"

    return _case(name, content, Accepted(right), **data)

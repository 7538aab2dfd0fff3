"""Pickles that may come from strangers, read without running anything.

Only plain containers, strings, numbers and numpy arrays come out. Whatever else a pickle names is refused by
name. The interpreter is the pure Python one: the C one reserves memory that the file merely claims to need.
Nothing of numpy's own unpickling runs either: a forged dtype could make it read pointers out of the file.
"""

from __future__ import annotations

import math
import pickle
import re
from collections import OrderedDict
from io import BytesIO
from typing import Any, ClassVar

import numpy as np

_MAX_ARRAY_BYTES = 1 << 30


class RefusedPickle(Exception):
    """The pickle is damaged or names something that is not plain data; the message says which."""


class _Dtype:
    """Stands for numpy.dtype while the pickle is read: a code, then a state with the byte order."""

    def __init__(self, code: Any, *_flags: Any) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[biufc][0-9]{1,2}|[SU][0-9]{1,6}|O8?|b1", code):
            raise RefusedPickle("it holds a numpy array of a kind that is not numbers or text")
        self.code = code
        self.big = False

    def __setstate__(self, state: Any) -> None:
        self.big = isinstance(state, tuple) and len(state) > 1 and state[1] == ">"

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.code).newbyteorder(">" if self.big else "<")


def _filled(raw: Any, dtype: Any, shape: Any, order: str) -> np.ndarray[Any, Any]:
    """An array from its parts, each of them checked."""
    if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple):
        raise RefusedPickle("it holds a damaged numpy array")
    if len(shape) > 8 or not all(type(side) is int and 0 <= side < 1 << 40 for side in shape):
        raise RefusedPickle("it holds a numpy array of an impossible shape")
    kind, count = dtype.numpy(), math.prod(shape)
    if kind.hasobject:
        if not isinstance(raw, list) or len(raw) != count:
            raise RefusedPickle("it holds a damaged numpy array")
        flat = np.empty(count, dtype=object)
        flat[:] = raw
        return flat.reshape(shape, order=order)  # type: ignore[call-overload]  # numpy names its orders in a Literal
    if isinstance(raw, str):  # bytes written by Python 2
        raw = raw.encode("latin1")
    if not isinstance(raw, bytes | bytearray) or len(raw) != count * kind.itemsize or len(raw) > _MAX_ARRAY_BYTES:
        raise RefusedPickle("it holds a numpy array whose size is not the declared one")
    return np.frombuffer(raw, kind).reshape(shape, order=order).copy()  # type: ignore[call-overload]  # numpy names its orders in a Literal


class _Array(np.ndarray[Any, Any]):
    """An ndarray that fills itself from a checked state only."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise RefusedPickle("it holds a damaged numpy array")
        _version, shape, dtype, fortran, raw = state
        value = _filled(raw, dtype, shape, "F" if fortran is True else "C")
        super().__setstate__(value.__reduce__()[2])  # type: ignore[arg-type]  # ndarray's third part is its state


class _NdarrayName:
    """Stands for the name numpy.ndarray, which pickles pass to _reconstruct and never call."""


def _reconstruct(*_arguments: Any) -> _Array:
    return _Array((0,), dtype=np.uint8)


def _scalar(dtype: Any, raw: Any = b"") -> Any:
    return _filled(raw, dtype, (1,), "C")[0]


def _frombuffer(raw: Any, dtype: Any, shape: Any, order: Any) -> Any:
    return _filled(raw, dtype, shape, "F" if order == "F" else "C")


def _encode(text: Any, codec: Any = "latin1") -> bytes:
    """How protocol 2 writes bytes. Other codecs may decompress or worse."""
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise RefusedPickle("it names _codecs.encode")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How protocol 2 writes empty bytes."""
    return b""


def _set(*arguments: Any) -> set[Any]:
    return set(*arguments)


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NdarrayName,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): _set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "complex"): complex,
    ("builtins", "bytes"): _no_bytes,
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _frombuffer),
        )
    },
}


class _Reader(pickle._Unpickler):
    """The pure Python interpreter with a list of admitted names."""

    def __init__(self, data: bytes) -> None:
        super().__init__(BytesIO(data), encoding="latin1")
        self.size = len(data)

    def find_class(self, module: str, name: str) -> Any:
        module = "builtins" if module == "__builtin__" else module  # as Python 2 calls it
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise RefusedPickle(f"it names {module}.{name}"[:200]) from None

    def get_extension(self, code: int) -> None:
        raise RefusedPickle("it names a registered extension")

    def persistent_load(self, pid: Any) -> Any:
        raise RefusedPickle("it refers to something outside the file")

    def load_bytearray8(self) -> None:
        # The original reserves as much memory as the file claims before it reads.
        length = int.from_bytes(self.read(8), "little")  # type: ignore[attr-defined]  # of the pure Python unpickler, not in its stubs
        if length > self.size:
            raise RefusedPickle("it is damaged")
        self.append(bytearray(self.read(length)))  # type: ignore[attr-defined]  # not in the stubs

    def load_build(self) -> None:
        # On anything else this sets attributes, and the names above are shared by all pickles.
        if type(self.stack[-2]) not in (_Dtype, _Array):  # type: ignore[attr-defined]  # not in the stubs
            raise RefusedPickle("it sets attributes of something that is not a numpy array")
        super().load_build()  # type: ignore[misc]  # not in the stubs

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.BUILD[0]: load_build,
    }


def loads(data: bytes) -> Any:
    """The plain data in a pickle.

    Args:
        data: a pickle of any protocol.

    Returns:
        dicts, lists, tuples, sets, strings, bytes, numbers, None and numpy arrays of numbers, text or such objects.

    Raises:
        RefusedPickle: it is damaged, or names anything else. Nothing it names has been called.
    """
    try:
        return _Reader(data).load()
    except RefusedPickle:
        raise
    except Exception as error:  # a damaged pickle can fail in any way, MemoryError and RecursionError included
        raise RefusedPickle("it is damaged") from error

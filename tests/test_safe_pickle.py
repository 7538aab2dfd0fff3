"""A stranger's pickle gives plain data or is refused by name; nothing in it runs."""

import collections
import datetime
import importlib
import os
import pathlib
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ear_teacher import safe_pickle
from ear_teacher.safe_pickle import RefusedPickle

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)
number_arrays = hnp.arrays(
    st.sampled_from(["u1", "<i4", ">i8", "<f4", ">f8", "<f2", "?", "<c8", "<U5", "S3"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@given(plain, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_data_comes_back_as_it_was(value: Any, protocol: int) -> None:
    assert safe_pickle.loads(pickle.dumps(value, protocol)) == value


@given(number_arrays, st.integers(0, pickle.HIGHEST_PROTOCOL), st.booleans())
def test_arrays_of_every_kind_order_and_protocol_come_back(array: np.ndarray, protocol: int, fortran: bool) -> None:
    if fortran:
        array = np.asfortranarray(array)
    found = safe_pickle.loads(pickle.dumps({"a": array}, protocol))["a"]
    assert found.shape == array.shape
    assert found.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)


def test_containers_and_numpy_scalars_come_back() -> None:
    value = {
        "ordered": collections.OrderedDict(a=1),
        "set": {1, 2},
        "frozen": frozenset("ab"),
        "number": np.float32(1.5),
        "text": np.str_("ear"),
        "objects": np.array([[1, 2, 3, 4], None], dtype=object),
        "complex": 1 + 2j,
    }
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        found = safe_pickle.loads(pickle.dumps(value, protocol))
        assert {key: found[key] for key in value if key != "objects"} == {
            k: v for k, v in value.items() if k != "objects"
        }
        assert found["objects"].tolist() == [[1, 2, 3, 4], None]


class _Reduce:
    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def _hostile(marker: str) -> dict[str, tuple[Any, str]]:
    """Things that would write the file `marker` or reach beyond plain data, with the name to be refused."""
    write = f"open({marker!r}, 'w').close()"
    return {
        "exec": (_Reduce(exec, write), r"builtins\.exec"),
        "eval": (_Reduce(eval, write), r"builtins\.eval"),
        "system": (_Reduce(os.system, f"touch {marker}"), r"(posix|nt)\.system"),
        "importlib": (_Reduce(importlib.import_module, "antigravity"), r"importlib\.import_module"),
        "nested": ({"image_paths": ["a", [_Reduce(exec, write)]], "bboxes": [None, None]}, r"builtins\.exec"),
        "in an object array": (np.array([_Reduce(exec, write)], dtype=object), r"builtins\.exec"),
        "getattr": (_Reduce(getattr, "a", "upper"), r"builtins\.getattr"),
        "path": ([pathlib.PurePosixPath("a")], r"pathlib"),
        "date": (datetime.date(2020, 1, 1), r"datetime\.date"),
        "type": (_Reduce(type, "a", (), {}), r"builtins\.type"),
        "numpy file": (_Reduce(np.fromfile, marker), r"numpy.*fromfile"),
        "bytearray": (_Reduce(bytearray, 1 << 40), r"builtins\.bytearray"),
        "structured array": (np.zeros(2, dtype=[("a", "f4")]), r"not numbers or text"),
        "date array": (np.zeros(2, dtype="M8[s]"), r"not numbers or text"),
    }


@pytest.mark.parametrize("name", _hostile(""))
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_hostile_pickles_run_nothing_and_are_refused_by_name(name: str, protocol: int, tmp_path: pathlib.Path) -> None:
    marker = tmp_path / "ran"
    value, refused = _hostile(str(marker))[name]
    with pytest.raises(RefusedPickle, match=refused):
        safe_pickle.loads(pickle.dumps(value, protocol))
    assert not marker.exists()


def _forged_array(dtype: bytes, payload: bytes) -> bytes:
    """A protocol-2 pickle of an array whose dtype and data are given as opcodes."""
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01\x85cnumpy\ndtype\n" + dtype + payload + b"tb."
    )


HAND_MADE = {
    "pointers forged as an object array": _forged_array(
        b"U\x02O8K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89", b"U\x08AAAAAAAA"
    ),
    "an array larger than its bytes": _forged_array(
        b"U\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89", b"U\x04AAAA"
    ),
    "attributes set on a shared name": b"\x80\x02cnumpy\ndtype\n}U\x05numpyNsb.",
    "a bytearray beyond all memory": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
    "bytes beyond the file": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",
    "a persistent id": b"\x80\x02U\x01aQ.",
    "a registered extension": b"\x80\x02\x82\x01.",
    "zlib through a codec": b"\x80\x02c_codecs\nencode\nU\x01aU\x04zlib\x86R.",
    "an instance the old way": b"(S'a'\nios\nsystem\n.",
    "nothing": b"",
    "text": b"hello",
    "an unfinished list": b"\x80\x04]",
    "a stack that is empty": b"\x80\x040000.",
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_forged_and_damaged_pickles_are_refused(name: str) -> None:
    with pytest.raises(RefusedPickle):
        safe_pickle.loads(HAND_MADE[name])


@pytest.mark.parametrize(
    "claim", [b"\x80\x02Nr\xff\xff\xff\x7f.", b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N."]
)
def test_what_a_pickle_claims_to_need_is_not_reserved(claim: bytes) -> None:
    tracemalloc.start()
    assert safe_pickle.loads(claim) is None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@settings(max_examples=300)
@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 255))
def test_no_mutation_of_a_pickle_does_more_than_be_read_or_refused(tail: bytes, place: int, value: int) -> None:
    good = bytearray(pickle.dumps({"image_paths": ["a", "b"], "bboxes": np.ones((2, 4))}, 2))
    good[place % len(good)] = value
    for data in (bytes(good), bytes(good[: place % len(good)]) + tail, b"\x80\x04" + tail):
        try:
            safe_pickle.loads(data)
        except RefusedPickle:
            continue

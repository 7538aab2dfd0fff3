"""Pickles that would run code, as strangers write them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from tests.data.bad_arrays import saved
from tests.torture.cases import CANARY

TOUCH = f"touch ../{CANARY}"
CODE = f"open('../{CANARY}', 'w')"
CALLS = {
    "os.system": TOUCH,
    "posix.system": TOUCH,
    "subprocess.getoutput": TOUCH,
    "subprocess.call": TOUCH,
    "os.popen": TOUCH,
    "builtins.eval": CODE,
    "builtins.exec": CODE,
    "__builtin__.eval": CODE,
    "builtins.open": "x",
    "importlib.import_module": "this",
    "builtins.__import__": "this",
    "builtins.compile": CODE,
    "pty.spawn": "sh",
    "runpy.run_path": "x.py",
    "timeit.timeit": CODE,
    "pickle.loads": "x",
    "_pickle.loads": "x",
    "torch.load": "x",
    "numpy.load": "x",
    "marshal.loads": "x",
    "ctypes.CDLL": "x.so",
    "shutil.rmtree": "photos",
    "os.unlink": "params.yaml",
    "webbrowser.open": "x",
    "code.interact": "x",
    "platform.popen": TOUCH,
    "numpy.testing._private.utils.runstring": CODE,
    "functools.partial": "x",
    "operator.methodcaller": "x",
    "types.CodeType": "x",
    "builtins.getattr": "x",
    "copyreg._reconstructor": "x",
    "joblib.load": "x",
    "socket.create_connection": "x",
    "urllib.request.urlopen": "x",
}
"""What is named, and its argument."""


def gadgets() -> dict[str, bytes]:
    """Name -> a pickle of protocol 0 that calls it; written by hand, so the name need not exist here."""
    found = {}
    for name, argument in CALLS.items():
        module, _, function = name.rpartition(".")
        found[name] = f"c{module}\n{function}\n(V{argument}\ntR.".encode()
    return found


class Runs:
    """Pickles into a call of os.system."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (TOUCH,)


def _inside_importlib() -> bytes:
    """importlib.import_module("os") on the stack, then its `system` by way of getattr."""
    return f"cbuiltins\ngetattr\n(cimportlib\nimport_module\n(Vos\ntRVsystem\ntR(V{TOUCH}\ntR.".encode()


def _build() -> bytes:
    """A dict's attributes set to a function: what BUILD does to anything."""
    return f"ccollections\nOrderedDict\n(tR(dV__setstate__\ncposix\nsystem\nsbV{TOUCH}\nb.".encode()


def _extension() -> bytes:
    return b"\x80\x02\x82\x01."


def _persistent() -> bytes:
    return b"Pfile:///etc/passwd\n."


def _deep() -> bytes:
    return b"(" * 200_000 + b"t" * 200_000 + b"."


def _claims() -> bytes:
    """A string said to be four gigabytes."""
    return b"\x80\x04B\xff\xff\xff\xffx."


def _memo() -> bytes:
    """A tuple of itself, doubled fifty times: 2^50 items where it is walked."""
    return b"\x80\x02]q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(50)) + b"."


def _nested() -> dict[str, bytes]:
    runs, paths = Runs(), ["1/0.png"]
    contents: dict[str, Any] = {
        "the whole": runs,
        "as a path": {"image_paths": [*paths, runs]},
        "as a box": {"image_paths": paths, "bboxes": [runs]},
        "in a box": {"image_paths": paths, "bboxes": [[0, 0, 9, runs]]},
        "as a key": {"image_paths": paths, runs: 1},
        "beside the paths": {"image_paths": paths, "notes": {"deep": [(runs,)]}},
        "in an array of objects": {"image_paths": np.array([*paths, runs], dtype=object)},
        "a pickle in a pickle": {"image_paths": [pickle.dumps(runs)], "more": runs},
    }
    found = {}
    for name, content in contents.items():
        found[f"{name}, in an array"] = saved(np.array(content, dtype=object))
        for protocol in (0, 2, 4, 5):
            found[f"{name}, protocol {protocol}"] = pickle.dumps(content, protocol)
    return found


NESTINGS = {
    name: content if content[:1] == b"\x80" or content[:6] == b"\x93NUMPY" else b"\x80\x00" + content
    for name, content in {
        **_nested(),
        "by way of importlib": _inside_importlib(),
        "by setting attributes": _build(),
        "by a registered extension": _extension(),
        "by a persistent id": _persistent(),
        "200,000 deep": _deep(),
        "with a string of four gigabytes": _claims(),
        "with a tuple of itself": _memo(),
    }.items()
}
"""Where in a file the call hides -> the file. `\\x80` and a number open a pickle; protocols 0 and 1 go without."""

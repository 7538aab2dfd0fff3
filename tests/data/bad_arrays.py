"""The bytes of .npy files that are none, and what is said of each."""

import io
import pickle
import struct
import zipfile

import numpy as np

from tests.data.helpers import picture

PICTURES = np.stack([picture(number, side=32) for number in range(40)])


def npy_bytes(header: str, payload: bytes = b"", version: bytes = b"\x01\x00", length: int | None = None) -> bytes:
    text = header.encode("latin1") + b"\n"
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + version + size + text + payload


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\0" * 10_000_000)
    return buffer.getvalue()


def header(shape: str, descr: str = "'|u1'", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


REFUSED = {
    "empty file": (b"", "is not an .npy file"),
    "text": (b"this is no array", "is not an .npy file"),
    "npz": (zipped(), "is an .npz archive"),
    "only the magic": (b"\x93NUMPY", "is not an .npy file"),
    "unknown version": (npy_bytes(header("(1,)"), version=b"\x09\x00"), "version 9.0"),
    "header beyond the file": (npy_bytes(header("(1,)"), length=9999), "damaged header"),
    "header of four gigabytes": (npy_bytes(header("(1,)"), version=b"\x02\x00", length=2**32 - 1), "damaged header"),
    "header that is code": (npy_bytes("__import__('os').system('true')"), "damaged header"),
    "header of brackets": (npy_bytes("(" * 5000), "damaged header"),
    "header without shape": (npy_bytes("{'descr': '|u1', 'fortran_order': False}"), "damaged header"),
    "negative shape": (npy_bytes(header("(-1, 32, 32, 3)")), "damaged header"),
    "boolean shape": (npy_bytes(header("(True, 32, 32, 3)")), "damaged header"),
    "lying header": (npy_bytes(header("(41, 32, 32, 3)"), PICTURES.tobytes()), "declares 125,952 bytes"),
    "cut short": (saved(PICTURES)[:-1], "declares 122,880 bytes of pictures and holds 122,879"),
    "more than declared": (saved(PICTURES) + b"x", "and holds 122,881"),
    "huge shape": (npy_bytes(header("(1000000000000, 32, 32, 3)")), "declares 3,072,000,000,000,000 bytes"),
    "shape beyond integers": (npy_bytes(header(f"({2**70}, 32, 32, 3)")), "damaged header"),
    "huge picture": (npy_bytes(header("(1, 100000, 100000, 3)")), "max_pixels refuse"),
    "no pictures": (saved(PICTURES[:0]), "without a single picture"),
    "one number": (saved(np.array(3.0)), "pictures are N x height"),
    "one picture": (saved(PICTURES[0]), "pictures are N x height"),
    "channels first": (saved(PICTURES.transpose(0, 3, 1, 2)), "channels first"),
    "five axes": (saved(PICTURES[None]), "pictures are N x height"),
    "two channels": (saved(PICTURES[..., :2]), "pictures are N x height"),
    "tiny pictures": (saved(PICTURES[:, :8, :8]), "data.min_side = 32"),
    "strings": (saved(np.array(["a", "b"])), "not numbers"),
    "complex": (saved(PICTURES.astype("c8")), "not numbers"),
    "booleans": (saved(PICTURES > 9), "not numbers"),
    "long doubles": (saved(PICTURES.astype(np.longdouble)), "not numbers"),
    "dates": (saved(np.zeros((4, 32, 32), "M8[s]")), "not numbers"),
    "structured": (saved(np.zeros((4, 32, 32), [("r", "u1"), ("g", "u1")])), "not numbers"),
    "floats of unknown range": (saved(PICTURES / 255), "set data.npy_range"),
    "integers of unknown range": (saved(PICTURES.astype("i8")), "holds int64; set data.npy_range"),
    "object array": (saved(np.array([{"a": 1}, None], dtype=object)), "holds no dict with image_paths"),
    "bare pickle of a list": (pickle.dumps([1, 2]), "holds no dict with image_paths"),
    "damaged pickle": (b"\x80\x04\x95junk", "is refused because it is damaged"),
    "missing key": (saved(np.array({"paths": []}, dtype=object)), "holds no dict with image_paths"),
    "paths that are text": (saved(np.array({"image_paths": "a.png"}, dtype=object)), "must be lists"),
    "boxes that are a number": (saved(np.array({"image_paths": ["a"], "bboxes": 3}, dtype=object)), "must be lists"),
    "different lengths": (
        saved(np.array({"image_paths": ["a", "b"], "bboxes": [None]}, dtype=object)),
        "has 2 image_paths and 1 bboxes",
    ),
    "no paths": (saved(np.array({"image_paths": []}, dtype=object)), "lists no pictures"),
    "all boxes None": (saved(np.array({"image_paths": ["a"], "bboxes": [None]}, dtype=object)), "every box is None"),
}

"""Every picture file ends as an upright RGB array or as one reason why not."""

import io
import os
import stat
import struct
import threading
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ear_teacher.images import BadImage, header_size, open_image, read_image
from ear_teacher.squares import read_square

RAMP = np.broadcast_to(np.linspace(0, 255, 60).astype(np.uint8)[None, :, None], (40, 60, 3)).copy()
RAMP[:, :, 1] = np.linspace(0, 255, 40).astype(np.uint8)[:, None]


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def reason_of(source: bytes | Path, **limits: int) -> str:
    with pytest.raises(BadImage) as caught:
        read_image(source, **limits)
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_give_their_pixels(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(read_image(encoded(Image.fromarray(RAMP), kind, **options)), RAMP)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {
        1: RAMP,
        2: RAMP[:, ::-1],
        3: RAMP[::-1, ::-1],
        4: RAMP[::-1],
        5: RAMP.transpose(1, 0, 2),
        6: np.rot90(RAMP, -1),
        7: RAMP[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(RAMP),
    }
    assert np.array_equal(read_image(encoded(Image.fromarray(RAMP), exif=exif)), turned[orientation])


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_impossible_orientation_is_ignored(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert read_image(encoded(Image.fromarray(RAMP), exif=exif)).shape == RAMP.shape


def test_damaged_exif_does_not_cost_the_picture() -> None:
    jpeg = encoded(Image.fromarray(RAMP), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 40)
    assert read_image(jpeg).shape == RAMP.shape


def test_grey_palette_cmyk_and_one_bit_pictures_become_rgb() -> None:
    image = Image.fromarray(RAMP)
    assert np.array_equal(read_image(encoded(image.convert("L"))), np.asarray(image.convert("L").convert("RGB")))
    palette = image.quantize(64)
    assert np.array_equal(read_image(encoded(palette)), np.asarray(palette.convert("RGB")))
    cmyk = read_image(encoded(image.convert("CMYK"), "JPEG", quality=95))
    assert np.abs(cmyk.astype(int) - RAMP).mean() < 6
    assert set(np.unique(read_image(encoded(image.convert("1"))))) == {0, 255}


@pytest.mark.parametrize(("dtype", "kind"), [(np.uint16, "PNG"), (np.uint16, "TIFF"), (np.int32, "TIFF")])
def test_sixteen_bit_grey_is_scaled_not_clipped(dtype: type, kind: str) -> None:
    deep = np.linspace(0, 65535, 60).astype(dtype)[None].repeat(40, axis=0)
    pixels = read_image(encoded(Image.fromarray(deep), kind))
    assert np.array_equal(pixels[:, :, 0], np.rint(deep / 257).astype(np.uint8))


def test_floating_point_pictures_count_as_0_to_1_or_are_refused() -> None:
    values = np.linspace(0, 1, 2400, dtype=np.float32).reshape(40, 60)
    assert np.array_equal(read_image(encoded(Image.fromarray(values), "TIFF"))[:, :, 0], np.rint(values * 255))
    assert "outside 0..1" in reason_of(encoded(Image.fromarray(values * 9), "TIFF"))
    values[0, 0] = np.nan
    assert "outside 0..1" in reason_of(encoded(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "palette"])
def test_transparent_pixels_are_black_whatever_colour_hides_under_them(mode: str) -> None:
    rgba = np.dstack([np.full((40, 60, 3), 200, np.uint8), np.full((40, 60), 255, np.uint8)])
    rgba[:, :30, 3] = 0
    image = Image.fromarray(rgba)
    image = image.convert("LA") if mode == "LA" else image.quantize(4) if mode == "palette" else image
    pixels = read_image(encoded(image))
    assert pixels[:, :30].max() == 0
    assert pixels[:, 30:].min() >= 198
    square = read_square(encoded(image), 32)
    assert square.shape == (32, 32, 3)
    assert square[:, :12].max() <= 25  # the hidden colour does not bleed through the filter


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert read_image(data)[20, 20, 0] > 200
        assert read_image(data)[20, 20, 2] < 60


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "ear.jpg"
    path.write_bytes(encoded(Image.fromarray(RAMP), "PNG"))
    assert np.array_equal(read_image(path), RAMP)


JPEG = encoded(Image.fromarray(RAMP), "JPEG")
PNG = encoded(Image.fromarray(RAMP), "PNG")
BROKEN = {
    "empty": (b"", "not a picture in a known format"),
    "text": (b"hello, I am a text", "not a picture in a known format"),
    "svg": (b"<svg xmlns='x' width='9' height='9'/>", "not a picture in a known format"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n", "not a picture in a known format"),
    "zip": (b"PK\x03\x04" + b"\0" * 100, "not a picture in a known format"),
    "most of a jpeg": (JPEG[: len(JPEG) * 9 // 10], "truncated picture"),
    "half a png": (PNG[: len(PNG) // 2], "truncated picture"),
    "png with a wrong checksum": (PNG[:60] + b"\xff\xff" + PNG[62:], "damaged picture"),
    "0 x 0": (png_claiming(0, 0), "not a picture in a known format"),
    "bmp without pixels": (
        b"BM" + struct.pack("<IHHIIiiHHIIIIII", 54, 0, 0, 54, 40, 0, 0, 1, 24, 0, 0, 0, 0, 0, 0),
        "",
    ),
    "30,000 x 30,000": (png_claiming(30_000, 30_000), "more than 64,000,000 pixels"),
    "2 billion x 2 billion": (png_claiming(2**31 - 1, 2**31 - 1), "more than 64,000,000 pixels"),
    "9,000 x 9,000": (png_claiming(9_000, 9_000), "more than 64,000,000 pixels"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pictures_give_their_reason_at_once_without_a_warning(name: str) -> None:
    data, reason = BROKEN[name]
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = reason_of(data)
    assert found == reason or (not reason and found)
    assert time.perf_counter() - start < 2


def test_a_text_bomb_in_a_png_is_refused() -> None:
    bomb = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 80_000_000, 9))
    assert reason_of(PNG[:33] + bomb + PNG[33:]) in ("damaged picture", "not a picture in a known format")


def test_limits_are_checked_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: Image.Image) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", forbidden)
    assert reason_of(PNG, max_pixels=2399) == "more than 2,399 pixels"
    assert reason_of(PNG, min_side=41) == "shorter side under 41 px"


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "nothing").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    assert reason_of(tmp_path / "a") == "link that leads in a circle"
    assert reason_of(tmp_path / "missing") == "file not found"
    assert reason_of(tmp_path / "nothing") == "empty file"
    assert reason_of(tmp_path / "pipe.jpg") == "not a regular file"
    assert reason_of(tmp_path) == "not a regular file"
    assert reason_of(Path("/dev/zero")) == "not a regular file"
    with pytest.raises(BadImage):
        read_image("a\0b")


@pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ear.png"
    path.write_bytes(PNG)
    path.chmod(stat.S_IWUSR)
    assert reason_of(path) == "no permission to read the file"


def test_the_header_tells_the_size_without_decoding(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png_claiming(12_000, 11_000))
    assert header_size(path) == (12_000, 11_000)
    path.write_bytes(b"no picture")
    with pytest.raises(BadImage):
        header_size(path)


def test_warning_filters_are_as_before_when_several_threads_have_read() -> None:
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [read_image(PNG) for _ in range(30)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


@settings(max_examples=200)
@given(st.sampled_from([JPEG, PNG]), st.integers(0, 10**6), st.binary(max_size=12), st.booleans())
def test_no_mutation_of_a_file_does_more_than_be_read_or_refused(good: bytes, at: int, junk: bytes, cut: bool) -> None:
    at %= len(good)
    try:
        image = open_image(good[:at] + junk + (b"" if cut else good[at + len(junk) :]), max_pixels=1_000_000)
    except BadImage:
        return
    assert image.mode in ("RGB", "RGBa")

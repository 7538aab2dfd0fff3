"""One bad picture among twenty good ones, and good ones that look bad."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageSequence

from ear_teacher.data import PreparedData
from tests.data.helpers import picture
from tests.torture.cases import Accepted, Case, Command, Quarantined, Refused

PROJECT = Path(__file__).parents[2]
SIDE = 32
PIXELS = picture(7, SIDE)
PEOPLE, EACH = 10, 2

DAMAGED = ("truncated picture", "damaged picture", "not a picture in a known format", "empty file", "without pixels")


def project(folder: Path, **data: object) -> None:
    """A params.yaml whose pictures lie in `photos`, small ones."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["data"] |= {"source": "folder", "path": "photos", "image_size": SIDE, **data}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def good_pictures(folder: Path) -> None:
    for person in range(1, PEOPLE + 1):
        (folder / "photos" / str(person)).mkdir(parents=True)
        for number in range(EACH):
            Image.fromarray(picture(100 * person + number, SIDE)).save(folder / f"photos/{person}/{number}.png")


def prepare(folder: Path) -> Command:
    from stages import prepare as stage

    return stage.main


def cases() -> Iterator[Case]:
    """Every format cut short, every checksum broken, classics; then what must come through, and how."""
    for name, content in encodings().items():
        for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9):
            if not (name in ("gif", "pgm") and share > 1):
                cut = content[: max(int(share * len(content)), 1)]
                yield _bad(f"{name} cut at {share:.0%}", f"cut.{name}", cut)
    whole = encodings()["png"]
    chance = random.Random(0)
    for number in range(40):
        # Every byte after the signature is a length, a name, data or a checksum: none may change.
        place = chance.randrange(8, len(whole))
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << chance.randrange(8)
        yield _bad(f"png with a flipped bit {number}", "flipped.png", bytes(spoilt))
    for number in range(10):
        yield _bad(f"random bytes {number}", "random.jpg", chance.randbytes(chance.randrange(1, 4000)))
    for number in range(10):
        yield _bad(f"jpeg with random bytes in its header {number}", "head.jpg", _spoilt_jpeg(chance))
    yield from _classics()
    yield from _hostile()
    yield from _welcome()


def _case(
    name: str, put: Callable[[Path], None], outcome: Accepted | Quarantined | Refused, hostile: bool = False
) -> Case:
    def write(folder: Path) -> None:
        project(folder)
        good_pictures(folder)
        put(folder / "photos/3")

    return Case(name, "image", write, prepare, outcome, hostile)


def _bad(name: str, file: str, content: bytes, reason: tuple[str, ...] = DAMAGED, hostile: bool = False) -> Case:
    return _case(name, lambda place: (place / file).write_bytes(content) and None, Quarantined(file, reason), hostile)


def _encoded(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(buffer, kind, **options)
    return buffer.getvalue()


def encodings() -> dict[str, bytes]:
    """The same picture in every format."""
    return {
        "png": _encoded("PNG"),
        "jpg": _encoded("JPEG", quality=95),
        "webp": _encoded("WEBP", lossless=True),
        "gif": _encoded("GIF", Image.fromarray(PIXELS).quantize(256)),
        "bmp": _encoded("BMP"),
        "tiff": _encoded("TIFF", compression="tiff_lzw"),
        "ppm": _encoded("PPM"),
        "avif": _encoded("AVIF", quality=90),
    }


def _spoilt_jpeg(chance: random.Random) -> bytes:
    """The start-of-frame segment overwritten: no decoder can know the picture's size."""
    content = bytearray(encodings()["jpg"])
    frame = content.index(b"\xff\xc0")
    content[frame + 2 : frame + 19] = chance.randbytes(17)
    content[frame + 5 : frame + 9] = b"\x00\x00\x00\x00"
    return bytes(content)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _png(width: int, height: int, rows: bytes, *extra: bytes, depth: int = 1, colour: int = 0) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b"".join([_chunk(b"IHDR", head), *extra, _chunk(b"IDAT", rows), _chunk(b"IEND", b"")])
    return b"\x89PNG\r\n\x1a\n" + body


def _classics() -> Iterator[Case]:
    whole = encodings()
    texts = {
        "text": b"this is no picture\n",
        "a web page": b"<!DOCTYPE html><html><body>404</body></html>",
        "a vector drawing": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "a document": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
        "an archive": b"PK\x05\x06" + bytes(18),
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(photos) run\n",
        "a gzip file": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        "an icon": _encoded("ICO"),
        "zeros": bytes(5000),
        "a photo's name only": b"photo.jpg",
        "two signatures": whole["jpg"][:20] + whole["png"],
    }
    for name, content in texts.items():
        yield _bad(f"{name} named .jpg", "named.jpg", content)
    yield _bad("an empty file", "empty.png", b"", ("empty file",))
    for suffix in ("heic", "psd", "jp2", "jxl"):
        yield _bad(f"text named .{suffix}", f"named.{suffix}", b"no picture")
    bmp = bytearray(whole["bmp"])
    bmp[18:26] = bytes(8)
    yield _bad("a bmp of 0 x 0", "zero.bmp", bytes(bmp))
    yield _bad("a png of 0 x 0", "zero.png", _png(0, 0, zlib.compress(b"")))
    yield _bad("a png of 32 x 0", "zero.png", _png(32, 0, zlib.compress(b"")))
    yield _bad("a gif of 0 x 0", "zero.gif", b"GIF89a" + bytes(7) + b";")
    yield _bad("a ppm of 0 x 0", "zero.ppm", b"P6\n0 0\n255\n")
    yield _bad("a ppm of negative size", "minus.ppm", b"P6\n-4 -4\n255\n")
    yield _bad(
        "a png of 8 x 8", "small.png", _encoded("PNG", Image.fromarray(PIXELS[:8, :8])), ("shorter side under 32",)
    )
    yield _bad("a png of 32 x 1", "thin.png", _encoded("PNG", Image.fromarray(PIXELS[:1])), ("shorter side under 32",))
    yield _bad("a png without data", "hollow.png", _png(32, 32, b""))
    yield _bad("a png with rows missing", "short.png", _png(32, 32, zlib.compress(bytes(20))))
    numbers = np.full((SIDE, SIDE), np.nan, np.float32)
    yield _bad("a tiff of NaN", "nan.tiff", _encoded("TIFF", Image.fromarray(numbers)), ("outside",))
    yield _bad(
        "a tiff of floats up to 9", "nine.tiff", _encoded("TIFF", Image.fromarray(numbers * 0 + 9)), ("outside",)
    )

    def link(target: str) -> Callable[[Path], None]:
        return lambda place: (place / "link.png").symlink_to(target)

    leaves = ("leaves data.path or leads nowhere",)
    yield _case("a link to itself", link("link.png"), Quarantined("link.png", (*leaves, "circle")))
    yield _case("a link to nothing", link("nothing.png"), Quarantined("link.png", leaves))
    yield _case("a link to a device", link("/dev/zero"), Quarantined("link.png", leaves), hostile=True)
    yield _case("a link out of the folder", link("../../params.yaml"), Quarantined("link.png", leaves), hostile=True)
    yield _case(
        "a pipe", lambda place: os.mkfifo(place / "pipe.png"), Quarantined("pipe.png", ("regular",)), hostile=True
    )
    yield _case(
        "a linked folder", lambda place: (place / "sub").symlink_to(".."), Quarantined("sub", ("not followed",))
    )
    if os.geteuid() != 0:  # root may read all

        def locked(place: Path) -> None:
            (place / "locked.png").write_bytes(whole["png"])
            (place / "locked.png").chmod(0)

        yield _case("an unreadable file", locked, Quarantined("locked.png", ("permission",)))

    def without(folder: Path) -> None:
        project(folder)

    def hollow(folder: Path) -> None:
        project(folder)
        (folder / "photos").mkdir()

    def spoilt(folder: Path) -> None:
        project(folder)
        good_pictures(folder)
        for person in range(1, 4):
            (folder / f"photos/{person}/bad.png").write_bytes(b"no picture")

    def a_file(folder: Path) -> None:
        project(folder)
        (folder / "photos").write_bytes(b"")

    def no_match(folder: Path) -> None:
        project(folder, person_regex=r"p(\d{9})")
        good_pictures(folder)

    for name, write, names in (
        ("no folder", without, ("photos",)),
        ("a folder without pictures", hollow, ("photos",)),
        ("a file in place of the folder", a_file, ("photos",)),
        ("more bad pictures than admitted", spoilt, ("max_bad_fraction",)),
        ("a person_regex that finds nobody", no_match, ("person_regex",)),
    ):
        yield Case(name, "image", write, prepare, Refused(names))


def bombs() -> dict[str, bytes]:
    """Pictures that try to exhaust the machine: far more pixels or bytes than the file is long."""
    rows = zlib.compress(bytes(30_000 * (1 + 30_000 // 8)), 9)
    bomb = zlib.compress(bytes(300_000_000), 9)
    found = {
        "a png of 30,000 x 30,000": _png(30_000, 30_000, rows),
        "a png of 2^31 x 2^31": _png(2**31 - 1, 2**31 - 1, zlib.compress(b"")),
        "300 MB of text in a png": _png(32, 32, zlib.compress(bytes(160)), _chunk(b"zTXt", b"Comment\x00\x00" + bomb)),
        "300 MB of profile in a png": _png(32, 32, zlib.compress(bytes(160)), _chunk(b"iCCP", b"icc\x00\x00" + bomb)),
        "300 MB behind 32 rows": _png(64, 64, bomb[:-4] + bytes(4)),
        "a ppm of 10^9 x 10^9": b"P6\n1000000000 1000000000\n255\n",
    }
    sizes = {
        "gif": (6, b"\xff\xff\xff\xff"),
        "bmp": (18, struct.pack("<ii", 2**30, 2**30)),
        "png": (33, b"\x7f\xff\xff\xff"),
    }
    for kind, (place, huge) in sizes.items():
        content = bytearray(encodings()[kind])
        content[place : place + len(huge)] = huge
        found[f"a {kind} that claims to be huge"] = bytes(content)
    jpeg = bytearray(encodings()["jpg"])
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
    return found | {"a jpg that claims to be huge": bytes(jpeg)}


def _hostile() -> Iterator[Case]:
    for name, content in bombs().items():
        reasons = ("pixels", "damaged", "truncated", "known format")
        yield _bad(name, f"huge.{name.split()[1] if name[0] == 'a' else 'png'}", content, reasons, hostile=True)


def _welcome() -> Iterator[Case]:
    """Odd and right: the pixels that come out are known beforehand."""
    whole = encodings()
    for name in ("png", "webp", "bmp", "tiff", "ppm"):
        yield _good(f"a {name}", f"good.{name}", whole[name], PIXELS, 0)
    yield _good("a jpeg", "good.jpg", whole["jpg"], PIXELS, 12)
    yield _good("a progressive jpeg", "good.jpg", _encoded("JPEG", quality=95, progressive=True), PIXELS, 12)
    yield _good("an avif", "good.avif", whole["avif"], PIXELS, 25)
    colour = Image.fromarray(PIXELS)
    grey = np.asarray(colour.convert("L"))
    three = np.repeat(grey[..., None], 3, 2)
    yield _good("a grey png", "good.png", _encoded("PNG", Image.fromarray(grey)), three, 0)
    yield _good("a grey jpeg", "good.jpg", _encoded("JPEG", Image.fromarray(grey), quality=95), three, 12)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    yield _good("a 16-bit png", "good.png", _encoded("PNG", deep), three, 0)
    few = colour.quantize(16)
    yield _good("a palette png", "good.png", _encoded("PNG", few), np.asarray(few.convert("RGB")), 0)
    yield _good("a palette gif", "good.gif", _encoded("GIF", few), np.asarray(few.convert("RGB")), 0)
    black = (grey > 127).astype(np.uint8) * 255
    ink = np.repeat(black[..., None], 3, 2)
    yield _good("a 1-bit png", "good.png", _encoded("PNG", Image.fromarray(black).convert("1", dither=0)), ink, 0)
    odd = PIXELS[:, :, 0]
    for depth, mode in ((1, "1"), (8, "L"), (8, "RGB")):
        woven = (
            _encoded("PNG", colour.convert(mode))
            if mode == "RGB"
            else _encoded("PNG", Image.fromarray(odd).convert(mode))
        )
        shown = np.asarray(Image.open(io.BytesIO(woven)).convert("RGB"))
        yield _good(f"a png of mode {mode}, {depth} bit", "good.png", woven, shown, 0)
    yield _good("an interlaced png", "woven.png", _adam7(PIXELS), PIXELS, 0)
    opaque = np.dstack([PIXELS, np.full((SIDE, SIDE), 255, np.uint8)])
    yield _good("an opaque png with alpha", "good.png", _encoded("PNG", Image.fromarray(opaque)), PIXELS, 0)
    half = opaque.copy()
    half[:, :, 3] = 0
    yield _good("a transparent png", "good.png", _encoded("PNG", Image.fromarray(half)), PIXELS * 0, 0)
    yield _good("a CMYK jpeg", "good.jpg", _encoded("JPEG", colour.convert("CMYK"), quality=97), PIXELS, 16)
    yield _good("a jpeg named .png", "named.png", whole["jpg"], PIXELS, 12)
    yield _good("a png named .JPG", "NAMED.JPG", whole["png"], PIXELS, 0)
    yield _good("a png with bytes behind its end", "tail.png", whole["png"] + b"tail" * 50, PIXELS, 0)
    others = [Image.fromarray(picture(seed, SIDE)) for seed in (11, 12)]
    for kind, suffix in (("PNG", "apng"), ("WEBP", "webp"), ("TIFF", "tiff")):
        options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
        several = _encoded(kind, save_all=True, append_images=others, **options)
        assert len(list(ImageSequence.Iterator(Image.open(io.BytesIO(several))))) == 3
        yield _good(f"the first of several frames in a {suffix}", f"frames.{suffix}", several, PIXELS, 0)
    for turn in range(1, 9):
        yield _good(f"orientation {turn}", "turned.png", _oriented(turn), PIXELS, 0)
    exif = Image.Exif()
    exif[0x0112] = 99
    yield _good("an orientation of 99", "turned.png", _encoded("PNG", exif=exif), PIXELS, 0)
    yield _good("damaged EXIF", "exif.png", _encoded("PNG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff"), PIXELS, 0)
    names = [
        "耳.png", "é\u0301.png", "👂.png", "an ear.png", "-rf.png", "a'b\"c.png", "%2e%2e.png",
        "$(touch x).png", "a;b.png", "שלום.png", "ear.jpg.png", "x" * 200 + ".png", "a,b.png",
        "line\nend.png", "tab\t.png", "CON.png",
    ]  # fmt: skip
    for name in names:
        yield _good(f"a file named {name[:20]!r}", name, whole["png"], PIXELS, 0)


def _adam7(pixels: np.ndarray) -> bytes:
    """An interlaced PNG: seven passes, each row without a filter (PNG specification, section 8.2)."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b"".join(b"\x00" + row.tobytes() for x, y, dx, dy in passes for row in pixels[y::dy, x::dx])
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    parts = [_chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(rows)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _oriented(turn: int) -> bytes:
    """A file that shows PIXELS once it is turned as its EXIF says (EXIF 2.3, table of the tag Orientation)."""
    rows_then_columns = turn >= 5
    stored = PIXELS.transpose(1, 0, 2) if rows_then_columns else PIXELS
    flips = {1: "", 2: "x", 3: "xy", 4: "y", 5: "", 6: "y", 7: "xy", 8: "x"}[turn]
    # Orientation 6: the stored top row is the picture's right side, the stored left column its top.
    stored = stored[::-1] if "y" in flips else stored
    stored = stored[:, ::-1] if "x" in flips else stored
    exif = Image.Exif()
    exif[0x0112] = turn
    return _encoded("PNG", Image.fromarray(np.ascontiguousarray(stored)), exif=exif)


def _good(name: str, file: str, content: bytes, wanted: np.ndarray, tolerance: int) -> Case:
    def right(folder: Path) -> None:
        data = PreparedData.load(folder / "data/prepared")
        assert len(data.index) == PEOPLE * EACH + 1, "it was left out"
        rest = {f"{person}/{number}.png" for person in range(1, PEOPLE + 1) for number in range(EACH)}
        (row,) = [row for row, listed in enumerate(data.index["file"]) if listed not in rest]
        assert str(data.index["person"][row]) == "3", data.index["person"][row]
        worst = int(np.abs(data.images[row].astype(int) - wanted.astype(int)).max())
        assert worst <= tolerance, f"a pixel is off by {worst} levels"

    return _case(name, lambda place: (place / file).write_bytes(content) and None, Accepted(right))

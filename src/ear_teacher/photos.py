"""Pictures of a folder or an .npy file as one array, without params, people or splits.

with read_bare(Path("photos"), size=128) as (images, skipped):
    ...                                            # uint8 (N, 128, 128, 3), memory-mapped
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ear_teacher.config import DataConfig, UserError
from ear_teacher.data.arrays import ArrayWriter
from ear_teacher.data.sources import open_source


@contextmanager
def read_bare(path: Path, size: int, npy_range: str = "auto") -> Iterator[tuple[NDArray[np.uint8], Counter[str]]]:
    """Read pictures in order of their names into a temporary file.

    Args:
        path: a folder of pictures, an .npy array N x H x W (x 3) or an .npy dict of image paths and boxes.
        size: side in pixels they are scaled to.
        npy_range: value range of a float array: 0..1, 0..255, -1..1.

    Yields:
        The array, read-only, until the block ends; and the reasons why pictures were left out, counted.

    Raises:
        UserError: there is nothing to read.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such folder or file; give a folder of pictures or an .npy file.")
    source = {"source": "folder", "path": str(path)}
    if path.is_file():
        if path.suffix != ".npy":
            raise UserError(f"{path}: is neither a folder nor an .npy file; give the folder the picture is in.")
        source = {"source": "npy", "path": str(path.parent), "train_npy": path.name, "npy_range": npy_range}
    try:
        config = DataConfig.model_validate({**source, "image_size": size})
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{first['loc'][-1]} = {first['input']} is not allowed: {first['msg']}.") from None
    skipped: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pictures.npy"
        with ArrayWriter(file, (size, size, 3)) as writer:
            for picture in open_source(config).pictures:
                if picture.square.pixels is None:
                    skipped[picture.square.reason] += 1
                else:
                    writer.append(picture.square.pixels)
        if writer.count == 0:
            why = f" ({skipped.most_common(1)[0][0]})" if skipped else ""
            raise UserError(f"{path}: holds no picture that can be read{why}; give a folder of photos.")
        yield np.load(file, mmap_mode="r"), skipped

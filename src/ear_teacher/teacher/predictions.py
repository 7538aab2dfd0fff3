"""Found landmarks, written and drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ear_teacher.files import write_atomically

CONVENTION = "pixels of the upright picture; the centre of its upper left pixel is 0, 0; x to the right, y down"


def write_predictions(
    path: Path,
    names: Sequence[str],
    files: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    points: NDArray[np.floating],
    boxes: Sequence[Sequence[float] | None] | None = None,
) -> None:
    """Write found landmarks as JSON, whole or not at all.

    Args:
        path: the file.
        names: of the K points.
        files: of the N pictures, as their user named them.
        sizes: width and height of each upright picture.
        points: (N, K, 2) x and y in pixels of the picture.
        boxes: left, top, width, height that each picture was cut to, if any.
    """
    pictures: list[dict[str, Any]] = []
    for i, (file, (width, height)) in enumerate(zip(files, sizes, strict=True)):
        box = None if boxes is None or boxes[i] is None else [float(value) for value in boxes[i] or ()]
        found = [[round(float(x), 3), round(float(y), 3)] for x, y in points[i]]
        pictures.append({"file": file, "width": width, "height": height, "box": box, "points": found})
    content = {"coordinates": CONVENTION, "names": list(names), "pictures": pictures}
    write_atomically(path, json.dumps(content, indent=1) + "\n")

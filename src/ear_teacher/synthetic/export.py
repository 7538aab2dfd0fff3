"""Writing a synthetic data set as files.

DIR/images/p0003_00012.png      photo 12, of person 3
DIR/regions/p0003_00012.png     its label map, 8-bit greyscale holding 0 to 5
DIR/landmarks.csv               file, then name_x, name_y, name_visible for every landmark
DIR/landmarks55.csv             file, then x_0, y_0, visible_0 to visible_54: the 55-point scheme
DIR/index.csv                   file, then the columns of `Sample.record`
"""

import csv
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from ear_teacher.config import SyntheticConfig, UserError
from ear_teacher.synthetic.landmarks import LANDMARK_NAMES
from ear_teacher.synthetic.sequence import synthesize


def write_dataset(
    config: SyntheticConfig,
    image_size: int,
    out_dir: Path,
    progress: Callable[[int], None] | None = None,
    workers: int = 0,
    limit: int | None = None,
) -> None:
    """Render the data set into a folder that does not exist yet or is empty: all of it, or nothing.

    Args:
        config: the data set.
        image_size: side of the pictures in pixels.
        out_dir: the folder to make. Its parent folders are made too.
        progress: called after each image with the number written so far.
        workers: as in `synthesize`.
        limit: write only the first so many pictures.

    Raises:
        UserError: the folder already holds something, or cannot be written.
    """
    out_dir = Path(out_dir)
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise UserError(f"{out_dir} already exists and is not an empty folder; choose another one or remove it first.")
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        # In the same parent, so that the final rename stays within one file system.
        partial = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.", dir=out_dir.parent))
    except OSError as error:
        raise UserError(f"{out_dir} cannot be created ({error.strerror}); choose another place.") from None
    try:
        _write_all(config, image_size, partial, progress, workers, limit)
        partial.chmod(0o755)
        partial.replace(out_dir)
    except OSError as error:
        raise UserError(f"{out_dir} could not be written ({error.strerror}); nothing was left behind.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_all(
    config: SyntheticConfig,
    image_size: int,
    folder: Path,
    progress: Callable[[int], None] | None,
    workers: int,
    limit: int | None,
) -> None:
    (folder / "images").mkdir()
    (folder / "regions").mkdir()
    with ExitStack() as files:
        marks, marks55, index = (
            csv.writer(files.enter_context((folder / name).open("w", newline="", encoding="utf-8")))
            for name in ("landmarks.csv", "landmarks55.csv", "index.csv")
        )
        marks.writerow(["file", *(f"{name}_{part}" for name in LANDMARK_NAMES for part in ("x", "y", "visible"))])
        marks55.writerow(["file", *(f"{part}_{k}" for k in range(55) for part in ("x", "y", "visible"))])
        for count, sample in enumerate(islice(synthesize(config, image_size, workers), limit), start=1):
            if count == 1:
                index.writerow(["file", *sample.record])
            file = f"p{sample.record['person']:04d}_{sample.record['index']:05d}.png"
            Image.fromarray(sample.image).save(folder / "images" / file)
            Image.fromarray(sample.regions).save(folder / "regions" / file)
            marks.writerow([file, *_landmark_cells(sample.landmarks)])
            marks55.writerow([file, *_landmark_cells(sample.landmarks55)])
            index.writerow([file, *sample.record.values()])
            if progress is not None:
                progress(count)


def _landmark_cells(landmarks: np.ndarray) -> list[str]:
    return [cell for x, y, visible in landmarks for cell in (f"{x:.2f}", f"{y:.2f}", str(int(visible)))]

"""The contact sheet: some pictures of every split at a glance."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ear_teacher.data.arrays import PreparedData
from ear_teacher.data.split import SPLITS

_LINE = 18


def contact_sheet(data: PreparedData, columns: int = 10, rows: int = 2, side: int = 96) -> Image.Image:
    """A picture with a block per split: a title line and `rows` x `columns` pictures, evenly spaced over the split.

    Args:
        data: the prepared pictures.
        columns: pictures side by side.
        rows: lines of pictures in a split.
        side: pixels of one picture.
    """
    block = _LINE + rows * side
    sheet = Image.new("RGB", (columns * side, len(SPLITS) * block), "white")
    draw = ImageDraw.Draw(sheet)
    for number, split in enumerate(SPLITS):
        top = number * block
        members = data.rows(split)
        people = data.index["person"].iloc[members]
        known = people[people != ""].nunique()
        title = f"{split}: {len(members)} pictures" + (f" of {known} people" if known else "")
        draw.text((4, top + 3), title, fill="black")
        for place, row in enumerate(data.rows(split, columns * rows)):
            picture = Image.fromarray(np.asarray(data.images[row])).resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(picture, (place % columns * side, top + _LINE + place // columns * side))
    return sheet

"""Pictures from a folder, the user's npy files or the renderer, checked, split and kept as one array.

prepare(config.data, Path("data/prepared"))
data = PreparedData.load(Path("data/prepared"))
batch = to_tensor(data.images[data.rows("val", limit=20)])
"""

from ear_teacher.data.arrays import PreparedData, to_tensor, to_uint8
from ear_teacher.data.prepare import prepare
from ear_teacher.data.sheet import contact_sheet

__all__ = ["PreparedData", "contact_sheet", "prepare", "to_tensor", "to_uint8"]

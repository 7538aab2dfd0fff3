"""PYTHONPATH=src python studies/photos/prepare.py 128

Read the photos behind the link studies/photos/raw (EarVN1.0, named earvn1_<person>_<photo>.jpg) for the other studies:
split by the person's number mod 7 (3 tests, 5 validates), written to studies/photos/<size>. The studies' `make` targets
set the link from PHOTOS=<folder>.
"""

import json
import sys
from pathlib import Path

from ear_teacher.config import DataConfig
from ear_teacher.data import prepare
from ear_teacher.stage import run

LINK = Path("studies/photos/raw")


def main() -> None:
    size = int(sys.argv[1])
    config = DataConfig.model_validate(
        {"source": "folder", "path": str(LINK), "person_regex": r"earvn1_(\d+)_", "image_size": size}
    )
    found = prepare(config, Path(f"studies/photos/{size}"))
    print(json.dumps({key: found[key] for key in ("source", "image_size", "pictures", "warnings") if key in found}))


if __name__ == "__main__":
    run(main)

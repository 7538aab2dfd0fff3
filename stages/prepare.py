"""python stages/prepare.py

Read, check and split the pictures; write them as one array, with an index and a contact sheet.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from ear_teacher.config import load_config
from ear_teacher.data import PreparedData, contact_sheet, prepare
from ear_teacher.data.sources import Picture
from ear_teacher.files import write_atomically
from ear_teacher.pictures import write_jpeg
from ear_teacher.stage import run


def main() -> None:
    config = load_config("params.yaml")

    def progress(pictures: Iterable[Picture], total: int) -> Iterable[Picture]:
        return tqdm(pictures, desc="prepare", unit="picture", total=total, mininterval=1)

    out = Path("data/prepared")
    metrics = prepare(config.data, out, wrap=progress)
    for warning in metrics["warnings"]:
        tqdm.write(f"Warning: {warning}", file=sys.stderr)
    write_atomically(Path("metrics/data.json"), json.dumps(metrics, indent=2) + "\n")
    write_jpeg(contact_sheet(PreparedData.load(out)), Path("plots/contact_sheet.jpg"))


if __name__ == "__main__":
    run(main)

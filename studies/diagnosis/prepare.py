"""PYTHONPATH=src python studies/diagnosis/prepare.py

Render the synthetic ears that the planted faults are trained on.
"""

from pathlib import Path

from ear_teacher.config import DataConfig, SyntheticConfig
from ear_teacher.data import prepare
from ear_teacher.stage import run

SIDE = 64


def main() -> None:
    ears = SyntheticConfig(people=140, images_per_person=5)
    prepare(DataConfig(image_size=SIDE, synthetic=ears), Path("studies/diagnosis/data"))


if __name__ == "__main__":
    run(main)

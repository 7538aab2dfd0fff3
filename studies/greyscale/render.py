"""PYTHONPATH=src python studies/greyscale/render.py

Render the ears of this study, all in colour, at 64 px into studies/greyscale/pictures.
"""

from pathlib import Path

from ear_teacher.config import DataConfig, SyntheticConfig
from ear_teacher.data import prepare
from ear_teacher.stage import run


def main() -> None:
    ears = SyntheticConfig(people=140, images_per_person=6, grey_fraction=0.0)
    found = prepare(DataConfig(image_size=64, synthetic=ears), Path("studies/greyscale/pictures"))
    print(f"{found['pictures']} pictures of {found['people']} people.")


if __name__ == "__main__":
    run(main)

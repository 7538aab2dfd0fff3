"""PYTHONPATH=src python studies/forecast/fit.py

Fit the linear code all runs of this study share: the 4x4 KLT of the training people's photos, 1,024 floats.
"""

from pathlib import Path

from ear_teacher.data import PreparedData
from ear_teacher.linear import fit_codes
from ear_teacher.stage import run


def main() -> None:
    data = PreparedData.load(Path("studies/photos/128"))
    out = Path("studies/forecast/code")
    out.mkdir(parents=True, exist_ok=True)
    fit_codes(data.images, data.rows("train"), (4,), 1024)[4].save(out / "4x4.safetensors")


if __name__ == "__main__":
    run(main)

"""python stages/linear.py

Fit the linear codes of the training split: PCA of whole pictures, KLT of the patches of each latent layout.
"""

from pathlib import Path

from ear_teacher.config import LAYOUT_GRID, load_config
from ear_teacher.data import PreparedData
from ear_teacher.linear import fit_codes
from ear_teacher.stage import run


def main() -> None:
    config = load_config()
    data = PreparedData.load(Path("data/prepared"))
    rows = data.rows("train")
    out = Path("data/linear")
    out.mkdir(parents=True, exist_ok=True)
    codes = fit_codes(data.images, rows, LAYOUT_GRID.values(), config.linear.max_floats)
    for layout, grid in LAYOUT_GRID.items():
        codes[grid].save(out / f"{layout}.safetensors")


if __name__ == "__main__":
    run(main)

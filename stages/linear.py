"""python stages/linear.py

Fit the linear codes of the training split: PCA of whole pictures, KLT of the patches of each latent layout.
"""

from pathlib import Path

from ear_teacher.config import LAYOUT_GRID, load_config
from ear_teacher.data import PreparedData
from ear_teacher.linear import fit_klt, fit_pca
from ear_teacher.stage import run


def main() -> None:
    config = load_config()
    data = PreparedData.load(Path("data/prepared"))
    rows = data.rows("train")
    out = Path("data/linear")
    out.mkdir(parents=True, exist_ok=True)
    for layout, grid in LAYOUT_GRID.items():
        if layout == "vector":
            code = fit_pca(data.images, rows, config.linear.max_floats)
        else:
            code = fit_klt(data.images, rows, grid, -(-config.linear.max_floats // grid**2))
        code.save(out / f"{layout}.safetensors")


if __name__ == "__main__":
    run(main)

"""python stages/report.py

Make the report: one page that shows and compares what the pipeline measured, and the directions for the playground.
"""

from pathlib import Path

import torch

from ear_teacher.config import LAYOUT_GRID, VARIANTS, load_config
from ear_teacher.data import PreparedData
from ear_teacher.data.shards import image_files
from ear_teacher.files import write_atomically
from ear_teacher.linear import LinearCode
from ear_teacher.models import EarVAE
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.report.build import build, digest
from ear_teacher.report.latent import save_directions
from ear_teacher.report.results import read_results
from ear_teacher.stage import run


def main() -> None:
    torch.set_num_threads(1)  # the page's bytes then do not depend on the machine's cores
    data = PreparedData.load(Path("data/prepared"))
    models = {name: EarVAE.load(Path("models") / name) for name in VARIANTS}
    codes = {
        "pca" if layout == "vector" else f"klt_{layout}": LinearCode.load(Path("data/linear") / f"{layout}.safetensors")
        for layout in LAYOUT_GRID
    }
    files = [*(file.as_posix() for file in image_files(Path("data/prepared"))), "data/prepared/index.csv"]
    files += [f"models/{name}/model.safetensors" for name in VARIANTS]
    page, directions = build(
        read_results(Path(".")),
        load_config(),
        data,
        models,
        codes,
        load_lpips("alex", Path("data/weights/perceptual") / TRUNK_FILE["alex"]),
        {file: digest(Path(file)) for file in files},
    )
    save_directions(Path("reports/directions.safetensors"), directions)
    write_atomically(Path("reports/index.html"), page)


if __name__ == "__main__":
    run(main)

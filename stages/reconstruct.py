"""python stages/reconstruct.py

Draw originals beside every variant's reconstruction and the error: a fixed sample, the best and the worst pictures.
"""

from pathlib import Path

import pandas as pd
import torch

from ear_teacher.config import VARIANTS, load_config
from ear_teacher.data import PreparedData, to_tensor, to_uint8
from ear_teacher.files import whole_folder
from ear_teacher.models import EarVAE
from ear_teacher.pictures import Example, render, write_jpeg
from ear_teacher.stage import run


def main() -> None:
    config = load_config().reconstruct
    data = PreparedData.load(Path("data/prepared"))
    measured = pd.read_csv("metrics/per_image/current.csv", dtype={"person": str}).set_index("file")
    row_of = {file: row for row, file in data.index["file"].items()}
    ranked = list(measured["psnr"].sort_values(kind="stable", ascending=False).index)
    every = max(len(measured) // config.sample, 1)
    sample = list(measured.index[::every][: config.sample])
    files = list(dict.fromkeys([*sample, *ranked[: config.extremes], *ranked[::-1][: config.extremes]]))
    images = to_tensor(data.images[[row_of[file] for file in files]])
    with torch.no_grad():
        recons = {name: to_uint8(EarVAE.load(Path("models") / name).reconstruct(images)) for name in VARIANTS}
    examples = {}
    for number, (file, original) in enumerate(zip(files, to_uint8(images), strict=True)):
        row = measured.loc[file]
        caption = f"{file}: current PSNR {row['psnr']:.1f} dB, LPIPS {row['lpips_alex']:.3f}"
        examples[file] = Example(caption, original, {name: recons[name][number] for name in VARIANTS})

    with whole_folder(Path("plots/reconstructions")) as out:
        for number, file in enumerate(sample):
            write_jpeg(render([examples[file]]), out / f"sample_{number + 1:02d}.jpg")
        write_jpeg(render([examples[file] for file in sample], zoom=config.zoom), out / "zoom.jpg")
        if config.extremes:
            write_jpeg(render([examples[file] for file in ranked[: config.extremes]]), out / "best.jpg")
            write_jpeg(render([examples[file] for file in ranked[::-1][: config.extremes]]), out / "worst.jpg")


if __name__ == "__main__":
    run(main)

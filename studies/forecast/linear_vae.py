"""PYTHONPATH=src python studies/forecast/linear_vae.py

The forecast against the model it is the closed form of: a VAE that is linear from end to end, trained by gradient
descent from random weights on real photos. Writes studies/forecast/linear_vae.csv.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ear_teacher.data import PreparedData
from ear_teacher.files import write_atomically
from ear_teacher.forecast import at_weight
from ear_teacher.linear import Energies
from ear_teacher.linear_vae import train_linear_vae
from ear_teacher.stage import run

SIDE = 8  # pixels; small enough that all 192 values of a photo take part
FLOATS = 24


def main() -> None:
    data = PreparedData.load(Path("studies/photos/128"))
    pictures = torch.from_numpy(np.ascontiguousarray(data.images[data.rows("train")])).permute(0, 3, 1, 2).double()
    small = torch.nn.functional.avg_pool2d(pictures, data.image_size // SIDE).flatten(1) / 127.5 - 1
    centred = small - small.mean(0)
    pixels = centred.shape[1]
    variances = torch.linalg.eigvalsh(centred.T @ centred / len(centred)).flip(0).clamp(min=0).numpy()
    # Turned at random, so that no axis is an eigenvector.
    noise = torch.randn(pixels, pixels, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turned = centred @ torch.linalg.qr(noise)[0]
    rows = []
    for weight in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7):
        forecast = at_weight(Energies(variances, 0.0, pixels), weight, FLOATS)
        found = train_linear_vae(turned, pixels, weight, FLOATS, steps=6000)
        rows.append({
            "kl_weight": weight, "kl_forecast": forecast.kl, "kl_measured": found.kl,
            "psnr_sampled_forecast": forecast.psnr_sampled, "psnr_sampled_measured": found.psnr_sampled,
            "psnr_mean_forecast": forecast.psnr_mean, "psnr_mean_measured": found.psnr_mean,
        })  # fmt: skip
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows).assign(floats=FLOATS, side=SIDE, pictures=len(centred))
    write_atomically(Path("studies/forecast/linear_vae.csv"), table.to_csv(index=False, float_format="%.6g"))


if __name__ == "__main__":
    run(main)

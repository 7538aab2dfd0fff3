"""python stages/forecast.py

Say before training what each weight can give on these pictures, for the validation people.
"""

import json
from pathlib import Path

import pandas as pd
import torch

from ear_teacher.charts import rate_distortion
from ear_teacher.config import LAYOUT_GRID, VARIANTS, load_config
from ear_teacher.data import PreparedData, to_tensor
from ear_teacher.feasibility import equivalent_weight, errors_along
from ear_teacher.files import write_atomically
from ear_teacher.forecast import at_weight, scale_of
from ear_teacher.forecast_report import curve, energies_by_size, point_row, report, table
from ear_teacher.linear import LinearCode
from ear_teacher.losses import Loss, describe, perceptual_trunk
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.stage import run
from ear_teacher.training.controller import wished_point

HELD_OUT = 400


def main() -> None:
    config = load_config()
    torch.use_deterministic_algorithms(True, warn_only=True)
    data = PreparedData.load(Path("data/prepared"))
    held_out = data.rows("val", HELD_OUT)
    codes = {layout: LinearCode.load(Path("data/linear") / f"{layout}.safetensors") for layout in LAYOUT_GRID}
    variants = {name: config.variant(name) for name in VARIANTS}
    sizes = sorted({variant.model.latent_dim for variant in variants.values()})
    by_size = energies_by_size(codes, data.images, held_out, sizes)
    content = report(by_size, config.forecast.kl_weights, config.forecast.kl_range, config.forecast.psnr_range)

    train_rows = data.rows("train", config.forecast.pictures)
    pictures = to_tensor(data.images[train_rows])
    points = {}
    for name, variant in variants.items():
        size, layout = variant.model.latent_dim, variant.model.latent_layout
        energies = by_size[size][layout]
        plain = wished_point(variant.loss, energies, size)
        own = plain
        trunk = perceptual_trunk(variant.loss)
        if variant.loss.kl_weight:  # a target is met whatever the loss
            net = load_lpips(trunk, Path("data/weights/perceptual") / TRUNK_FILE[trunk]) if trunk else None
            loss = Loss(variant.loss, net)
            along = errors_along(codes[layout].truncated(size), energies, pictures, {"error": loss})
            own = equivalent_weight(
                along["theta"].to_numpy(), along["error"].to_numpy(), energies, size, variant.loss.kl_weight
            )
        points[name] = {
            "loss": describe(variant.loss),
            "squared_error": point_row(at_weight(energies, plain.kl_weight, size)),
            "own_loss": point_row(own),
            "scale": {
                key: float(f"{value:.6g}") for key, value in vars(scale_of(own.kl_weight, energies.pixels)).items()
            },
        }

    plots = Path("plots/forecast")
    current = variants["current"].model
    curves = {layout: curve(energy, current.latent_dim) for layout, energy in by_size[current.latent_dim].items()}
    for layout in LAYOUT_GRID:
        write_atomically(plots / f"{layout}.csv", curves.get(layout, pd.DataFrame()).to_csv(index=False))
    rows = [{"variant": name, **point["own_loss"]} for name, point in points.items()]
    write_atomically(plots / "variants.csv", pd.DataFrame(rows).to_csv(index=False))
    write_atomically(plots / "weights.csv", pd.DataFrame(content["table"]).to_csv(index=False))
    predicted = {name: (p["own_loss"]["kl"], p["own_loss"]["psnr_sampled"]) for name, p in points.items()}
    wish = (config.forecast.kl_range, config.forecast.psnr_range)
    named = {f"{layout} code, {current.latent_dim} floats": rows for layout, rows in curves.items()}
    write_atomically(plots / "rate_distortion.png", rate_distortion(named, predicted, {}, wish))
    target = content["joint_target"]
    summary = {
        "variants": points,
        "joint_target": target,
        "pictures": len(held_out),
        "assumption": content["assumption"],
    }
    write_atomically(Path("metrics/forecast.json"), json.dumps(summary, indent=2) + "\n")
    write_atomically(Path("metrics/forecast.md"), f"# Forecast\n\n{table(content)}")


if __name__ == "__main__":
    run(main)

"""python stages/chart.py

Set what was measured beside what was forecast: KL and PSNR of each variant, and the rate-distortion chart.
"""

import json
from pathlib import Path

import pandas as pd

from ear_teacher.charts import rate_distortion
from ear_teacher.config import VARIANTS, load_config
from ear_teacher.files import write_atomically
from ear_teacher.stage import run


def main() -> None:
    config = load_config()
    forecasts = json.loads(Path("metrics/forecast.json").read_text())["variants"]
    size = config.model.latent_dim
    curves = {
        f"{path.stem} code, {size} floats": pd.read_csv(path)
        for path in (Path("plots/forecast") / f"{layout}.csv" for layout in ("vector", "4x4", "8x8"))
        if path.stat().st_size > 1
    }
    rows = []
    for name in VARIANTS:
        measured = json.loads(Path(f"metrics/{name}.json").read_text())
        own, plain = forecasts[name]["own_loss"], forecasts[name]["squared_error"]
        rows.append(
            {
                "variant": name,
                "kl_forecast": own["kl"],
                "kl_forecast_squared_error": plain["kl"],
                "kl_measured": measured["kl"]["mean"],
                "psnr_sampled_forecast": own["psnr_sampled"],
                "psnr_sampled_measured": measured["pooled"]["psnr_sampled"],
            }
        )
    table = pd.DataFrame(rows).set_index("variant")
    predicted = {name: (row["kl_forecast"], row["psnr_sampled_forecast"]) for name, row in table.iterrows()}
    found = {name: (row["kl_measured"], row["psnr_sampled_measured"]) for name, row in table.iterrows()}
    wish = (config.forecast.kl_range, config.forecast.psnr_range)
    write_atomically(Path("plots/rate_distortion.png"), rate_distortion(curves, predicted, found, wish))
    write_atomically(Path("plots/rate_distortion.csv"), table.to_csv(float_format="%.5g"))


if __name__ == "__main__":
    run(main)

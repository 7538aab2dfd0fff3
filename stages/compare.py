"""python stages/compare.py

Set every metric of every variant beside v0, the linear code and what the author expected.
"""

import json
from pathlib import Path

import pandas as pd

from ear_teacher.comparison import compare, split_linear, to_markdown
from ear_teacher.config import VARIANTS, load_config
from ear_teacher.expectations import stand_ins
from ear_teacher.files import write_atomically
from ear_teacher.losses import describe
from ear_teacher.stage import run


def main() -> None:
    config = load_config()
    tables, summaries, histories, losses, rates = {}, {}, {}, {}, {}
    for name in VARIANTS:
        table = pd.read_csv(f"metrics/per_image/{name}.csv", dtype={"person": str, "file": str})
        tables[name], linear = split_linear(table)
        histories[name] = pd.read_csv(f"plots/train/{name}/history.csv")
        measured = json.loads(Path(f"metrics/{name}.json").read_text())
        variant = config.variant(name)
        losses[name] = f"{describe(variant.loss)}; {variant.model.describe()}"
        if name != "current" and (difference := stand_ins(variant.model, variant.loss)):
            losses[name] += f" ({difference}: the perceptual fix is judged under this loss)"
        summaries[name] = {
            "recon": float(histories[name]["val/raw/recon"].iloc[-1]),
            "floats of the code": measured["floats"],
            "active_units": measured["active_units"],
            "kl_weight": float(histories[name]["kl_weight"].iloc[-1]),
            "training pictures seen": int(histories[name]["images"].iloc[-1]),
        }
        rates[name] = {
            "kl": measured["kl"]["mean"],
            "measured": measured["pooled"]["psnr_mean"],
            "forecast": measured["zero_line"]["equal_rate"]["psnr_mean"]["value"],
        }
    line = measured["zero_line"]["equal_floats"]
    used = {metric: found["code"] for metric, found in line.items() if metric != "floats"}
    tables["linear"] = linear
    summaries["linear"] = {"floats of the code": max(line["floats"][code] for code in used.values())}
    losses["linear"] = (
        "squared error, no rate limit; of the linear codes of the current model's size the best one in each row: "
        + ", ".join(f"{metric} {code}" for metric, code in used.items())
    )
    data = json.loads(Path("metrics/data.json").read_text())
    photos = f"{data['source']} source, {data['image_size']} px, test people"
    result = compare(
        tables,
        summaries,
        histories,
        losses,
        photos,
        rates,
        resamples=config.evaluate.bootstrap,
        seed=config.evaluate.seed,
    )
    write_atomically(Path("metrics/compare.json"), json.dumps(result, indent=2) + "\n")
    write_atomically(Path("metrics/compare.md"), to_markdown(result))


if __name__ == "__main__":
    run(main)

"""python stages/evaluate.py current

Measure one variant on the test split, beside the linear codes of its size and the forecast at its rate.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from ear_teacher.config import LAYOUT_GRID, load_config
from ear_teacher.data import PreparedData, to_tensor
from ear_teacher.evaluation import (
    best_linear,
    codes_of_size,
    equal_floats,
    equal_rate,
    measure,
    posterior_statistics,
    summarise_table,
)
from ear_teacher.files import write_atomically
from ear_teacher.linear import LinearCode
from ear_teacher.metrics.quality import Nets
from ear_teacher.models import EarVAE
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.stage import run


def main() -> None:
    name = sys.argv[1]
    config = load_config().evaluate
    data = PreparedData.load(Path("data/prepared"))
    rows = data.rows("test", config.max_images)
    model = EarVAE.load(Path("models") / name)
    floats = model.config.latent_dim
    trunks = Path("data/weights/perceptual")
    nets = Nets(**{net: load_lpips(net, trunks / file) for net, file in TRUNK_FILE.items()})
    fitted = {
        "pca" if layout == "vector" else f"klt_{layout}": LinearCode.load(Path("data/linear") / f"{layout}.safetensors")
        for layout in LAYOUT_GRID
    }
    codes = codes_of_size(fitted, floats)

    def batches() -> Iterator[Tensor]:
        starts = range(0, len(rows), config.batch_size)
        for start in tqdm(starts, desc=f"evaluate {name}", unit="batch"):
            yield to_tensor(data.images[rows[start : start + config.batch_size]])

    rebuilders = {"model": model.reconstruct} | {key: code.reconstruct for key, code in codes.items()}
    tables = measure(batches, rebuilders, nets)
    posterior_table, posterior = posterior_statistics(model, batches, config.seed)
    index = data.index.loc[rows].reset_index(drop=True)
    table = tables.pop("model").join(posterior_table)
    grey = index["grey"].astype(bool)

    metrics = summarise_table(table, index["person"], grey, config.bootstrap, config.seed)
    metrics |= {
        "active_units": posterior["active_units"],
        "floats": floats,
        "pictures": len(rows),
        "people": int(index["person"].nunique()),
        "pooled": posterior["pooled"],
        "zero_line": {
            "equal_floats": equal_floats(tables, codes),
            "equal_rate": equal_rate(fitted, data.images, rows, metrics["kl"]["mean"], floats),
        },
    }
    linear = best_linear(tables, metrics["zero_line"]["equal_floats"]).add_prefix("linear_")
    per_image = index[["file", "person", "grey"]].join(table).join(linear)
    write_atomically(Path("metrics") / f"{name}.json", json.dumps(metrics, indent=2) + "\n")
    write_atomically(Path("metrics/per_image") / f"{name}.csv", per_image.to_csv(index=False, float_format="%.6g"))


if __name__ == "__main__":
    run(main)

"""PYTHONPATH=src python studies/sharp/run.py adamw-0

Train the model of params.yaml with one change on real photos and measure it on people it never saw. The change and
the people come from cases.yaml; the number after the dash is the seed.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from tqdm import tqdm

from ear_teacher.config import LAYOUT_GRID, Variant, load_config
from ear_teacher.data import PreparedData, to_tensor
from ear_teacher.evaluation import codes_of_size, equal_floats, equal_rate, measure, posterior_statistics
from ear_teacher.files import write_atomically
from ear_teacher.linear import fit_codes, spectrum
from ear_teacher.metrics.quality import Nets
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.stage import run
from ear_teacher.training.loop import Pictures, train
from ear_teacher.training.setup import set_up, starting_code
from ear_teacher.weights import load_trunk

HERE = Path("studies/sharp")
TRUNKS = Path("data/weights/perceptual")
BATCH = 25
QUANTILES = (0, 0.25, 0.5, 0.75, 1)


def main() -> None:
    torch.set_num_threads(1)  # so that the results are the same on any number of cores
    name, _, seed = sys.argv[1].rpartition("-")
    cases = yaml.safe_load((HERE / "cases.yaml").read_text())
    case = cases[name]
    base = {} if case.get("over") == "params" else cases["base"]
    variant = changed([base, case.get("change", {}), {"train": {"seed": int(seed)}}])
    data = PreparedData.load(Path("studies/photos/128"))
    floats = variant.model.latent_dim
    codes = fit_codes(data.images, data.rows("train"), LAYOUT_GRID.values(), max(floats, 1024))
    code = codes[variant.model.grid].truncated(floats)
    backbone = load_trunk(Path("data/weights/v0/backbone.safetensors"))
    start = starting_code(variant.model, code, data.images, data.rows("train"))
    ready = set_up(variant, data.image_size, spectrum(code), start, TRUNKS, backbone, backbone, case.get("shrink"))
    model = ready.model
    pictures = Pictures(data.images, data.rows("train"), data.rows("val", 48))
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            model, ready.loss, pictures, variant.train, Path(folder),
            progress=lambda steps, total: tqdm(steps, desc=sys.argv[1], unit="step"),
            kl_start=ready.kl_start, teaching=ready.teaching,
        )  # fmt: skip
    model.load_state_dict(result.best)
    model.eval()

    rows = data.rows(case["people"])
    nets = Nets(**{net: load_lpips(net, TRUNKS / TRUNK_FILE[net]) for net in case.get("nets", ["alex"])})

    def batches() -> Iterator[Tensor]:
        for begin in range(0, len(rows), BATCH):
            yield to_tensor(data.images[rows[begin : begin + BATCH]])

    sized = codes_of_size({f"{grid}x{grid}": fitted for grid, fitted in codes.items()}, floats)
    rebuilders = {"model": model.reconstruct, "start": (start or code).reconstruct}
    rebuilders |= {key: fitted.reconstruct for key, fitted in sized.items()}
    tables = measure(batches, rebuilders, nets)
    table, begun = tables.pop("model"), tables.pop("start")
    kls, posterior = posterior_statistics(model, batches, seed=0)
    kl = float(kls["kl"].mean())
    line = equal_floats(tables, sized)
    nats = sorted(posterior["kl_per_dimension"].tolist(), reverse=True)
    found: dict[str, Any] = {
        "case": name, "seed": int(seed), "people": case["people"], "pictures": len(rows),
        "steps": variant.train.steps, "images": variant.train.images_seen, "kept_step": result.best_step,
        "floats": floats, "kl": kl, "active_units": posterior["active_units"],
        "kl_of_dimensions": {f"{share:.0%}": nats[int(share * (floats - 1))] for share in QUANTILES},
        "kl_weight": result.rows[-1]["kl_weight"],
        "quality": {str(metric): float(table[metric].mean()) for metric in table},
        "start": {str(metric): float(begun[metric].mean()) for metric in begun},
        "linear": {key: value["value"] for key, value in line.items() if key != "floats"},
        "psnr_pooled": posterior["pooled"]["psnr_mean"],
        "psnr_forecast": equal_rate(sized, data.images, rows, kl, floats)["psnr_mean"]["value"],
        "history": [[row["step"], row["val/psnr"], row["val/ssim"], row["val/kl"]] for row in result.rows],
    }  # fmt: skip
    write_atomically(HERE / f"runs/{sys.argv[1]}.json", json.dumps(rounded(found), indent=1) + "\n")


def changed(changes: list[dict[str, dict[str, Any]]]) -> Variant:
    """The current model of params.yaml with other values in its sections, the last of `changes` on top."""
    given = load_config().variant("current").model_dump()
    for change in changes:
        given |= {section: given[section] | values for section, values in change.items()}
    return Variant.model_validate(given)


def rounded(value: Any) -> Any:
    """Every number with six digits: what is below is noise of the machine."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


if __name__ == "__main__":
    run(main)

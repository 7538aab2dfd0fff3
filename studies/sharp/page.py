"""PYTHONPATH=src python studies/sharp/page.py

The runs of this study as docs/sharp.md.
"""

import json
from pathlib import Path

import pandas as pd
import yaml

from ear_teacher.files import write_atomically
from ear_teacher.stage import run

HERE = Path("studies/sharp")
METRICS = {"psnr": ("PSNR, dB", ".2f"), "ssim": ("SSIM", ".4f"), "lpips_alex": ("LPIPS alex", ".4f")}
INGREDIENTS = {
    "default": "the base: code 8x8x16 of separate patches, batches of 8, no backbone",
    "lapped": "patches that overlap",
    "lapped-batch-4": "patches that overlap, twice as many steps of 4 pictures",
    "lapped-lr-2": "patches that overlap, twice the learning rate",
    "adamw": "AdamW for all weights, not Muon for the kernels",
    "random-start": "random weights, no warm start",
    "layout-4x4": "code 4x4x64, not 8x8x16",
    "perceptual-half": "half the LPIPS weight",
    "shrunk-start": "mean shrunk as the forecast's optimum has it, not unshrunk",
    "linear-learns": "linear maps learn, at a tenth of the rate",
    "l1": "L1 of equal pull, not the squared error",
    "no-ema": "no average of the weights",
    "no-flip": "no mirror images",
    "clean-target": "blurred, noisy or covered input, clean target",
    "batch-16": "half as many steps of 16 pictures",
    "width-32": "width 32, not 48",
    "backbone-frozen": "EfficientNet-Lite0, frozen, three maps beside the encoder's branch",
    "taught": "four maps beside it, and its deepest map aligned to them (weight 0.3)",
    "taught-perceptual-012": "the same, LPIPS weight 0.012, not 0.015",
    "taught-kl-1e-6": "the same at 0.015, KL weight 1e-6, not 5e-8",
}
TABLE = {
    "floats-512": "512 floats",
    "floats-2048": "2,048 floats",
    "psnr-only": "squared error alone, no perceptual or SSIM term",
    "kl-held": "KL held near 1,150 nats",
    "taught-default": "backbone beside the branch, aligned, separate patches, batches of 8",
    "the-default": "all of the default",
    "ten-minutes": "all of the default, ten minutes without AVX-512",
    "fast-hour": "all of the default, pictures moved, batches of 8 in bfloat16, 12,000 steps",
    "hour": "long, pictures not moved",
    "hour-affine": "long, pictures moved",
}


def main() -> None:
    cases = yaml.safe_load((HERE / "cases.yaml").read_text())
    found = [json.loads(path.read_text()) for path in sorted((HERE / "runs").glob("*.json"))]
    ablation = [run for run in found if run["case"] in INGREDIENTS]
    table = {run["case"]: run for run in found if run["case"] in TABLE}
    write_atomically(Path("docs/sharp.md"), page(ablation, table, cases))


def page(ablation: list[dict], table: dict[str, dict], cases: dict) -> str:
    """Both tables with the words around them."""
    lines = [
        "# What makes the model sharp",
        "",
        "EarVN1.0 at 128 px, 2 CPU cores, no GPU; each run one thread. Every row of both tables is a run of "
        "`make sharp PHOTOS=<EarVN1.0 folder>`; what it changes stands in `studies/sharp/cases.yaml`. No backbone "
        "stands beside the branch, and patches do not overlap, where the row does not say so.",
        "",
        "## One ingredient changed",
        "",
        *ablation_table(ablation),
        "",
        *starts(ablation),
        "",
        "## Other codes, another objective, a held rate, a longer budget",
        "",
        *budget_table(table),
        "",
    ]
    return "\n".join(lines)


def ablation_table(found: list[dict]) -> list[str]:
    """Each ingredient's mean over its seeds, and its change against the default at the same seeds."""
    if not found:
        return ["No run yet."]
    frame = pd.DataFrame(
        [{"case": run["case"], "seed": run["seed"], "kl": run["kl"], **run["quality"]} for run in found]
    )
    frame = frame.set_index(["case", "seed"])
    first = found[0]
    rows = [
        f"{first['pictures']} photos of the validation people, {first['images']:,} pictures seen: what is "
        "chosen is chosen here. A change is paired by seed; after it, the spread of the changes over "
        "the seeds where there are several; with one seed a change of a tenth of a dB may be luck. KL in nats.",
        "",
        "| | seeds | PSNR, dB ↑ | change | SSIM ↑ | change | LPIPS alex ↓ | change | KL |",
        "| --- |" + " ---: |" * 8,
    ]
    for case, words in INGREDIENTS.items():
        if case not in frame.index.get_level_values("case"):
            continue
        own = frame.loc[case]
        cells = []
        for metric, (_, digits) in METRICS.items():
            cells.append(format(own[metric].mean(), digits))
            shared = own.index.intersection(frame.loc["default"].index)
            change = own.loc[shared, metric] - frame.loc["default"].loc[shared, metric]
            spread = f" ± {format(change.std(), digits)}" if len(change) > 1 else ""
            cells.append("" if case == "default" else f"{change.mean():+{digits}}{spread}")
        rows.append(f"| {words} | {len(own)} | {' | '.join(cells)} | {own['kl'].mean():,.0f} |")
    return rows


def starts(found: list[dict]) -> list[str]:
    """What an overlapping code is worth before any step, beside the best separate ones."""
    run = next((run for run in found if run["case"].startswith("lapped") and "start" in run), None)
    if run is None:
        return []
    cells = [f"{words} {run['start'][metric]:{digits}} ({run['linear'][metric]:{digits}})"
             for metric, (words, digits) in METRICS.items()]  # fmt: skip
    return [
        "At step 0, untrained, the code of overlapping patches has on these photos, and in brackets the best of PCA "
        f"and the patch KLTs with as many floats, metric by metric: {', '.join(cells)}. It is fitted in seconds "
        "(`src/ear_teacher/linear/lapped.py`)."
    ]


def budget_table(table: dict[str, dict]) -> list[str]:
    """Each row beside the linear code of as many floats and the forecast at its KL."""
    if not table:
        return ["No run yet."]
    rows = [
        f"{next(iter(table.values()))['pictures']} photos of the test people, mean decoding. Below each figure the "
        "best linear code of as many floats, metric by metric. *Kept at* is where the loss on validation people was "
        "least: that model is measured. *Pooled* is the PSNR of the mean squared error over all pictures, beside the "
        "linear-Gaussian forecast at the measured KL; *of a dimension*: nats of the largest, the quartiles, the least. "
        "*Moved*: shifted, scaled and turned a little, anew each time (`train.affine`).",
        "",
        "| | pictures seen | kept at | floats | PSNR, dB ↑ | SSIM ↑ | LPIPS alex ↓ | KL | of a dimension | pooled | "
        "forecast |",
        "| --- |" + " ---: |" * 10,
    ]
    for case, words in TABLE.items():
        if case not in table:
            continue
        run = table[case]
        cells = [
            f"{run['quality'][metric]:{digits}}<br>{run['linear'][metric]:{digits}}"
            for metric, (_, digits) in METRICS.items()
        ]
        nats = " · ".join(f"{value:.2g}" for value in run["kl_of_dimensions"].values())
        kept = run["images"] * run["kept_step"] // run["steps"]
        rows.append(
            f"| {words} | {run['images']:,} | {kept:,} | {run['floats']:,} | {' | '.join(cells)} | {run['kl']:,.0f} | "
            f"{nats} | {run['psnr_pooled']:.2f} | {run['psnr_forecast']:.2f} |"
        )
    for case, run in table.items():
        if "lpips_vgg" in run["quality"]:
            words = TABLE[case][0].upper() + TABLE[case][1:]
            rows += ["", f"{words}, LPIPS vgg {run['quality']['lpips_vgg']:.3f} (linear "
                     f"{run['linear']['lpips_vgg']:.3f}), VGG-L1 {run['quality']['perceptual_vgg_l1']:.3f} (linear "
                     f"{run['linear']['perceptual_vgg_l1']:.3f})."]  # fmt: skip
    return rows


if __name__ == "__main__":
    run(main)

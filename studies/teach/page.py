"""PYTHONPATH=src python studies/teach/page.py

The runs of this study as docs/teach.md.
"""

import json
from pathlib import Path

import yaml

from ear_teacher.files import write_atomically
from ear_teacher.stage import run

HERE = Path("studies/teach")
CASES = {
    "default": "reconstruction alone",
    "align-weak": "alignment to EfficientNet-Lite0, weight {teach[align_weight]:g}",
    "align-strong": "alignment to EfficientNet-Lite0, weight {teach[align_weight]:g}",
    "mask": "{teach[mask_share]:.0%} of the input's patches blanked",
    "clean-target": "denoising: blurred, noisy, covered input",
    "agree": "agreement of two views, weight {teach[agree_weight]:g}",
}
QUALITY = {"psnr": ".2f", "ssim": ".4f", "lpips_alex": ".4f"}
WORTH = {"nme_50": ".4f", "nme_all": ".4f", "rank_1": ".1%"}
FEATURES = {"map": "deepest map", "code": "code"}


def main() -> None:
    cases = yaml.safe_load((HERE / "cases.yaml").read_text())
    found = {path.stem: json.loads(path.read_text()) for path in sorted((HERE / "runs").glob("*.json"))}
    write_atomically(Path("docs/teach.md"), page(found, cases))


def page(found: dict[str, dict], cases: dict[str, dict]) -> str:
    """Both tables with the words around them."""
    first = found["default"]
    lines = [
        "# What makes the encoder a better teacher",
        "",
        f"Synthetic ears at 128 px, {first['images']:,} pictures seen, one seed, one thread; measured on the "
        f"{first['people']} validation people. Every row is a run of `make teach`; what it changes stands in "
        "`studies/teach/cases.yaml`, and as `dvc exp run -S teach.<key>=<value>` it trains the current model so. "
        "Denoising is `train.augment=clean_target`.",
        "",
        "## What it costs in sharpness",
        "",
        "Below each figure its change.",
        "",
        "| | PSNR, dB ↑ | SSIM ↑ | LPIPS alex ↓ | KL, nats |",
        "| --- |" + " ---: |" * 4,
    ]
    named = {case: words.format(**cases[case]["change"]) for case, words in CASES.items() if case in found}
    for case, words in named.items():
        own = found[case]
        cells = [cell(own["quality"], first["quality"], key, digits, case) for key, digits in QUALITY.items()]
        lines.append(f"| {words} | {' | '.join(cells)} | {own['kl']:,.0f} |")
    lines += [
        "",
        "## What the features are worth",
        "",
        "By linear means, the same for all; left ears mirrored, so that all are right ears. *NME*: mean over the "
        "visible of 17 landmarks of distance / side, by ridge regression from the flattened features (weight by "
        "leave-one-out error), with 50 labelled pictures (mean of five draws) and with all training pictures. "
        "*Rank 1*: share of pictures whose nearest other one is of the same person.",
        "",
        "| | features | NME, 50 labels ↓ | NME, all labels ↓ | rank 1 ↑ |",
        "| --- | --- |" + " ---: |" * 3,
    ]
    for key, what in FEATURES.items():
        for case, words in named.items():
            own, base = found[case]["features"][key], first["features"][key]
            cells = [cell(own, base, name, digits, case) for name, digits in WORTH.items()]
            lines.append(f"| {words} | {what} | {' | '.join(cells)} |")
    if "bare-backbone" in found:
        own = found["bare-backbone"]["features"]["map"]
        cells = [format(own[name], digits) for name, digits in WORTH.items()]
        lines.append(f"| EfficientNet-Lite0 itself, no VAE | deepest map | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *verdict(found, named), ""])


def cell(own: dict[str, float], base: dict[str, float], key: str, digits: str, case: str) -> str:
    """A figure, and below it its change against reconstruction alone."""
    text = format(own[key], digits)
    return text if case == "default" else f"{text}<br>{own[key] - base[key]:+{digits}}"


def verdict(found: dict[str, dict], named: dict[str, str]) -> list[str]:
    """What lowers the error with few labels most, and its price."""
    base = found["default"]
    errors = {case: found[case]["features"]["map"]["nme_50"] for case in named}
    best = min(errors, key=lambda case: errors[case])
    if best == "default":
        return ["Nothing here lowers the error of the map with 50 labels."]
    price = found[best]["quality"]["psnr"] - base["quality"]["psnr"]
    perceived = found[best]["quality"]["lpips_alex"] - base["quality"]["lpips_alex"]
    ratio = 1 - errors[best] / errors["default"]
    return [
        f"Most for the teacher does {named[best]}: {ratio:.0%} less error of the map with 50 labels, for "
        f"{price:+.2f} dB PSNR and {perceived:+.4f} LPIPS. One seed: a tenth of a dB or a twentieth of an error may be "
        "luck."
    ]


if __name__ == "__main__":
    run(main)

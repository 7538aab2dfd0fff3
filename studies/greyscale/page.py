"""PYTHONPATH=src python studies/greyscale/page.py

The runs of this study as docs/greyscale.md: are greyscale pictures worse here, and why?
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ear_teacher.files import write_atomically
from ear_teacher.metrics.statistics import paired_change
from ear_teacher.stage import run

MIXTURES = {
    "quarter-shared": "a quarter grey, one normalisation (the default)",
    "none-shared": "no grey in training",
    "quarter-per_group": "a quarter grey, each group its own normalisation",
}
BUILT = {
    ("current", "model"): "current",
    ("current", "linear"): "linear code, patches 4x4",
    ("v0", "model"): "v0",
    ("v0", "linear"): "linear code, PCA",
}
DEFAULT = "quarter-shared"
MODELS = ("current", "v0")
Key = tuple[str, str, str]  # model, rebuilder, mixture


def main() -> None:
    tables: dict[Key, list[pd.DataFrame]] = {}
    for path in sorted(Path("studies/greyscale/runs").glob("*.csv")):
        model, share, normalization, _ = path.stem.split("-")
        mixture = f"{share}-{normalization}"
        table = pd.read_csv(path, dtype={"person": str, "file": str})
        for rebuilder, rows in table.groupby("rebuilder"):
            tables.setdefault((model, str(rebuilder), mixture), []).append(rows.reset_index(drop=True))
    seeds = {key: len(found) for key, found in tables.items()}
    write_atomically(Path("docs/greyscale.md"), page({key: averaged(found) for key, found in tables.items()}, seeds))


def averaged(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The mean over the seeds, picture by picture."""
    first = tables[0].copy()
    for column in ("psnr", "brightness", "colour"):
        first[column] = np.mean([table[column] for table in tables], axis=0)
    return first


def change(before: pd.DataFrame, after: pd.DataFrame, column: str = "psnr") -> dict[str, float]:
    """Of the same ears in the same order, people resampled."""
    found = paired_change(before[column].to_numpy(), after[column].to_numpy(), before["person"].to_numpy())
    return {key: float(value) for key, value in found.items() if value is not None}


def halves(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same ears in colour and in grey."""
    grey = table["grey"].to_numpy(dtype=bool)
    return table[~grey].reset_index(drop=True), table[grey].reset_index(drop=True)


def levels(table: pd.DataFrame, column: str) -> float:
    """Root mean squared error, in levels of 255."""
    return float(255 * np.sqrt(table[column].mean()))


def shown(found: dict[str, float], unit: str = "") -> str:
    """A change with its interval; bold where that leaves 0 out."""
    mark = "**" if found["ci_low"] > 0 or found["ci_high"] < 0 else ""
    return f"{mark}{found['mean']:+.2f}{mark}{unit} [{found['ci_low']:+.2f}, {found['ci_high']:+.2f}]"


def answer(tables: dict[Key, pd.DataFrame]) -> list[str]:
    """The findings in words, each from its figures."""
    sentences = []
    for model in MODELS:
        colour, grey = halves(tables[model, "model", DEFAULT])
        gap = change(colour, grey)
        word = "worse" if gap["ci_high"] < 0 else "better" if gap["ci_low"] > 0 else "neither better nor worse"
        none = halves(tables[model, "model", "none-shared"])[1]
        apart = halves(tables[model, "model", "quarter-per_group"])
        cast = grey["colour"].mean() / (grey["colour"].mean() + grey["brightness"].mean())
        sentences.append(
            f"- **{model}**: greyscale ears are {word} than the same ears in colour, {shown(gap, ' dB')}. Of their "
            f"error {100 * cast:.0f} % is colour that "
            f"is not in the picture, the rest is brightness ({levels(grey, 'brightness'):.1f} levels; "
            f"{levels(colour, 'brightness'):.1f} in the same ears in colour). Without any grey in training they change "
            f"by {shown(change(grey, none), ' dB')}. A normalisation of their own changes them by "
            f"{shown(change(grey, apart[1]), ' dB')}, and the colour pictures by "
            f"{shown(change(colour, apart[0]), ' dB')}."
        )
    casts = {
        (model, mixture): levels(halves(tables[model, "model", mixture])[1], "colour")
        for model in MODELS
        for mixture in (DEFAULT, "quarter-per_group")
    }
    shift = {model: f"{casts[model, DEFAULT]:.1f} to {casts[model, 'quarter-per_group']:.1f}" for model in MODELS}
    sentences += [
        "",
        "Why: brightness costs the same in both; a greyscale picture has no colour to get wrong, so a code that "
        "follows its input finds it easier. A network that hardly follows its input paints everything in the average "
        "colour, greyscale too. Normalised apart, greyscale has that tint on the way in and loses it on the way out: "
        f"their false colour goes from {shift['v0']} levels in v0 and from {shift['current']} in the current model, "
        "which already tells grey from colour. So separate normalisation hides a fault of a model that has learnt "
        "little; it does not mend one.",
    ]
    return sentences


def page(tables: dict[Key, pd.DataFrame], seeds: dict[Key, int]) -> str:
    """The page."""
    first = next(iter(tables.values()))
    lines = [
        "# Greyscale against colour",
        "",
        f"Synthetic ears at 64 px, {len(first) // 2} pictures of {first['person'].nunique()} people no model saw, each "
        "measured twice: in colour and as its own luma, so that nothing differs but colour. Short runs "
        f"(seeds: {min(seeds.values())}; 256 floats; the losses of `studies/params.yaml`). Errors are counted in the "
        "original values of the pictures, also where they were normalised apart. Brackets: 95 % interval, people "
        "resampled; bold: it leaves 0 out.",
        "",
        "Repeat it with `make greyscale`.",
        "",
        *answer(tables),
        "",
        "## The same ears in colour and in grey",
        "",
        "Brightness is the mean of the channels, colour what they have beside it; the squared errors of the two add up "
        "to the whole. Root mean square, in levels of 255.",
        "",
        "| | trained on | PSNR colour | PSNR grey | grey less colour, dB | brightness, colour | brightness, grey | "
        "colour, colour | colour, grey |",
        "| --- | --- |" + " ---: |" * 7,
    ]
    for (model, rebuilder), label in BUILT.items():
        for mixture, words in MIXTURES.items():
            colour, grey = halves(tables[model, rebuilder, mixture])
            cells = [f"{levels(part, column):.1f}" for column in ("brightness", "colour") for part in (colour, grey)]
            lines.append(
                f"| {label} | {words} | {colour['psnr'].mean():.2f} | {grey['psnr'].mean():.2f} | "
                f"{shown(change(colour, grey))} | {' | '.join(cells)} |"
            )
    lines += [
        "",
        "## What the mixture and the normalisation change",
        "",
        "PSNR against the default, the same pictures.",
        "",
        "| | trained on | grey pictures, dB | colour pictures, dB |",
        "| --- | --- | ---: | ---: |",
    ]
    for (model, rebuilder), label in BUILT.items():
        before = halves(tables[model, rebuilder, DEFAULT])
        for mixture, words in MIXTURES.items():
            if mixture != DEFAULT:
                after = halves(tables[model, rebuilder, mixture])
                moved = [shown(change(before[i], after[i])) for i in (1, 0)]
                lines.append(f"| {label} | {words} | {' | '.join(moved)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(main)

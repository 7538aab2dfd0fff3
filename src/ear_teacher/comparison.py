"""Every variant beside v0, the linear code, and what the author of v0 and v1 expected.

    result = compare(tables, summaries, histories, losses, photos="EarVN1.0, 375 photos of 15 test people")
    text = to_markdown(result)

All photos are measured by the same code, so a change is paired by picture; its interval resamples people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from ear_teacher.config import UserError
from ear_teacher.expectations import EXPECTATIONS, Convergence, Expectation, convergence, judge
from ear_teacher.metrics.statistics import paired_change, summarise

BASE = "v0"
KEYS = ("file", "person", "grey")


@dataclass(frozen=True)
class Metric:
    """One row of the comparison: how it is called, which way is better, and how many decimals say something."""

    label: str
    better: Literal["higher", "lower", "neither"]
    decimals: int


METRICS = {
    "psnr": Metric("PSNR, dB", "higher", 2),
    "ssim": Metric("SSIM", "higher", 3),
    "ms_ssim": Metric("MS-SSIM", "higher", 3),
    "lpips_alex": Metric("LPIPS alex", "lower", 3),
    "lpips_vgg": Metric("LPIPS vgg", "lower", 3),
    "perceptual_vgg_l1": Metric("perceptual (VGG-L1)", "lower", 3),
    "l1": Metric("L1 on [0, 1]", "lower", 4),
    "ciede2000": Metric("colour error, CIEDE2000", "lower", 2),
    "detail": Metric("surviving detail", "higher", 3),
    "detail_center": Metric("surviving detail, centre", "higher", 3),
    "coherence": Metric("coherence of detail", "higher", 3),
    "coherence_center": Metric("coherence of detail, centre", "higher", 3),
    "psnr_sampled": Metric("PSNR of a sampled code, dB", "higher", 2),
    "kl": Metric("KL, nats", "neither", 1),
}
"""The per-picture metrics in the order of the table."""


def split_linear(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A per-image table whose `linear_` columns are those of the linear code -> the model's and the code's table."""
    columns = {name: name.removeprefix("linear_") for name in table.columns if name.startswith("linear_")}
    return table.drop(columns=list(columns)), table[[*KEYS, *columns]].rename(columns=columns)


def compare(
    tables: Mapping[str, pd.DataFrame],
    summaries: Mapping[str, Mapping[str, float]],
    histories: Mapping[str, pd.DataFrame],
    losses: Mapping[str, str],
    photos: str,
    rates: Mapping[str, Mapping[str, float]] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Build the comparison.

    Args:
        tables: by variant (`v0` first; also the linear code, as `linear`), one row a test picture: `file`,
            `person`, `grey` and metrics.
        summaries: by variant, figures that pictures do not have: `recon` (its own reconstruction loss),
            `active_units` and so on. A variant may be missing.
        histories: by variant, the validation history (`epoch`, `val/psnr`). A variant may be missing.
        losses: by variant, its loss in words.
        photos: which photos, in words.
        rates: by variant, `kl` in nats and the PSNR of the pooled squared error in dB, `measured` and, at that KL, in
            the `forecast`; both of the mean decoding.
        resamples: of the people, for each interval.
        seed: of the resampling.

    Returns:
        A dict for JSON: `photos`, `losses`; `metrics`: metric -> variant -> mean, ci_low, ci_high and, but for
        v0, change, change_low, change_high and verdict (`better`, `worse`, `unclear`, for the KL `higher` or
        `lower`); `summaries`: figure -> variant -> value; `rates`; `convergence`; `expectations`: row -> expected,
        before and by variant value and verdict.

    Raises:
        UserError: v0 is missing, or the variants were measured on different pictures.
    """
    aligned = _aligned(tables)
    people = aligned[BASE]["person"]
    runs = {name: convergence(history) for name, history in histories.items()}
    metrics: dict[str, dict[str, Any]] = {}
    for metric in METRICS:
        found = {name: table[metric].to_numpy(float) for name, table in aligned.items() if metric in table}
        row: dict[str, Any] = {}
        for name, values in found.items():
            summary = summarise(values, people, resamples, seed)
            row[name] = {key: summary[key] for key in ("mean", "ci_low", "ci_high")}
            if name != BASE and BASE in found:
                change = paired_change(found[BASE], values, people, resamples, seed)
                row[name] |= {"change": change["mean"], "change_low": change["ci_low"]}
                row[name] |= {"change_high": change["ci_high"], "verdict": _direction(metric, change)}
        if row:
            metrics[metric] = row
    figures = sorted({figure for summary in summaries.values() for figure in summary})
    by_figure = {f: {name: summary[f] for name, summary in summaries.items() if f in summary} for f in figures}
    return {
        "photos": photos,
        "pictures": len(people),
        "people": int(people.nunique()),
        "losses": dict(losses),
        "metrics": metrics,
        "summaries": by_figure,
        "rates": {name: dict(rate) for name, rate in (rates or {}).items()},
        "convergence": {name: asdict(run) for name, run in runs.items()},
        "expectations": {
            key: _judged(expectation, list(aligned), metrics, by_figure, runs)
            for key, expectation in EXPECTATIONS.items()
        },
    }


def _aligned(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables in one order of pictures."""
    if BASE not in tables:
        raise UserError("There is nothing to compare with: v0 was not measured; run `dvc repro`.")
    base = tables[BASE].set_index("file")
    aligned = {BASE: base}
    for name, table in tables.items():
        other = table.set_index("file")
        if not base.index.is_unique or len(other) != len(base) or set(other.index) != set(base.index):
            raise UserError(f"{name} was measured on other pictures than {BASE}; run `dvc repro` to measure both.")
        aligned[name] = other.loc[base.index]
    return aligned


def _direction(metric: str, change: Mapping[str, float | int | None]) -> str:
    """Whether the interval of a change leaves 0 out, and on which side."""
    low, high = change["ci_low"], change["ci_high"]
    if low is None or high is None or low <= 0 <= high:
        return "unclear"
    better = METRICS[metric].better
    if better == "neither":
        return "higher" if low > 0 else "lower"
    return "better" if (low > 0) == (better == "higher") else "worse"


def _judged(
    expectation: Expectation,
    names: list[str],
    metrics: Mapping[str, Mapping[str, Any]],
    figures: Mapping[str, Mapping[str, float]],
    runs: Mapping[str, Convergence],
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "label": expectation.label,
        "expected": f"{expectation.low:g}-{expectation.high:g}",
        "before": expectation.before,
    }
    for name in names:
        if expectation.kind == "epochs":
            value = runs[name].epoch if name in runs else None
        elif name in metrics.get(expectation.quantity, {}):
            value = metrics[expectation.quantity][name]["mean"]
        else:
            value = figures.get(expectation.quantity, {}).get(name)
        row[name] = {"value": value, "verdict": judge(expectation, value, runs.get(name))}
    return row


def to_markdown(comparison: Mapping[str, Any]) -> str:
    """The result of `compare` as a Markdown page: the metrics, the author's expectations, and how to read both."""
    names = list(next(iter(comparison["metrics"].values())))
    lines = [
        "# Comparison",
        "",
        f"Photos: {comparison['photos']} ({comparison['pictures']} pictures of {comparison['people']} people, "
        "the same for every column). Mean over the pictures with its 95 % interval (people resampled); below it "
        "the change against v0, paired by picture. **Bold**: the interval of the change leaves 0 out.",
        "",
        *_header(["", *names]),
    ]
    for key, row in comparison["metrics"].items():
        metric = METRICS[key]
        arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[metric.better]
        lines.append(_line([metric.label + arrow, *(_cell(row.get(name), metric.decimals) for name in names)]))
    for figure, values in comparison["summaries"].items():
        lines.append(_line([figure.replace("_", " "), *(_number(values.get(name)) for name in names)]))
    if comparison["rates"]:
        lines += ["", "## At equal rate", "", *_header(["", "KL, nats", "PSNR, dB", "forecast at that KL, dB"])]
        for name, rate in comparison["rates"].items():
            lines.append(_line([name, *(_number(rate[key], 1) for key in ("kl", "measured", "forecast"))]))
        lines += [
            "",
            "PSNR of the mean squared error over all pictures, mean decoding; the forecast is the best linear-Gaussian "
            "VAE of so many floats at the measured KL, on these pictures.",
        ]
    lines += ["", "## What the author expected of v1", "", *_header(["", "v0 in their text", "expected", *names])]
    for key, row in comparison["expectations"].items():
        decimals = EXPECTATIONS[key].decimals
        cells = [f"{_number(row[name]['value'], decimals)} {row[name]['verdict']}" for name in names]
        lines.append(_line([row["label"], row["before"], row["expected"], *cells]))
    lines += [
        "",
        "Their numbers come from their photos and their losses, these from the photos above and these losses:",
        "",
        *(f"- {name}: {text}" for name, text in comparison["losses"].items()),
        "",
        "The reconstruction loss is each variant's own, so its columns are not alike. `met` includes better than "
        "expected, except for the KL, which was given as a range. Convergence is the first validation with 95 % of "
        "the run's gain in PSNR, of this budget and learning-rate schedule; `not tested`: the run is shorter than "
        "the range.",
        "",
        *(f"- {name}: {_sentence(run)}" for name, run in comparison["convergence"].items()),
        "",
    ]
    return "\n".join(lines)


def _header(cells: list[str]) -> list[str]:
    return [_line(cells), _line(["---", *["---:"] * (len(cells) - 1)])]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None, decimals: int | None = None, sign: str = "") -> str:
    if value is None:
        return "–"
    return f"{value:{sign}g}" if decimals is None else f"{value:{sign}.{decimals}f}"


def _cell(entry: Mapping[str, Any] | None, decimals: int) -> str:
    if entry is None or entry["mean"] is None:
        return "–"

    def interval(low: float | None, high: float | None, sign: str = "") -> str:
        return "" if low is None else f" [{_number(low, decimals, sign)}, {_number(high, decimals, sign)}]"

    text = _number(entry["mean"], decimals) + interval(entry["ci_low"], entry["ci_high"])
    if entry.get("change") is not None:
        change = _number(entry["change"], decimals, "+")
        change = f"**{change}**" if entry["verdict"] != "unclear" else change
        text += f"<br>{change}{interval(entry['change_low'], entry['change_high'], '+')}"
    return text


def _sentence(run: Mapping[str, Any]) -> str:
    length = f"of {run['run_epochs']:.3g} epochs"
    if run["status"] == "plateau":
        return f"a plateau at epoch {run['epoch']:.3g} {length}"
    return f"{run['status']} at the end {length}"

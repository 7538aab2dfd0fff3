"""The results as the template takes them: numbers as text, one plain sentence a section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ear_teacher.comparison import METRICS
from ear_teacher.config import VARIANTS
from ear_teacher.diagnosis.causes import CAUSES
from ear_teacher.diagnosis.page import WORTH_TELLING
from ear_teacher.expectations import EXPECTATIONS
from ear_teacher.report.results import Results

LEADING = ("psnr", "ssim", "lpips_alex", "perceptual_vgg_l1", "ciede2000", "detail_center", "kl")
"""Metrics of the first table; the others are a click away."""

WORDS = {
    "psnr": "every 6 dB halve the error",
    "ssim": "structure, 1 = equal",
    "lpips_alex": "difference to the eye, 0 = equal",
    "perceptual_vgg_l1": "the author's own measure, 0 = equal",
    "ciede2000": "1 is just visible",
    "detail_center": "fine structure rebuilt: 1 = all of it, below 0 = more is wrong than there was",
    "kl": "information in the code",
}
COLUMNS = (*VARIANTS, "linear")
_EMPTY = {"value": "–", "interval": "", "change": "", "verdict": "", "verdict_text": "", "judged": []}
COLUMN_WORDS = {
    "v0": "the author's first model",
    "v1": "their five fixes",
    "current": "this project's model",
    "linear": "best linear code of the current model's size",
}
_VERDICTS = {"better": "▲ better", "worse": "▼ worse", "unclear": "no clear change"}


def headline(compare: Mapping[str, Any]) -> str:
    """The one sentence that stands first."""
    psnr, lpips = compare["metrics"]["psnr"], compare["metrics"]["lpips_alex"]
    ours, line = psnr["current"], psnr["linear"]["mean"]
    against = _signed(ours["mean"] - line, 1)
    return _unbroken(
        f"The current model rebuilds unseen ears at {ours['mean']:.1f} dB with an LPIPS of "
        f"{lpips['current']['mean']:.3f}: {_signed(ours['change'], 1)} dB against v0 "
        f"(LPIPS {lpips['v0']['mean']:.3f}) and {against} dB against a linear code of as many floats "
        f"(LPIPS {lpips['linear']['mean']:.3f})."
    )


def budget(compare: Mapping[str, Any]) -> str:
    """How long each model was trained, which the first sentence is silent of."""
    seen = compare["summaries"].get("training pictures seen", {})
    if len(set(seen.values())) == 1:
        return f"v0, v1 and current each saw {next(iter(seen.values())):,.0f} pictures in training."
    told = ", ".join(f"{name} {pictures:,.0f}" for name, pictures in seen.items())
    return f"Pictures seen in training: {told}." if told else ""


def comparison(compare: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison table: `leading` and `further` rows of cells, and what it stands on."""
    expected: dict[str, list[dict[str, Any]]] = {}
    for key, row in compare["expectations"].items():
        expected.setdefault(EXPECTATIONS[key].quantity, []).append(row)
    rows = {key: _row(key, compare["metrics"][key], expected.pop(key, [])) for key in compare["metrics"]}
    others = [
        {
            "label": row["label"],
            "words": f"v0 in their text: {row['before']}",
            "expected": [row["expected"]],
            "cells": [
                _EMPTY
                | {
                    "value": _number(row[name]["value"], EXPECTATIONS[key].decimals),
                    "judged": _judged([row[name]["verdict"]]),
                }
                for name in COLUMNS
            ],
        }
        for key, row in compare["expectations"].items()
        if EXPECTATIONS[key].quantity in expected
    ]
    figures = [
        {
            "label": figure.replace("_", " "),
            "words": "",
            "expected": [],
            "cells": [_EMPTY | ({"value": f"{values[name]:.6g}"} if name in values else {}) for name in COLUMNS],
        }
        for figure, values in compare["summaries"].items()
        if figure not in expected
    ]
    return {
        "leading": [rows[key] for key in LEADING if key in rows],
        "further": [row for key, row in rows.items() if key not in LEADING] + others + figures,
        "columns": [(name, COLUMN_WORDS[name]) for name in COLUMNS],
        "losses": list(compare["losses"].items()),
        "photos": f"{compare['pictures']} pictures of {compare['people']} people ({compare['photos']})",
    }


def _row(key: str, found: Mapping[str, Any], expected: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    metric = METRICS[key]
    cells = []
    for name in COLUMNS:
        entry = found.get(name)
        if entry is None or entry["mean"] is None:
            cells.append(_EMPTY)
            continue
        cell: dict[str, Any] = _EMPTY | {
            "value": _number(entry["mean"], metric.decimals),
            "interval": _interval(entry["ci_low"], entry["ci_high"], metric.decimals),
            "judged": _judged([row[name]["verdict"] for row in expected]),
        }
        if entry.get("change") is not None:
            cell["change"] = _signed(entry["change"], metric.decimals)
            cell["verdict"] = entry["verdict"]
            cell["verdict_text"] = _VERDICTS.get(entry["verdict"], entry["verdict"])
        cells.append(cell)
    arrow = {"higher": "higher is better", "lower": "lower is better", "neither": ""}[metric.better]
    words = "; ".join(part for part in (WORDS.get(key, ""), arrow) if part)
    return {"label": metric.label, "words": words, "expected": [row["expected"] for row in expected], "cells": cells}


def _judged(verdicts: Sequence[str]) -> list[tuple[str, str]]:
    """(class, text) of each different verdict on the author's expectation."""
    signs = {"met": "✓ met", "above": "✗ above", "below": "✗ below"}
    return [("met" if v == "met" else "missed", signs[v]) for v in dict.fromkeys(verdicts) if v in signs]


def diagnosis(results: Results) -> list[dict[str, Any]]:
    """Each model's verdict: sentence, next command, where the decibels go, and the likeliest causes."""
    found = []
    for name, verdict in results.diagnosis.items():
        causes = [c for c in verdict["causes"] if c["confidence"] >= WORTH_TELLING] or verdict["causes"][:1]
        chain = results.chains[name]
        top = max(float(chain["psnr"].max()), 1e-9)
        steps = [
            {"label": row["step"], "value": f"{row['psnr']:.1f} dB", "share": round(100 * max(row["psnr"], 0) / top, 1)}
            for row in chain.to_dict("records")
        ]
        for before, step, row in zip(steps, steps[1:], chain["psnr"].diff().tolist()[1:], strict=False):
            if row < -0.1 and step is not steps[-1]:
                step["lost"] = f"−{-row:.1f}"
                step["drop"] = round(before["share"] - step["share"], 1)
        found.append(
            {
                "name": name,
                "sentence": verdict["sentence"],
                "command": verdict["causes"][0]["command"],
                "effect": verdict["causes"][0]["effect"],
                "steps": steps,
                "causes": [
                    {
                        "name": CAUSES[c["cause"]],
                        "percent": round(100 * c["confidence"]),
                        "evidence": " ".join(c["evidence"]),
                    }
                    for c in causes
                ],
                "not_measured": verdict["not_measured"],
            }
        )
    return found


def milestones(results: Results) -> list[dict[str, Any]]:
    """The author's monitoring list with what the runs did; rows no run has reached are counted, not shown."""
    table = results.milestones
    reached = table[~table["verdict"].isin(["not reached", "not measured"])]
    units = {"kl": "KL, nats", "perceptual": "perceptual (VGG-L1)", "psnr": "PSNR, dB", "pictures": "pictures"}
    return [
        {
            "variant": row["variant"],
            "quantity": units.get(row["quantity"], row["quantity"]),
            "when": f"{row['unit']} {row['when']}",
            "wanted": f"{row['low']}–{row['high']}" if row["low"] != "" else "–",
            "value": f"{float(row['value']):.4g}" if row["value"] != "" else "–",
            "verdict": row["verdict"],
            "note": row["note"],
        }
        for row in reached.to_dict("records")
    ]


def data_page(results: Results) -> dict[str, Any]:
    """Splits, duplicates and what was left out."""
    data = results.data
    duplicates = [
        (kind, found["groups"], found["pictures"], found["pictures_across_splits"])
        for kind, found in data["duplicates"].items()
    ]
    rows = results.quarantine.to_dict("records")
    return {
        "source": data["source"],
        "size": data["image_size"],
        "splits": [
            (name, *(row[key] for key in ("pictures", "people", "grey"))) for name, row in data["splits"].items()
        ],
        "duplicates": duplicates,
        "quarantine": rows[:200],
        "quarantined": len(rows),
        "warnings": data["warnings"],
        "split_by": data["split_by"],
    }


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:,.{decimals}f}".replace("-", "−")


def _unbroken(text: str) -> str:
    """No line ends between a number and its unit."""
    return text.replace(" dB", "\N{NO-BREAK SPACE}dB")


def _signed(value: float, decimals: int) -> str:
    return f"{value:+,.{decimals}f}".replace("-", "−")


def _interval(low: float | None, high: float | None, decimals: int) -> str:
    return "" if low is None or high is None else f"{_number(low, decimals)} to {_number(high, decimals)}"

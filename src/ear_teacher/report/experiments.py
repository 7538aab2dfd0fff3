"""The leaderboard of all DVC experiments.

table = leaderboard(ask_dvc(Path(".")))        # one row an experiment, the best PSNR first
print(as_text(table)); as_csv(table); as_page(table)
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from ear_teacher.config import UserError
from ear_teacher.report.figures import Axis, Series, line_chart
from ear_teacher.report.page import render

SORT = {"psnr": False, "ssim": False, "lpips": True, "kl": True}
"""What the leaderboard can be sorted by, and whether the smallest stands first."""

PARAMS = {
    "kl_weight": ("loss", "kl_weight"),
    "latent_dim": ("model", "latent_dim"),
    "perceptual_weight": ("loss", "perceptual_weight"),
    "ssim_weight": ("loss", "ssim_weight"),
}
METRICS = {"kl": "kl", "psnr": "psnr", "ssim": "ssim", "lpips": "lpips_alex"}
_STYLES = ("current", "v0", "v1", "linear", "other")
_HEADS = {
    "experiment": "experiment", "kl_weight": "kl_weight", "latent_dim": "latent_dim",
    "perceptual_weight": "perceptual", "ssim_weight": "ssim_w", "kl": "KL, nats", "psnr": "PSNR, dB", "ssim": "SSIM",
    "lpips": "LPIPS", "psnr_change": "PSNR against v0", "lpips_change": "LPIPS against v0", "changes": "changes",
}  # fmt: skip
_DECIMALS = {"kl": 1, "psnr": 2, "ssim": 3, "lpips": 3, "psnr_change": 2, "lpips_change": 3}


def ask_dvc(project: Path) -> list[dict[str, Any]]:
    """What `dvc exp show --json` says: the workspace, the last commit, and every experiment of any commit.

    Raises:
        UserError: the folder is no DVC project, or DVC failed.
    """
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json"]
    command += [part for base in ("HEAD", *_bases(project)) for part in ("--rev", base)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1].removeprefix("ERROR: ")
        raise UserError(f"{project}: DVC cannot list its experiments ({last}); run this in the project's folder.")
    try:
        return list(json.loads(done.stdout))
    except ValueError:
        raise UserError(f"{project}: `dvc exp show --json` gave no JSON; run it alone to see why.") from None


def _bases(project: Path) -> list[str]:
    """The commits that experiments start from: DVC keeps them as refs/exps/<2 digits>/<38 digits>/<name>."""
    command = ["git", "for-each-ref", "--format=%(refname)", "refs/exps"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    parts = [line.split("/") for line in done.stdout.splitlines()]
    return sorted({part[2] + part[3] for part in parts if len(part) == 5 and len(part[2]) == 2})


def leaderboard(shown: Sequence[Mapping[str, Any]], by: str = "psnr") -> pd.DataFrame:
    """One row an experiment that has been measured, and one for the workspace.

    Args:
        shown: from `ask_dvc`.
        by: `psnr`, `ssim`, `lpips` or `kl`; the best first, for the KL the smallest.

    Returns:
        `experiment`, `rev`, the parameters of `PARAMS` (a weight that was found during the run is empty), `kl`,
        `psnr`, `ssim`, `lpips`, the changes against v0 of the same run, and `changes`: which parameters differ from
        the workspace's. Runs that failed or still wait in the queue are left out.
    """
    records = list(_records(shown))
    here = next((data for name, _, data in records if name == "workspace"), None)
    own = _flat(_file(here, "params", "params.yaml")) if here else {}
    rows = []
    for name, rev, data in records:
        params, found = _file(data, "params", "params.yaml"), _file(data, "metrics", "metrics/current.json")
        base = _file(data, "metrics", "metrics/v0.json")
        row: dict[str, Any] = {"experiment": name, "rev": rev[:7]}
        for key, (section, param) in PARAMS.items():
            row[key] = _number((params.get(section) or {}).get(param))
        row |= {key: _mean(found, metric) for key, metric in METRICS.items()}
        if math.isnan(row["psnr"]):
            continue
        for key in ("psnr", "lpips"):
            row[f"{key}_change"] = row[key] - _mean(base, METRICS[key])
        other = {key: value for key, value in _flat(params).items() if own.get(key) != value}
        row["changes"] = " ".join(f"{key}={value}" for key, value in sorted(other.items()))
        rows.append(row)
    columns = ["experiment", "rev", *PARAMS, *METRICS, "psnr_change", "lpips_change", "changes"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(by, ascending=SORT[by], kind="stable", ignore_index=True)


def as_text(table: pd.DataFrame) -> str:
    """The leaderboard for a terminal."""
    lines = [list(_HEADS.values()), *_cells(table)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(_HEADS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in (0, len(widths) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_csv(table: pd.DataFrame) -> str:
    """The leaderboard as CSV."""
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def as_page(table: pd.DataFrame) -> str:
    """The leaderboard as a page: what each weight and size gave, and the table."""
    charts = []
    measured = table.dropna(subset=["kl_weight"])
    for heading, column, label in (
        ("PSNR over the KL weight", "psnr", "PSNR, dB"),
        ("LPIPS over the KL weight", "lpips", "LPIPS, lower is better"),
    ):
        charts.append({"heading": heading, "chart": _scatter(measured, "kl_weight", "kl_weight", column, label)})
    charts.append(
        {"heading": "PSNR over the KL", "chart": _scatter(table, "kl", "KL, nats a picture", "psnr", "PSNR, dB")}
    )
    return render(
        "experiments.html",
        charts=[chart for chart in charts if chart["chart"]],
        heads=list(_HEADS.values())[1:-1],
        rows=_cells(table),
        count=len(table),
    )


def _scatter(table: pd.DataFrame, x: str, x_label: str, y: str, y_label: str) -> Markup | None:
    """A set of points for each size of the code; None where there is nothing to draw."""
    kept = table[(table[x] > 0) & table[y].notna() & table["latent_dim"].notna()]
    if kept.empty:
        return None
    series = []
    for place, (size, part) in enumerate(kept.groupby("latent_dim")):
        ordered = part.sort_values([x, y], kind="stable")
        name = f"{size:.0f} floats"
        series.append(Series(name, [*ordered[x]], [*ordered[y]], _STYLES[place % len(_STYLES)], "points"))
    told = "; ".join(f"{row['experiment']}: {row[y]:.4g} at {row[x]:.3g}" for _, row in kept.iterrows())
    return line_chart(series, Axis(x_label, log=True), Axis(y_label), f"{y_label} over {x_label}", described=told)


def _records(shown: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(name, revision, data) of the workspace and of each experiment; a commit is a row only as the workspace."""
    for entry in shown:
        if entry.get("rev") == "workspace" and entry.get("data"):
            yield "workspace", "", entry["data"]
        for experiment in entry.get("experiments") or []:
            last = (experiment.get("revs") or [{}])[0]  # the newest first, where there are checkpoints
            if last.get("data"):
                yield experiment.get("name") or last["rev"][:7], str(last["rev"]), last["data"]


def _file(data: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    """The content of a params or metrics file; empty where it is missing or could not be read."""
    return ((data.get(kind) or {}).get(name) or {}).get("data") or {}


def _mean(metrics: Mapping[str, Any], key: str) -> float:
    found = metrics.get(key)
    return _number(found.get("mean") if isinstance(found, Mapping) else found)


def _number(value: Any) -> float:
    """YAML 1.1 leaves `1e-5` as text; anything that is no number counts as missing."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + str(key)] = value
    return flat


def _cells(table: pd.DataFrame) -> list[list[str]]:
    return [[_cell(key, row[key]) for key in _HEADS] for row in table.to_dict("records")]


def _cell(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return "–"
    sign = "+" if key.endswith("_change") else ""
    return f"{value:{sign}.{_DECIMALS[key]}f}" if key in _DECIMALS else f"{value:g}"

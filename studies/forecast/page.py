"""PYTHONPATH=src python studies/forecast/page.py

The runs of this study as docs/forecast.md and its chart, and what `feasibility.measured_gain` reads.
"""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ear_teacher.files import write_atomically
from ear_teacher.stage import run

TITLES = {
    ("squared", "warm"): "Squared error + KL, from the warm start",
    ("squared", "random"): "Squared error + KL, from random weights",
    ("default", "warm"): "The default loss, theta corrected for it",
}
CELLS = {"kl_weight": "g", "kl_forecast": ".0f", "kl_measured": ".0f"}
COLOURS = {("squared", "warm"): "#00798c", ("squared", "random"): "#8a8f98", ("default", "warm"): "#d1495b"}


def main() -> None:
    files = sorted(Path("studies/forecast/runs").glob("*.json"))
    rows = pd.DataFrame([json.loads(path.read_text()) for path in files])
    rows = rows.sort_values(["floats", "kl_weight"], ascending=[True, False], kind="stable")
    linear = pd.read_csv("studies/forecast/linear_vae.csv")
    write_atomically(Path("docs/forecast.md"), "\n".join([page(rows), *linear_table(linear)]))
    write_atomically(Path("docs/images/forecast.png"), chart(rows))
    best = rows[(rows["loss"] == "squared") & (rows["start"] == "warm") & (rows["floats"] == 1024)]
    best = best.sort_values("kl_measured")
    gain = (best["psnr_measured"] - best["psnr_at_measured_kl"]).round(2)
    measured = {"kl": best["kl_measured"].round(1).to_list(), "gain_db": gain.to_list()}
    write_atomically(Path("src/ear_teacher/measured_gain.json"), json.dumps(measured) + "\n")


def calibrated(rows: pd.DataFrame) -> pd.Series:
    """Each run's KL forecast times a factor learnt from the runs at the *other* weights.

    The logarithm of measured / forecast is fitted as a straight line over the logarithm of the weight.
    """
    predicted = {}
    for weight in rows["kl_weight"].unique():
        others, here = rows[rows["kl_weight"] != weight], rows[rows["kl_weight"] == weight]
        slope, offset = np.polyfit(
            np.log(others["kl_weight"]), np.log(others["kl_measured"] / others["kl_forecast"]), 1
        )
        for index, row in here.iterrows():
            predicted[index] = row["kl_forecast"] * np.exp(slope * np.log(weight) + offset)
    return pd.Series(predicted)


def page(rows: pd.DataFrame) -> str:
    """The tables, with the errors in words before them."""
    first = rows.iloc[0]
    lines = [
        "# Forecast against measurement",
        "",
        f"EarVN1.0 at 128 px, {first['pictures']} photos of people no model saw (number mod 7 = 3); the model of "
        f"`studies/params.yaml` in 4x4 layout, {first['steps']} steps of {first['batch']} pictures, so every run is "
        "short. KL in nats; PSNR in dB of a sampled code and of the mean squared error over the set, unclamped, as the "
        "forecast has it. *At equal KL* is the measured PSNR less the forecast's at the measured KL: how far a "
        "network is better than every linear-Gaussian code. A warm start begins at the optimum of the squared error, "
        "so its rows say where training leads away from it; those from random weights say how far so short a training "
        "finds it.",
        "",
        "Repeat it with `make forecast PHOTOS=<EarVN1.0 folder>`.",
        "",
        "![Predicted and measured KL and PSNR](images/forecast.png)",
        "",
    ]
    for key, title in TITLES.items():
        group = rows[(rows["loss"] == key[0]) & (rows["start"] == key[1])]
        if group.empty:
            continue
        off = group["kl_measured"] / group["kl_forecast"] - 1
        gain = group["psnr_measured"] - group["psnr_at_measured_kl"]
        held = group["psnr_measured"] - group["psnr_forecast"]
        lines += [
            f"## {title}",
            "",
            f"KL between {100 * off.min():+.0f} % and {100 * off.max():+.0f} % of the forecast; PSNR between "
            f"{held.min():+.2f} and {held.max():+.2f} dB of the forecast at the same weight, {gain.min():+.2f} to "
            f"{gain.max():+.2f} dB at equal KL.",
            "",
        ]
        learnt = calibrated(group) if key[0] == "default" else None
        head = ["floats", "kl_weight", "KL forecast", "measured", "off", "PSNR forecast", "measured", "at equal KL"]
        if learnt is not None:
            head[4:5] = ["squared error says", "off", "learnt from the other weights", "off"]
        lines += ["| " + " | ".join(head) + " |", "|" + "---:|" * len(head)]
        for index, row in group.iterrows():
            cells = [
                f"{row['floats']}",
                f"{row['kl_weight']:g}",
                f"{row['kl_forecast']:.0f}",
                f"{row['kl_measured']:.0f}",
            ]
            if learnt is not None:
                cells.append(f"{row['kl_squared_error']:.0f}")
            cells.append(f"{100 * off[index]:+.0f} %")
            if learnt is not None:
                better = row["kl_measured"] / learnt[index] - 1
                cells += [f"{learnt[index]:.0f}", f"{100 * better:+.0f} %"]
            cells += [f"{row['psnr_forecast']:.2f}", f"{row['psnr_measured']:.2f}", f"{gain[index]:+.2f}"]
            lines.append("| " + " | ".join(cells) + " |")
        if learnt is not None:
            error = group["kl_measured"] / learnt - 1
            lines += [
                "",
                "*KL forecast* is the level at which the linear-Gaussian codes are best in this very loss, derived "
                "without training (`feasibility.equivalent_weight`). *Learnt from the other weights* multiplies it by "
                "a factor, a straight line over the logarithm of the weight, fitted to the runs at the other four: off "
                "by "
                f"{100 * error.min():+.0f} % to {100 * error.max():+.0f} %.",
            ]
        lines.append("")
    return "\n".join(lines)


def linear_table(table: pd.DataFrame) -> list[str]:
    """The linear VAE's section."""
    first = table.iloc[0]
    lines = [
        "## A VAE that is linear from end to end",
        "",
        f"The model the forecast is the closed form of, trained by gradient descent from random weights on "
        f"{first['pictures']:.0f} photos at {first['side']:.0f} px, {first['floats']:.0f} floats; both on the training "
        "photos. It checks the formula; the tables above say what a network makes of it.",
        "",
        "| kl_weight | KL forecast | measured | off | PSNR sampled, forecast | measured | PSNR mean, forecast | "
        "measured |",
        "|" + "---:|" * 8,
    ]
    for row in table.itertuples():
        lines.append(
            f"| {row.kl_weight:g} | {row.kl_forecast:.2f} | {row.kl_measured:.2f} | "
            f"{100 * (row.kl_measured / row.kl_forecast - 1):+.2f} % | "
            f"{row.psnr_sampled_forecast:.2f} | {row.psnr_sampled_measured:.2f} | "
            f"{row.psnr_mean_forecast:.2f} | {row.psnr_mean_measured:.2f} |"
        )
    return [*lines, ""]


def chart(rows: pd.DataFrame) -> bytes:
    """Measured over predicted, KL and PSNR."""
    figure = Figure(figsize=(9.6, 4.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for axes, quantity, unit in ((left, "kl", "KL, nats a picture"), (right, "psnr", "PSNR of a sampled code, dB")):
        low, high = rows[f"{quantity}_forecast"].min(), rows[f"{quantity}_forecast"].max()
        axes.plot([low, high], [low, high], color="#30363d", linewidth=1)
        for key, title in TITLES.items():
            for floats, marker in ((512, "o"), (1024, "s")):
                group = rows[(rows["loss"] == key[0]) & (rows["start"] == key[1]) & (rows["floats"] == floats)]
                fill = COLOURS[key] if floats == 1024 else "none"
                axes.scatter(
                    group[f"{quantity}_forecast"], group[f"{quantity}_measured"], marker=marker, s=34,
                    facecolors=fill, edgecolors=COLOURS[key], label=f"{title}, {floats} floats",
                )  # fmt: skip
        axes.set_xlabel(f"forecast: {unit}")
        axes.set_ylabel(f"measured: {unit}")
        axes.grid(alpha=0.25)
    left.set_xscale("log")
    left.set_yscale("log")
    left.legend(fontsize=6.5)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


if __name__ == "__main__":
    run(main)

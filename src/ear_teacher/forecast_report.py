"""The forecast as a person and as a program reads it; shared by the stage and the command line.

content = report(energies, latent_dims=(512, 1024), kl_weights=(1e-4, 1e-5), kl_range=(5, 15), psnr_range=(27, 30))
print(table(content))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from ear_teacher.config import LAYOUT_GRID, UserError
from ear_teacher.feasibility import ASSUMPTION, joint_target
from ear_teacher.forecast import Point, at_kl, at_psnr, at_weight, floats_for, scale_of
from ear_teacher.linear import Energies, LinearCode, energies, fit_codes

FEWEST = 100
"""Fewer pictures than this say too little about the next one."""
HELD_OUT_SHARE = 5
PSNR_LEVELS = (20.0, 22.0, 25.0, 27.0, 28.0, 30.0, 32.0)
KL_LEVELS = (5.0, 10.0, 15.0, 50.0, 170.0, 500.0, 1600.0)


def energies_by_size(
    codes: Mapping[str, LinearCode], images: np.ndarray, rows: np.ndarray, latent_dims: Sequence[int]
) -> dict[int, dict[str, Energies]]:
    """Size of the code -> layout -> energies; a layout whose patches cannot share out that size is left out."""
    return {
        size: {
            name: energies(code.truncated(size), images, rows)
            for name, code in codes.items()
            if size % code.grid**2 == 0
        }
        for size in latent_dims
    }


def forecast_pictures(
    images: np.ndarray,
    latent_dims: Sequence[int],
    kl_weights: Sequence[float],
    kl_range: tuple[float, float] = (5.0, 15.0),
    psnr_range: tuple[float, float] = (27.0, 30.0),
) -> dict[str, Any]:
    """The forecast for pictures of which nothing else is known.

    The codes are fitted on the first four fifths and the forecast made for the last, in the order given: where names
    begin with the person, most of the people forecast for are then not those fitted on.

    Args:
        images: uint8 (N, S, S, 3), S a multiple of 16.
        latent_dims: sizes of the code.
        kl_weights: weights of the table.
        kl_range: nats, and
        psnr_range: dB, the joint target to judge.

    Returns:
        A `report`, with `pictures` and `held_out`.

    Raises:
        UserError: there are too few pictures, or a size is too large for them.
    """
    count, size = len(images), images.shape[1]
    if count < FEWEST:
        raise UserError(f"{count} pictures are too few for a forecast: give at least {FEWEST}.")
    if size % 16:
        raise UserError(f"{size} px do not divide into the patches of the codes: use a multiple of 16.")
    if max(latent_dims) > 3 * size**2:
        raise UserError(
            f"A picture of {size} px has {3 * size**2} values, so a code of {max(latent_dims)} floats is none."
        )
    first = count - count // HELD_OUT_SHARE
    fitted = fit_codes(images, np.arange(first), LAYOUT_GRID.values(), max(latent_dims))
    codes = {layout: fitted[grid] for layout, grid in LAYOUT_GRID.items()}
    content = report(
        energies_by_size(codes, images, np.arange(first, count), sorted(latent_dims)), kl_weights, kl_range, psnr_range
    )
    return {"pictures": count, "held_out": count - first, "image_size": size} | content


def point_row(point: Point) -> dict[str, float | int]:
    """A point with its derived units, rounded to what the forecast is good for."""
    row = asdict(point) | {"bits": point.bits, "bytes": point.bytes}
    return {key: value if isinstance(value, int) else float(f"{value:.6g}") for key, value in row.items()}


def curve(energy: Energies, latent_dim: int, points: int = 71) -> pd.DataFrame:
    """The rate-distortion curve as a table: one row a weight from 1e-1 to 1e-8, columns of `point_row`."""
    return pd.DataFrame([point_row(at_weight(energy, float(w), latent_dim)) for w in np.geomspace(1e-1, 1e-8, points)])


def report(
    by_size: Mapping[int, Mapping[str, Energies]],
    kl_weights: Sequence[float],
    kl_range: tuple[float, float],
    psnr_range: tuple[float, float],
) -> dict[str, Any]:
    """Everything the forecast has to say about a set of pictures.

    Args:
        by_size: size of the code -> layout -> energies (`energies_by_size`).
        kl_weights: weights of the table.
        kl_range: nats, and
        psnr_range: dB, the joint target to judge.

    Returns:
        For JSON: `assumption`, `weights` (w -> its scales), `table` (rows), `inverse_psnr` (rows: what a PSNR needs),
        `inverse_kl` (rows: what a KL allows), `joint_target`.
    """
    pixels = next(iter(next(iter(by_size.values())).values())).pixels
    cells = [(size, name, energy) for size, group in by_size.items() for name, energy in group.items()]
    largest = max(by_size)
    rows = [
        {"latent_dim": size, "layout": name} | point_row(at_weight(energy, weight, size))
        for weight in kl_weights
        for size, name, energy in cells
    ]
    needs, allows = [], []
    for name, energy in by_size[largest].items():
        for level in PSNR_LEVELS:
            point = at_psnr(energy, level, largest)
            found = {"kl_weight": point.kl_weight, "kl": point.kl, "active": point.active} if point else {}
            needs.append({"layout": name, "psnr": level, "floats": floats_for(energy, level), **found})
        for nats in KL_LEVELS:
            point = at_kl(energy, nats, largest)
            allows.append({"layout": name, "kl": nats, "kl_weight": point.kl_weight, "psnr": point.psnr_sampled})
    return {
        "assumption": ASSUMPTION,
        "weights": {f"{weight:g}": asdict(scale_of(weight, pixels)) for weight in kl_weights},
        "table": rows,
        "inverse_psnr": needs,
        "inverse_kl": allows,
        "joint_target": joint_target(by_size[largest], largest, kl_range, psnr_range),
    }


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(str(row[i])) for row in (header, *rows)) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return [
        "| " + " | ".join(str(cell).rjust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in lines
    ]


def table(content: Mapping[str, Any]) -> str:
    """A `report` as text (Markdown) a person can read."""
    by_weight = [
        [
            f"{row['kl_weight']:g}", str(row["latent_dim"]), row["layout"], str(row["active"]), f"{row['kl']:.0f}",
            f"{row['bytes']:.0f}", f"{row['psnr_sampled']:.1f}", f"{row['psnr_mean']:.1f}",
        ]
        for row in content["table"]
    ]  # fmt: skip
    needs = [
        [
            f"{row['psnr']:g}", row["layout"], "–" if row["floats"] is None else str(row["floats"]),
            *([f"{row['kl']:.0f}", f"{row['kl_weight']:.1e}"] if "kl" in row else ["–", "–"]),
        ]
        for row in content["inverse_psnr"]
    ]  # fmt: skip
    allows = [[f"{r['kl']:g}", r["layout"], f"{r['psnr']:.1f}", f"{r['kl_weight']:.1e}"] for r in content["inverse_kl"]]
    scales = [
        [weight, *(f"{s[k]:.3g}" for k in ("beta_sum", "beta_sum_unit", "beta_half", "noise", "noise_unit"))]
        for weight, s in content["weights"].items()
    ]
    return "\n".join([
        "## What a weight gives",
        "",
        *_markdown(
            ["kl_weight", "floats", "layout", "active", "KL, nats", "bytes", "PSNR sampled", "PSNR mean"], by_weight
        ),
        "",
        "## What a PSNR (of a sampled code) needs",
        "",
        *_markdown(["PSNR, dB", "layout", "floats, no rate limit", "KL, nats", "kl_weight"], needs),
        "",
        "## What a KL allows",
        "",
        *_markdown(["KL, nats", "layout", "PSNR sampled, dB", "kl_weight"], allows),
        "",
        "## Can both be had?",
        "",
        content["joint_target"]["sentence"],
        "",
        "## The weights in the units of other projects",
        "",
        *_markdown(
            ["kl_weight", "beta, summed error, [-1, 1]", "the same, [0, 1]", "beta, halved sum, [-1, 1]",
             "noise of the ELBO, [-1, 1]", "the same, [0, 1]"],
            scales,
        ),
        "",
        content["assumption"],
        "",
    ])  # fmt: skip

"""Which test ears the viewer shows, and each of them through every model.

rows = choose(measured, 28)                                     # indices into the table of measured pictures
ears = render(table, originals, {"current": recons}, quality)   # what viewer.js reads
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ear_teacher.pictures import ERROR_TOP, INFERNO
from ear_teacher.report.pictures import webp


def choose(measured: pd.DataFrame, ears: int) -> pd.DataFrame:
    """Pick pictures that show the range: the worst, the best, all of some people, and an even sample of the rest.

    Args:
        measured: one row a test picture with `file`, `person`, `grey` and `psnr` of the current model.
        ears: how many at most.

    Returns:
        Those rows in the order of `measured`, with a column `tag`: `worst`, `best` or empty.
    """
    share = max(ears // 5, 1)
    ranked = list(measured["psnr"].sort_values(kind="stable").index)
    worst = ranked[:share]
    best = [row for row in ranked[::-1] if row not in worst][:share]
    known = [person for person in dict.fromkeys(measured["person"]) if person]
    people = [known[len(known) * part // 3] for part in (1, 2)] if len(known) > 2 else known
    whole = [row for person in people for row in measured.index[measured["person"] == person][:share]]
    rest = [row for row in measured.index if row not in {*worst, *best, *whole}]
    grey = [row for row in rest if measured.at[row, "grey"]]
    colour = [row for row in rest if not measured.at[row, "grey"]]
    chosen = list(dict.fromkeys([*worst, *best, *whole]))[:ears]
    left = ears - len(chosen)
    chosen += _spread(grey, left // 2)
    chosen += _spread(colour, ears - len(chosen))
    shown = measured.loc[sorted(set(chosen))].copy()
    shown["tag"] = ["worst" if row in worst else "best" if row in best else "" for row in shown.index]
    return shown


def _spread(rows: list[int], count: int) -> list[int]:
    """At most so many of the rows, evenly spaced."""
    return rows if count >= len(rows) else [rows[place * len(rows) // count] for place in range(count)]


def render(
    shown: pd.DataFrame,
    originals: np.ndarray,
    recons: Mapping[str, np.ndarray],
    quality: Mapping[str, pd.DataFrame],
) -> list[dict[str, Any]]:
    """The ears as the viewer takes them.

    Args:
        shown: from `choose`.
        originals: uint8 (n, S, S, 3), in the same order.
        recons: variant -> the same through it.
        quality: variant -> `psnr` and `lpips` of each, in the same order.
    """
    ears = []
    for place, (_, row) in enumerate(shown.iterrows()):
        ears.append(
            {
                "name": str(row["file"]),
                "person": str(row["person"]),
                "grey": bool(row["grey"]),
                "tag": str(row["tag"]),
                "pictures": {
                    "original": webp(originals[place]),
                    **{name: webp(pictures[place]) for name, pictures in recons.items()},
                },
                "quality": {
                    name: {key: _rounded(table[key].iloc[place], digits) for key, digits in (("psnr", 1), ("lpips", 3))}
                    for name, table in quality.items()
                },
            }
        )
    return ears


def viewer_data(ears: list[dict[str, Any]], labels: Mapping[str, str]) -> dict[str, Any]:
    """Everything viewer.js needs: the ears, what their pictures are called, and the scale of the error map."""
    return {
        "ears": ears,
        "labels": {"original": "original", **labels},
        "order": list(labels),  # JSON objects are sorted by key
        "errorTop": ERROR_TOP,
        "inferno": INFERNO.tolist(),
    }


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None

"""The record of a run: one row a validation, and its files for `dvc plots show`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ear_teacher.files import write_atomically

Row = dict[str, float]


def write_history(rows: list[Row], folder: Path) -> None:
    """Write `history.csv` and one two-column TSV a quantity, in the layout of DVCLive.

    `train/loss` becomes `metrics/train/loss.tsv` with the columns `step` and `loss`. Quantities that a row lacks
    (training means at step 0) leave that row out. Files are replaced whole.

    Args:
        rows: flat rows with `step` and any number of quantities, in order of step.
        folder: where to write.
    """
    table = pd.DataFrame(rows)
    write_atomically(folder / "history.csv", table.to_csv(index=False))
    for column in table.columns:
        if column != "step":
            path = folder / "metrics" / f"{column}.tsv"
            pair = table[["step", column]].dropna().rename(columns={column: column.rsplit("/", 1)[-1]})
            write_atomically(path, pair.to_csv(index=False, sep="\t"))


def write_events(events: Sequence[tuple[int, str]], folder: Path) -> None:
    """Write `events.csv`, what happened to a run out of turn, as (step, sentence); no file where nothing did."""
    path = folder / "events.csv"
    path.unlink(missing_ok=True)
    if events:
        write_atomically(path, pd.DataFrame(events, columns=["step", "event"]).to_csv(index=False))

"""What a run's history says: still falling, risen again, spikes, validation leaving training.

Losses are compared as ratios, in dB (10 log10), so that one threshold serves every loss.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ear_teacher.diagnosis.subject import Numbers

FEWEST = 5
"""Validations below which a curve says nothing of its end."""
WINDOWS = ((0.2, 0.3), (0.4, 0.6), (0.85, 1.0))
"""Shares of the run that stand for its first quarter, its half and its end."""
DOUBLINGS = 3.3
"""A run ten times as long is 3.3 doublings: further than that nothing is promised."""


def progress(history: pd.DataFrame) -> Numbers:
    """Read a history.

    Args:
        history: rows of `training.history`, in order of `step`.

    Returns:
        `history.broken` (1: NaN or infinite somewhere), `.steps`, `.epochs`; `.rise`, dB by which training *and*
        validation loss ended above their lowest; `.spike`, the worst rise of both on the way; `.left`, dB that a
        run ten times as long would gain at the pace of the last doublings; `.doubling`, dB gained in the last
        doubling; `.parting`, dB by which the validation loss ended above its lowest while the training loss fell;
        `.travel`, sum of the learning rate over the steps; `.psnr_first`, `.psnr_last`, `.psnr_best` of the
        validation pictures.
    """
    rows = history.select_dtypes("number")
    steps = rows["step"].to_numpy(dtype=float)
    losses = {split: _at_final_weight(rows, split) for split in ("train", "val")}
    terms = [name for name in rows.columns if name.startswith(("train/", "val/"))]
    begun = rows.loc[rows["step"] > 0, terms]
    broken = bool(np.isinf(rows[terms].to_numpy()).any() or begun.isna().any().any())
    broken |= bool(rows.loc[rows["step"] == 0, [n for n in terms if n.startswith("val/")]].isna().any().any())
    values = {"history.broken": float(broken), "history.steps": float(steps[-1])}
    if "epoch" in rows:
        values["history.epochs"] = float(rows["epoch"].iloc[-1])
    if "lr" in rows and len(rows) > 1:
        rates = rows["lr"].to_numpy(dtype=float)
        values["history.travel"] = float(np.sum(np.diff(steps) * (rates[1:] + rates[:-1]) / 2))
    psnr = _series(rows, "val/psnr")
    if psnr is not None and len(psnr):
        found = {"first": psnr[0, 1], "last": psnr[-1, 1], "best": psnr[:, 1].max()}
        values |= {f"history.psnr_{name}": float(value) for name, value in found.items()}
    spikes = [_rise(curve)[1] for curve in losses.values() if curve is not None and len(curve)]
    if losses["train"] is not None and losses["val"] is not None:  # training means begin after the first steps
        losses["train"] = np.vstack([losses["val"][:1], losses["train"]])
    rises = {split: _rise(curve) for split, curve in losses.items() if curve is not None and len(curve)}
    if len(rises) == 2:
        values["history.rise"] = min(end for end, _ in rises.values())
        values["history.spike"] = min(spikes)
        values["history.parting"] = rises["val"][0] if rises["train"][0] < rises["val"][0] / 2 else 0.0
    if len(rows) >= FEWEST and not broken:
        curves = [(psnr, 1.0), (_decibels(losses["val"]), -1.0)]  # training losses are of other pictures each time
        pairs = [_left(curve, sign) for curve, sign in curves if curve is not None and len(curve) >= FEWEST - 1]
        if pairs:
            values["history.left"] = max(left for left, _ in pairs)
            values["history.doubling"] = max(last for _, last in pairs)
    return Numbers(values)


def _at_final_weight(rows: pd.DataFrame, split: str) -> np.ndarray | None:
    """The loss with the KL weighted as at the end: a weight that rises or is sought must not pass for a rise."""
    loss, kl = _series(rows, f"{split}/loss"), f"{split}/raw/kl"
    if loss is None or kl not in rows or "kl_weight" not in rows or f"{split}/weighted/kl" not in rows:
        return loss
    same = rows["kl_weight"].iloc[-1] * rows[kl] - rows[f"{split}/weighted/kl"]
    return _series(rows.assign(**{f"{split}/loss": rows[f"{split}/loss"] + same}), f"{split}/loss")


def _series(rows: pd.DataFrame, column: str) -> np.ndarray | None:
    """(n, 2) step and finite value of a column; None where there is none."""
    if column not in rows:
        return None
    pair = rows[["step", column]].to_numpy(dtype=float)
    return pair[np.isfinite(pair).all(1)]


def _decibels(curve: np.ndarray | None) -> np.ndarray | None:
    """A loss in dB; None where it is not positive, so that its ratios mean nothing."""
    if curve is None or not len(curve) or curve[:, 1].min() <= 0:
        return None
    return np.column_stack([curve[:, 0], 10 * np.log10(curve[:, 1])])


def _rise(curve: np.ndarray) -> tuple[float, float]:
    """dB by which the last value, and the worst after the lowest so far, stand above the lowest."""
    level = _decibels(curve)
    if level is None:
        return 0.0, 0.0
    lowest = np.minimum.accumulate(level[:, 1])
    return float(level[-1, 1] - lowest[-1]), float((level[:, 1] - lowest).max())


def _left(curve: np.ndarray, sign: float) -> tuple[float, float]:
    """What the next doublings would bring if each brings the same share of the one before; and the last doubling.

    A cosine schedule brings every run to rest in steps, but not in doublings: there a run that is far from its end
    still gains about as much in each.
    """
    steps, values = curve[:, 0] / curve[-1, 0], sign * curve[:, 1]
    # Means over a few validations, so that one lucky one does not count.
    quarter, half, last = (
        float(values[(steps >= low) & (steps <= high)].mean())
        if ((steps >= low) & (steps <= high)).any()
        else float(np.interp((low + high) / 2, steps, values))
        for low, high in WINDOWS
    )
    before, now = half - quarter, last - half
    if now <= 0:
        return 0.0, now
    share = min(now / before, 1.0) if before > 0 else 1.0
    total = sum(now * share**k * min(1.0, DOUBLINGS - k + 1) for k in range(1, 5))
    return total, now

"""Early stopping by the author's criteria, as a function of the history alone.

    reason = stop_reason(rows, config.train)     # None: go on

A run that was cut short and resumed has the same history, so it stops at the same step.
"""

from __future__ import annotations

from collections.abc import Callable

from ear_teacher.config import TrainConfig
from ear_teacher.training.history import Row

GAIN = {
    "loss": ("val/loss", -1),
    "psnr": ("val/psnr", 1),
    "lpips": ("val/raw/perceptual", -1),
    "last": ("val/loss", -1),
}
"""`train.select` -> the quantity a gain is looked for in, and 1 where more is better."""


def stop_reason(rows: list[Row], config: TrainConfig) -> str | None:
    """Why training ends with the last row, or None where it goes on.

    Args:
        rows: one a validation, in order.
        config: the train section; all criteria of `stop.require` must hold.
    """
    held = [CRITERIA[name](rows, config) for name in config.stop.require]
    return " and ".join(text for text in held if text) if held and all(held) else None


def _kl_settled(rows: list[Row], config: TrainConfig) -> str | None:
    """Over the last `patience` epochs, three validations at least, lowest and highest KL are close together."""
    now = rows[-1]["epoch"]
    long_ago = [i for i, row in enumerate(rows[:-2]) if now - row["epoch"] >= config.stop.patience]
    if not long_ago:
        return None
    kls = [row["val/kl"] for row in rows[long_ago[-1] :]]
    if max(kls) - min(kls) > config.stop.kl_change * sum(kls) / len(kls):
        return None
    return f"the KL has settled at {kls[-1]:.4g} nats"


def _kl_range(rows: list[Row], config: TrainConfig) -> str | None:
    low, high = config.stop.kl_range
    kl = rows[-1]["val/kl"]
    return f"the KL of {kl:.4g} nats is in {low:g}-{high:g}" if low <= kl <= high else None


def _perceptual(rows: list[Row], config: TrainConfig) -> str | None:
    # The config refuses this criterion where the term is not the author's.
    value = rows[-1]["val/raw/perceptual"]
    wanted = config.stop.perceptual
    return f"the perceptual loss of {value:.3f} is below {wanted:g}" if value < wanted else None


def _psnr(rows: list[Row], config: TrainConfig) -> str | None:
    value = rows[-1]["val/psnr"]
    return f"the PSNR of {value:.2f} dB is above {config.stop.psnr:g}" if value > config.stop.psnr else None


def _no_gain(rows: list[Row], config: TrainConfig) -> str | None:
    quantity, sign = GAIN[config.select]
    best = max(rows, key=lambda row: sign * row.get(quantity, row["val/loss"]))
    waited = rows[-1]["epoch"] - best["epoch"]
    if waited < config.stop.patience:
        return None
    return f"{quantity} was best at step {best['step']:.0f}, {waited:.1f} epochs ago"


CRITERIA: dict[str, Callable[[list[Row], TrainConfig], str | None]] = {
    "kl_settled": _kl_settled,
    "kl_range": _kl_range,
    "perceptual": _perceptual,
    "psnr": _psnr,
    "no_gain": _no_gain,
}
"""Each criterion's sentence where it holds, nothing where it does not."""

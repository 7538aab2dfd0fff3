"""The divergence guard: has the loss left the level the run had reached?

    guard = Guard(spike=3.0)
    guard.begin(rest=0.4, kl=150.0)                               # the validation of step 0
    what = guard.observe(rest=0.4, kl=150.0, kl_weight=1e-4)      # after each step; None, or what happened

The loss of one batch says little and clipping survives one wild batch, so steps are judged in blocks of ten by their
medians. A block is compared with the best block of the run *under the KL weight of now*: where a warm-up or a target
moves that weight, old losses are counted again with the new one. So a run that gives up sharpness because it was told
to does not look like one that falls apart. The first level is the start's: what step 0 has on validation or in its
first batch, the higher of them, because one batch may be easy and training pictures may be degraded.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from ear_teacher.config import UserError

BLOCK = 10  # steps


class Diverged(UserError):
    """The run fell apart.

    Attributes:
        what: what was seen, as the end of a sentence.
        step: optimiser steps done when it was seen.
        good_step: step of the newest checkpoint, which was sound; None where there is none.
    """

    def __init__(self, what: str, step: int, good_step: int | None) -> None:
        back = "there is no good state" if good_step is None else f"its last good state is that of step {good_step}"
        super().__init__(f"Training diverged at step {step}: {what}; {back}.")
        self.what, self.step, self.good_step = what, step, good_step


class Guard:
    """Watches the loss of each step.

    Args:
        spike: a block this many times above the best one is a divergence.
    """

    def __init__(self, spike: float) -> None:
        self.spike = spike
        self._start: list[float] | None = None
        self._open: list[list[float]] = []
        self._blocks: list[list[float]] = []

    def begin(self, rest: float, kl: float) -> None:
        """Take in step 0's validation; arguments as in `observe`."""
        self._start = [rest, kl]

    def observe(self, rest: float, kl: float, kl_weight: float) -> str | None:
        """Take in a step.

        Args:
            rest: the loss without its KL term, at least 0 and finite.
            kl: the raw KL term in nats, finite.
            kl_weight: its weight now.

        Returns:
            What is wrong, or None.
        """
        if self._start is not None:
            self._blocks.append([max(self._start[0], rest), max(self._start[1], kl)])
            self._start = None
        self._open.append([rest, kl])
        if len(self._open) < BLOCK:
            return None
        now, level = self._levels(kl_weight)
        self._blocks.append(_medians(self._open))
        self._open = []
        if now <= self.spike * level:
            return None
        return (
            f"the loss of the last {BLOCK} steps is {now:.3g}, {now / level:.1f} times the level of {level:.3g} the "
            "run had reached"
        )

    def sound(self, kl_weight: float) -> bool:
        """Whether the steps since the last whole block give no cause for doubt: a checkpoint is worth keeping."""
        if not self._open:
            return True
        now, level = self._levels(kl_weight)
        return now <= self.spike * level

    def _levels(self, kl_weight: float) -> tuple[float, float]:
        """The loss of the open block and of the best block, under this weight."""
        levels = [rest + kl_weight * kl for rest, kl in [*self._blocks, _medians(self._open)]]
        return levels[-1], min(levels)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"start": self._start, "open": self._open, "blocks": self._blocks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self._start, self._open, self._blocks = state["start"], list(state["open"]), list(state["blocks"])


def _medians(steps: list[list[float]]) -> list[float]:
    return [median(column) for column in zip(*steps, strict=True)]

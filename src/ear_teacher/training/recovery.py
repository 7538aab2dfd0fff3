"""How often a run fell apart and was taken back to its last good checkpoint.

The record is a small file beside the checkpoints, written before training goes on. The learning rate of a step is a
function of this record, so a run that is cut short after a recovery resumes and ends in the same bits.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ear_teacher.config import TrainConfig
from ear_teacher.files import write_atomically
from ear_teacher.training.checkpoints import INTERRUPTED, delete_checkpoints, drop_newest
from ear_teacher.training.distributed import ALONE, Processes
from ear_teacher.training.guard import Diverged


@dataclass(frozen=True)
class Recovery:
    """One return to a good state.

    Attributes:
        step: the good state's; from here on the learning rate is lower.
        diverged_at: where the run had got to.
        what: what was seen there.
    """

    step: int
    diverged_at: int
    what: str


def read_recoveries(folder: Path) -> list[Recovery]:
    """Those of the run whose checkpoints are in `folder`, in order."""
    path = folder / "recoveries.json"
    return [Recovery(**item) for item in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []


def recover(error: Diverged, folder: Path, config: TrainConfig, processes: Processes = ALONE) -> None:
    """Note a return to the last good checkpoint; the next attempt resumes there with a lower learning rate.

    A second divergence from the same checkpoint casts doubt on it: the one before takes its place.

    Raises:
        Diverged: the same error where the run is not to recover, cannot, or has used up its attempts.
    """
    past = read_recoveries(folder)
    if processes.first:
        delete_checkpoints(folder / INTERRUPTED)
    if config.on_divergence == "stop" or error.good_step is None:
        raise error
    if len(past) >= config.divergence.attempts:
        rates = ", ".join(f"{config.lr * config.divergence.lr_factor**n:.2g}" for n in range(len(past) + 1))
        tried = f"{error.what}, and {len(past)} recoveries did not help (learning rates {rates})"
        raise Diverged(tried, error.step, error.good_step)
    processes.wait()  # until all have read
    if processes.first:
        _note(error, error.good_step, past, folder)
    processes.wait()


def _note(error: Diverged, good_step: int, past: list[Recovery], folder: Path) -> None:
    step: int | None = good_step
    if past and past[-1].step == step:
        step = drop_newest(folder)
    assert step is not None
    past.append(Recovery(step, error.step, error.what))
    write_atomically(folder / "recoveries.json", json.dumps([asdict(item) for item in past], indent=2) + "\n")


def lr_scale(step: int, recoveries: list[Recovery], config: TrainConfig) -> float:
    """Factor of the learning rate at a step, from the recoveries at or before it; 1 without."""
    return config.divergence.lr_factor ** sum(item.step <= step for item in recoveries)

"""python -m tests.training.together <folder>: what a process of several does, or one alone; results go to the folder.

Started with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set, as torchrun sets them.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ear_teacher.config import LossConfig, TeachConfig, TrainConfig, UserError
from ear_teacher.linear import fit_klt
from ear_teacher.losses import Loss
from ear_teacher.training.distributed import Processes, joined
from ear_teacher.training.loop import Interrupted, Pictures, Result, train
from ear_teacher.training.teach import Teaching
from tests.training.helpers import fresh

ONE_STEP = {"steps": 1, "batch_size": 8, "validate_every": 1, "max_grad_norm": 1e9, "milestones": ()}
CASES: dict[str, tuple[dict, dict, dict]] = {
    "plain": ({"kl_weight": 1e-3, "ssim_weight": 0.1}, {"accumulation": 2}, {}),
    "every_pixel_term": (
        {"recon": "l1", "edge_weight": 0.1, "frequency_weight": 0.1, "kl_weight": 1e-3},
        {"affine": 0.05, "augment": "clean_target"},
        {},
    ),
    # What couples the pictures of a batch: dark pixels left out, free bits, exchange with another picture.
    "coupled": (
        {"ignore_dark": True, "focal": True, "center_weight": 3.0, "kl_weight": 1e-2, "kl_free_bits": 0.5},
        {"augment": "degraded_target"},
        {"agree_weight": 1.0, "mask_share": 0.3},
    ),
}
RUN = TrainConfig(steps=8, batch_size=8, validate_every=4, lr=1e-3, ema=0.9, optimizer="muon", milestones=())
END_AFTER = 6


def some_pictures() -> Pictures:
    """Smooth ones; half of them have a dark bar, so that the parts of a batch have different weights."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(60, 200, (48, 4, 4, 3)).repeat(8, 1).repeat(8, 2)
    images = (coarse + rng.normal(0, 8, coarse.shape)).clip(30, 255).astype(np.uint8)
    images[::2, :12] = 0
    return Pictures(images, np.arange(37), np.arange(37, 48))


def one_step(name: str, pictures: Pictures, folder: Path, processes: Processes) -> tuple[dict, Result]:
    """The gradients of one step, and the run."""
    loss, more, teach = CASES[name]
    model = fresh(fit_klt(pictures.images, pictures.train, 4, 8), 8 if "agree_weight" in teach else 0)
    with torch.no_grad():  # last layers start at 0, and hide the gradient of all before them
        for at, weight in enumerate(p for p in model.parameters() if p.requires_grad):
            weight += 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(at))
    teaching = Teaching(TeachConfig(**teach), model)
    config = TrainConfig(**ONE_STEP | more)
    result = train(model, Loss(LossConfig(**loss)), pictures, config, folder, teaching=teaching, processes=processes)
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}, result


def whole_run(
    pictures: Pictures, folder: Path, processes: Processes, asked: Callable[[], bool] = lambda: False
) -> tuple[Result, int]:
    """A run of several steps, and the step it began with."""
    begun: list[int] = []

    def progress(steps: range, total: int) -> range:
        begun.append(steps.start)
        return steps

    model = fresh(fit_klt(pictures.images, pictures.train, 4, 8))
    loss = Loss(LossConfig(kl_weight=1e-4))
    result = train(
        model, loss, pictures, RUN, folder, progress=progress, asked_to_end=asked, processes=processes
    )  # fmt: skip
    return result, begun[0]


def cut_short(pictures: Pictures, folder: Path, processes: Processes) -> None:
    """Leave the checkpoint of a run that one process was asked to end."""
    calls = iter(range(1, 100))
    last = processes.count - 1
    try:
        whole_run(pictures, folder, processes, lambda: next(calls) == END_AFTER and processes.rank == last)
    except Interrupted:
        return
    raise AssertionError("it was not ended")


def diverge(pictures: Pictures, folder: Path, processes: Processes) -> str:
    """What is said where one picture, which one process has, breaks the loss."""
    loss = Loss(LossConfig(kl_weight=1e-4))
    sound = loss.forward
    bad = pictures.images.copy()
    bad[13] = 255

    def breaks(recon, target, kl, whole=lambda part: part):
        total, raw = sound(recon, target, kl, whole)
        white = (target > 0.99).flatten(1).all(1).any()
        return total, raw | {"recon": torch.where(white, torch.tensor(float("inf")), raw["recon"])}

    loss.forward = breaks  # type: ignore[method-assign]  # the fault
    model = fresh(fit_klt(pictures.images, pictures.train, 4, 8))
    try:
        train(model, loss, Pictures(bad, pictures.train, pictures.val), RUN, folder, processes=processes)
    except UserError as error:
        return str(error)
    return "nothing"


def main() -> None:
    torch.set_num_threads(1)
    folder, pictures = Path(sys.argv[1]), some_pictures()
    with joined() as processes:
        said: dict = {}
        for name in CASES:
            # A folder of its own for each process: only the first one's may come to be.
            gradients, result = one_step(name, pictures, folder / name / str(processes.rank), processes)
            said[name] = result.rows
            save_file(gradients, folder / f"{name}.{processes.rank}.safetensors")
        result, _ = whole_run(pictures, folder / "run", processes)
        said["run"] = result.rows
        save_file(result.last, folder / f"run.{processes.rank}.safetensors")
        cut_short(pictures, folder / "cut_short_by_two", processes)
        _, said["began"] = whole_run(pictures, folder / "cut_short_by_one", processes)
        said["resumed"] = _.rows
        said["diverged"] = diverge(pictures, folder / "diverged", processes)
        try:
            processes.part(np.arange(7))
        except UserError as error:
            said["refused"] = str(error)
    (folder / f"said.{processes.rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main()

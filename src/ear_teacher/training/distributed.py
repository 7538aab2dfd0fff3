"""Several processes that train one model, each on an equal part of every batch.

    torchrun --nproc-per-node 8 stages/train.py current

    with joined() as processes:                               # ALONE where torchrun did not start this
        mine = processes.part(rows)                           # of the batch that one process would see
        total, raw = loss(recon, target, kl, processes.whole)
        total.backward()
        processes.average_gradients(parameters)

Each term of the loss is a mean over the pictures, so the mean of the processes' gradients is the gradient of the
batch. What couples pictures is computed of the whole batch by each process (`Processes.whole`). Every decision is
taken from numbers that all processes have alike, so they take the same steps without asking each other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ear_teacher.augmentation import Draws
from ear_teacher.config import UserError

WISH = "EAR_TEACHER_PROCESSES"
"""Environment variable: so many processes of this machine train, also where `dvc` starts the stage."""

CPU = torch.device("cpu")
Rows = TypeVar("Rows", np.ndarray, Tensor)


@dataclass(frozen=True)
class Processes:
    """The processes of a run, as one of them sees them; by default there is no other.

    Attributes:
        rank: this one's number.
        count: of all.
        device: where this one computes.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether it is this one that writes."""
        return self.rank == 0

    def part(self, batch: Rows) -> Rows:
        """This process's part of a batch.

        Raises:
            UserError: the batch has no equal parts.
        """
        size, rest = divmod(len(batch), self.count)
        if rest:
            fitting = [count for count in range(1, len(batch) + 1) if len(batch) % count == 0]
            raise UserError(
                f"train.batch_size = {len(batch)} has no {self.count} equal parts: start "
                f"{', '.join(map(str, fitting[:-1]))} or {fitting[-1]} processes, or change it."
            )
        return batch[self.rank * size : (self.rank + 1) * size]

    def draws(self, seed: int) -> Draws:
        """The random numbers of this process's part of a batch."""
        return Draws(torch.Generator().manual_seed(seed), self.rank, self.count)

    def whole(self, part: Tensor) -> Tensor:
        """The parts (n, ...) of all processes in order, (count x n, ...).

        Where each process goes on to compute the same of it, the mean of the processes' gradients is right.
        """
        return part if self.count == 1 else _Whole.apply(part, self)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the processes; all get the same bits. On the CPU."""
        if self.count == 1:
            return tensor
        total = tensor.to(self.device)
        dist.all_reduce(total)
        return total.cpu()

    def mean(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Named numbers, each the mean over the processes."""
        if self.count == 1:
            return dict(numbers)
        total = self.sum(torch.tensor(list(numbers.values()), dtype=torch.float64))
        return dict(zip(numbers, (total / self.count).tolist(), strict=True))

    def any(self, true: bool) -> bool:
        """Whether it is true of any process."""
        return bool(self.sum(torch.tensor([float(true)]))[0] > 0)

    def wait(self) -> None:
        """Until all have come here."""
        self.any(False)

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its mean over the processes."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.count == 1 or not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])  # one message instead of hundreds
        dist.all_reduce(flat)
        flat /= self.count
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    @torch.no_grad()
    def begin(self, step: int, recoveries: int, parts: Iterable[nn.Module]) -> None:
        """Check that all go on from the same state, and give all the first one's weights.

        Raises:
            UserError: they have found different checkpoints.
        """
        if self.count == 1:
            return
        found = torch.zeros(self.count, 2, dtype=torch.float64)
        found[self.rank] = torch.tensor([step, recoveries])
        found = self.sum(found)
        if not bool((found == found[0]).all()):
            steps = ", ".join(f"{number:.0f}" for number in found[:, 0].tolist())
            raise UserError(
                f"The processes have found checkpoints of different steps ({steps}): let all machines work in one "
                "project folder, on a disk that they share."
            )
        for part in parts:
            for tensor in part.state_dict().values():
                dist.broadcast(tensor, 0)


ALONE = Processes()


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, processes: Processes) -> Tensor:
        ctx.processes, ctx.size = processes, len(part)
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(processes.count)]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        first = ctx.processes.rank * ctx.size
        # Each process has the gradient of the whole; the mean over processes would leave 1/count of it.
        return gradients[0][first : first + ctx.size] * ctx.processes.count, None


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes that torchrun started, this one among them, on its own GPU where there are any; else `ALONE`.

    Raises:
        UserError: more processes on this machine than it has GPUs.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        return
    device = CPU
    if torch.cuda.is_available():
        local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= gpus:
            raise UserError(f"This machine has {gpus} GPUs: start at most so many processes on it (--nproc-per-node).")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), count, device)
    finally:
        dist.destroy_process_group()


def launch(arguments: Sequence[str]) -> None:
    """Become torchrun with this program, where `WISH` asks for several processes of this machine.

    Args:
        arguments: of the program, its file first.

    Raises:
        UserError: the wish is no number.
    """
    wish = os.environ.pop(WISH, "1")
    if not wish.isdecimal() or int(wish) < 1:
        raise UserError(f"{WISH} = {wish!r}: give the number of processes, such as 8.")
    if int(wish) > 1 and "WORLD_SIZE" not in os.environ:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={wish}"]
        os.execv(sys.executable, [sys.executable, *torchrun, *arguments])

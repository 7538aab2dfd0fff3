"""The training loop: one function that reads from top to bottom.

Everything random at a step (order of the pictures, augmentation, posterior noise) is drawn from generators seeded
by the seed and the step. So a resumed run needs no random state, and a run is a function of params, data and the
number of threads.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ear_teacher.augmentation import augment, flips
from ear_teacher.config import TeachConfig, TrainConfig
from ear_teacher.losses import Loss
from ear_teacher.models import EarVAE
from ear_teacher.training.blame import in_gradient, on_pictures
from ear_teacher.training.checkpoints import INTERRUPTED, delete_checkpoints, load_checkpoint, save_checkpoint
from ear_teacher.training.controller import KLControl
from ear_teacher.training.distributed import ALONE, Processes
from ear_teacher.training.guard import Diverged, Guard
from ear_teacher.training.history import Row
from ear_teacher.training.keeping import average, better
from ear_teacher.training.optimizers import optimizers
from ear_teacher.training.pictures import Pictures, seed_of
from ear_teacher.training.recovery import Recovery, lr_scale, read_recoveries, recover
from ear_teacher.training.schedule import Order, row_of, rows_of, schedule
from ear_teacher.training.stopping import stop_reason
from ear_teacher.training.teach import Teaching
from ear_teacher.training.validation import terms, validate

Progress = Callable[[range, int], Iterable[int]]


class Watcher(Protocol):
    """Told of each validation: the rows so far and the model as it would be kept."""

    def __call__(self, rows: list[Row], model: EarVAE) -> None: ...


class Interrupted(KeyboardInterrupt):
    """The run was asked to end; the message says from where it goes on."""


@dataclass(frozen=True)
class Result:
    """A finished run: best and last weights, and the history.

    Attributes:
        rows: one a validation.
        kl_per_dim: (validations, D) nats, mean over the validation pictures.
        stopped: why training ended before its steps; None where it did not.
        recoveries: returns to a good state after a divergence.
    """

    best: dict[str, Tensor]
    last: dict[str, Tensor]
    rows: list[Row]
    best_step: int
    kl_per_dim: np.ndarray
    stopped: str | None
    recoveries: list[Recovery]


def train(
    model: EarVAE,
    loss: Loss,
    pictures: Pictures,
    config: TrainConfig,
    checkpoints: Path,
    watch: Watcher = lambda rows, model: None,
    progress: Progress = lambda steps, total: steps,
    kl_start: float | None = None,
    teaching: Teaching | None = None,
    asked_to_end: Callable[[], bool] = lambda: False,
    processes: Processes = ALONE,
) -> Result:
    """Train a model, validating at step 0, every `validate_every` steps and at the end.

    It ends early where `config.stop` says so. Where the run falls apart it ends with an error, or goes back to its
    last good checkpoint with a lower learning rate (`config.on_divergence`).

    Args:
        model: at its starting weights; changed in place.
        loss: the objective.
        pictures: training and validation rows.
        config: the train section.
        checkpoints: folder of this run's checkpoints; the newest whole one is continued.
        watch: called after each validation.
        progress: wraps the steps, for a progress bar.
        kl_start: weight of the KL to start from where `loss` holds a target (`controller.target_start`).
        teaching: what is asked of the encoder beside `loss`; None: nothing. Changed in place.
        asked_to_end: asked after each step; where it says so, the run is saved as it is and ends.
        processes: those that share each batch; all call this with the same arguments, and the first one writes.

    Raises:
        Interrupted: `asked_to_end` said so.
        Diverged: the loss or a gradient became NaN or infinite, or the loss left its level (`training.guard`), and the
            run is not to recover or could not; the message names what was seen and the step.
    """
    teaching = teaching or Teaching(TeachConfig())
    while True:
        try:
            return _attempt(
                model, loss, teaching, pictures, config, checkpoints, watch, progress, kl_start, asked_to_end, processes
            )
        except Diverged as error:
            recover(error, checkpoints, config, processes)


def _attempt(
    model: EarVAE,
    loss: Loss,
    teaching: Teaching,
    pictures: Pictures,
    config: TrainConfig,
    checkpoints: Path,
    watch: Watcher,
    progress: Progress,
    kl_start: float | None,
    asked_to_end: Callable[[], bool],
    processes: Processes,
) -> Result:
    """Train from the newest checkpoint, or from the start, to the end or to a divergence."""
    device = next(model.parameters()).device
    loss, teaching = loss.to(device), teaching.to(device)
    movers = optimizers(model, config, teaching.learned())
    parameters = [p for mover in movers for group in mover.param_groups for p in group["params"]]
    kept = copy.deepcopy(model) if config.ema else model  # what is validated and kept
    rows: list[Row] = []
    kl_rows: list[list[float]] = []
    control = KLControl(loss.config, kl_start, len(pictures.train) / (config.batch_size * config.accumulation))
    best: dict[str, Any] = {"score": math.inf, "step": 0, "weights": {}}
    sums: dict[str, float] = {}
    guard = Guard(config.divergence.spike)
    recoveries = read_recoveries(checkpoints)
    good: int | None = None  # step of the newest checkpoint of a validation
    start = 0

    def diverged(what: str, step: int) -> Diverged:
        return Diverged(what, step, good)

    def save(step: int, folder: Path) -> None:
        if not processes.first:
            return
        parts: dict[str, Any] = {"model": model, "kept": kept, "control": control, "guard": guard, "teaching": teaching}
        state = {name: part.state_dict() for name, part in parts.items()}
        state |= {"optimizers": [mover.state_dict() for mover in movers], "rows": rows, "kl_rows": kl_rows}
        save_checkpoint(folder, step, state | {"best": best, "sums": sums, "step": step, "good": good})

    found = [load_checkpoint(folder) for folder in (checkpoints, checkpoints / INTERRUPTED)]
    state = max((one for one in found if one is not None), key=lambda one: one["step"], default=None)
    if state is not None:
        model.load_state_dict(state["model"])
        kept.load_state_dict(state["kept"])
        for mover, saved in zip(movers, state["optimizers"], strict=True):
            mover.load_state_dict(saved)
        control.load_state_dict(state["control"])
        guard.load_state_dict(state["guard"])
        teaching.load_state_dict(state["teaching"])
        rows, kl_rows, best, sums = state["rows"], state["kl_rows"], state["best"], state["sums"]
        start, good = state["step"], state["good"]
    processes.begin(start, len(recoveries), (model, kept, teaching))
    if state is None:
        _weigh_kl(loss, control.final)
        measured, kl_per_dim = validate(kept, loss, teaching, pictures, config, processes)
        rows.append(row_of(0, config, len(pictures.train)) | {"kl_weight": control.final} | measured)
        kl_rows.append(kl_per_dim)
        best = better(best, rows[-1], config, kept, control.seeks)
        guard.begin(measured["val/loss"] - measured.get("val/weighted/kl", 0.0), measured.get("val/raw/kl", 0.0))
        watch(rows, kept)
        if math.isfinite(measured["val/loss"]):
            good = 0
            save(0, checkpoints)

    stopped = stop_reason(rows, config)
    order = Order(pictures.train, config.seed, pictures.shards)
    for step in progress(range(start, start if stopped else config.steps), config.steps):
        for group in (group for mover in movers for group in mover.param_groups):
            group["lr"] = group["scale"] * config.lr * schedule(step, config) * lr_scale(step, recoveries, config)
        _weigh_kl(loss, control.weight(step))
        kls, log_errors, seen = [], [], {"loss": 0.0, "kl": 0.0}
        model.train()
        model.zero_grad(set_to_none=True)
        teaching.zero_grad(set_to_none=True)
        for part in range(config.accumulation):
            seed = seed_of(config.seed, step, part)
            draws = processes.draws(seed)
            batch = rows_of(order, step, part, config)
            picked = processes.part(batch)
            given, target = augment(pictures.batch(picked, device), config, draws)
            given = teaching.blank(given, draws)
            mirrored = flips(len(picked), config, processes.draws(seed))  # as augment drew it
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
                known = pictures.known(picked, device, mirrored)
                posterior, deepest = teaching.encode(model, given, known)
                noise = draws.normal(*posterior.mean.shape).to(device)
                recon = model.decode(posterior.mean + torch.exp(posterior.logvar / 2) * noise).float()
                extra, taught = teaching(model, deepest, target, draws, known, processes.whole)
            kl = posterior.kl()
            total, raw = loss(recon, target, kl, processes.whole)
            total = total + extra
            (total / config.accumulation).backward()
            terms_now = {**raw, **taught, "loss": total}  # the sum last: a term says more
            for name, number in processes.mean({n: float(value.detach()) for n, value in terms_now.items()}).items():
                if not math.isfinite(number):
                    made, wanted, bits = (processes.whole(each.detach()) for each in (recon, target, kl))
                    where = on_pictures(name, loss, made, wanted, bits, [pictures.name(row) for row in batch])
                    raise diverged(f"the {name} term is {number}{where}", step + 1)
                sums[name] = sums.get(name, 0.0) + number / config.accumulation
                if name in seen:
                    seen[name] += number / config.accumulation
            codes = {"kl": kl.detach().sum(1).mean(), "error": _log_error(recon.detach(), target).mean()}
            measured = processes.mean({name: float(value) for name, value in codes.items()})
            kls.append(measured["kl"])
            log_errors.append(measured["error"])
        processes.average_gradients(parameters)
        total_norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        norm = float(total_norm)
        if not math.isfinite(norm):
            raise diverged(f"the gradient's norm is {norm}{in_gradient(model)}", step + 1)
        nn.utils.clip_grads_with_norm_(parameters, config.max_grad_norm, total_norm)
        sums["grad_norm"] = sums.get("grad_norm", 0.0) + norm
        kl_weight = loss.weights.get("kl", 0.0)
        if what := guard.observe(seen["loss"] - kl_weight * seen["kl"], seen["kl"], kl_weight):
            raise diverged(what, step + 1)
        for mover in movers:
            mover.step()
        control.observe(fmean(kls), math.exp(fmean(log_errors)), schedule(step, config))
        sums["kl_nats"] = sums.get("kl_nats", 0.0) + fmean(kls)
        sums["psnr"] = sums.get("psnr", 0.0) - fmean(log_errors) * 10 / math.log(10)
        if config.ema:
            average(kept, model, min(config.ema, (step + 1) / (step + 10)))

        done = step + 1
        if done % config.validate_every == 0 or done == config.steps:
            since = done - int(rows[-1]["step"])
            means = {name: value / since for name, value in sums.items()}
            sums = {}
            trained = {"train/loss": means["loss"], "train/grad_norm": means["grad_norm"]}
            trained |= {"train/kl": means["kl_nats"], "train/psnr_sampled": means["psnr"]}
            trained |= terms("train", means, loss.weights | teaching.weights)
            _weigh_kl(loss, control.final)
            measured, kl_per_dim = validate(kept, loss, teaching, pictures, config, processes)
            if not math.isfinite(measured["val/loss"]):
                raise diverged(f"the validation loss is {measured['val/loss']}", done)
            now = row_of(done, config, len(pictures.train)) | {"kl_weight": control.final}
            if recoveries:
                now |= {"lr": now["lr"] * lr_scale(done - 1, recoveries, config)}
                now |= {"recoveries": sum(item.step < done for item in recoveries)}
            rows.append(now | trained | measured)
            kl_rows.append(kl_per_dim)
            best = better(best, rows[-1], config, kept, control.seeks)
            watch(rows, kept)
            if guard.sound(kl_weight):
                good = done
                save(done, checkpoints)
                if processes.first:
                    delete_checkpoints(checkpoints / INTERRUPTED)
            if stopped := stop_reason(rows, config):
                break
        if processes.any(asked_to_end()) and done < config.steps:
            if good != done and guard.sound(kl_weight):
                save(done, checkpoints / INTERRUPTED)
            processes.wait()  # torchrun ends all as soon as one has ended
            raise Interrupted(f"Interrupted after step {done} of {config.steps}; the same command goes on from there.")

    last = {name: tensor.detach().clone() for name, tensor in kept.state_dict().items()}
    return Result(best["weights"], last, rows, int(best["step"]), np.array(kl_rows), stopped, recoveries)


def _weigh_kl(loss: Loss, weight: float) -> None:
    """Set the weight of the KL, where the loss has that term."""
    if "kl" in loss.weights:
        loss.weights["kl"] = weight


def _log_error(recon: Tensor, target: Tensor) -> Tensor:
    """(N,) natural logarithm of each picture's mean squared error, clamped as the PSNR's is."""
    return ((recon.clamp(0, 1) - target) ** 2).flatten(1).mean(1).clamp(min=1e-10).log()

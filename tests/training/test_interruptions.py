"""A run that is ended, or that meets a number that is none: what is saved, and what is said."""

import fcntl
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from ear_teacher.config import LossConfig, UserError
from ear_teacher.losses import Loss
from ear_teacher.models.posterior import LOGVAR_RANGE, DiagonalGaussian
from ear_teacher.training.blame import in_gradient
from ear_teacher.training.checkpoints import INTERRUPTED, code_hash, load_checkpoint, only_one
from ear_teacher.training.guard import Diverged
from ear_teacher.training.loop import Interrupted, Pictures, train
from tests.training.helpers import LOSS, TRAIN, assert_same, fresh


def run(code, pictures, folder: Path, end_after: int = 0, loss: Loss | None = None, **options):
    """Train; `end_after` steps the run is asked to end."""
    asked = iter(range(1, 100))
    return train(
        fresh(code), loss or Loss(LOSS), pictures, TRAIN, folder, asked_to_end=lambda: next(asked) == end_after,
        **options,
    )  # fmt: skip


@pytest.mark.parametrize("step", [1, 3, 4, 7, 11])
def test_a_run_that_is_asked_to_end_goes_on_at_that_very_step_to_the_same_bits(code, pictures, tmp_path, step) -> None:
    undisturbed = run(code, pictures, tmp_path / "a")
    with pytest.raises(Interrupted, match=f"after step {step} of 12"):
        run(code, pictures, tmp_path / "b", end_after=step)
    seen: list[int] = []

    def resumed(steps: range, total: int):
        seen.append(steps.start)
        return steps

    assert_same(undisturbed, run(code, pictures, tmp_path / "b", progress=resumed))
    assert seen == [step]


def test_a_run_that_is_asked_to_end_in_its_last_step_ends_as_ever(code, pictures, tmp_path) -> None:
    assert_same(run(code, pictures, tmp_path / "a"), run(code, pictures, tmp_path / "b", end_after=12))


def test_a_divergence_goes_back_to_a_validated_state_not_to_where_the_run_was_ended(code, pictures, tmp_path) -> None:
    with pytest.raises(Interrupted):
        run(code, pictures, tmp_path, end_after=6)
    state = load_checkpoint(tmp_path / INTERRUPTED)
    assert state is not None
    assert (state["step"], state["good"]) == (6, 4)
    loss = Loss(LOSS)
    loss.forward = lambda *_: (torch.tensor(math.nan, requires_grad=True), {})  # type: ignore[method-assign]  # the fault
    with pytest.raises(Diverged, match=r"at step 7: .* its last good state is that of step 4"):
        run(code, pictures, tmp_path, loss=loss)
    assert not (tmp_path / INTERRUPTED).exists()


def test_a_validation_is_told_before_it_is_saved_so_that_no_drawing_is_lost(code, pictures, tmp_path) -> None:
    told: list[tuple[int, int]] = []

    def watch(rows, model) -> None:
        state = load_checkpoint(tmp_path)
        told.append((int(rows[-1]["step"]), -1 if state is None else state["step"]))

    run(code, pictures, tmp_path, watch=watch)
    assert told == [(0, -1), (4, 0), (8, 4), (12, 8)]


def test_a_second_process_is_kept_from_a_run_and_told_which_one_trains_it(tmp_path) -> None:
    with (
        only_one(tmp_path / "run"),
        pytest.raises(UserError, match=rf"process {os.getpid()} is training this run; wait"),
        only_one(tmp_path / "run"),
    ):
        pytest.fail("two at a time")
    with only_one(tmp_path / "run"), (tmp_path / "run/lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with only_one(tmp_path / "run"):
        pass


def test_other_code_is_another_run(tmp_path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "losses.py").write_text("1")
    (tmp_path / "models/vae.py").write_text("1")
    (tmp_path / "other.py").write_text("1")
    before = code_hash(tmp_path, "losses.py", "models")
    (tmp_path / "other.py").write_text("2")
    assert code_hash(tmp_path, "losses.py", "models") == before
    (tmp_path / "models/vae.py").write_text("2")
    assert code_hash(tmp_path, "losses.py", "models") != before


def test_the_picture_a_term_breaks_on_is_named(code, pictures, tmp_path) -> None:
    named = Pictures(pictures.images, pictures.train, pictures.val, files=[f"{row}.png" for row in range(48)])
    loss = Loss(LOSS)
    sound = loss.forward
    white = pictures.images.copy()
    white[13] = 255
    named = Pictures(white, pictures.train, pictures.val, files=named.files)

    def breaks(recon, target, kl, whole=lambda part: part):
        total, raw = sound(recon, target, kl, whole)
        bad = (target > 0.99).flatten(1).all(1).any()
        return total, raw | {"recon": torch.where(bad, torch.tensor(math.inf), raw["recon"])}

    loss.forward = breaks  # type: ignore[method-assign]  # the fault
    with pytest.raises(Diverged, match=r"at step \d+: the recon term is inf on 13\.png; its last good state"):
        train(fresh(code), loss, named, TRAIN.model_copy(update={"flip": False}), tmp_path)


def test_a_gradient_that_is_not_finite_is_named_by_its_weight(code, pictures, tmp_path) -> None:
    model = fresh(code)
    weight = model.decoder.get_parameter("mean_patch")
    weight.register_hook(lambda grad: grad * math.inf)
    with pytest.raises(Diverged, match=r"step 1: the gradient's norm is (nan|inf), first that of decoder\.mean_patch"):
        train(model, Loss(LOSS), pictures, TRAIN, tmp_path)
    assert in_gradient(fresh(code)) == ""


def test_a_validation_that_is_not_finite_stops_the_run(code, pictures, tmp_path) -> None:
    loss, sound = Loss(LossConfig(kl_weight=1e-5)), Loss(LossConfig(kl_weight=1e-5)).forward
    validations: list[int] = []

    def breaks(recon, target, kl, whole=lambda part: part):
        total, raw = sound(recon, target, kl, whole)
        if not torch.is_grad_enabled() and not recon.requires_grad:
            validations.append(len(recon))
            total = total * (math.nan if len(validations) > 4 else 1)
        return total, raw

    loss.forward = breaks  # type: ignore[method-assign]  # the fault
    with pytest.raises(Diverged, match="the validation loss is nan; its last good state is that of step 4"):
        train(fresh(code), loss, pictures, TRAIN, tmp_path)


@pytest.mark.parametrize("mean", [0.0, 1e30, -1e38, 3e38])
@pytest.mark.parametrize("logvar", [-1e30, 0.0, 1e30])
def test_the_kl_is_bounded_whatever_the_encoder_says(mean: float, logvar: float) -> None:
    kl = DiagonalGaussian(torch.full((1, 4, 1, 1), mean), torch.full((1, 4, 1, 1), logvar)).kl()
    assert bool(torch.isfinite(kl).all())
    assert float(kl.max()) <= 0.5 * (1e12 + math.exp(LOGVAR_RANGE[1]) + 20)
    assert float(kl.min()) >= 0


def test_the_bound_leaves_ordinary_means_as_they_are() -> None:
    mean, logvar = (torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 2, 2))) for _ in range(2))
    found = DiagonalGaussian(mean, logvar).kl()
    wanted = 0.5 * (mean.float() ** 2 + logvar.float().exp() - 1 - logvar.float()).flatten(1)
    assert torch.equal(found, wanted)

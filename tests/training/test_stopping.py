"""Early stopping, the divergence guard and recovery; each also for a run that is cut short and resumed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ear_teacher.config import DivergenceConfig, LossConfig, StopConfig, TrainConfig
from ear_teacher.linear import LinearCode
from ear_teacher.losses import Loss
from ear_teacher.training.checkpoints import load_checkpoint, save_checkpoint
from ear_teacher.training.guard import BLOCK, Diverged, Guard
from ear_teacher.training.loop import Pictures, Result, train
from ear_teacher.training.recovery import Recovery, lr_scale, read_recoveries, recover
from ear_teacher.training.stopping import stop_reason
from tests.training.helpers import LOSS, TRAIN, Killed, assert_same, fresh


def asking(*criteria: str, **options) -> TrainConfig:
    return TrainConfig(stop=StopConfig(require=criteria, **options))


def rows_of(**columns: list[float]) -> list[dict[str, float]]:
    count = len(next(iter(columns.values())))
    names = {"kl": "val/kl", "psnr": "val/psnr", "perceptual": "val/raw/perceptual", "loss": "val/loss"}
    given = {names[key]: values for key, values in columns.items()}
    return [
        {"step": 10.0 * i, "epoch": float(i), "val/loss": 1.0} | {k: v[i] for k, v in given.items()}
        for i in range(count)
    ]


def test_without_a_criterion_training_never_ends_early() -> None:
    assert stop_reason(rows_of(kl=[10.0] * 9, psnr=[40.0] * 9), TrainConfig()) is None


@pytest.mark.parametrize(
    ("criterion", "columns", "stops"),
    [
        ("psnr", {"psnr": [28.0]}, False),
        ("psnr", {"psnr": [28.1]}, True),
        ("perceptual", {"perceptual": [0.3]}, False),
        ("perceptual", {"perceptual": [0.29]}, True),
        ("kl_range", {"kl": [15.1]}, False),
        ("kl_range", {"kl": [5.0]}, True),
        ("kl_settled", {"kl": [100, 50, 20, 10.5, 10, 10]}, False),
        ("kl_settled", {"kl": [100, 10.4, 10, 10, 10.2, 10.1, 9.9]}, True),
        ("kl_settled", {"kl": [10, 10, 10]}, False),
        ("no_gain", {"loss": [5, 4, 3, 4, 4, 4, 4]}, False),
        ("no_gain", {"loss": [5, 4, 3, 4, 4, 4, 4, 3.5]}, True),
    ],
)
def test_each_criterion_holds_where_its_definition_says(criterion: str, columns: dict, stops: bool) -> None:
    assert (stop_reason(rows_of(**columns), asking(criterion)) is not None) == stops


def test_all_criteria_that_are_required_must_hold_at_once() -> None:
    both = asking("psnr", "perceptual")
    assert stop_reason(rows_of(psnr=[30.0], perceptual=[0.4]), both) is None
    reason = stop_reason(rows_of(psnr=[30.0], perceptual=[0.2]), both)
    assert reason == "the PSNR of 30.00 dB is above 28 and the perceptual loss of 0.200 is below 0.3"


def test_a_gain_is_looked_for_in_what_the_checkpoint_is_chosen_by() -> None:
    rows = rows_of(loss=[5.0] * 7, psnr=[20, 21, 22, 23, 24, 25, 26.0])
    config = asking("no_gain")
    assert stop_reason(rows, config)
    assert stop_reason(rows, config.model_copy(update={"select": "psnr"})) is None


def run(code: LinearCode, pictures: Pictures, folder: Path, config: TrainConfig, **options) -> Result:
    return train(fresh(code), Loss(LOSS), pictures, config, folder, **options)


def cut_at(step: int):
    def progress(steps: range, total: int):
        for now in steps:
            if now == step:
                raise Killed
            yield now

    return progress


STOPPING = TRAIN.model_copy(update={"stop": StopConfig(require=("psnr",), psnr=1.0)})


def test_a_run_that_is_good_enough_ends_and_says_why(code, pictures, tmp_path) -> None:
    result = run(code, pictures, tmp_path, STOPPING)
    assert result.rows[-1]["step"] == 0  # the warm start itself is above 1 dB
    assert result.stopped is not None
    assert "dB is above 1" in result.stopped


def test_a_run_that_ends_early_is_the_same_after_a_cut(code, pictures, tmp_path) -> None:
    config = TRAIN.model_copy(update={"stop": StopConfig(require=("kl_settled",), kl_change=1.0, patience=1.0)})
    undisturbed = run(code, pictures, tmp_path / "a", config)
    assert undisturbed.rows[-1]["step"] == 8  # the third validation, 1.2 epochs after the first
    with pytest.raises(Killed):
        run(code, pictures, tmp_path / "b", config, progress=cut_at(6))
    assert_same(undisturbed, run(code, pictures, tmp_path / "b", config))
    again = run(code, pictures, tmp_path / "b", config)  # cut after the last checkpoint, before the model was written
    assert_same(undisturbed, again)
    assert again.stopped == undisturbed.stopped


def feed(guard: Guard, losses: list[float], kl: float = 0.0, kl_weight: float = 0.0) -> str | None:
    return next((what for x in losses if (what := guard.observe(x, kl, kl_weight))), None)


def test_a_loss_above_the_level_for_ten_steps_is_a_divergence_and_one_wild_batch_is_not() -> None:
    assert feed(Guard(3.0), [1.0] * 20 + [100.0] + [1.0] * 19) is None
    assert feed(Guard(3.0), [1.0] * 20 + [2.9] * 20) is None
    what = feed(Guard(3.0), [4.0] * 10 + [1.0] * 10 + [3.1] * 10)
    assert what == "the loss of the last 10 steps is 3.1, 3.1 times the level of 1 the run had reached"


def test_a_kl_weight_that_rises_on_purpose_is_no_divergence() -> None:
    guard = Guard(3.0)
    assert feed(guard, [0.1] * 20, kl=100.0, kl_weight=0.0) is None
    # The loss is now 0.6, six times the old one; counted with the weight of now, the old one was 1.1.
    assert feed(guard, [0.5] * 10, kl=10.0, kl_weight=0.01) is None
    assert feed(guard, [3.2] * 10, kl=10.0, kl_weight=0.01) is not None


def test_a_run_that_falls_apart_in_its_first_steps_is_seen() -> None:
    guard = Guard(3.0)
    guard.begin(1.0, 0.0)
    assert feed(guard, [0.2] + [3.1] * 9) is not None  # level 1.0: the higher of validation and first batch
    degraded = Guard(3.0)
    degraded.begin(0.1, 0.0)
    assert feed(degraded, [1.0] * 20) is None


def test_a_guard_goes_on_from_its_state() -> None:
    one = Guard(3.0)
    feed(one, [1.0] * 25)
    two = Guard(3.0)
    two.load_state_dict(one.state_dict())
    assert feed(one, [9.0] * BLOCK) == feed(two, [9.0] * BLOCK) is not None


def test_the_learning_rate_falls_with_each_recovery_and_from_its_step_on() -> None:
    config = TrainConfig(divergence=DivergenceConfig(lr_factor=0.5))
    recoveries = [Recovery(4, 7, "x"), Recovery(8, 9, "y")]
    assert [lr_scale(step, recoveries, config) for step in (0, 3, 4, 7, 8, 20)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


WILD = TRAIN.model_copy(update={"steps": 24, "lr": 0.3, "warmup": 0.0, "max_grad_norm": 1e9, "ema": 0.0})


def wild(on_divergence: str, **options) -> TrainConfig:
    limits = {"spike": 1.5, "lr_factor": 0.01, "attempts": 2} | options
    return WILD.model_copy(update={"on_divergence": on_divergence, "divergence": DivergenceConfig(**limits)})


def test_a_run_that_falls_apart_stops_and_names_its_last_good_state(code, pictures, tmp_path) -> None:
    with pytest.raises(Diverged, match=r"diverged at step \d+: the loss of the last 10 steps .* that of step \d+\.$"):
        run(code, pictures, tmp_path, wild("stop"))
    assert not (tmp_path / "recoveries.json").exists()


def test_a_run_that_recovers_goes_on_with_a_lower_learning_rate_and_the_history_says_so(
    code, pictures, tmp_path
) -> None:
    result = run(code, pictures, tmp_path, wild("recover"))
    assert [item.step % 4 for item in result.recoveries] == [0] * len(result.recoveries) != []
    assert result.rows[-1]["step"] == 24
    assert result.rows[-1]["recoveries"] == len(result.recoveries)
    assert result.rows[-1]["lr"] < 0.3 * 0.011
    assert all("recoveries" not in row or row["step"] > result.recoveries[0].step for row in result.rows)


@pytest.mark.parametrize("step", [1, 9, 14, 21])
def test_a_run_that_recovers_is_the_same_after_a_cut(code, pictures, tmp_path, step: int) -> None:
    undisturbed = run(code, pictures, tmp_path / "a", wild("recover"))
    with pytest.raises(Killed):
        run(code, pictures, tmp_path / "b", wild("recover"), progress=cut_at(step))
    resumed = run(code, pictures, tmp_path / "b", wild("recover"))
    assert_same(undisturbed, resumed)
    assert undisturbed.recoveries == resumed.recoveries


def test_a_checkpoint_that_leads_to_ruin_twice_gives_way_to_the_one_before(tmp_path) -> None:
    config = TrainConfig(on_divergence="recover")
    for step in (40, 80):
        save_checkpoint(tmp_path, step, {"step": step})
    recover(Diverged("x", 95, 80), tmp_path, config)
    recover(Diverged("x", 99, 80), tmp_path, config)
    assert [item.step for item in read_recoveries(tmp_path)] == [80, 40]
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 40


def test_recoveries_are_bounded(code, pictures, tmp_path) -> None:
    config = wild("recover", lr_factor=0.999)
    with pytest.raises(Diverged, match="and 2 recoveries did not help"):
        run(code, pictures, tmp_path, config)
    assert len(read_recoveries(tmp_path)) == 2


def test_nan_after_good_steps_goes_back_to_the_last_good_checkpoint(code, pictures, tmp_path) -> None:
    model = fresh(code)
    spoilt: list[int] = []

    def spoil(steps: range, total: int):
        for now in steps:
            if now == 6 and not spoilt:
                spoilt.append(now)
                with torch.no_grad():
                    model.decoder.mean_patch[0, 0, 0] = float("nan")
            yield now

    config = TRAIN.model_copy(update={"on_divergence": "recover"})
    result = train(model, Loss(LossConfig(kl_weight=1e-5)), pictures, config, tmp_path, progress=spoil)
    assert [(item.step, item.diverged_at) for item in result.recoveries] == [(4, 7)]
    assert result.rows[-1]["step"] == 12
    assert all(np.isfinite(row["val/loss"]) for row in result.rows)


def test_an_early_stop_and_the_guard_leave_an_ordinary_run_as_it_is(code, pictures, tmp_path) -> None:
    config = TRAIN.model_copy(update={"stop": StopConfig(require=("psnr",), psnr=99.0), "on_divergence": "recover"})
    assert_same(run(code, pictures, tmp_path / "a", TRAIN), run(code, pictures, tmp_path / "b", config))

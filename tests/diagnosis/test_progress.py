"""Histories of which it is known how they go on."""

import numpy as np
import pandas as pd
import pytest

from ear_teacher.diagnosis.progress import progress

STEPS = np.arange(0, 101, 5)


def history(val_loss: np.ndarray, psnr: np.ndarray | None = None, **columns) -> pd.DataFrame:
    train = np.r_[np.nan, val_loss[1:]]
    table = {"step": STEPS, "epoch": STEPS / 10, "val/loss": val_loss, "train/loss": train, "lr": 1e-3, **columns}
    return pd.DataFrame(table if psnr is None else table | {"val/psnr": psnr})


def test_a_run_at_rest_has_nothing_left_to_gain() -> None:
    found = progress(history(np.exp(-STEPS / 3) + 0.1, 30 - 10 * np.exp(-STEPS / 3))).values
    assert found["history.left"] == pytest.approx(0, abs=0.05)
    assert found["history.rise"] == pytest.approx(0, abs=1e-6)


def test_a_run_that_gains_as_much_in_each_doubling_goes_on_for_three_more() -> None:
    psnr = 10 + 2 * np.log2(np.maximum(STEPS, 1))
    found = progress(history(np.full(len(STEPS), 1.0), psnr)).values
    assert found["history.doubling"] == pytest.approx(2, abs=0.3)
    assert 4 < found["history.left"] < 7


def test_a_rise_counts_where_training_and_validation_rise_and_parting_where_validation_alone_does() -> None:
    valley = np.r_[np.linspace(1, 0.1, 11), np.linspace(0.15, 1, 10)]
    both = progress(history(valley)).values
    assert both["history.rise"] == pytest.approx(10, abs=0.01)
    assert both["history.parting"] == 0
    alone = history(valley)
    alone["train/loss"] = np.r_[np.nan, np.linspace(1, 0.01, 20)]
    found = progress(alone).values
    assert found["history.rise"] == pytest.approx(0, abs=1e-6)
    assert found["history.parting"] == pytest.approx(10, abs=0.01)


def test_a_weight_of_the_kl_that_rises_is_no_divergence() -> None:
    weight = np.linspace(0, 1e-3, len(STEPS))
    kl = np.full(len(STEPS), 1000.0)
    rest = np.linspace(1, 0.5, len(STEPS))
    columns = {f"{split}/{key}": value for split in ("train", "val") for key, value in
               {"raw/kl": kl, "weighted/kl": weight * kl}.items()}  # fmt: skip
    found = progress(history(rest + weight * kl, kl_weight=weight, **columns)).values
    assert found["history.rise"] == pytest.approx(0, abs=1e-6)


def test_nan_and_infinity_are_seen_and_the_empty_training_columns_of_step_0_are_not() -> None:
    good = np.linspace(1, 0.5, len(STEPS))
    assert progress(history(good)).values["history.broken"] == 0
    for bad in (np.nan, np.inf):
        assert progress(history(np.r_[good[:-1], bad])).values["history.broken"] == 1


def test_the_learning_rates_add_up_to_how_far_a_weight_can_have_moved() -> None:
    assert progress(history(np.linspace(1, 0.5, len(STEPS)))).values["history.travel"] == pytest.approx(0.1)


def test_two_validations_say_nothing_of_the_end_of_a_run() -> None:
    assert "history.left" not in progress(history(np.linspace(1, 0.5, len(STEPS))).iloc[[0, -1]]).values

"""Weights by intention: what was wished for is what the run ends with."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ear_teacher.config import LossConfig, ModelConfig, TrainConfig
from ear_teacher.linear import LinearCode, spectrum
from ear_teacher.losses import Loss
from ear_teacher.models import new_model
from ear_teacher.training.controller import KLControl, target_start, wished_point
from ear_teacher.training.loop import Pictures, Result, train
from tests.training.helpers import assert_same

MODEL = ModelConfig(latent_dim=128, latent_layout="4x4", width=8)
TRAIN = TrainConfig(steps=160, batch_size=8, validate_every=10, lr=3e-3, linear_lr_scale=0, milestones=(), threads=1)


def run(code: LinearCode, pictures: Pictures, loss: LossConfig, folder: Path, config=TRAIN, **options) -> Result:
    energies = spectrum(code)
    weight = wished_point(loss, energies, MODEL.latent_dim).kl_weight
    model = new_model(MODEL, 32, kl_weight=weight, seed=0, code=code, shrink=loss.kl_weight is None)
    start = target_start(loss, energies, MODEL.latent_dim)
    return train(model, Loss(loss), pictures, config, folder, kl_start=start, **options)


@pytest.mark.parametrize("kl", [10.0, 100.0])
def test_a_wished_kl_is_held_within_5_percent_over_the_last_quarter(code, pictures, tmp_path, kl: float) -> None:
    rows = run(code, pictures, LossConfig(kl_target=kl), tmp_path).rows
    held = [row["train/kl"] for row in rows[-4:]]
    assert np.mean(held) == pytest.approx(kl, rel=0.05)
    assert held == pytest.approx([kl] * 4, rel=0.1)  # ten batches of eight pictures each
    assert rows[-1]["kl_weight"] > 0


def test_a_wished_psnr_is_held_and_the_rate_is_what_it_needs(code, pictures, tmp_path) -> None:
    low, high = (
        run(code, pictures, LossConfig(recon="mse", psnr_target=psnr), tmp_path / str(psnr)).rows
        for psnr in (20.0, 26.0)
    )
    for rows, psnr in ((low, 20.0), (high, 26.0)):
        assert np.mean([row["train/psnr_sampled"] for row in rows[-4:]]) == pytest.approx(psnr, abs=0.5)
    assert low[-1]["val/kl"] < high[-1]["val/kl"]
    assert low[-1]["kl_weight"] > high[-1]["kl_weight"]


def test_a_run_with_a_target_resumes_to_the_same_bits_and_keeps_its_last_weights(code, pictures, tmp_path) -> None:
    class Killed(BaseException):
        pass

    def cut(steps: range, total: int):
        for now in steps:
            if now == 23:
                raise Killed
            yield now

    config = TRAIN.model_copy(update={"steps": 40})
    loss = LossConfig(kl_target=50.0)
    undisturbed = run(code, pictures, loss, tmp_path / "a", config)
    with pytest.raises(Killed):
        run(code, pictures, loss, tmp_path / "b", config, progress=cut)
    assert_same(undisturbed, run(code, pictures, loss, tmp_path / "b", config))
    assert undisturbed.best_step == 40
    assert all(torch.equal(undisturbed.best[name], undisturbed.last[name]) for name in undisturbed.last)


def test_the_start_is_the_forecast_of_the_wish(code) -> None:
    energies = spectrum(code)
    mse = target_start(LossConfig(recon="mse", kl_target=40.0), energies, 128)
    assert mse == pytest.approx(wished_point(LossConfig(kl_target=40.0), energies, 128).kl_weight)
    summed = LossConfig(recon="mse", recon_channels="sum", recon_weight=2.0, kl_target=40.0)
    assert target_start(summed, energies, 128) == pytest.approx(6 * mse)
    out_of_reach = target_start(LossConfig(recon="mse", psnr_target=60.0), energies, 128)
    assert 0 < out_of_reach < 1e-8


def test_a_rate_limited_warm_start_has_the_kl_of_the_forecast(code, pictures) -> None:
    loss = LossConfig(kl_target=40.0)
    weight = wished_point(loss, spectrum(code), 128).kl_weight
    model = new_model(MODEL, 32, kl_weight=weight, seed=0, code=code, shrink=True)
    images = pictures.batch(pictures.train, torch.device("cpu"))
    both = torch.cat([images, images.flip(-1)])
    with torch.no_grad():
        assert float(model.encode(both).kl().sum(1).mean()) == pytest.approx(40.0, rel=0.01)


def test_the_weight_moves_against_the_error_and_not_at_all_without_a_target() -> None:
    control = KLControl(LossConfig(kl_target=10.0), start=1e-4, steps_per_epoch=10)
    control.observe(kl=20.0, squared_error=0.01, pace=1.0)
    assert control.final > 1e-4
    fixed = KLControl(LossConfig(kl_weight=1e-4), start=None, steps_per_epoch=10)
    fixed.observe(kl=20.0, squared_error=0.01, pace=1.0)
    assert fixed.final == 1e-4


def test_a_rising_weight_starts_at_0_and_arrives(code, pictures, tmp_path) -> None:
    control = KLControl(LossConfig(kl_weight=1e-4, kl_warmup_epochs=2), start=None, steps_per_epoch=10)
    assert [control.weight(step) for step in (0, 10, 20, 99)] == pytest.approx([0, 5e-5, 1e-4, 1e-4])
    config = TRAIN.model_copy(update={"steps": 10})
    rows = run(code, pictures, LossConfig(kl_weight=1e-3, kl_warmup_epochs=1e6), tmp_path / "slow", config).rows
    steady = run(code, pictures, LossConfig(kl_weight=1e-3), tmp_path / "fast", config).rows
    assert rows[-1]["val/kl"] > steady[-1]["val/kl"]
    assert rows[-1]["kl_weight"] == 1e-3  # validation weighs in full


def test_free_bits_have_no_slope_below_the_floor() -> None:
    loss = Loss(LossConfig(kl_weight=1.0, kl_free_bits=1.0))
    kl = torch.tensor([[0.1, 2.0], [0.3, 3.0]], requires_grad=True)
    picture = torch.zeros(2, 3, 8, 8)
    total, raw = loss(picture, picture, kl)
    assert float(raw["kl"]) == pytest.approx(math.log(2) + 2.5)
    total.backward()
    torch.testing.assert_close(kl.grad, torch.tensor([[0.0, 0.5], [0.0, 0.5]]))

"""The training loop: same inputs, same bytes; cut short, it ends where the undisturbed run ends."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from ear_teacher.config import TrainConfig, UserError
from ear_teacher.linear import LinearCode
from ear_teacher.losses import Loss
from ear_teacher.training.checkpoints import load_checkpoint, run_key, save_checkpoint
from ear_teacher.training.history import Row, write_history
from ear_teacher.training.loop import Pictures, Result, train
from ear_teacher.training.schedule import Order, rows_of, schedule
from tests.training.helpers import LOSS, TRAIN, Killed, assert_same, fresh


def run(code: LinearCode, pictures: Pictures, folder: Path, config: TrainConfig = TRAIN, **options) -> Result:
    return train(fresh(code), Loss(LOSS), pictures, config, folder, **options)


def test_two_runs_of_the_same_params_end_in_the_same_bits(code, pictures, tmp_path) -> None:
    assert_same(run(code, pictures, tmp_path / "a"), run(code, pictures, tmp_path / "b"))


def test_bfloat16_computes_the_convolutions_only_and_ends_near_float32(code, pictures, tmp_path) -> None:
    exact = run(code, pictures, tmp_path / "a")
    half = run(code, pictures, tmp_path / "b", TRAIN.model_copy(update={"precision": "bfloat16"}))
    assert all(tensor.dtype == torch.float32 for tensor in half.last.values() if tensor.is_floating_point())
    assert exact.rows[-1]["val/psnr"] != half.rows[-1]["val/psnr"]
    assert exact.rows[-1]["val/psnr"] == pytest.approx(half.rows[-1]["val/psnr"], abs=0.1)
    assert exact.rows[-1]["val/kl"] == pytest.approx(half.rows[-1]["val/kl"], rel=0.01)


def test_the_linear_maps_stay_in_float32_under_autocast(code, pictures) -> None:
    model, images = fresh(code), pictures.batch(pictures.val, torch.device("cpu"))
    wanted = model.decode(model.encode(images).mode)
    with torch.autocast("cpu", torch.bfloat16):
        recon = model.decode(model.encode(images).mode)
    torch.testing.assert_close(recon, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("step", "optimizer"), [(5, "adamw"), (8, "muon"), (11, "muon")])
def test_a_run_cut_short_resumes_and_ends_in_the_same_bits(code, pictures, tmp_path, step: int, optimizer: str) -> None:
    config = TRAIN.model_copy(update={"optimizer": optimizer})

    def cut(steps: range, total: int):
        for now in steps:
            if now == step:
                raise Killed
            yield now

    undisturbed = run(code, pictures, tmp_path / "a", config)
    with pytest.raises(Killed):
        run(code, pictures, tmp_path / "b", config, progress=cut)
    seen: list[int] = []

    def resumed(steps: range, total: int):
        seen.append(steps.start)
        return steps

    assert_same(undisturbed, run(code, pictures, tmp_path / "b", config, progress=resumed))
    assert seen == [step // 4 * 4]


def test_training_lowers_the_loss_below_the_linear_code(code, pictures, tmp_path) -> None:
    config = TrainConfig(steps=60, batch_size=8, validate_every=20, lr=3e-3, milestones=())
    rows = run(code, pictures, tmp_path, config).rows
    assert rows[0]["step"] == 0
    assert rows[-1]["train/loss"] < rows[1]["train/loss"]


def test_step_0_is_kept_where_training_makes_it_worse(code, pictures, tmp_path) -> None:
    ruinous = TrainConfig(steps=4, batch_size=6, validate_every=2, lr=0.5, warmup=0, max_grad_norm=1e9, milestones=())
    result = run(code, pictures, tmp_path, ruinous)
    assert result.best_step == 0
    assert all(torch.equal(result.best[name], value) for name, value in fresh(code).state_dict().items())


def test_every_epoch_shows_every_picture_once() -> None:
    config = TrainConfig(batch_size=6, accumulation=2)
    rows = np.arange(100, 140)
    order = Order(rows, config.seed)
    seen = [int(r) for step in range(10) for part in range(2) for r in rows_of(order, step, part, config)]
    assert Counter(seen[:40]) == Counter(rows.tolist())
    assert Counter(seen[40:80]) == Counter(rows.tolist())
    assert seen[:40] != seen[40:80]


def test_accumulated_batches_give_the_gradient_of_one_large_batch(code, pictures, tmp_path) -> None:
    split = TrainConfig(steps=1, batch_size=4, accumulation=3, flip=False, validate_every=1, milestones=())
    whole = TrainConfig(steps=1, batch_size=12, flip=False, validate_every=1, milestones=())
    one = run(code, pictures, tmp_path / "a", split).rows[1]["train/grad_norm"]
    two = run(code, pictures, tmp_path / "b", whole).rows[1]["train/grad_norm"]
    assert one == pytest.approx(two, rel=0.05)  # equal but for the posterior's noise


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_the_term(code, pictures, tmp_path) -> None:
    model = fresh(code)
    with torch.no_grad():
        model.decoder.mean_patch[0, 0, 0] = float("nan")
    with pytest.raises(UserError, match=r"step 1: the recon term is nan on every picture of the batch; there is"):
        train(model, Loss(LOSS), pictures, TRAIN, tmp_path)


def test_the_learning_rate_rises_then_falls_along_a_cosine() -> None:
    config = TrainConfig(steps=100, warmup=0.1, warmup_start=0.1, final_lr=0.01)
    factors = [schedule(step, config) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[10] == pytest.approx(1.0)
    assert factors[55] == pytest.approx(0.505)
    assert factors[-1] == pytest.approx(0.01, abs=0.002)


def test_a_frozen_linear_part_stays_the_linear_code(code, pictures, tmp_path) -> None:
    config = TrainConfig(steps=3, batch_size=6, validate_every=3, linear_lr_scale=0, milestones=())
    last = run(code, pictures, tmp_path, config).last
    start = fresh(code).state_dict()
    for name in ("encoder.linear.weight", "decoder.linear.weight", "decoder.mean_patch"):
        assert torch.equal(last[name], start[name])
    assert not torch.equal(last["decoder.out.weight"], start["decoder.out.weight"])


def test_the_two_newest_checkpoints_are_kept_and_a_damaged_one_is_passed_over(tmp_path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, {"step": step, "weights": torch.ones(3) * step})
    files = sorted(tmp_path.iterdir())
    assert [file.name[:14] for file in files] == ["step_000000002", "step_000000003"]
    newest = bytearray(files[1].read_bytes())
    newest[len(newest) // 2] ^= 1
    files[1].write_bytes(newest)
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 2


def test_no_checkpoint_means_a_fresh_start(tmp_path) -> None:
    assert load_checkpoint(tmp_path / "never") is None


def test_a_run_of_other_params_has_another_key() -> None:
    assert run_key(TRAIN.model_dump()) == run_key(TRAIN.model_dump())
    assert run_key(TRAIN.model_dump()) != run_key(TrainConfig(seed=1).model_dump())


def test_the_history_is_written_as_two_column_tsvs_without_gaps(tmp_path) -> None:
    rows: list[Row] = [{"step": 0, "val/psnr": 20.0}, {"step": 4, "train/loss": 0.5, "val/psnr": 21.0}]
    write_history(rows, tmp_path)
    assert (tmp_path / "metrics/val/psnr.tsv").read_text() == "step\tpsnr\n0\t20.0\n4\t21.0\n"
    assert (tmp_path / "metrics/train/loss.tsv").read_text() == "step\tloss\n4\t0.5\n"
    assert not list(tmp_path.rglob("*.part"))

"""The author's troubleshooting rules: when each applies, and whether what it says will happen does happen."""

import numpy as np
import pytest
import torch
import yaml

from ear_teacher.config import LossConfig, ModelConfig, TrainConfig, Variant, WatchConfig, load_config
from ear_teacher.forecast import at_kl, at_weight
from ear_teacher.linear import Energies
from ear_teacher.losses import Loss
from ear_teacher.watching.advice import Advice, Run, bad_grey, blurry, diverged, wrong_colours
from ear_teacher.watching.colour import emphasis
from ear_teacher.watching.commands import experiment
from tests.test_config import SHIPPED

PARAMS = yaml.safe_load(SHIPPED.read_text())
ENERGIES = Energies(np.geomspace(500, 1e-3, 300), 1e-3, 3 * 64**2)
SMALL = ModelConfig(latent_dim=256, latent_layout="4x4")
EQUAL = {"now": 0.5, "theirs": 0.5, "pixel": 0.5, "plain": 0.5}


def variant(name: str = "v0", loss: LossConfig = LossConfig(kl_weight=1e-4), **train) -> Variant:  # noqa: B008  # frozen, so shared safely
    return Variant(name=name, model=SMALL, loss=loss, train=TrainConfig(**train))


def run(kl: float, weight: float | None = 1e-4, psnr: float = 27.9, epochs: float = 40.0) -> Run:
    loss = LossConfig(kl_weight=weight) if weight is not None else LossConfig(kl_target=20.0)
    return Run(variant(loss=loss), epochs, kl, psnr, ENERGIES, weight or 1e-4)


def test_a_command_sets_keys_that_stand_in_the_file_and_adds_the_others() -> None:
    changes = {"loss.kl_weight": 5e-6, "train.warmup": 0.1, "loss.kl_target": None}
    assert experiment("current", changes, PARAMS) == (
        "dvc exp run -S loss.kl_weight=5e-06 -S train.warmup=0.1 -S loss.kl_target=null"
    )
    assert experiment("v0", changes, PARAMS) == (
        "dvc exp run -S baselines.v0.loss.kl_weight=5e-06 -S +baselines.v0.train.warmup=0.1 "
        "-S +baselines.v0.loss.kl_target=null"
    )
    assert "-S +baselines.v1.train.warmup=0.1" in experiment("v1", changes, PARAMS)


@pytest.mark.parametrize(("kl", "applies", "weight"), [(49, False, 5e-6), (51, True, 5e-6), (101, True, 1e-6)])
def test_a_high_kl_gets_the_weight_the_author_gives_it(kl: float, applies: bool, weight: float) -> None:
    advice = blurry(run(kl), PARAMS)
    assert advice.applies == applies
    assert f"kl_weight={weight:g}" in advice.theirs


def test_the_rule_for_blur_is_for_blurred_pictures_after_thirty_epochs() -> None:
    assert blurry(run(139, psnr=27.9, epochs=30), PARAMS).applies
    assert not blurry(run(139, psnr=28.1, epochs=30), PARAMS).applies
    assert not blurry(run(139, psnr=27.9, epochs=29), PARAMS).applies


def test_a_lower_weight_raises_the_kl_and_the_rule_says_by_how_much() -> None:
    advice = blurry(run(139, psnr=at_kl(ENERGIES, 139, 256).psnr_mean), PARAMS)
    now, then = at_weight(ENERGIES, 1e-4, 256), at_weight(ENERGIES, 1e-6, 256)
    assert then.kl > now.kl
    assert advice.judgement == "partly right"
    assert f"from {now.kl:.0f} to {then.kl:.0f} nats" in advice.effect
    assert f"{now.psnr_sampled:.1f} to {then.psnr_sampled:.1f} dB" in advice.effect
    assert advice.instead == (
        "dvc exp run -S baselines.v0.loss.kl_weight=null -S +baselines.v0.loss.kl_target=15 "
        "-S +baselines.v1.loss.kl_target=null"
    )


def test_a_code_that_is_full_already_is_hardly_sharpened_by_a_lower_weight() -> None:
    few = Energies(np.full(8, 50.0), 200.0, 3 * 64**2)
    advice = blurry(Run(variant(), 40.0, 120.0, 20.0, few, 1e-4), PARAMS)
    assert "It hardly sharpens" in advice.effect
    assert advice.judgement == "wrong"


def test_where_the_weight_is_below_theirs_already_their_advice_goes_the_other_way() -> None:
    advice = blurry(run(900, weight=1e-7), PARAMS)
    assert advice.judgement == "wrong"
    assert "1e-07 already" in advice.effect
    assert "lowers the KL and blurs" in advice.effect


def test_a_model_far_below_the_forecast_at_its_rate_is_not_blurred_by_the_weight() -> None:
    level = at_kl(ENERGIES, 139, 256).psnr_mean
    far, near = blurry(run(139, psnr=level - 5), PARAMS), blurry(run(139, psnr=level - 0.5), PARAMS)
    assert "the rate is not what blurs this model" in far.effect
    assert (far.judgement, near.judgement) == ("wrong", "partly right")


def test_a_run_that_seeks_a_kl_is_told_to_seek_another() -> None:
    advice = blurry(run(60, weight=None), PARAMS)
    assert advice.theirs == ""
    assert "loss.kl_target" in advice.effect
    assert blurry(run(60, weight=0.0), PARAMS).theirs == ""


def test_a_diverging_run_of_theirs_gets_exactly_their_three_changes() -> None:
    theirs = variant(loss=LossConfig(perceptual_weight=0.8, kl_weight=1e-5), lr=3e-4, warmup=0.05)
    advice = diverged(theirs, 100, PARAMS, "the loss is nan")
    assert advice.theirs == (
        "dvc exp run -S baselines.v0.train.lr=0.0001 -S +baselines.v0.train.warmup=0.1 "
        "-S baselines.v0.loss.perceptual_weight=0.5"
    )
    assert advice.applies
    assert advice.judgement == "right"
    assert "on_divergence=recover" in advice.instead


def test_what_would_not_calm_a_diverging_run_is_left_out_and_said() -> None:
    calm = variant("current", LossConfig(perceptual_weight=0.002, kl_weight=1e-6), lr=9e-5, warmup=0.3)
    advice = diverged(calm, 5.4, PARAMS)
    assert advice.theirs == "dvc exp run -S train.lr=3e-05"
    assert not advice.applies
    for words in ("9e-05 already", "do not fit 5.4", "0.5 would raise it"):
        assert words in advice.effect


def test_ten_epochs_of_warm_up_become_a_share_of_the_run() -> None:
    assert "warmup=0.25" in diverged(variant(lr=3e-4), 40, PARAMS).theirs
    assert "warmup=0.1" in diverged(variant(lr=3e-4), 12, PARAMS).theirs  # 10 of 12 would be most of the run


def test_a_squared_error_counts_a_cast_as_it_counts_a_blur_and_ssim_counts_it_less() -> None:
    noise = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    pictures = torch.nn.functional.avg_pool2d(noise, 3, 1, 1)
    loss = Loss(LossConfig(recon="mse", ssim_weight=1.0, kl_weight=0.0))
    found = emphasis(
        loss, pictures, {"pixels": {"recon": 1.0}, "shape": {"ssim": 1.0}, "both": {"recon": 1.0, "ssim": 1.0}}
    )
    assert found["pixels"] == pytest.approx(1.0, rel=1e-3)
    assert found["shape"] < found["both"] < 1


def test_the_rule_for_colours_is_judged_by_what_the_loss_then_cares_for() -> None:
    watch = WatchConfig()
    away = wrong_colours(variant(), 9.0, {"now": 0.5, "theirs": 0.2, "pixel": 0.7, "plain": 0.5}, watch, PARAMS)
    assert (away.applies, away.judgement) == (True, "wrong")
    assert "turns the loss away from colour" in away.effect
    assert away.instead == "dvc exp run -S +baselines.v0.loss.recon_weight=2"
    towards = wrong_colours(variant(), 4.0, {"now": 0.2, "theirs": 0.5, "pixel": 0.2, "plain": 0.2}, watch, PARAMS)
    assert (towards.applies, towards.judgement, towards.instead) == (False, "right", "")
    nothing = wrong_colours(variant(), 9.0, EQUAL, watch, PARAMS)
    assert (nothing.judgement, nothing.instead) == ("wrong", "")
    focal = wrong_colours(variant(), 9.0, EQUAL | {"pixel": 0.51, "plain": 0.9}, watch, PARAMS)
    assert focal.instead == "dvc exp run -S baselines.v0.loss.focal=false"


def grey_rule(psnr: float, colour_error: float = 2.0, of_colour: float = 2.0, normalization: str = "shared") -> Advice:
    errors = {"colour": of_colour, "grey": colour_error}
    return bad_grey(normalization, {"colour": 30.0, "grey": psnr}, errors, WatchConfig(), "Checked.")


def test_the_rule_for_greyscale_applies_where_it_is_worse_by_the_gap_or_tinted() -> None:
    assert grey_rule(28.5).applies
    fine = grey_rule(31.0)
    assert not fine.applies
    assert "1.00 dB better" in fine.found
    assert fine.theirs == "dvc exp run -S data.normalization=per_group"
    assert grey_rule(31.0, colour_error=6.0).applies
    assert grey_rule(28.5, normalization="per_group").theirs == ""


def test_greyscale_pictures_as_wrong_in_colour_as_the_colour_ones_are_not_a_matter_of_greyscale() -> None:
    assert "too little of colour altogether" in grey_rule(31.0, 12.0, of_colour=14.0).effect
    assert "too little of colour" not in grey_rule(31.0, 12.0, of_colour=2.0).effect


@pytest.mark.parametrize("name", ["v0", "v1", "current"])
def test_every_command_changes_what_it_names_and_is_accepted(name: str) -> None:
    """The commands of the shipped variants, applied to params.yaml as DVC would."""
    from ear_teacher.config import parse_config

    found = load_config(SHIPPED).variant(name)
    here = Run(found, 40.0, 170.0, 22.0, ENERGIES, 1e-5)
    cast = {"now": 0.5, "theirs": 0.2, "pixel": 0.7, "plain": 0.5}
    colours = wrong_colours(found, 9.0, cast, WatchConfig(), PARAMS)
    high = blurry(here, PARAMS)
    calm = diverged(found, 5.4, PARAMS, "x")
    for command in (high.theirs, high.instead, calm.theirs, calm.instead, colours.theirs, colours.instead):
        params = yaml.safe_load(SHIPPED.read_text())
        for change in command.removeprefix("dvc exp run -S ").split(" -S "):
            key, value = change.removeprefix("+").split("=")
            *sections, last = key.split(".")
            inner = params
            for section in sections:
                inner = inner.setdefault(section, {}) if change.startswith("+") else inner[section]
            assert (last in inner) != change.startswith("+")
            inner[last] = yaml.safe_load(value)
        assert parse_config(params).variant(name) != found

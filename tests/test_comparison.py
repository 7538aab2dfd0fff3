"""The comparison: paired changes, honest verdicts, readable text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ear_teacher.comparison import compare, split_linear, to_markdown
from ear_teacher.config import UserError, load_config
from ear_teacher.expectations import EXPECTATIONS, Convergence, convergence, judge, stand_ins


def table(psnr: float, kl: float, seed: int = 0, people: int = 10, photos: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    person = np.repeat([f"p{i:02d}" for i in range(people)], photos)
    hard = np.random.default_rng(99).standard_normal(people).repeat(photos) * 2
    n = people * photos
    return pd.DataFrame(
        {
            "file": [f"{p}_{i}.png" for i, p in enumerate(person)],
            "person": person,
            "grey": False,
            "psnr": psnr + hard + 0.1 * rng.standard_normal(n),
            "ssim": 0.8 + 0.01 * rng.standard_normal(n),
            "perceptual_vgg_l1": 0.5 + 0.01 * rng.standard_normal(n),
            "kl": kl + rng.standard_normal(n),
        }
    )


def history(values: list[float], epochs: float = 60) -> pd.DataFrame:
    return pd.DataFrame({"epoch": np.linspace(0, epochs, len(values)), "val/psnr": values})


@pytest.fixture
def result() -> dict[str, object]:
    tables = {"v0": table(21, 170), "v1": table(24, 1600, 1), "current": table(31, 2000, 2)}
    tables["linear"] = table(30, 0, 3).drop(columns="kl")
    rise = history([10, *(20 * (1 - np.exp(-np.arange(1, 40) / 4)))], 40)
    return compare(
        tables,
        {"v0": {"recon": 0.03, "active_units": 190}, "v1": {"recon": 0.04}},
        {"v0": rise, "v1": history([1, 2, 3, 4, 5, 6], 4)},
        {"v0": "squared error", "v1": "L1"},
        photos="made up",
        rates={"v0": {"kl": 170.0, "measured": 21.04, "forecast": 23.5}},
        resamples=500,
    )


def test_changes_are_paired_by_picture_and_leave_0_out_only_where_they_should(result: dict) -> None:
    psnr = result["metrics"]["psnr"]
    assert psnr["v0"].keys() == {"mean", "ci_low", "ci_high"}
    assert psnr["v1"]["change"] == pytest.approx(psnr["v1"]["mean"] - psnr["v0"]["mean"])
    assert psnr["v1"]["change_low"] == pytest.approx(psnr["v1"]["change"], abs=0.1)  # far below the people's spread
    assert psnr["v0"]["ci_high"] - psnr["v0"]["ci_low"] > 1
    assert psnr["v1"]["verdict"] == "better"
    assert result["metrics"]["ssim"]["linear"]["verdict"] in {"unclear", "better", "worse"}
    assert result["metrics"]["kl"]["v1"]["verdict"] == "higher"
    assert "linear" not in result["metrics"]["kl"]


def test_the_order_of_the_pictures_does_not_matter() -> None:
    a, b = table(21, 170), table(24, 1600, 1)
    first = compare({"v0": a, "v1": b}, {}, {}, {}, "made up", resamples=200)
    second = compare({"v0": a, "v1": b.sample(frac=1, random_state=0)}, {}, {}, {}, "made up", resamples=200)
    assert first == second


def test_other_pictures_and_a_missing_v0_are_refused() -> None:
    with pytest.raises(UserError, match="other pictures"):
        compare({"v0": table(21, 170), "v1": table(24, 10, people=9)}, {}, {}, {}, "")
    with pytest.raises(UserError, match="v0 was not measured"):
        compare({"v1": table(21, 170)}, {}, {}, {}, "")


def test_every_row_of_the_author_s_expectations_is_judged(result: dict) -> None:
    rows = result["expectations"]
    ranges = {key: row["expected"] for key, row in rows.items()}
    assert ranges == {
        "kl": "5-15", "recon": "0.01-0.03", "perceptual": "0.2-0.4", "psnr_healthy": "25-30",
        "psnr_comparison": "27-30", "ssim": "0.75-0.85", "convergence": "30-60",
    }  # fmt: skip
    assert rows["kl"]["v1"]["verdict"] == "above"
    assert rows["recon"]["v0"]["verdict"] == "met"
    assert rows["recon"]["v1"]["verdict"] == "above"
    assert rows["recon"]["current"]["verdict"] == "not measured"
    assert rows["perceptual"]["v0"]["verdict"] == "above"
    assert rows["psnr_healthy"]["v1"]["verdict"] == "below"
    assert rows["psnr_comparison"]["current"]["verdict"] == "met"
    assert rows["ssim"]["current"]["verdict"] == "met"
    assert rows["convergence"]["v0"]["verdict"] == "met"
    assert rows["convergence"]["v1"]["verdict"] == "not tested"
    assert rows["convergence"]["linear"]["verdict"] == "not measured"
    assert rows["kl"]["linear"] == {"value": None, "verdict": "not measured"}


def test_better_than_expected_is_met_for_quality_but_the_kl_is_a_range() -> None:
    assert judge(EXPECTATIONS["psnr_healthy"], 35) == "met"
    assert judge(EXPECTATIONS["psnr_healthy"], 24.9) == "below"
    assert judge(EXPECTATIONS["recon"], 0.001) == "met"
    assert judge(EXPECTATIONS["perceptual"], 0.41) == "above"
    assert judge(EXPECTATIONS["kl"], 0.5) == "below"
    assert judge(EXPECTATIONS["kl"], 10) == "met"
    assert judge(EXPECTATIONS["kl"], float("nan")) == "not measured"


def test_convergence_is_the_first_epoch_with_most_of_the_gain() -> None:
    run = convergence(history([10, 15, 19, 19.6, 19.8, 20, 19.9, 20, 20], 80))
    assert run == Convergence("plateau", 30, 80)
    dipped = convergence(history([30, 28, 29, 31.8, 31.95, 32, 32, 32, 32], 8))
    assert dipped == Convergence("plateau", 4, 8)


def test_a_run_that_still_rises_or_never_rose_has_no_plateau() -> None:
    assert convergence(history([10, 12, 14, 16, 18, 20], 5)) == Convergence("still improving", None, 5)
    assert convergence(history([30, 29, 28, 28, 29], 5)) == Convergence("no gain", None, 5)
    assert convergence(history([10, 20], 5)) == Convergence("too few validations", None, 5)
    assert convergence(history([np.nan] * 6, 5)) == Convergence("too few validations", None, 0)


def test_epochs_are_met_only_by_a_plateau_in_a_run_long_enough_to_tell() -> None:
    row = EXPECTATIONS["convergence"]
    assert judge(row, 3, Convergence("plateau", 3, 4)) == "not tested"
    assert judge(row, 45, Convergence("plateau", 45, 100)) == "met"
    assert judge(row, 90, Convergence("plateau", 90, 200)) == "above"
    assert judge(row, None, Convergence("still improving", None, 40)) == "still improving"
    assert judge(row, None, Convergence("still improving", None, 60)) == "above"
    assert judge(row, None, Convergence("no gain", None, 100)) == "no gain"
    assert judge(row, None) == "not measured"


def test_linear_columns_become_a_table_of_their_own() -> None:
    both = table(21, 170).assign(linear_psnr=30.0, linear_ssim=0.9)
    model, linear = split_linear(both)
    assert list(linear) == ["file", "person", "grey", "psnr", "ssim"]
    assert (linear["psnr"] == 30).all()
    assert model.equals(table(21, 170))


def test_the_page_is_a_table_with_every_column_and_the_result_is_json(result: dict) -> None:
    text = to_markdown(result)
    assert "| v0 | 170.0 | 21.0 | 23.5 |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    first = [line for line in tables if line.count("|") == tables[0].count("|")]
    assert "| v0 | v1 | current | linear |" in first[0]
    assert len({line.count("|") for line in tables}) == 3
    assert "made up (60 pictures of 10 people" in text
    assert "- v0: squared error" in text
    assert "| PSNR, dB (\"before vs after\") | 19-22 | 27-30 |" in text  # fmt: skip
    assert "- v1: still improving at the end of 4 epochs" in text
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_a_baseline_that_is_not_as_its_author_ran_it_says_so() -> None:
    config = load_config(Path(__file__).parents[1] / "params.yaml")
    text = stand_ins(config.v0.model, config.v0.loss)
    assert "tf_efficientnet_lite0 for their vit_small_patch14_dinov2" in text
    assert "perceptual lpips_alex for their vgg_l1" in text
    theirs = config.v0.model.model_copy(update={"backbone": "vit_small_patch14_dinov2.lvd142m", "width": 512})
    assert stand_ins(theirs, config.v0.loss.model_copy(update={"perceptual": "vgg_l1"})) == ""

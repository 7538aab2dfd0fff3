"""The measurement of a model and of the two zero lines beside it."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from ear_teacher import forecast
from ear_teacher.config import ModelConfig
from ear_teacher.evaluation import (
    best_linear,
    codes_of_size,
    equal_floats,
    equal_rate,
    measure,
    posterior_statistics,
    summarise_table,
)
from ear_teacher.linear import LinearCode, energies, fit_klt, fit_pca
from ear_teacher.metrics.quality import Nets
from ear_teacher.models import EarVAE, new_model

TRAIN, TEST = np.arange(36), np.arange(36, 48)


@pytest.fixture(scope="module")
def codes(smooth_pictures: np.ndarray) -> dict[str, LinearCode]:
    return {
        "pca": fit_pca(smooth_pictures, TRAIN, 64),
        "klt_4x4": fit_klt(smooth_pictures, TRAIN, 4, 4),
        "klt_8x8": fit_klt(smooth_pictures, TRAIN, 8, 1),
    }


@pytest.fixture(scope="module")
def batches(smooth_pictures: np.ndarray):
    def pieces() -> Iterator[Tensor]:
        for start in range(36, 48, 5):
            rows = smooth_pictures[start : min(start + 5, 48)]
            yield torch.from_numpy(rows).permute(0, 3, 1, 2).float() / 255

    return pieces


@pytest.fixture(scope="module")
def model(codes: dict[str, LinearCode]) -> EarVAE:
    config = ModelConfig(latent_dim=64, latent_layout="4x4", width=8)
    return new_model(config, 32, kl_weight=1e-4, seed=0, code=codes["klt_4x4"]).eval()


def test_a_warm_started_model_measures_as_the_linear_code_it_is(codes, batches, model) -> None:
    tables = measure(batches, {"model": model.reconstruct, "code": codes["klt_4x4"].reconstruct}, Nets())
    assert len(tables["model"]) == 12
    np.testing.assert_allclose(tables["model"]["psnr"], tables["code"]["psnr"], atol=0.05)
    np.testing.assert_allclose(tables["model"]["ssim"], tables["code"]["ssim"], atol=1e-3)


def test_the_equal_floats_line_takes_each_metrics_best_code(codes, batches) -> None:
    sized = codes_of_size(codes, 64)
    tables = measure(batches, {name: code.reconstruct for name, code in sized.items()}, Nets())
    line = equal_floats(tables, sized)
    for metric, pick in {"psnr": max, "ssim": max, "l1": min, "ciede2000": min}.items():
        assert line[metric]["value"] == pytest.approx(pick(table[metric].mean() for table in tables.values()))
        assert tables[line[metric]["code"]][metric].mean() == pytest.approx(line[metric]["value"])
    assert line["floats"] == {"pca": 64, "klt_4x4": 64, "klt_8x8": 64}


def test_the_linear_columns_average_to_the_equal_floats_line(codes, batches) -> None:
    sized = codes_of_size(codes, 64)
    tables = measure(batches, {name: code.reconstruct for name, code in sized.items()}, Nets())
    tables["pca"] = tables["pca"].assign(psnr=99.0, ssim=0.0)
    line = equal_floats(tables, sized)
    columns = best_linear(tables, line)
    assert columns["psnr"].mean() == 99.0
    assert columns["ssim"].mean() == pytest.approx(line["ssim"]["value"]) != 0.0


def test_codes_whose_patches_cannot_share_the_floats_are_left_out_and_a_short_pca_says_so(
    codes, smooth_pictures
) -> None:
    assert set(codes_of_size(codes, 48)) == {"pca", "klt_4x4"}
    few = {"pca": fit_pca(smooth_pictures, TRAIN[:5], 64)}
    assert codes_of_size(few, 64)["pca"].floats == 9


def test_the_equal_rate_line_is_the_forecast_at_the_measured_kl(codes, smooth_pictures) -> None:
    line = equal_rate(codes, smooth_pictures, TEST, kl=20.0, floats=64)
    points = {name: forecast.at_kl(energies(code, smooth_pictures, TEST), 20.0, 64) for name, code in codes.items()}
    assert line["psnr_mean"]["value"] == max(point.psnr_mean for point in points.values())
    assert points[line["psnr_sampled"]["code"]].psnr_sampled == line["psnr_sampled"]["value"]
    assert all(point.kl == pytest.approx(20, rel=1e-3) for point in points.values())


def test_posterior_statistics_agree_with_a_count_by_hand(batches, model) -> None:
    table, whole = posterior_statistics(model, batches, seed=3)
    images = torch.cat(list(batches()))
    with torch.no_grad():
        posterior = model.encode(images)
        errors = ((model.decode(posterior.mode) - images) ** 2).flatten(1).mean(1).double()
    np.testing.assert_allclose(table["kl"], posterior.kl().sum(1), rtol=1e-4)
    assert whole["pooled"]["psnr_mean"] == pytest.approx(float(-10 * errors.mean().log10()), abs=1e-3)
    assert whole["active_units"] == int((posterior.mean.flatten(1).var(0) > 0.01).sum())
    assert whole["kl_per_dimension"].sum() == pytest.approx(table["kl"].mean(), rel=1e-4)
    assert (table["psnr_sampled"] < 100).all()


def test_summaries_stand_for_all_for_colour_and_for_grey_pictures() -> None:
    table = pd.DataFrame({"psnr": [10.0, 20.0, 30.0, 40.0]})
    people = pd.Series(["a", "a", "b", "b"])
    summary = summarise_table(table, people, pd.Series([False, False, False, True]), 200, 0)
    assert summary["psnr"]["mean"] == 25
    assert summary["colour"]["psnr"]["mean"] == 20
    assert summary["grey"] == {"psnr": summary["grey"]["psnr"], "pictures": 1}
    assert "grey" not in summarise_table(table, people, pd.Series([False] * 4), 200, 0)

"""What the studies conclude from their runs: verdicts and the learnt correction."""

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from ear_teacher.teacher.probing import Truth

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "studies"


def page_of(study: str) -> ModuleType:
    return module_of(study, "page")


def module_of(study: str, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_of_{study}", STUDIES / study / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def change(low: float, high: float, *by_seed: float) -> dict:
    return {"mean": (low + high) / 2, "ci_low": low, "ci_high": high, "by_seed": list(by_seed)}


@pytest.mark.parametrize(
    ("changes", "wanted", "says"),
    [
        ([change(0.1, 0.3, 0.2, 0.2), change(0.2, 0.4, 0.3, 0.3)], 1, "supported"),
        ([change(0.1, 0.3, 0.2, 0.2), change(0.2, 0.4, 0.3, 0.3)], -1, "refuted"),
        ([change(0.1, 0.3, 0.2, 0.2), change(-0.1, 0.4, 0.3, 0.3)], 1, "not separable"),
        ([change(0.1, 0.3, 0.2, -0.1), change(0.2, 0.4, 0.3, 0.3)], 1, "not separable"),
        ([change(0.1, 0.3, 0.2, 0.2), change(-0.4, -0.2, -0.3, -0.3)], 1, "not separable"),
    ],
    ids=["better", "worse", "interval with 0", "a seed on the other side", "budgets disagree"],
)
def test_a_verdict_needs_every_interval_and_every_seed_on_one_side(changes: list, wanted: int, says: str) -> None:
    assert page_of("five_fixes").verdict(changes, wanted) == says


def test_the_learnt_correction_never_sees_the_weight_it_is_judged_on() -> None:
    weights = np.array([1e-3, 1e-4, 1e-5, 1e-6])
    forecast = np.array([40.0, 200.0, 700.0, 1300.0])
    rows = pd.DataFrame({"kl_weight": weights, "kl_forecast": forecast, "kl_measured": 1.3 * weights**0.02 * forecast})
    calibrated = page_of("forecast").calibrated
    np.testing.assert_allclose(calibrated(rows), rows["kl_measured"], rtol=1e-9)
    spoilt = rows.assign(kl_measured=rows["kl_measured"].where(rows["kl_weight"] != 1e-4, 1.0))
    assert calibrated(spoilt)[1] == pytest.approx(rows["kl_measured"][1])


def test_the_greyscale_study_splits_a_squared_error_into_brightness_and_colour_exactly() -> None:
    run = module_of("greyscale", "run")
    rng = np.random.default_rng(0)
    originals, recons = rng.random((2, 5, 8, 8, 3))
    found = run.errors(originals, recons)
    whole = ((recons - originals) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(found["brightness"] + found["colour"], whole)
    np.testing.assert_allclose(found["psnr"], -10 * np.log10(whole))
    brighter = run.errors(originals, originals + 0.1)
    np.testing.assert_allclose(brighter["colour"], 0, atol=1e-12)
    cast = run.errors(originals, originals + np.array([0.1, -0.1, 0.0]))
    np.testing.assert_allclose(cast["brightness"], 0, atol=1e-12)


def test_the_greyscale_study_compares_each_ear_with_itself() -> None:
    page = module_of("greyscale", "page")
    table = pd.DataFrame({
        "person": list("aabb") * 2, "grey": [False] * 4 + [True] * 4,
        "psnr": [30.0, 20, 25, 28, 31, 21, 26, 29], "brightness": [4e-4] * 8, "colour": [1e-4] * 8,
    })  # fmt: skip
    gap = page.change(*page.halves(table))
    assert gap["mean"] == gap["ci_low"] == gap["ci_high"] == pytest.approx(1.0)
    assert page.levels(table, "brightness") == pytest.approx(5.1)
    seeds = [table, table.assign(psnr=table["psnr"] + 2)]
    np.testing.assert_allclose(page.averaged(seeds)["psnr"], table["psnr"] + 1)


def test_the_greyscale_study_makes_grey_pictures_of_the_same_luma() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    grey = module_of("greyscale", "run").as_grey(pictures)
    assert (grey[..., 0] == grey[..., 1]).all()
    np.testing.assert_allclose(grey[..., 0], pictures @ (0.299, 0.587, 0.114), atol=0.5)


def test_the_planted_faults_are_counted_by_the_rank_of_the_truth() -> None:
    rows = pd.DataFrame({"planted": ["healthy", "healthy", "collapse", "grey"], "rank": [1, 3, 1, 2]})
    text = page_of("diagnosis").counts(rows)
    assert "first in 2 of 4 (50 %), among the first two in 3" in text
    assert "1 of 2 healthy models are called sick" in text


def test_the_teachers_cases_are_measured_without_a_test_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(STUDIES / "teacher")
    cases = module_of("teacher", "cases")
    split = np.repeat(["train", "val", "test"], [20, 4, 4])
    person = np.array([f"{i // 2}" for i in range(28)])
    truth = Truth(split, person, np.zeros((28, 1, 2)), np.ones((28, 1), dtype=bool), np.zeros((28, 3)))
    seen = cases.without_test(truth)
    assert not np.isin(seen.rows("train"), np.flatnonzero(split != "train")).any()
    assert seen.rows("test").tolist() == np.flatnonzero(split == "val").tolist()
    assert len(seen.rows("val")) == 4
    assert not set(person[seen.rows("val")]) & set(person[seen.rows("train")])


def test_a_case_of_the_teacher_changes_what_it_names_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(STUDIES / "teacher")
    monkeypatch.chdir(STUDIES.parent)
    cases = module_of("teacher", "cases")
    plain, other = (cases.changed(change, {"train": {"steps": 7}}) for change in ({}, {"loss": {"kl_weight": 0.5}}))
    assert other.loss.kl_weight == 0.5
    assert other.model_copy(update={"loss": plain.loss}) == plain
    assert plain.train.steps == 7


@pytest.mark.parametrize(
    "target", ["realism", "forecast", "five_fixes", "sharp", "retrieval", "greyscale", "diagnosis", "teacher"]
)
def test_a_study_begins_without_compiled_files_among_the_sources(target: str) -> None:
    # DVC hashes src/ with them from outside its repository, and every stage would look changed.
    said = subprocess.run(["make", "-n", target, "PHOTOS=."], cwd=ROOT, text=True, capture_output=True, check=True)
    assert said.stdout.index("find src -name __pycache__") < said.stdout.index("cd studies && dvc repro")


def test_a_study_keeps_compiled_files_out_of_the_sources() -> None:
    told = "told: ; @echo $$PYTHONPYCACHEPREFIX $$NUMBA_CACHE_DIR"
    command = ["make", "-s", "--eval", told, "told", "STUDIES=told"]
    said = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True)
    places = [Path(place) for place in said.stdout.split()]
    assert len(places) == 2
    assert not any(place.is_relative_to(ROOT / "src") for place in places)

"""What is concluded from times: medians, turns, levels, exponents, ratios, and what a changed param runs again."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import growth, page, pipeline, regression
from benchmarks.measure import Stopwatch, alternating, cost, exponent, first_reached, middle, schedule_times, timed
from benchmarks.peers import WARMED
from benchmarks.quality import LEVELS
from benchmarks.settings import QUICK
from ear_teacher.config import UserError


@given(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=6, unique=True), st.integers(1, 6))
def test_in_each_round_everyone_has_a_turn_and_being_first_goes_around(names: list[str], rounds: int) -> None:
    turns = alternating(names, rounds)
    for number in range(rounds):
        of_round = [name for r, name in turns if r == number]
        assert sorted(of_round) == sorted(names)
        assert of_round[0] == names[number % len(names)]


@pytest.mark.parametrize(
    ("times", "wanted"),
    [([3.0, 1.0, 2.0], 2.0), ([None, 1.0, 2.0], 2.0), ([None, None, 2.0], None), ([None, 1.0], None), ([4.0], 4.0)],
)
def test_a_median_of_times_counts_never_as_later_than_any_time(times: list, wanted: float | None) -> None:
    assert middle(times) == wanted


@given(st.floats(-1, 3), st.floats(1e-3, 1e3))
def test_the_exponent_of_a_power_law_is_its_power(power: float, factor: float) -> None:
    sizes = np.array([1000.0, 4000, 16000, 64000])
    assert exponent(sizes.tolist(), (factor * sizes**power).tolist()) == pytest.approx(power, abs=1e-6)


def test_there_is_no_exponent_of_one_size_or_of_nothing() -> None:
    for sizes, values in ([[1, 1], [1, 2]], [[1, 2], [0, 1]]):
        with pytest.raises(ValueError, match="no exponent"):
            exponent(sizes, values)


def test_fixed_costs_weigh_less_on_the_exponent_of_the_largest_rows() -> None:
    rows = [{"pictures": n, "prepare_s": 10 + n / 100, "extrapolated": False} for n in (1000, 4000, 16000, 64000)]
    found = growth.exponents("pictures", rows)
    assert set(found) == {"prepare_s"}
    assert found["prepare_s"]["all"] < found["prepare_s"]["largest"] < 1


def test_a_level_is_reached_at_the_first_checkpoint_that_has_both_metrics() -> None:
    points = [
        {"cpu": 1.0, "psnr": 30.6, "lpips": 0.2},
        {"cpu": 2.0, "psnr": 29.0, "lpips": None},
        {"cpu": 3.0, "psnr": 30.7, "lpips": 0.11},
    ]
    assert first_reached(points, 30.5) == 1.0
    assert first_reached(points, 30.5, 0.12) == 3.0
    assert first_reached(points, 31) is None


@given(st.floats(0.5, 10), st.floats(1.1, 3), st.floats(1, 500))
def test_checkpoints_rise_from_the_start_to_the_budget(first: float, ratio: float, budget: float) -> None:
    times = schedule_times(first, ratio, budget)
    assert times[0] == 0
    assert times[-1] == budget
    assert all(a < b for a, b in itertools.pairwise(times))


def test_a_paused_clock_does_not_count() -> None:
    watch = Stopwatch()
    with watch.paused():
        spent = cost(["python3", "-c", "import time; time.sleep(0.3)"])
    assert watch.wall < 0.2 < spent.wall


def test_every_case_is_timed_by_the_call_and_in_the_right_order() -> None:
    calls = {"quick": 0, "slow": 0}

    def work(name: str, size: int) -> None:
        calls[name] += 1
        np.linalg.norm(np.random.default_rng(0).random((size, size)) @ np.ones((size, size)))

    found = timed({"quick": lambda: work("quick", 8), "slow": lambda: work("slow", 512)}, rounds=3, least=0.01)
    assert found["quick"] < found["slow"]
    assert calls["quick"] > calls["slow"] >= 4  # one unmeasured


def test_a_command_that_fails_says_what_it_said() -> None:
    with pytest.raises(RuntimeError, match="no such ear"):
        cost(["python3", "-c", "import sys; sys.exit('no such ear')"])


STAGES = {
    "train": {"deps": ["data/prepared", "src/loop.py"], "outs": ["models/current"], "params": ["train", "model.width"]},
    "prepare": {"deps": ["photos"], "outs": ["data/prepared"], "params": ["data"]},
    "report": {"deps": ["models"], "outs": ["report.html"], "params": ["report"]},
}


def test_a_changed_param_runs_its_stages_and_then_what_reads_their_outputs() -> None:
    stages = pipeline.in_order(STAGES)
    assert list(stages) == ["prepare", "train", "report"]
    params = {
        "data": {"size": 1},
        "train": {"lr": 1, "steps": 2},
        "model": {"width": 3, "depth": 4},
        "report": {"n": 1},
    }
    costs = {"prepare": {"wall": 1.0}, "train": {"wall": 10.0}, "report": {"wall": 100.0}}
    found = {tuple(group["params"]): group for group in pipeline.reruns(stages, params, costs)}
    assert found["data.size",]["follows"] == ["train", "report"]
    assert found["data.size",]["seconds"] == 111
    assert found["train.lr", "train.steps", "model.width"]["direct"] == ["train"]
    assert found["train.lr", "train.steps", "model.width"]["seconds"] == 110
    assert found["model.depth",]["seconds"] == 0
    assert found["report.n",]["follows"] == []


def test_a_circle_of_stages_is_refused() -> None:
    circle = {"a": {"deps": ["y"], "outs": ["x"]}, "b": {"deps": ["x"], "outs": ["y"]}}
    with pytest.raises(ValueError, match="circle"):
        pipeline.in_order(circle)


def test_a_long_training_is_extrapolated_by_the_steps_between_two_validations() -> None:
    lines = [(5.0, "current step 0, epoch 0.00: loss"), (25.0, "current step 64, epoch 0.5: loss"), (30.0, "other"),
             (45.0, "current step 128, epoch 1.0: loss")]  # fmt: skip
    assert pipeline.extrapolated(47.0, lines, 512) == pytest.approx(47 + 6 * 20)


def results() -> dict:
    speed = {"torch": {"1": 10.0, "32": 20.0}, "onnxruntime": {"1": 20.0, "32": 30.0}}
    half = {runtime: {size: value / 2 for size, value in its.items()} for runtime, its in speed.items()}
    return {
        "inference": {"pictures_a_second": {"bare": speed, "features": half}},
        "growth": {"exponents": {"pictures": {"prepare_s": {"all": 0.9, "largest": 1.0}}}},
        "pipeline": {"noop_seconds": 3.0, "stages": {"compare": {"wall": 6.0}}},
    }


def test_ratios_do_not_change_with_the_speed_of_the_machine() -> None:
    found = regression.ratios(results())
    assert found["features by torch, batch 1, over the bare backbone"] == 2
    assert found["prepare_s where pictures double"] == 2
    assert found["repro with nothing to do, over stage compare"] == 0.5
    faster = json.loads(json.dumps(results()))
    for its in faster["inference"]["pictures_a_second"].values():
        for runtime in its:
            its[runtime] = {size: 3 * value for size, value in its[runtime].items()}
    assert regression.ratios(faster) == found


def test_only_a_ratio_beyond_the_tolerance_is_a_regression() -> None:
    stored = {"a": 1.0, "b": 2.0, "c": 3.0}
    assert set(regression.worse({"a": 1.29, "b": 2.7, "d": 99.0}, stored)) == {"b"}


def test_the_check_fails_on_what_became_slower_and_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = dataclasses.replace(QUICK, folder=tmp_path / "results")
    monkeypatch.setattr(regression, "EXPECTED", tmp_path / "expected.json")
    with pytest.raises(UserError, match="is missing"):
        regression.check(settings)
    (tmp_path / "results").mkdir()
    now = results()
    for name, content in now.items():
        (tmp_path / "results" / f"{name}.json").write_text(json.dumps(content))
    regression.keep(settings)
    regression.check(settings)
    now["pipeline"]["noop_seconds"] = 9.0
    (tmp_path / "results" / "pipeline.json").write_text(json.dumps(now["pipeline"]))
    with pytest.raises(UserError, match="repro with nothing to do"):
        regression.check(settings)


def test_the_page_tells_what_was_not_measured_and_what_was_not_met() -> None:
    of = {"pipeline": {"noop_seconds": 7.0, "stages": {}, "reruns": []}}
    text = page.text(of, quick=True, images="")
    assert text.count(page.NOT_RUN) == 6
    assert "7.0 s | **not met**" in text
    assert "quick run" in text
    assert "quick run" not in page.text(of, quick=False, images="")


def test_a_speed_up_is_told_by_its_times_and_its_loss_is_a_regression() -> None:
    speedups = {"optimiser: slow, or fast": {"before": 30.0, "after": 10.0}}
    of = {
        "batch": 4, "sizes": {}, "evaluate": {"alex": 2.0, "alex and vgg": 1.0}, "speedups": speedups,
        "parts": {"step_ms": 100.0, "parts": {"data: read, convert, mirror": {"ms": 1.0, "gflops": 0.0}}},
    }  # fmt: skip
    assert "| optimiser: slow, or fast | 30.00 | 10.00 | 3.0 |" in page.text({"throughput": of}, False, "")
    stored = regression.ratios({"throughput": of})
    speedups["optimiser: slow, or fast"]["after"] = 30.0
    assert set(regression.worse(regression.ratios({"throughput": of}), stored)) == {
        "after over before: optimiser: slow, or fast"
    }


@pytest.mark.parametrize(
    ("ours", "peer", "says"),
    [
        (5.0, 150.0, "26 dB: 30 times sooner than pythae VAE"),
        (5.0, None, "in 600 CPU-seconds; ours takes 5.0 to 26 dB, 120 times less."),
        (None, None, "in 600 CPU-seconds."),
    ],
    ids=["a peer gets there", "no peer does", "nobody does"],
)
def test_how_much_sooner_ours_is_follows_the_times(ours: float | None, peer: float | None, says: str) -> None:
    other = dict.fromkeys(list(LEVELS)[1:])
    methods = {page.OURS: {"reached": {"26 dB": ours} | other}, "pythae VAE": {"reached": {"26 dB": peer} | other}}
    assert says in " ".join(page.speedups({"budget": 600, "methods": methods}))


def test_beside_our_own_warm_start_only_a_level_with_an_lpips_counts() -> None:
    reached = dict.fromkeys(LEVELS) | {"26 dB": 5.0, "30.5 dB and LPIPS 0.12": 100.0}
    methods = {page.OURS: {"reached": reached}, WARMED: {"reached": reached | {"30.5 dB and LPIPS 0.12": 450.0}}}
    found = [line for line in page.speedups({"budget": 600, "methods": methods}) if WARMED in line]
    assert found == [f"30.5 dB and LPIPS 0.12: 4.5 times sooner than {WARMED}."]


def test_stages_and_keys_of_one_head_share_it_in_a_cell() -> None:
    assert page.shortened(["train@v0", "train@v1", "report"]) == "train@{v0, v1}, report"

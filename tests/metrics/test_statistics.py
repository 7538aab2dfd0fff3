"""Intervals: what they cover, what they resample, and their plain formulas."""

from __future__ import annotations

import numpy as np
import pytest

from ear_teacher.metrics.statistics import bootstrap_interval, paired_change, summarise


def test_location_and_spread_are_numpy_s() -> None:
    values = np.random.default_rng(0).gamma(2, size=200)
    summary = summarise(values, np.arange(200), resamples=200)
    assert summary["mean"] == pytest.approx(values.mean())
    assert (summary["median"], summary["p5"], summary["p95"]) == tuple(np.quantile(values, [0.5, 0.05, 0.95]))
    assert summary["n"] == 200


def test_the_interval_is_a_bootstrap_of_whole_people() -> None:
    rng = np.random.default_rng(1)
    people = np.repeat(["a", "b", "c", "d", "e"], [1, 2, 3, 5, 9])
    values = rng.standard_normal(20) + np.repeat(rng.standard_normal(5) * 3, [1, 2, 3, 5, 9])
    means = []
    for _ in range(20000):
        drawn = rng.choice(["a", "b", "c", "d", "e"], 5)
        means.append(np.concatenate([values[people == person] for person in drawn]).mean())
    low, high = np.percentile(means, [2.5, 97.5])
    summary = summarise(values, people, resamples=20000, seed=3)
    assert summary["ci_low"] == pytest.approx(low, abs=0.08)
    assert summary["ci_high"] == pytest.approx(high, abs=0.08)


def test_intervals_cover_the_truth_with_few_people_and_would_not_by_photo() -> None:
    rng, people, photos, trials = np.random.default_rng(2), 15, 20, 400
    group = np.repeat(np.arange(people), photos)
    by_person = by_photo = 0
    for trial in range(trials):
        values = rng.standard_normal(people)[group] + rng.standard_normal(people * photos)
        low, high = bootstrap_interval(values, group, 400, trial)
        by_person += low < 0 < high
        low, high = bootstrap_interval(values, np.arange(len(values)), 400, trial)
        by_photo += low < 0 < high
    assert 0.87 < by_person / trials < 0.97  # percentile intervals of 15 clusters run a little narrow
    assert by_photo / trials < 0.6


def test_a_paired_change_is_far_narrower_than_two_means() -> None:
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(12), 10)
    before = rng.standard_normal(12)[group] * 3 + rng.standard_normal(120)
    after = before + 0.5 + 0.1 * rng.standard_normal(120)
    change = paired_change(before, after, group)
    assert change["mean"] == pytest.approx((after - before).mean())
    assert 0.4 < change["ci_low"] < change["mean"] < change["ci_high"] < 0.6
    alone = summarise(after, group)
    assert alone["ci_high"] - alone["ci_low"] > 10 * (change["ci_high"] - change["ci_low"])


def test_equal_seeds_give_equal_intervals_whatever_the_order_and_kind_of_the_ids() -> None:
    values, group = np.random.default_rng(4).standard_normal(60), np.repeat(np.arange(6), 10)
    first = summarise(values, group, seed=5)
    assert first == summarise(values, [str(g) for g in group], seed=5)
    assert first != summarise(values, group, seed=6)
    order = np.random.default_rng(0).permutation(60)
    shuffled = summarise(values[order], group[order], seed=5)
    assert shuffled == pytest.approx(first)


def test_undefined_pictures_are_left_out_and_counted() -> None:
    values = np.array([1.0, np.nan, 3.0, 5.0])
    assert summarise(values, ["a", "a", "b", "b"], resamples=100) == summarise(
        [1.0, 3.0, 5.0], ["a", "b", "b"], resamples=100
    )
    assert paired_change([1, 2, np.nan], [2, np.nan, 3], ["a", "b", "c"])["n"] == 1


def test_one_person_has_a_mean_and_no_interval() -> None:
    summary = summarise([1.0, 2.0], ["a", "a"])
    assert summary["mean"] == 1.5
    assert summary["ci_low"] is summary["ci_high"] is None
    assert summarise([np.nan], ["a"]) == {
        "mean": None, "median": None, "p5": None, "p95": None, "ci_low": None, "ci_high": None, "n": 0,
    }  # fmt: skip


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="equally long"):
        summarise([1.0, 2.0], ["a"])

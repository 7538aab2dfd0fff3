"""How sure a mean is: intervals that resample people, because photos of one person are not independent.

Percentile bootstrap over clusters (Davison & Hinkley 1997, section 3.8): each resample draws as many people as
there are, with replacement, and takes all photos of each. With few people it is a little too narrow: about 91 %
instead of 95 % with 15 people.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

INTERVAL = (2.5, 97.5)


def summarise(
    values: ArrayLike, groups: ArrayLike, resamples: int = 2000, seed: int = 0
) -> dict[str, float | int | None]:
    """Location, spread and the 95 % interval of the mean.

    Args:
        values: (N,) one figure a picture; NaN marks a picture where it is not defined, which is left out.
        groups: (N,) the person of each picture.
        resamples: bootstrap resamples of the people.
        seed: of the resampling; equal input gives equal output.

    Returns:
        `mean`, `median`, `p5`, `p95`, `ci_low`, `ci_high`, and `n`, the pictures that counted. Every figure is
        None without a picture, the interval also with fewer than two people.
    """
    value, group = _defined(values, groups)
    if not len(value):
        return dict.fromkeys(("mean", "median", "p5", "p95", "ci_low", "ci_high")) | {"n": 0}
    p5, median, p95 = np.percentile(value, [5, 50, 95])
    low, high = bootstrap_interval(value, group, resamples, seed)
    return {
        "mean": float(value.mean()),
        "median": float(median),
        "p5": float(p5),
        "p95": float(p95),
        "ci_low": low,
        "ci_high": high,
        "n": len(value),
    }


def paired_change(
    before: ArrayLike, after: ArrayLike, groups: ArrayLike, resamples: int = 2000, seed: int = 0
) -> dict[str, float | int | None]:
    """Mean of after - before over the same pictures, with its 95 % interval by person.

    Args:
        before: (N,) one figure a picture.
        after: (N,) of the same pictures in the same order; pictures where either is NaN are left out.
        groups: (N,) the person of each picture.

    Returns:
        `mean`, `ci_low`, `ci_high`, `n`; None as in `summarise`.
    """
    difference = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    summary = summarise(difference, groups, resamples, seed)
    return {key: summary[key] for key in ("mean", "ci_low", "ci_high", "n")}


def bootstrap_interval(
    values: np.ndarray, groups: np.ndarray, resamples: int = 2000, seed: int = 0
) -> tuple[float | None, float | None]:
    """95 % percentile interval of the mean of (N,) defined values, people resampled.

    Returns:
        low and high; None twice with fewer than two people.
    """
    names, person = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return None, None
    sums, counts = np.bincount(person, weights=values), np.bincount(person)
    # How often each person is drawn in each resample: the sums and counts are all that a mean needs.
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    low, high = np.percentile((drawn @ sums) / (drawn @ counts), INTERVAL)
    return float(low), float(high)


def _defined(values: ArrayLike, groups: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    value, group = np.asarray(values, dtype=np.float64), np.asarray(groups).astype(str)
    if value.shape != group.shape or value.ndim != 1:
        raise ValueError(f"values {value.shape} and groups {group.shape} must be one list each, equally long")
    known = ~np.isnan(value)
    return value[known], group[known]

"""Whether pictures of one person lie nearer to one another than to those of others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ear_teacher.metrics.statistics import INTERVAL, summarise
from ear_teacher.teacher.probing.coordinates import EXPONENTS, Coordinates

RANKS = (32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Gallery:
    """Principal coordinates of pictures and of their mirror images, (N, r) each, and the person of each picture."""

    scores: Tensor
    mirrored: Tensor
    person: NDArray[np.str_]


def compare_people(
    coordinates: Coordinates, train: Gallery, val: Gallery, test: Gallery, resamples: int = 400
) -> dict[str, object]:
    """Rank-1 and equal error rate on test people, leaving out the photo that asks.

    Two pictures are as alike as the cosine of their whitened coordinates, or of one's and the mirror image's of the
    other where that is more: a left ear is found by a right one. Learnt on training people: axes, the variances, and
    within-person whitening (Hatch & Stolcke 2006, WCCN) where it helps. Chosen on validation people: the number of
    axes, how far they are whitened, with or without within-person whitening.

    Returns:
        `rank1` and `eer` with `mean` (or `value`), `ci_low`, `ci_high`; `chosen`, what validation people chose;
        `pictures`, `people`, `queries`.
    """
    best: tuple[float, str] | None = None
    kept = None
    for name, project in _metrics(coordinates, train):
        alike = _alike(project(val.scores), project(val.mirrored))
        gain = float(np.nanmean(first_is_right(alike, val.person))) - equal_error_rate(alike, val.person)
        if best is None or gain > best[0]:
            best, kept = (gain, name), project
    assert best is not None
    assert kept is not None
    alike = _alike(kept(test.scores), kept(test.mirrored))
    right = first_is_right(alike, test.person)
    rank1 = summarise(right, test.person)
    low, high = _eer_interval(alike, test.person, resamples)
    return {
        "rank1": {key: rank1[key] for key in ("mean", "ci_low", "ci_high")},
        "eer": {"value": equal_error_rate(alike, test.person), "ci_low": low, "ci_high": high},
        "chosen": best[1],
        "pictures": len(right),
        "people": len(np.unique(test.person)),
        "queries": int(np.isfinite(right).sum()),
    }


def first_is_right(alike: NDArray[np.float64], person: ArrayLike) -> NDArray[np.float64]:
    """(N,) 1 where the most similar other picture shows the same person, else 0; NaN where no other picture does.

    Args:
        alike: (N, N) similarities; the diagonal is not looked at.
        person: (N,).
    """
    names = np.asarray(person)
    others = alike.copy()
    np.fill_diagonal(others, -np.inf)
    same = names[:, None] == names[None]
    found: NDArray[np.float64] = np.where(
        same.sum(1) > 1, (names[others.argmax(1)] == names).astype(np.float64), np.nan
    )
    return found


def equal_error_rate(alike: NDArray[np.float64], person: ArrayLike, times: NDArray[np.float64] | None = None) -> float:
    """Where as many pairs of one person are refused as pairs of two are admitted; over all pairs of pictures.

    Args:
        alike: (N, N) similarities, symmetric.
        person: (N,).
        times: (N,) how often each picture counts (a resampled person's as often as they were drawn).

    Returns:
        the rate; NaN where there are only pairs of one kind.
    """
    names = np.asarray(person)
    first, second = np.triu_indices(len(names), 1)
    same = names[first] == names[second]
    weight = np.ones(len(first)) if times is None else times[first] * times[second]
    if times is not None:
        weight[same] = times[first][same]  # copies of one person are no pairs
    if not weight[same].any() or not weight[~same].any():
        return float("nan")
    order = np.argsort(-alike[first, second], kind="stable")
    same, weight = same[order], weight[order]
    admitted = np.cumsum(np.where(same, 0, weight)) / np.where(same, 0, weight).sum()
    refused = 1 - np.cumsum(np.where(same, weight, 0)) / np.where(same, weight, 0).sum()
    place = int(np.argmin(np.abs(admitted - refused)))
    return float((admitted[place] + refused[place]) / 2)


def _eer_interval(alike: NDArray[np.float64], person: ArrayLike, resamples: int) -> tuple[float, float]:
    names, which = np.unique(np.asarray(person), return_inverse=True)
    drawn = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    rates = [equal_error_rate(alike, person, row[which].astype(np.float64)) for row in drawn]
    # Among very few people a resample may hold one person only: nothing to tell apart.
    low, high = np.nanpercentile(rates, INTERVAL)
    return float(low), float(high)


class _Projection:
    def __init__(self, coordinates: Coordinates, rank: int, exponent: float) -> None:
        self.coordinates, self.rank, self.exponent = coordinates, rank, exponent
        self.within: Tensor | None = None

    def __call__(self, scores: Tensor) -> Tensor:
        found = self.coordinates.whitened(scores, self.exponent)[:, : self.rank]
        if self.within is not None:
            found = found @ self.within
        return F.normalize(found, dim=1)


def _metrics(coordinates: Coordinates, train: Gallery) -> Iterator[tuple[str, _Projection]]:
    """The ways to compare that validation people choose from."""
    ranks = [rank for rank in RANKS if rank <= len(coordinates.variances)] or [len(coordinates.variances)]
    for rank in ranks:
        for exponent in EXPONENTS:
            project = _Projection(coordinates, rank, exponent)
            yield f"{rank} axes, whitened to the power {exponent:g}", project
        project = _Projection(coordinates, rank, 1.0)
        project.within = _within(coordinates.whitened(train.scores, 1.0)[:, :rank], train.person)
        yield f"{rank} axes, whitened within people", project


def _within(scores: Tensor, person: NDArray[np.str_]) -> Tensor:
    """(r, r) map that whitens what differs between pictures of one person, shrunk by a tenth to the identity."""
    _, which = np.unique(person, return_inverse=True)
    groups = torch.from_numpy(which)
    sums = torch.zeros(int(groups.max()) + 1, scores.shape[1], dtype=torch.float64)
    sums.index_add_(0, groups, scores.double())
    centred = scores.double() - (sums / groups.bincount()[:, None])[groups]
    covariance = centred.T @ centred / len(centred)
    width = len(covariance)
    shrunk = 0.9 * covariance + 0.1 * covariance.trace() / width * torch.eye(width, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(shrunk)
    return (vectors / values.sqrt() @ vectors.T).float()


def _alike(scores: Tensor, mirrored: Tensor) -> NDArray[np.float64]:
    straight, across = scores @ scores.T, scores @ mirrored.T
    found: NDArray[np.float64] = torch.maximum(straight, torch.maximum(across, across.T)).double().numpy()
    return found

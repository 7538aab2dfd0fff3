"""The tasks of the probe: landmarks and pose from few and many labels, people from none of the test people's.

The head learns from labelled pictures and their mirror images; everything that is chosen (penalty, whitening, which
state of a training) is chosen on validation people; the figures are those of test people, each an average over seeds
(which pictures are labelled, the head's first weights) with an interval that resamples people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ear_teacher.metrics.statistics import summarise
from ear_teacher.teacher.probing.coordinates import EXPONENTS, Coordinates
from ear_teacher.teacher.probing.encoders import Extracted
from ear_teacher.teacher.probing.heads import channel_axes, fit_mlp, fit_soft_argmax, reduced, ridge
from ear_teacher.teacher.probing.landmarks import contour_distance, landmark_errors
from ear_teacher.teacher.probing.retrieval import Gallery, compare_people

SETS = ("code", "maps")
"""Vectors of an encoder: its code, and its maps pooled to 8 x 8."""

POSE = ("yaw", "pitch", "roll")
MLP_RANK = 256
CONTOUR_POINTS = 55


@dataclass(frozen=True)
class Truth:
    """What is known of N pictures.

    Attributes:
        split: (N,) train, val or test.
        person: (N,).
        places: (N, K, 2) landmarks as shares of the side; the first 55 lie along the curves of the 55-point scheme.
        visible: (N, K).
        pose: (N, 3) yaw, pitch and roll in degrees, of the ear as if it were a left one.
    """

    split: NDArray[np.str_]
    person: NDArray[np.str_]
    places: NDArray[np.float64]
    visible: NDArray[np.bool_]
    pose: NDArray[np.float64]

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split."""
        return np.flatnonzero(self.split == split)


@dataclass(frozen=True)
class Settings:
    """Sizes of the probe: `studies/teacher/params.yaml` says what each is."""

    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    slow_budgets: tuple[int, ...]
    rank: int
    channels: int
    mlp_steps: int
    soft_argmax_steps: int


@dataclass(frozen=True)
class Both:
    """Something of all pictures and of all mirror images, in the same order."""

    straight: Tensor
    mirrored: Tensor

    def learn(self, rows: NDArray[np.int64]) -> Tensor:
        """Of the pictures of these rows and of their mirror images."""
        return torch.cat([self.straight[rows], self.mirrored[rows]])


def vectors(straight: Extracted, mirrored: Extracted) -> dict[str, Both]:
    """The vectors of `SETS`."""
    return {"code": Both(straight.code, mirrored.code), "maps": Both(straight.pooled, mirrored.pooled)}


def coordinates(features: Both, train: NDArray[np.int64], rank: int) -> tuple[Coordinates, Both]:
    """Principal coordinates fitted on training pictures and their mirror images, without any label."""
    axes = Coordinates.fit(features.learn(train), rank)
    return axes, Both(axes.of(features.straight), axes.of(features.mirrored))


def probe_landmarks(
    straight: Extracted, mirrored: Extracted, truth: Truth, settings: Settings, heads: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Landmark errors of test people for each vector, head and number of labels.

    Args:
        straight, mirrored: features of all pictures of `truth`.
        truth: with its landmarks.
        settings: sizes.
        heads: of `ridge`, `mlp`, `soft-argmax` (which stands on the maps).
    """
    places = truth.places.copy()
    places[..., 0] = 1 - places[..., 0]
    labels = Both(_tensor(truth.places), _tensor(places))
    val = truth.rows("val")

    def score(predicted: Tensor) -> float:
        return float(np.nanmean(_nme(predicted, truth, val)))

    def entry(features: str, head: str, budget: int, predictions: Sequence[Tensor]) -> dict[str, Any]:
        return {"features": features, "head": head, "labels": budget} | landmark_summary(predictions, truth)

    for name, both in vectors(straight, mirrored).items():
        axes, scores = coordinates(both, truth.rows("train"), settings.rank)
        white = {power: Both(axes.whitened(scores.straight, power), axes.whitened(scores.mirrored, power))
                 for power in EXPONENTS}  # fmt: skip
        if "ridge" in heads:
            for budget in settings.budgets:
                yield entry(name, "ridge", budget, [
                    _best_ridge(white, labels, rows, truth, score)
                    for rows, _ in labelled(truth, budget, settings.seeds, head_seeds=False)
                ])  # fmt: skip
        if "mlp" in heads:
            given = white[0.5]
            for budget in settings.slow_budgets:
                found = []
                for rows, seed in labelled(truth, budget, settings.seeds):
                    predict = fit_mlp(
                        given.learn(rows)[:, :MLP_RANK], labels.learn(rows).flatten(1),
                        given.straight[val][:, :MLP_RANK], score, settings.mlp_steps, seed,
                    )  # fmt: skip
                    found.append(predict(given.straight[truth.rows("test")][:, :MLP_RANK]))
                yield entry(name, "mlp", budget, found)
    if "soft-argmax" in heads:
        train = truth.rows("train")
        mean, onto = channel_axes([straight.stack[train], mirrored.stack[train]], settings.channels)
        stack = Both(reduced(straight.stack, mean, onto), reduced(mirrored.stack, mean, onto))
        for budget in settings.slow_budgets:
            found = []
            for rows, seed in labelled(truth, budget, settings.seeds):
                predict = fit_soft_argmax(
                    stack.learn(rows), labels.learn(rows), stack.straight[val], score, settings.soft_argmax_steps, seed
                )
                found.append(predict(stack.straight[truth.rows("test")]))
            yield entry("maps", "soft-argmax", budget, found)


def probe_pose(straight: Extracted, mirrored: Extracted, truth: Truth, settings: Settings) -> Iterator[dict[str, Any]]:
    """Mean absolute errors in degrees of yaw, pitch and roll, by ridge."""
    labels = Both(_tensor(truth.pose), _tensor(truth.pose))
    val, test = truth.rows("val"), truth.rows("test")
    real = _tensor(truth.pose)

    for name, both in vectors(straight, mirrored).items():
        axes, scores = coordinates(both, truth.rows("train"), settings.rank)
        white = {power: Both(axes.whitened(scores.straight, power), axes.whitened(scores.mirrored, power))
                 for power in EXPONENTS}  # fmt: skip
        for budget in settings.budgets:
            errors = np.mean([
                (_best_ridge(white, labels, rows, truth, lambda p: float((p - real[val]).abs().mean())) - real[test])
                .abs().double().numpy()
                for rows, _ in labelled(truth, budget, settings.seeds, head_seeds=False)
            ], 0)  # fmt: skip
            yield {
                "features": name, "head": "ridge", "labels": budget,
                "degrees": _interval(errors.mean(1), truth.person[test]),
                **{angle: float(errors[:, i].mean()) for i, angle in enumerate(POSE)},
            }  # fmt: skip


def probe_people(
    straight: Extracted, mirrored: Extracted, split: NDArray[np.str_], person: NDArray[np.str_], rank: int
) -> Iterator[dict[str, Any]]:
    """Retrieval of test people by each vector (`retrieval.compare_people`)."""
    for name, both in vectors(straight, mirrored).items():
        axes, scores = coordinates(both, np.flatnonzero(split == "train"), rank)
        parts = {
            part: Gallery(scores.straight[rows], scores.mirrored[rows], person[rows])
            for part in ("train", "val", "test")
            for rows in [np.flatnonzero(split == part)]
        }
        yield {"features": name, **compare_people(axes, parts["train"], parts["val"], parts["test"])}


def landmark_summary(predictions: Sequence[Tensor], truth: Truth) -> dict[str, Any]:
    """Errors on test people, averaged over runs: the first 55 points, and apart from them the others."""
    test = truth.rows("test")
    person = truth.person[test]
    first, rest = slice(0, CONTOUR_POINTS), slice(CONTOUR_POINTS, None)
    places = [_places(found) for found in predictions]

    def mean(measure: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = np.mean([measure(found) for found in places], 0)
        return values

    def errors(found: NDArray[np.float64], part: slice, key: str) -> NDArray[np.float64]:
        return landmark_errors(found[:, part], truth.places[test][:, part], truth.visible[test][:, part])[key]

    summary: dict[str, Any] = {
        "points": min(CONTOUR_POINTS, truth.places.shape[1]),
        "nme": _interval(mean(lambda found: errors(found, first, "nme")), person),
        "nme_height": _interval(mean(lambda found: errors(found, first, "nme_height")), person),
        "by_seed": [float(np.nanmean(errors(found, first, "nme"))) for found in places],
    }
    if truth.places.shape[1] >= CONTOUR_POINTS:
        places55, visible = truth.places[test][:, first], truth.visible[test][:, first]
        summary["contour"] = _interval(mean(lambda found: contour_distance(found[:, first], places55, visible)), person)
    if truth.places.shape[1] > CONTOUR_POINTS:
        summary["other_points"] = truth.places.shape[1] - CONTOUR_POINTS
        summary["nme_other"] = _interval(mean(lambda found: errors(found, rest, "nme")), person)
    return summary


def labelled(
    truth: Truth, budget: int, seeds: Sequence[int], head_seeds: bool = True
) -> Iterator[tuple[NDArray[np.int64], int]]:
    """The labelled training pictures of each seed; fewer labels are a part of more.

    Args:
        budget: how many; at least as many as there are: all of them.
        head_seeds: whether the same pictures with another seed are another run.
    """
    train = truth.rows("train")
    for seed in seeds if head_seeds or budget < len(train) else seeds[:1]:
        yield np.sort(np.random.default_rng(seed).permutation(train)[:budget]), seed


def _best_ridge(
    white: dict[float, Both], labels: Both, rows: NDArray[np.int64], truth: Truth, score: Callable[[Tensor], float]
) -> Tensor:
    """Predictions for test people, of the whitening and the penalty that validation people choose."""
    found = {
        power: ridge(both.learn(rows), labels.learn(rows).flatten(1), both.straight[truth.rows("val")], score)
        for power, both in white.items()
    }
    power = min(found, key=lambda key: found[key][0])
    return found[power][1](white[power].straight[truth.rows("test")])


def _interval(values: NDArray[np.float64], person: NDArray[np.str_]) -> dict[str, Any]:
    summary = summarise(values, person)
    return {key: summary[key] for key in ("mean", "ci_low", "ci_high")}


def _nme(predicted: Tensor, truth: Truth, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    first = slice(0, CONTOUR_POINTS)
    return landmark_errors(_places(predicted)[:, first], truth.places[rows][:, first], truth.visible[rows][:, first])[
        "nme"
    ]


def _places(predicted: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = predicted.double().numpy().reshape(len(predicted), -1, 2)
    return found


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values).float()

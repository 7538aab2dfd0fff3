"""How far predicted landmarks lie from the true ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ear_teacher.synthetic.landmarks import LANDMARK55_GROUPS

Floats = NDArray[np.float64]


def landmark_errors(predicted: Floats, true: Floats, visible: NDArray[np.bool_]) -> dict[str, Floats]:
    """Errors of each picture, NaN where no point is visible.

    Args:
        predicted: (N, K, 2) as shares of the crop's side.
        true: (N, K, 2).
        visible: (N, K) which points count.

    Returns:
        (N,) each: `nme`, the mean distance of the visible points in crop sides; `nme_height`, in heights of the ear
        (from its highest to its lowest point, visible or not).
    """
    distance = np.where(visible, np.linalg.norm(predicted - true, axis=2), 0.0)
    with np.errstate(invalid="ignore"):
        nme = distance.sum(1) / np.where(visible.sum(1) > 0, visible.sum(1), np.nan)
    height = true[..., 1].max(1) - true[..., 1].min(1)
    return {"nme": nme, "nme_height": nme / height}


def contour_distance(
    predicted: Floats,
    true: Floats,
    visible: NDArray[np.bool_],
    groups: Sequence[str] = LANDMARK55_GROUPS,
) -> Floats:
    """(N,) mean distance of the visible predicted points to the true curve of their group, in crop sides.

    A point that slides along its curve costs nothing; a group of one point counts as that point.

    Args:
        predicted: (N, K, 2); true: (N, K, 2); visible: (N, K).
        groups: the curve of each point, points of one curve in order.
    """
    names = np.asarray(groups)
    nearest = np.full(visible.shape, np.inf)
    for name in dict.fromkeys(groups):
        places = np.flatnonzero(names == name)
        for start, end in zip(places, places[1:] if len(places) > 1 else places, strict=False):
            a, b, p = true[:, [start]], true[:, [end]], predicted[:, places]
            along = b - a
            length = (along**2).sum(2)
            part = ((p - a) * along).sum(2) / np.where(length > 0, length, 1)
            foot = a + np.clip(part, 0, 1)[..., None] * along
            nearest[:, places] = np.minimum(nearest[:, places], np.linalg.norm(p - foot, axis=2))
    counted = visible.sum(1)
    found: Floats = np.where(visible, nearest, 0).sum(1) / np.where(counted > 0, counted, np.nan)
    return found

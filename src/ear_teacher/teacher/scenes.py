"""Larger synthetic scenes with one ear somewhere in them, or none, and the exact box of it.

Rendered ears are cut out with some of the head around them and blended into backdrops of the renderer, among patches of
other pictures without their ears: skin, hair and blurred rooms. Every scene is a function of its number and the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ear_teacher.synthetic.backdrop import paint_backdrop

EAR = (0.16, 0.6)
"""Height of the ear as a share of the scene's side, smallest and largest."""
EMPTY = 0.1
"""Share of scenes without an ear."""
RIM = 0.12
"""Share of a pasted picture's side over which it fades into the scene."""


@dataclass(frozen=True)
class Scenes:
    """Scenes and where the ear is.

    Attributes:
        images: (N, S, S, 3) uint8.
        boxes: (N, 4) float32 centre x, centre y, width, height of the ear in [0, 1]; NaN where there is none.
    """

    images: NDArray[np.uint8]
    boxes: NDArray[np.float32]


def compose_scenes(
    images: NDArray[np.uint8], regions: NDArray[np.uint8], count: int, side: int, seed: int = 0
) -> Scenes:
    """Put rendered ears into scenes.

    Args:
        images: (M, s, s, 3) rendered ears.
        regions: (M, s, s) their label maps, 0 = not the ear.
        count: scenes to make; they take the ears in turn.
        side: of the scenes in pixels.
        seed: of all that is random.
    """
    usable = np.flatnonzero((regions > 0).any((1, 2)))
    out = np.empty((count, side, side, 3), dtype=np.uint8)
    boxes = np.full((count, 4), np.nan, dtype=np.float32)
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        scene = paint_backdrop(side, rng.uniform(0.6, 1.4, 3), rng)
        scene = np.clip(scene / max(float(np.percentile(scene, 98)), 1e-3) * rng.uniform(0.4, 1), 0, 1) ** (1 / 2.2)
        for _ in range(int(rng.integers(0, 5))):
            other = int(rng.choice(usable))
            _paste_patch(scene, images[other] / 255, regions[other] > 0, rng)
        if rng.random() >= EMPTY:
            row = int(usable[i % len(usable)])
            boxes[i] = _paste_ear(scene, images[row] / 255, regions[row] > 0, rng)
        scene = ndimage.gaussian_filter(scene, (rng.uniform(0, 0.8),) * 2 + (0,))
        out[i] = np.rint(np.clip(scene + rng.normal(0, rng.uniform(0, 0.02), scene.shape), 0, 1) * 255)
    return Scenes(out, boxes)


def _paste_ear(
    scene: NDArray[np.float64], picture: NDArray[np.float64], ear: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Paste a turned and scaled picture whole, faded at its rim; the ear's box in the scene."""
    side = scene.shape[0]
    angle = float(rng.normal(0, 10))
    picture = ndimage.rotate(picture, angle, reshape=False, order=1, mode="reflect")
    ear = ndimage.rotate(ear.astype(np.float32), angle, reshape=False, order=1) > 0.5
    if rng.random() < 0.5:
        picture, ear = picture[:, ::-1], ear[:, ::-1]
    rows, columns = np.flatnonzero(ear.any(1)), np.flatnonzero(ear.any(0))
    height = np.exp(rng.uniform(*np.log(EAR)))
    size = int(np.clip(round(height * side * len(ear) / (rows[-1] - rows[0] + 1)), 8, 2 * side))
    scale = size / len(ear)
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) * scale
    # Anywhere, as long as the whole ear lies inside.
    left, top = (int(rng.uniform(-box[k], max(side - box[k + 2], -box[k] + 1))) for k in (0, 1))
    # The ear itself is never faded, however near to the rim of its picture it lies.
    alpha = np.maximum(_fade(size), _scaled(ndimage.binary_dilation(ear, iterations=3).astype(float), size))
    _blend(scene, _scaled(picture, size), alpha, left, top)
    x0, y0, x1, y1 = np.clip(box + np.array([left, top, left, top]), 0, side) / side
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0


def _paste_patch(
    scene: NDArray[np.float64], picture: NDArray[np.float64], ear: NDArray[np.bool_], rng: np.random.Generator
) -> None:
    """Paste what lies around an ear: a piece of a picture, mirrored over the ear's place."""
    side = scene.shape[0]
    # The nearest place that is not the ear takes its place: skin and hair without an ear in them.
    near = ndimage.distance_transform_edt(
        ndimage.binary_dilation(ear, iterations=4), return_distances=False, return_indices=True
    )
    filled = ndimage.gaussian_filter(picture[near[0], near[1]], (1.0, 1.0, 0))
    size = int(rng.uniform(0.2, 0.9) * side)
    left, top = (int(rng.uniform(-size / 2, side - size / 2)) for _ in range(2))
    _blend(scene, _scaled(filled, size), _fade(size), left, top)


def _blend(
    scene: NDArray[np.float64], picture: NDArray[np.float64], alpha: NDArray[np.float64], left: int, top: int
) -> None:
    """Lay a square picture over the scene, where the two overlap."""
    side, size = scene.shape[0], len(picture)
    y0, y1, x0, x1 = max(top, 0), min(top + size, side), max(left, 0), min(left + size, side)
    if y1 <= y0 or x1 <= x0:
        return
    cut = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    weight = alpha[cut][..., None]
    scene[y0:y1, x0:x1] = scene[y0:y1, x0:x1] * (1 - weight) + picture[cut] * weight


def _fade(size: int) -> NDArray[np.float64]:
    """(size, size) one inside, falling to zero at the rim, with round corners."""
    line = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5) / (RIM * size)
    line = np.clip(line, 0, 1)
    return np.asarray(line[:, None] * line[None, :])


def _scaled(picture: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """A square picture (s, s, 3) or (s, s) in [0, 1] at another size, antialiased."""
    pixels = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR)) / 255.0

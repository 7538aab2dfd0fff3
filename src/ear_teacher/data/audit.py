"""What is measured on each prepared picture, and which pictures are the same one twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GREY_CHROMA = 5
"""Levels of 255. JPEG stores greyscale photos in colour with a little noise between the channels."""

_HASH_SIDE = 32
_LEVELS = np.arange(256) / 255
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_positions = (np.arange(_HASH_SIDE, dtype=np.float64) + 0.5) * np.pi / _HASH_SIDE
_COSINES = np.cos(np.arange(9)[:, None] * _positions)
_BITS = np.uint64(1) << np.arange(64, dtype=np.uint64)


@dataclass(frozen=True)
class Measures:
    """One picture's figures.

    Attributes:
        grey: the channels are alike.
        sharpness: variance of the Laplacian of the luma (levels squared).
        pixel_hash: SHA-256 of the pixels; equal for exact duplicates.
        view_hash: 64 bits of the coarse structure; few bits differ between versions of one picture.
        level_mean: mean of each channel in [0, 1].
        level_square: mean square of each channel.
    """

    grey: bool
    sharpness: float
    pixel_hash: str
    view_hash: int
    level_mean: tuple[float, ...]
    level_square: tuple[float, ...]


def measure(pixels: NDArray[np.uint8]) -> Measures:
    """Measure one picture.

    Args:
        pixels: (S, S, 3) uint8.
    """
    luma = pixels.astype(np.float32) @ _LUMA
    counts = np.array(Image.fromarray(pixels).histogram(), dtype=np.float64).reshape(3, 256) / luma.size
    return Measures(
        grey=is_grey(pixels),
        sharpness=sharpness(luma),
        pixel_hash=hashlib.sha256(pixels.tobytes()).hexdigest(),
        view_hash=view_hash(luma),
        level_mean=tuple((counts * _LEVELS).sum(axis=1).tolist()),
        level_square=tuple((counts * _LEVELS**2).sum(axis=1).tolist()),
    )


def is_grey(pixels: NDArray[np.uint8]) -> bool:
    """Whether a picture has no colour: in 99 of 100 pixels the channels differ by `GREY_CHROMA` levels at most."""
    red, green, blue = (pixels[:, :, channel].astype(np.int16) for channel in range(3))
    chroma = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return float(np.mean(chroma > GREY_CHROMA)) <= 0.01


def sharpness(luma: NDArray[np.float32]) -> float:
    """Variance of the four-neighbour Laplacian inside the picture; blur lowers it, noise raises it."""
    inner = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inner
    return float(laplacian.var(dtype=np.float64))


def view_hash(luma: NDArray[np.float32]) -> int:
    """Perceptual hash: the signs of 64 low frequencies of the cosine transform against their median."""
    small = Image.fromarray(luma).resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.BOX)
    low = _COSINES[:8] @ np.asarray(small, dtype=np.float64) @ _COSINES[1:9].T
    # A flat picture has only rounding errors here: they must not decide its bits.
    bits = low.ravel() > np.median(low) + 1e-3
    return int(_BITS[bits].sum(dtype=np.uint64))


def near_pairs(hashes: NDArray[np.uint64], distance: int) -> NDArray[np.int64]:
    """All pairs of hashes that differ in at most `distance` bits.

    Args:
        hashes: (N,) uint64, all different.
        distance: 0 to 64.

    Returns:
        (M, 2) positions i < j. 28,000 hashes take about two seconds: it is one pass of machine words.
    """
    found = [np.empty((0, 2), dtype=np.int64)]
    block = max(1, 4_000_000 // max(1, len(hashes)))
    for start in range(0, len(hashes), block):
        differing = np.bitwise_count(hashes[start : start + block, None] ^ hashes[None, start:])
        left, right = np.nonzero(differing <= distance)
        pairs = np.stack([left, right], axis=1)[left < right] + start
        found.append(pairs)
    return np.concatenate(found)


def duplicate_groups(view_hashes: list[int], distance: int) -> NDArray[np.int64]:
    """Pictures that show the same thing: view hashes at most `distance` bits apart (in chains).

    Args:
        view_hashes: of N pictures. Pictures with equal pixels have equal ones.
        distance: 0 to 64 bits.

    Returns:
        (N,) the group of each picture, numbered from 0 in order of appearance; -1 for a picture of its own.
    """
    views, position = np.unique(np.array(view_hashes, dtype=np.uint64), return_inverse=True)
    leader = list(range(len(views)))

    def find(node: int) -> int:
        while leader[node] != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for left, right in near_pairs(views, distance).tolist():
        leader[find(left)] = find(right)
    roots = [find(int(node)) for node in position]
    counts = np.bincount(roots, minlength=len(views))
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root, len(numbers)) if counts[root] > 1 else -1 for root in roots], np.int64)

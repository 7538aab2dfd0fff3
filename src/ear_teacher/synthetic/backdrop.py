"""What lies behind the head: out-of-focus rooms, walls and lights."""

import numpy as np
from scipy import ndimage


def paint_backdrop(side: int, incident: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(side, side, 3) float32 linear RGB, as bright as things in the same light would be, often dark.

    The random numbers drawn do not depend on `side`, so a scene has the same backdrop at every size.
    """
    cells = rng.uniform(0, 1, (6, 6, 3))
    base, contrast = rng.uniform(0.02, 0.7, 3), rng.uniform(0.05, 0.9)
    level = rng.choice([0.12, 0.6, 1.5], p=[0.35, 0.35, 0.3])
    colourfulness = rng.uniform(0.05, 0.45)
    colours = base + contrast * (cells - 0.5)
    colours = colours.mean(2, keepdims=True) + colourfulness * (colours - colours.mean(2, keepdims=True))
    # Out of focus: a coarse picture, enlarged, holds all of it.
    coarse = min(side, 96)
    place = np.linspace(0.5, 4.5, coarse)
    rows, columns = np.meshgrid(place, place, indexing="ij")
    order = int(rng.integers(1, 4))
    picture = np.stack([ndimage.map_coordinates(colours[..., c], [rows, columns], order=order) for c in range(3)], -1)
    for _ in range(int(rng.integers(0, 5))):
        # Blurred edges of furniture, collars, door frames.
        angle, offset, soft = rng.uniform(0, np.pi), rng.uniform(-0.6, 0.6), rng.uniform(0.01, 0.1)
        change = rng.uniform(0.4, 1.6) * rng.uniform(0.85, 1.15, 3)
        x = np.linspace(-1, 1, coarse)
        across = x[None] * np.cos(angle) + x[:, None] * np.sin(angle) - offset
        picture = picture * (1 + (change - 1) / (1 + np.exp(-np.clip(across / soft, -30, 30)))[..., None])
    picture = np.asarray(np.clip(picture, 0.005, 2) * level * incident / 2, np.float32)
    grid = (np.arange(side, dtype=np.float32) + 0.5) * coarse / side - 0.5
    low = np.clip(grid.astype(int), 0, coarse - 2)
    part = np.clip(grid - low, 0, 1).astype(np.float32)
    picture = picture[low] * (1 - part)[:, None, None] + picture[low + 1] * part[:, None, None]
    return np.asarray(picture[:, low] * (1 - part)[:, None] + picture[:, low + 1] * part[:, None])

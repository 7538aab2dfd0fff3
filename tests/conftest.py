"""Tiny data that several tests share, made on the spot."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter


@pytest.fixture(scope="session")
def smooth_pictures() -> np.ndarray:
    """48 smooth random colour pictures, uint8 (48, 32, 32, 3): correlated neighbours, as in photos."""
    rng = np.random.default_rng(0)
    noise = gaussian_filter(rng.standard_normal((48, 32, 32, 3)), (0, 4, 4, 0.5))
    noise = noise / noise.std() * 50 + rng.normal(128, 20, (48, 1, 1, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)

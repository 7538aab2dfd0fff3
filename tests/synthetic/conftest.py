"""A small data set, rendered once for the whole folder."""

import pytest

from ear_teacher.config import SyntheticConfig
from ear_teacher.synthetic import Sample, render_sample

SIZE = 96


@pytest.fixture(scope="session")
def config() -> SyntheticConfig:
    return SyntheticConfig(people=30, images_per_person=2, seed=5, occluder_fraction=0.0)


@pytest.fixture(scope="session")
def samples(config: SyntheticConfig) -> list[Sample]:
    return [render_sample(config, SIZE, index) for index in range(60)]

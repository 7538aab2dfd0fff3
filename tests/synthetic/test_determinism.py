"""The same image whatever the order, the number of processes or the images around it."""

import itertools
import time

import numpy as np
import pytest

from ear_teacher.config import SyntheticConfig
from ear_teacher.synthetic import Sample, render_sample, synthesize

SIZE = 64


def same(a: Sample, b: Sample) -> bool:
    arrays = ("image", "landmarks", "landmarks55", "regions")
    return a.record == b.record and all(np.array_equal(getattr(a, k), getattr(b, k)) for k in arrays)


def test_two_processes_render_what_one_renders() -> None:
    config = SyntheticConfig(people=6, images_per_person=3, seed=1, occluder_fraction=0.5)
    alone = list(synthesize(config, SIZE, workers=1))
    together = list(synthesize(config, SIZE, workers=2))
    assert len(alone) == len(together) == 18
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))
    assert [sample.record["index"] for sample in together] == list(range(18))


def test_an_image_does_not_depend_on_what_was_rendered_before(config: SyntheticConfig) -> None:
    first = render_sample(config, SIZE, 9)
    for index in (4, 8):
        render_sample(config, SIZE, index)
    assert same(first, render_sample(config, SIZE, 9))


def test_more_people_leave_the_first_images_unchanged(config: SyntheticConfig) -> None:
    more = SyntheticConfig(**{**config.model_dump(), "people": 1000})
    assert same(render_sample(config, SIZE, 5), render_sample(more, SIZE, 5))


def test_another_seed_gives_other_images(config: SyntheticConfig) -> None:
    other = SyntheticConfig(**{**config.model_dump(), "seed": config.seed + 1})
    assert not np.array_equal(render_sample(config, SIZE, 0).image, render_sample(other, SIZE, 0).image)


def test_streaming_renders_no_more_than_is_asked_for() -> None:
    endless = SyntheticConfig(people=1_000_000, images_per_person=100)
    started = time.perf_counter()
    stream = synthesize(endless, SIZE, workers=1)
    assert [sample.record["index"] for sample in itertools.islice(stream, 3)] == [0, 1, 2]
    stream.close()
    assert time.perf_counter() - started < 20


def test_an_index_outside_the_data_set_is_refused(config: SyntheticConfig) -> None:
    with pytest.raises(IndexError):
        render_sample(config, SIZE, config.people * config.images_per_person)

"""Landmarks, regions and mirror images agree with the picture."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from ear_teacher.config import SyntheticConfig
from ear_teacher.synthetic import LANDMARK55_GROUPS, LANDMARK_NAMES, REGION_NAMES, Sample
from ear_teacher.synthetic.render import render_scene
from ear_teacher.synthetic.scene import sample_scene

SIZE = 96


def test_landmarks_lie_inside_the_frame(samples: list[Sample]) -> None:
    for sample in samples:
        for landmarks in (sample.landmarks, sample.landmarks55):
            assert (landmarks[:, :2] > 0).all()
            assert (landmarks[:, :2] < SIZE - 1).all()


def test_visible_landmarks_lie_on_the_rendered_ear(samples: list[Sample]) -> None:
    for sample in samples:
        # The crest of the rim may project onto the pixel beside the outermost one of the mask.
        ear = ndimage.binary_dilation(sample.regions > 0, iterations=2)
        for landmarks in (sample.landmarks, sample.landmarks55):
            x, y = np.rint(landmarks[landmarks[:, 2] > 0, :2]).astype(int).T
            assert ear[y, x].all()


def test_most_landmarks_are_visible_without_occluders(samples: list[Sample]) -> None:
    assert np.mean([sample.landmarks[:, 2] for sample in samples]) > 0.9
    assert set(np.unique([sample.landmarks[:, 2] for sample in samples])) <= {0.0, 1.0}


def test_shapes_and_types_are_as_documented(samples: list[Sample]) -> None:
    sample = samples[0]
    assert sample.image.shape == (SIZE, SIZE, 3)
    assert sample.image.dtype == np.uint8
    assert sample.landmarks.shape == (len(LANDMARK_NAMES), 3) == (17, 3)
    assert sample.landmarks55.shape == (len(LANDMARK55_GROUPS), 3) == (55, 3)
    assert sample.landmarks.dtype == sample.landmarks55.dtype == np.float32
    assert sample.regions.shape == (SIZE, SIZE)
    assert sample.regions.dtype == np.uint8


def test_every_region_is_seen_in_nearly_every_image(samples: list[Sample]) -> None:
    for label in range(1, 1 + len(REGION_NAMES)):
        areas = np.array([(sample.regions == label).sum() for sample in samples])
        assert np.mean(areas > 0.002 * SIZE**2) > 0.95, REGION_NAMES[label - 1]


def test_named_landmarks_fall_into_their_regions(samples: list[Sample]) -> None:
    expected = {"crus_helicis": "helix", "antihelix": "antihelix", "antitragus": "antihelix", "tragus": "tragus",
                "lobe_posterior": "lobe", "superaurale": "helix", "postaurale": "helix"}  # fmt: skip
    hits = []
    for sample in samples:
        for name, region in expected.items():
            x, y, visible = sample.landmarks[LANDMARK_NAMES.index(name)]
            if visible:
                near = sample.regions[max(0, round(y) - 2) : round(y) + 3, max(0, round(x) - 2) : round(x) + 3]
                hits.append(1 + REGION_NAMES.index(region) in near)
    assert np.mean(hits) > 0.97


def test_the_tragus_is_on_the_face_side_of_the_antihelix(samples: list[Sample]) -> None:
    for sample in samples:
        tragus = sample.landmarks[LANDMARK_NAMES.index("tragus")]
        antihelix = sample.landmarks[LANDMARK_NAMES.index("antihelix")]
        if sample.record["side"] == "left":
            assert tragus[0] < antihelix[0]
        else:
            assert tragus[0] > antihelix[0]


@pytest.mark.parametrize("index", [0, 7])
def test_a_right_ear_is_the_mirror_image_of_the_left_one(config: SyntheticConfig, index: int) -> None:
    scene = sample_scene(config, index)
    scene = replace(scene, film=replace(scene.film, noise=0.0, quality=100))
    left, right = (render_scene(replace(scene, side=side), SIZE) for side in ("left", "right"))
    assert np.array_equal(left.regions, right.regions[:, ::-1])
    for a, b in ((left.landmarks, right.landmarks), (left.landmarks55, right.landmarks55)):
        np.testing.assert_allclose(a[:, 0], SIZE - 1 - b[:, 0], atol=1e-4)
        np.testing.assert_array_equal(a[:, 1:], b[:, 1:])
    difference = left.image.astype(int) - right.image[:, ::-1].astype(int)
    assert np.abs(difference).mean() < 1, "JPEG rounding only"


def test_a_scene_is_the_same_at_every_size(config: SyntheticConfig) -> None:
    scene = sample_scene(config, 3)
    scene = replace(scene, film=replace(scene.film, noise=0.0))
    small, large = render_scene(scene, 64), render_scene(scene, 128)
    np.testing.assert_allclose((small.landmarks[:, :2] + 0.5) * 2, large.landmarks[:, :2] + 0.5, atol=0.01)
    shrunk = large.image.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(shrunk - small.image).mean() < 4

"""Shape is identity: bounded, the same over a person's images, and recoverable from the landmarks."""

import numpy as np

from ear_teacher.config import SyntheticConfig
from ear_teacher.synthetic import Sample
from ear_teacher.synthetic.landmarks import landmark_points
from ear_teacher.synthetic.scene import person_shape, sample_scene
from ear_teacher.synthetic.shape import SLIDERS, build_geometry, lobe_folds, lobe_width, within_bounds


def test_shapes_stay_within_anatomical_bounds() -> None:
    config = SyntheticConfig(people=40)
    for person in range(40):
        shape = person_shape(config, person)
        fine = build_geometry(shape).fine
        assert within_bounds(shape)
        assert not lobe_folds(fine)
        assert lobe_width(fine) > 0.24
        assert all(-1 <= value <= 1 for value in shape.sliders.values())
        assert 4 <= shape.age <= 85


def test_a_persons_images_share_the_shape_and_by_default_not_the_looks(samples: list[Sample]) -> None:
    shape_columns = [f"shape_{name}" for name in SLIDERS]
    for first, second in zip(samples[::2], samples[1::2], strict=True):
        assert first.record["person"] == second.record["person"]
        assert all(first.record[column] == second.record[column] for column in shape_columns)
    assert (
        np.mean([a.record["skin"] == b.record["skin"] for a, b in zip(samples[::2], samples[1::2], strict=True)]) < 0.1
    )


def test_appearance_can_belong_to_the_person() -> None:
    config = SyntheticConfig(people=5, images_per_person=3, appearance="person")
    for person in range(5):
        scenes = [sample_scene(config, 3 * person + k) for k in range(3)]
        assert len({scene.skin.tone for scene in scenes}) == 1
        assert len({scene.hair.style for scene in scenes}) == 1
        assert len({scene.pose.yaw for scene in scenes}) == 3


def test_shape_is_recoverable_from_landmarks_far_above_chance() -> None:
    config = SyntheticConfig(people=240, seed=3)
    shapes = [person_shape(config, person) for person in range(240)]
    points = np.array([landmark_points(build_geometry(shape).fine)[:, 1:].ravel() for shape in shapes])
    points = (points - points.mean(0)) / (points.std(0) + 1e-9)
    train, test = slice(0, 180), slice(180, 240)
    explained = {}
    for name in ("lobe", "depth", "tilt", "free_lobe"):
        target = np.array([shape.sliders[name] for shape in shapes])
        design = np.column_stack([points, np.ones(len(points))])
        ridge = design[train].T @ design[train] + 3 * np.eye(design.shape[1])
        weights = np.linalg.solve(ridge, design[train].T @ target[train])
        explained[name] = np.corrcoef(design[test] @ weights, target[test])[0, 1] ** 2
    # Chance is 1 / 60; each of these sliders moves landmarks seen from the side.
    assert min(explained.values()) > 0.2, explained
    assert np.mean(list(explained.values())) > 0.4, explained

"""What the set as a whole looks like."""

from collections import Counter
from dataclasses import replace

import numpy as np
from scipy import ndimage

from ear_teacher.config import SyntheticConfig
from ear_teacher.synthetic import Sample
from ear_teacher.synthetic.light import SETUPS
from ear_teacher.synthetic.render import render_scene
from ear_teacher.synthetic.scene import Scene, sample_scene


def scenes(**settings: object) -> list[Scene]:
    config = SyntheticConfig(people=300, images_per_person=1, **settings)  # type: ignore[arg-type]  # settings of several types
    return [sample_scene(config, index) for index in range(300)]


def detail(original: np.ndarray, changed: np.ndarray) -> float:
    """Share of the energy above half Nyquist that survives a change: 1 - |X - X'|^2 / |X|^2 over that band."""
    a, b = (np.fft.fft2(picture.astype(float).mean(2)) for picture in (original, changed))
    high = np.hypot(*np.meshgrid(np.fft.fftfreq(len(a)), np.fft.fftfreq(len(a)))) > 0.25
    return float(1 - (np.abs(a - b)[high] ** 2).sum() / (np.abs(a)[high] ** 2).sum())


def test_the_scenes_vary_as_promised() -> None:
    drawn = scenes()
    tones = np.array([scene.skin.tone for scene in drawn])
    counts = np.histogram(tones, bins=5, range=(0, 1))[0]
    assert counts.min() > 40, "skin tones are spread evenly"
    assert abs(np.mean([scene.side == "left" for scene in drawn]) - 0.5) < 0.1
    assert abs(np.mean([scene.film.grey for scene in drawn]) - 0.25) < 0.08
    assert set(Counter(scene.lighting.name for scene in drawn)) == set(SETUPS)
    assert len({scene.hair.style for scene in drawn}) == 5
    ages = np.array([scene.shape.age for scene in drawn])
    assert (ages < 18).mean() > 0.08
    assert (ages > 60).mean() > 0.15
    yaw = np.array([scene.pose.yaw for scene in drawn])
    assert 16 < yaw.std() < 26


def test_shares_follow_the_config() -> None:
    assert not any(scene.film.grey for scene in scenes(grey_fraction=0.0))
    assert all(scene.film.grey for scene in scenes(grey_fraction=1.0))
    assert all(scene.occluder == "none" for scene in scenes(occluder_fraction=0.0))
    assert {scene.occluder for scene in scenes(occluder_fraction=1.0)} == {"earring", "hair", "glasses"}


def test_grey_pictures_have_equal_channels_and_colour_ones_do_not(samples: list[Sample]) -> None:
    for sample in samples:
        spread = np.ptp(sample.image.astype(int), axis=2).max()
        assert (spread == 0) == sample.record["grey"]


def test_brightness_and_contrast_stay_within_photographic_bounds(samples: list[Sample]) -> None:
    pictures = np.stack([sample.image for sample in samples]) / 255
    means = pictures.mean((1, 2, 3))
    assert 0.3 < means.mean() < 0.55
    assert means.min() > 0.04
    assert (pictures.min(3) > 0.98).mean((1, 2)).max() < 0.25, "no picture is mostly burnt out"
    assert np.median(pictures.mean(3).std((1, 2))) > 0.08, "pictures are not flat"


def test_darker_skin_looks_darker(samples: list[Sample]) -> None:
    tones = [sample.record["skin"] for sample in samples]
    ears = [sample.image[sample.regions > 0].mean() for sample in samples]
    assert np.corrcoef(tones, ears)[0, 1] < -0.7


def test_blur_is_measurable_in_the_right_order(samples: list[Sample]) -> None:
    kept = []
    for sample in samples[:20]:
        blurred = [ndimage.gaussian_filter(sample.image.astype(float), (s, s, 0)) for s in (0.5, 1.0, 2.0)]
        kept.append([detail(sample.image, picture) for picture in blurred])
    slight, medium, strong = np.array(kept).T
    assert (slight > medium + 0.1).all()
    assert (medium > strong + 0.01).all()


def test_most_fine_detail_is_scene_and_not_noise() -> None:
    config = SyntheticConfig(people=8, images_per_person=1, seed=2, grey_fraction=0.0)
    shares = []
    for index in range(8):
        scene = sample_scene(config, index)
        noisy, clean = (_with_noise(scene, noise) for noise in (scene.film.noise, 0.0))
        shares.append(detail(noisy, clean))
    assert np.median(shares) > 0.3, shares


def _with_noise(scene: Scene, noise: float) -> np.ndarray:
    return render_scene(replace(scene, film=replace(scene.film, noise=noise)), 96).image

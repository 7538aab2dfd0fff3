"""A scene: everything random about one image except grain, drawn before and independent of its size."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ear_teacher.config import SyntheticConfig
from ear_teacher.synthetic.camera import Film, Pose, sample_film, sample_pose
from ear_teacher.synthetic.hair import Hair, sample_hair
from ear_teacher.synthetic.light import Lighting, sample_lighting
from ear_teacher.synthetic.occluders import sample_occluder
from ear_teacher.synthetic.shape import Shape, sample_shape
from ear_teacher.synthetic.skin import Skin, sample_skin

# First number of every random stream: no two purposes share one.
_SHAPE, _APPEARANCE_OF_PERSON, _APPEARANCE_OF_IMAGE, _IMAGE, _DRAWING = range(5)


@dataclass(frozen=True)
class Scene:
    """What one image shows.

    Attributes:
        index, person: numbers of the image and of the person in the data set.
        side: "left" or "right" ear. Everything is modelled as a left ear; a right one is mirrored at the end.
        shape, skin, hair: the person (skin and hair only where `appearance` is "person").
        pose, lighting, film, occluder: the image.
        entropy: seed of the random numbers drawn while painting (strands, backdrop, grain).
    """

    index: int
    person: int
    side: str
    shape: Shape
    skin: Skin
    hair: Hair
    pose: Pose
    lighting: Lighting
    film: Film
    occluder: str
    entropy: tuple[int, ...]


def person_shape(config: SyntheticConfig, person: int) -> Shape:
    """The ear shape of a person of the data set."""
    return _shape(config.seed, person)


@lru_cache(maxsize=64)
def _shape(seed: int, person: int) -> Shape:
    return sample_shape(np.random.default_rng([seed, _SHAPE, person]))


def sample_scene(config: SyntheticConfig, index: int) -> Scene:
    """Scene of image `index`, a function of the config and the index alone.

    Raises:
        IndexError: the data set has no such image.
    """
    if not 0 <= index < config.people * config.images_per_person:
        raise IndexError(f"image {index} of {config.people * config.images_per_person}")
    person = index // config.images_per_person
    shape = person_shape(config, person)
    owner = (_APPEARANCE_OF_PERSON, person) if config.appearance == "person" else (_APPEARANCE_OF_IMAGE, index)
    looks = np.random.default_rng([config.seed, *owner])
    skin = sample_skin(looks)
    hair = sample_hair(looks, skin.tone, shape.age)
    rng = np.random.default_rng([config.seed, _IMAGE, index])
    return Scene(
        index=index,
        person=person,
        side="left" if rng.random() < 0.5 else "right",
        shape=shape,
        skin=skin,
        hair=hair,
        pose=sample_pose(rng),
        lighting=sample_lighting(rng),
        film=sample_film(rng, config.grey_fraction),
        occluder=sample_occluder(rng, config.occluder_fraction),
        entropy=(config.seed, _DRAWING, index),
    )

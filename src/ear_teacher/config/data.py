"""Where pictures and pretrained weights come from, and the linear code fitted on them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ear_teacher.config.values import LARGEST_SIDE, Count, Natural, Section, Share


class SyntheticConfig(Section):
    """The embedded data set (`data.source: synthetic`)."""

    people: Count = 220
    images_per_person: Count = 6
    seed: Natural = 0
    grey_fraction: Share = 0.25
    appearance: Literal["person", "image"] = "image"
    """Whether skin, hair and marks belong to the person or are drawn anew for each image."""
    occluder_fraction: Share = 0.1
    """Share of images with an earring, a lock of hair or glasses over part of the ear."""


class SplitConfig(Section):
    """Who trains, who validates, who tests. A person whose id is a whole number n goes by n mod `modulus`,
    any other id by its SHA-256 mod `modulus`: adding photos never moves a person to another split."""

    modulus: Annotated[int, Field(ge=2, le=1000)] = 7
    test: tuple[Natural, ...] = (3,)
    val: tuple[Natural, ...] = (5,)

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, data: Any) -> Any:
        return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _disjoint(self) -> SplitConfig:
        if not self.test or not self.val or set(self.test) & set(self.val):
            raise ValueError("test and val each need at least one residue, and none in common")
        if max(*self.test, *self.val) >= self.modulus:
            raise ValueError(f"residues of test and val must be below modulus ({self.modulus})")
        if len(set(self.test) | set(self.val)) >= self.modulus:
            raise ValueError("test and val leave no residue for training")
        return self


class DataConfig(Section):
    """Where the pictures come from and how they are prepared."""

    source: Literal["synthetic", "folder", "npy"] = "synthetic"
    path: str = "data/photos"
    """Folder (or file) that holds everything the source reads; DVC tracks it."""
    train_npy: str | None = None
    """npy source: the training file, an array or a metadata dict; a relative name is looked up under `path`."""
    val_npy: str | None = None
    """npy source: the validation file. Half of its people (or photos) become the test split."""
    root_dir: str | None = None
    """npy source with metadata: folder of the relative image paths; `path` where not given."""
    allow_outside_root: bool = False
    """npy source: admit absolute image paths outside `root_dir` (DVC does not track those)."""
    npy_range: Literal["auto", "0..1", "0..255", "-1..1"] = "auto"
    """Value range of float arrays; `auto` admits only uint8 arrays."""
    image_size: Annotated[int, Field(ge=32, le=LARGEST_SIDE)] = 128
    shard_images: Natural = 0
    """Pictures a file of the prepared ones; 0: all in one. For sets that the memory cannot hold: training then shuffles
    the files, and the pictures of some files at a time."""
    person_regex: str | None = None
    """First group = person id, searched in the file's path; without it the sub-folder is the person."""
    crop: Literal["center", "pad", "stretch"] = "stretch"
    """How a picture that is not square becomes square."""
    min_side: Count = 32
    max_pixels: Count = 64_000_000
    max_bad_fraction: Share = 0.05
    normalization: Literal["shared", "per_group"] = "shared"
    """`per_group`: greyscale pictures are moved, channel by channel, to the mean and deviation of the colour ones."""
    near_duplicate_distance: Annotated[int, Field(ge=0, le=64)] = 2
    """Hamming distance of 64-bit perceptual hashes up to which two pictures count as near duplicates."""
    split: SplitConfig = SplitConfig()
    synthetic: SyntheticConfig = SyntheticConfig()

    @model_validator(mode="after")
    def _source_has_what_it_needs(self) -> DataConfig:
        if self.source == "npy" and self.train_npy is None:
            raise ValueError("data.source is npy, so data.train_npy must name the training file")
        if self.person_regex is not None:
            try:
                groups = re.compile(self.person_regex).groups
            except re.error as error:
                raise ValueError(f"data.person_regex {self.person_regex!r} is no regular expression: {error}") from None
            if groups < 1:
                raise ValueError(f"data.person_regex {self.person_regex!r} needs a group in parentheses: the person id")
        return self


class WeightsConfig(Section):
    """Where pretrained trunks come from; see `ear_teacher.weights` for the order of the sources."""

    local_dir: str | None = None
    """Folder that holds `<trunk>.safetensors` files, tried first."""
    hub: bool = True
    """Whether the model hub may be asked as the last resort (gives up after five seconds)."""


class LinearConfig(Section):
    """The linear codes fitted on the training split."""

    max_floats: Annotated[int, Field(ge=64, le=65536)] = 1024
    """Size of the longest code that is fitted, and so the largest `model.latent_dim` with a warm start."""

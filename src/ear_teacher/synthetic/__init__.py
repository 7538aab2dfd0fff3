"""Synthetic ear photos with exact landmarks, regions, identity and shape.

    for sample in synthesize(SyntheticConfig(people=10), image_size=128):
        sample.image, sample.landmarks, sample.regions, sample.record

Ears are rendered from a morphable mesh (CC0, MakeHuman; `asset/`) with numpy, numba and scipy. Every image is a
function of the config, its index and its size.
"""

from ear_teacher.synthetic.landmarks import LANDMARK55_GROUPS, LANDMARK_NAMES
from ear_teacher.synthetic.mesh import REGION_NAMES
from ear_teacher.synthetic.render import Sample, render_sample
from ear_teacher.synthetic.sequence import synthesize

__all__ = ["LANDMARK55_GROUPS", "LANDMARK_NAMES", "REGION_NAMES", "Sample", "render_sample", "synthesize"]

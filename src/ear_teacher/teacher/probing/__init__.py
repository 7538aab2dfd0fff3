"""What the features of an encoder are worth: the same cheap heads on every encoder, for the same tasks."""

from ear_teacher.teacher.probing.coordinates import Coordinates
from ear_teacher.teacher.probing.encoders import (
    Encoder,
    Extracted,
    backbone_encoder,
    extract,
    hog_encoder,
    linear_encoder,
    model_encoder,
)
from ear_teacher.teacher.probing.heads import fit_mlp, fit_soft_argmax, ridge
from ear_teacher.teacher.probing.landmarks import contour_distance, landmark_errors
from ear_teacher.teacher.probing.retrieval import compare_people

__all__ = [
    "Coordinates",
    "Encoder",
    "Extracted",
    "backbone_encoder",
    "compare_people",
    "contour_distance",
    "extract",
    "fit_mlp",
    "fit_soft_argmax",
    "hog_encoder",
    "landmark_errors",
    "linear_encoder",
    "model_encoder",
    "ridge",
]

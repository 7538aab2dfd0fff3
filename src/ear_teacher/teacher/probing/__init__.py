"""What the features of an encoder are worth: the same cheap heads on every encoder, for the same tasks."""

from ear_teacher.teacher.probing.encoders import (
    Encoder,
    Extracted,
    backbone_encoder,
    extract,
    hog_encoder,
    linear_encoder,
    model_encoder,
)
from ear_teacher.teacher.probing.tasks import Settings, Truth, probe_landmarks, probe_people, probe_pose

__all__ = [
    "Encoder",
    "Extracted",
    "Settings",
    "Truth",
    "backbone_encoder",
    "extract",
    "hog_encoder",
    "linear_encoder",
    "model_encoder",
    "probe_landmarks",
    "probe_people",
    "probe_pose",
]
